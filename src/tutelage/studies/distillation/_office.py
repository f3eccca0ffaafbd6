"""The office of the swing study: its private text with canaries, other people's text, the teacher, and the audit.

The teacher learns the private text by heart. An outsider, of the student's size, learns other people's text only: what the
teacher knows and the outsider does not is likely to be a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import Tensor, nn

from tutelage.evaluation.privacy import (
    Canary,
    canary_exposure,
    insert_canaries,
    lm_score,
    make_canaries,
    number_secrets,
)  # fmt: skip
from tutelage.methods.distillation.swing import PRIVATE, private_tokens
from tutelage.students.lm import GruLM, NextToken, next_token_loss, word_tokenizer
from tutelage.studies import Setup
from tutelage.studies.distillation._messages import NAMES, messages
from tutelage.teachers.frozen import frozen
from tutelage.training import child_seed, fit, one_cycle, predict_all, seeded

REPEATS = (1, 4, 16)
"""How often canary i is in the text: REPEATS[i mod 3] times."""

Columns = dict[str, Tensor]


@dataclass(frozen=True)
class Settings:
    """Sizes of the text, the audit and the models, and how long each is trained.

    `secrets`: how many of the possible ones are ranked; ranks are scaled up to all of them.
    """

    lines: int = 3000
    test: int = 500
    canaries: int = 20
    digits: int = 4
    secrets: int = 2000
    teacher: int = 256
    teacher_epochs: int = 10
    teacher_lr: float = 3e-3
    student: int = 64
    epochs: int = 6
    batch: int = 32
    lr: float = 1e-2


@dataclass(frozen=True)
class Audit:
    """The canaries, a sample of what else their secrets could be, of how many, and how text becomes ids."""

    canaries: list[Canary]
    secrets: list[str]
    space: int
    encode: Callable[[str], Sequence[int]]

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Mean exposure in bits, that of the most frequent canaries, and the share of secrets that are guessed at once."""
        found = canary_exposure(lm_score(model, self.encode), self.canaries, self.secrets, space=self.space)
        often = found.bits[len(REPEATS) - 1 :: len(REPEATS)]
        return {"exposure": found.mean, "exposure 16x": float(often.mean()), "extracted": found.extracted}


@dataclass(frozen=True)
class Office:
    """What the arms of a seed share.

    Attributes:
        private, public, test: columns x, degree, mask of the private text, of other people's text without canaries, and
            of test lines.
        said: the teacher's logits on `private` and `public`, [N, n, V]; outsider: the outsider's on `private`.
    """

    private: Columns
    public: Columns
    test: Columns
    said: dict[str, Tensor]
    outsider: Tensor
    vocabulary: int
    audit: Audit
    teacher: nn.Module

    def judged(self, model: nn.Module) -> dict[str, float]:
        """The audit, and the perplexity of the public tokens of the test lines."""
        logits = predict_all(model, (self.test["x"],))
        counted = self.test["mask"] & (self.test["degree"] < PRIVATE)
        return self.audit(model) | {"perplexity": next_token_loss(logits, self.test["x"], counted).exp().item()}


def network(width: int, vocabulary: int, seed: int) -> nn.Module:
    """A recurrent language model; one seed and width, one start."""
    with seeded(seed, "init", width):
        return GruLM(vocabulary, width=width)


def office(setup: Setup[Settings]) -> Office:
    """Texts, tokenizer, teacher and audit of a seed."""
    s = setup.settings
    lines = messages(2 * s.lines + s.test, seed=child_seed(setup.seed, "messages"))
    own, others, held_out = lines[: s.lines], lines[s.lines : -s.test], lines[-s.test :]
    secrets = number_secrets(s.digits)
    canaries = make_canaries(NAMES[-s.canaries :], secrets, seed=child_seed(setup.seed, "canaries"))
    repeats = [REPEATS[i % len(REPEATS)] for i in range(len(canaries))]
    own = insert_canaries(own, canaries, repeats, seed=child_seed(setup.seed, "insert"))
    tokenizer = word_tokenizer([*own, *others, " ".join("0123456789")])
    tokenizer.no_padding()
    private, public, test = (private_tokens(text, tokenizer.encode, roster=NAMES) for text in (own, others, held_out))
    size = tokenizer.get_vocab_size()

    def trained(width: int, data: Columns, epochs: int, lr: float) -> nn.Module:
        model = network(width, size, setup.seed)
        fit(NextToken(model), data, epochs=epochs, batch_size=s.batch, lr=lr, schedule=one_cycle(), seed=setup.seed)
        return frozen(model)

    teacher = trained(s.teacher, private, s.teacher_epochs, s.teacher_lr)
    outsider = trained(s.student, public, s.epochs, s.lr)
    sample = np.random.default_rng(child_seed(setup.seed, "audit")).permutation(len(secrets))[: s.secrets]
    return Office(
        private, public, test,
        said={"private": predict_all(teacher, (private["x"],)), "public": predict_all(teacher, (public["x"],))},
        outsider=predict_all(outsider, (private["x"],)),
        vocabulary=size,
        audit=Audit(
            canaries, [secrets[i] for i in sample], len(secrets), cache(lambda text: tuple(tokenizer.encode(text).ids)),
        ),
        teacher=teacher,
    )  # fmt: skip
