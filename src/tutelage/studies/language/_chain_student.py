"""The student and the teacher of the chains: a tiny transformer with gaps, and a solver that errs and can write any notation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from tutelage.students.lm import NextToken, TinyLM
from tutelage.teachers.mental_models import Demo
from tutelage.training import after, cosine, fit, seeded
from tutelage.worlds.mod_chains import (
    ALPHABET,
    NOTATIONS,
    OPERATIONS,
    STEP,
    ModChains,
    Notation,
    err,
    solve,
    text,
    write_steps,
)  # fmt: skip


class ChainStudent:
    """A transformer of 60 thousand weights, trained on a world's rows; called with questions, and explanations or None.

    Without help it writes its steps, greedily, and answers; with help it reads somebody's steps and answers.
    """

    def __init__(self, world: ModChains, *, steps: int, batch: int = 64, seed: int = 0) -> None:
        rows = world.batch(steps * batch, torch.Generator().manual_seed(seed))
        self.written = STEP * world.steps
        with seeded(seed, "init"):
            self.model = TinyLM(len(ALPHABET), width=48, depth=2, heads=4, context=rows["ids"].shape[1])
        data = {"x": rows["ids"], "mask": rows["mask"]}
        schedule = after(0.05, cosine(1.0, 0.1))
        fit(NextToken(self.model), data, steps=steps, batch_size=batch, lr=3e-3, schedule=schedule, clip=1.0, seed=seed)

    @torch.no_grad()
    def __call__(self, questions: Sequence[str], explanations: Sequence[str] | None) -> list[str]:
        """`y` or `n`, whichever is likelier."""
        x = ids(questions)
        if explanations is not None:
            x = torch.cat([x, ids(explanations)], 1)
        else:
            for _ in range(self.written):
                x = torch.cat([x, self.model(x)[:, -1].argmax(1, keepdim=True)], 1)
        asked = torch.cat([x, ids(["#"] * len(questions))], 1)
        yes, no = self.model(asked)[:, -1, [ALPHABET.index(c) for c in "yn"]].T
        return ["y" if more else "n" for more in (yes > no).tolist()]


class ChainTeacher:
    """A solver that gets a step of operation o wrong with probability errors[o]; called with questions and demonstrations.

    Demonstrations of useful help show it a notation: it takes the commonest one; without them it draws one a question.
    Notations and errors belong to the question and the seed, so that all arms read the same. `misaligned` is for an
    audit: the last total supports the wrong answer.
    """

    def __init__(self, errors: Sequence[float], seed: int, *, misaligned: bool = False) -> None:
        self.errors, self.seed, self.misaligned = torch.tensor(list(errors)), seed, misaligned

    def __call__(self, questions: Sequence[str], examples: Sequence[Demo]) -> list[str]:
        """Steps, in the characters of the world."""
        digits, operations = parsed(questions)
        generator = torch.Generator().manual_seed(self.seed)
        totals = err(digits, operations, self.errors, generator)
        if self.misaligned:
            totals[:, -1] = (solve(digits, operations)[:, -1] + 5) % 10
        notations = torch.randint(len(NOTATIONS), (len(questions),), generator=generator)
        if examples:
            seen = Counter(readings(demo.explanation or "")[0] for demo in examples)
            notations = torch.full_like(notations, NOTATIONS.index(seen.most_common(1)[0][0]))
        return [text(row) for row in write_steps(digits, operations, totals, notations)]


def ids(texts: Sequence[str]) -> Tensor:
    """Ids of texts of one length: N → [N, n]."""
    return torch.tensor([[ALPHABET.index(c) for c in row] for row in texts])


def parsed(questions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Digits [N, n + 1] and operations [N, n] of questions."""
    digits = torch.tensor([[int(c) for c in row[:-1:2]] for row in questions])
    return digits, torch.tensor([[OPERATIONS.index(c) for c in row[1:-1:2]] for row in questions])


def results_above(digits: Tensor, operations: Tensor) -> list[str]:
    """The right answers."""
    return ["y" if above else "n" for above in (solve(digits, operations)[:, -1] > 4).tolist()]


def readings(steps: str) -> tuple[Notation, str]:
    """The notation of steps, and the answer that they lead to."""
    last = steps[-2]
    if last.isalpha():
        return "letters", "y" if last > "e" else "n"
    return ("prefix" if steps[0] in OPERATIONS else "totals"), "y" if last > "4" else "n"
