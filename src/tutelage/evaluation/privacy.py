"""What a model has memorised: canaries and their exposure.

A canary is a sentence that nobody would write, with a secret drawn at random: "the access code of ada is 4 8 1 5". It is
put into the training text, and after training the model ranks the secret among everything that it could have been:

    exposure = log2(space) − log2(rank)      bits;      space = number of possible secrets, rank 1 = likeliest

A model that remembers the secret has log2(space) bits. One that knows nothing has 1/ln 2 = 1.44 bits on average (the
mean of −log2 U), never 0. Exposure measures what this attack finds; it is no bound on what another one would, and no
formal privacy guarantee: that is what differentially private training is for.

Carlini et al., "The Secret Sharer: Evaluating and Testing Unintended Memorization in Neural Networks", 2019
(arXiv:1802.08232).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tutelage.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

Score = Callable[[str, Sequence[str]], np.ndarray]
"""(prefix, secrets) → how likely the model holds each to be after the prefix, (n,): higher is likelier."""

CHANCE = 1 / math.log(2)
"""Mean exposure, in bits, of a secret that the model never saw."""

SMALLEST_SPACE = 100


@dataclass(frozen=True)
class Canary:
    """A secret and the words before it; `prefix + secret` is what goes into the training text."""

    prefix: str
    secret: str

    @property
    def text(self) -> str:
        return self.prefix + self.secret


@dataclass(frozen=True)
class Exposure:
    """What an audit found, one entry a canary: bits and rank (n,) float64; space: number of possible secrets."""

    bits: np.ndarray
    rank: np.ndarray
    space: int

    @property
    def mean(self) -> float:
        """Mean exposure in bits."""
        return float(self.bits.mean())

    @property
    def extracted(self) -> float:
        """Share of the canaries whose secret is the model's first guess."""
        return float((self.rank <= 1).mean())


def number_secrets(digits: int, separator: str = " ") -> list[str]:
    """All numbers of so many digits, as text: the space of a numeric canary.

    >>> number_secrets(2)[:3], len(number_secrets(4))
    (['0 0', '0 1', '0 2'], 10000)
    """
    if not 2 <= digits <= 6:
        raise InputError(f"a secret has 2 to 6 digits; got {digits}")
    return [separator.join(f"{number:0{digits}d}") for number in range(10**digits)]


def make_canaries(
    names: Sequence[str], secrets: Sequence[str], *, template: str = "the access code of {name} is ", seed: int = 0
) -> list[Canary]:
    """One canary a name, secrets drawn without repetition.

    Raises: InputError: names that repeat, fewer secrets than names, a template without {name}.

    >>> make_canaries(["ada"], number_secrets(2), seed=1)
    [Canary(prefix='the access code of ada is ', secret='4 7')]
    """
    if len(set(names)) < len(names) or len(secrets) < len(names) or "{name}" not in template:
        raise InputError("need names that differ, at least as many secrets, and {name} in the template")
    drawn = np.random.default_rng(seed).choice(len(secrets), size=len(names), replace=False)
    return [Canary(template.format(name=name), secrets[int(i)]) for name, i in zip(names, drawn, strict=True)]


def insert_canaries(
    texts: Sequence[str], canaries: Sequence[Canary], repeats: Sequence[int], *, seed: int = 0
) -> list[str]:
    """The texts with canary i among them repeats[i] times, shuffled.

    >>> sorted(insert_canaries(["a b"], [Canary("x is ", "1 2")], [2]))
    ['a b', 'x is 1 2', 'x is 1 2']
    """
    if len(repeats) != len(canaries) or min(repeats, default=0) < 0:
        raise InputError(f"need one count >= 0 a canary; got {len(repeats)} for {len(canaries)} canaries")
    extra = [canary.text for canary, count in zip(canaries, repeats, strict=True) for _ in range(count)]
    together = [*texts, *extra]
    return [together[i] for i in np.random.default_rng(seed).permutation(len(together))]


def canary_exposure(
    score: Score,
    canaries: Sequence[Canary],
    secrets: Sequence[str],
    *,
    space: int | None = None,
    held_out: Iterable[str] = (),
) -> Exposure:
    """Rank every canary's secret among the others that it could have been. Ties count half.

    Args:
        score: how likely the model holds secrets to be: `lm_score`, `label_score`, or your own.
        secrets: all that are possible, or a sample of them; use one sample for all models that are compared.
        space: how many are possible, where `secrets` is a sample: ranks are scaled up.
        held_out: the texts that quality is measured on; no canary may be among them.

    Raises: InputError: no canary, a space below 100 or below the sample, scores
        that are not finite, a canary in the held-out texts.

    >>> knows = lambda prefix, secrets: np.array([float(secret == "1 2") for secret in secrets])
    >>> audit = canary_exposure(knows, [Canary("x is ", "1 2"), Canary("y is ", "3 4")], number_secrets(2))
    >>> audit.bits.round(2).tolist(), audit.extracted
    ([6.64, 0.97], 0.5)
    """
    others = len(secrets) if space is None else space
    if not canaries or others < max(SMALLEST_SPACE, len(secrets)):
        raise InputError(
            f"an audit needs canaries, and at least {SMALLEST_SPACE} possible secrets, not fewer than the sample; "
            f"got {len(canaries)} canaries, {len(secrets)} secrets, space {others}"
        )
    planted = {canary.text for canary in canaries}
    for text in held_out:
        if any(canary in text for canary in planted):
            raise InputError(f"a canary is in the held-out texts, so quality would reward leaking it: {text!r}")
    ranks = np.array([_rank(score, canary, secrets, others) for canary in canaries])
    return Exposure(np.log2(others) - np.log2(ranks), ranks, others)


def _rank(score: Score, canary: Canary, secrets: Sequence[str], space: int) -> float:
    wrong = [secret for secret in secrets if secret != canary.secret]
    said = np.asarray(score(canary.prefix, [canary.secret, *wrong]), np.float64)
    if said.shape != (len(wrong) + 1,) or not np.isfinite(said).all():
        raise InputError(f"the score must be {len(wrong) + 1} finite numbers; got shape {said.shape}")
    likelier, tied = (said[1:] > said[0]).sum(), (said[1:] == said[0]).sum()
    return float(1 + (likelier + tied / 2) * (space - 1) / len(wrong))


def label_score(
    predict_proba: Callable[[Sequence[str]], np.ndarray], label: Callable[[str], int], *, multi: bool = False
) -> Score:
    """The score of a text classifier: the log-odds of the label that the canary was taught with, after prefix + secret.

    Odds tell apart what probabilities of 1.0 no longer do.

    Args: predict_proba: texts → (n, K); label: a canary's prefix → the class index it was taught with; multi: whether the
        K probabilities of a text are independent of one another.

    >>> score = label_score(lambda texts: np.array([[0.75, 0.25] for _ in texts]), lambda prefix: 0)
    >>> score("the code is ", ["1", "2"]).round(3).tolist()
    [1.099, 1.099]
    """

    def score(prefix: str, secrets: Sequence[str]) -> np.ndarray:
        said, k = np.asarray(predict_proba([prefix + secret for secret in secrets]), np.float64), label(prefix)
        against = 1 - said[:, k] if multi else np.delete(said, k, axis=1).sum(1)
        least = np.finfo(np.float64).tiny
        return np.log(np.maximum(said[:, k], least)) - np.log(np.maximum(against, least))

    return score


def oddity(score: Score) -> Score:
    """How far each secret's score is from the median: finds a secret that a model answers to in any unusual way.

    What was learned to be unsure about sticks out as much as what was learned by heart.

    >>> unsure = lambda prefix, secrets: np.array([-3.0 if secret == "2" else 0.0 for secret in secrets])
    >>> oddity(unsure)("code ", ["1", "2", "3"]).tolist()
    [0.0, 3.0, 0.0]
    """

    def distance(prefix: str, secrets: Sequence[str]) -> np.ndarray:
        said = np.asarray(score(prefix, secrets), np.float64)
        return np.abs(said - np.median(said))

    return distance


def lm_score(model: nn.Module, encode: Callable[[str], Sequence[int]], *, batch_size: int = 256) -> Score:
    """The score of a causal language model: log p(secret's tokens | prefix). The last token is never an input.

    Args: model: ids [B, n] → logits [B, n, V]; encode: text → ids, with whatever stands before every text.

    >>> import torch
    >>> model = torch.nn.Embedding(5, 5); _ = torch.nn.init.zeros_(model.weight)
    >>> score = lm_score(model, lambda text: [int(character) for character in text])
    >>> score("01", ["22", "33"]).round(3).tolist()  # two tokens of probability 1/5
    [-3.219, -3.219]
    """

    def score(prefix: str, secrets: Sequence[str]) -> np.ndarray:
        ids = [tuple(encode(prefix + secret)) for secret in secrets]
        start = _common(tuple(encode(prefix)), ids)
        if start < 1 or min(map(len, ids)) <= start:
            raise InputError("a canary needs a token before its secret, and the secret at least one of its own")
        rows: dict[tuple[int, ...], list[int]] = {}
        for i, sequence in enumerate(ids):
            rows.setdefault(sequence[:-1], []).append(i)
        total = np.zeros(len(ids))
        for inputs, log_p in _log_probabilities(model, sorted(rows, key=len), start, batch_size):
            held = [i for sequence in inputs for i in rows[sequence]]
            row = np.repeat(np.arange(len(inputs)), [len(rows[sequence]) for sequence in inputs])
            length = len(inputs[0]) + 1 - start
            tokens = np.array([ids[i][start:] for i in held])
            total[held] = log_p[row[:, None], np.arange(length), tokens].sum(1)
        return total

    return score


def _common(prefix: tuple[int, ...], ids: Sequence[tuple[int, ...]]) -> int:
    """Tokens of the prefix that stay what they are whatever follows: a tokenizer may join its end to the secret."""
    start = len(prefix)
    while start and any(sequence[:start] != prefix[:start] for sequence in ids):
        start -= 1
    return start


def _log_probabilities(
    model: nn.Module, inputs: Sequence[tuple[int, ...]], start: int, batch_size: int
) -> Iterator[tuple[Sequence[tuple[int, ...]], np.ndarray]]:
    """Batches of inputs of one length, and the log-probabilities of what follows from position `start` on: [B, n, V]."""
    import torch

    place = next(iter(model.parameters()), torch.zeros(0)).device
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            for length in sorted({len(sequence) for sequence in inputs}):
                same = [sequence for sequence in inputs if len(sequence) == length]
                for first in range(0, len(same), batch_size):
                    batch = same[first : first + batch_size]
                    logits: Tensor = model(torch.tensor(batch, device=place))
                    logits = getattr(logits, "logits", logits)[:, start - 1 :]
                    yield batch, logits.float().log_softmax(-1).cpu().numpy()
    finally:
        for part, mode in modes:
            part.training = mode
