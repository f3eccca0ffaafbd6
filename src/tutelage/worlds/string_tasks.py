"""String tasks: ten small skills over one alphabet, as rows of text that a tiny language model can learn.

    add       A75=12.        reverse    Radb=bda.       count      Caaca=3.      how often a occurs
    subtract  M38=5.         sort       S952=259.       shift      Hagf=dba.     three letters on, round the eight
    multiply  P75=35.        largest    L4719=9.        digit sum  D938=0.       duplicate  Tab=aabb.

The first character names the task; subtraction and digit sums are modulo 10. Rows of a world have one length, so that a batch
is one tensor of character ids, padded with 0. Only the answer and its full stop are to be predicted.

The arithmetic of single digits has a hundred questions a task: two draws share questions, and what a model must know is the
table. Sorting, largest and count have thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from tutelage.errors import InputError

ALPHABET = " 0123456789abcdefgh=.ACDHLMPRST"
"""Characters; an id is a position in it. The first is padding."""
DIGIT, LETTER, EQUALS, END = (ALPHABET.index(c) for c in "0a=.")
LETTERS = 8


@dataclass(frozen=True)
class Skill:
    """One task: its letter, the kinds of its operands (`d` digit, `l` letter), and ids [B, m] of the answer to values [B, k].

    Ids of an answer are filled up with 0 at the end.
    """

    letter: str
    operands: str
    answer: Callable[[Tensor], Tensor]


def number(values: Tensor) -> Tensor:
    """Numbers below 100 as ids: [B] → [B, 2].

    >>> number(torch.tensor([7, 42])).tolist()
    [[8, 0], [5, 3]]
    """
    tens, units = values // 10 + DIGIT, values % 10 + DIGIT
    return torch.stack([torch.where(values > 9, tens, units), torch.where(values > 9, units, 0)], 1)


def digit(values: Tensor) -> Tensor:
    """Digits as ids: [B] → [B, 1]."""
    return values[:, None] + DIGIT


SKILLS = MappingProxyType(
    {
        "add": Skill("A", "dd", lambda v: number(v.sum(1))),
        "subtract": Skill("M", "dd", lambda v: digit((v[:, 0] - v[:, 1]) % 10)),
        "multiply": Skill("P", "dd", lambda v: number(v.prod(1))),
        "reverse": Skill("R", "lll", lambda v: v.flip(1) + LETTER),
        "sort": Skill("S", "ddd", lambda v: v.sort(1).values + DIGIT),
        "largest": Skill("L", "dddd", lambda v: digit(v.max(1).values)),
        "count": Skill("C", "llll", lambda v: digit((v == 0).sum(1))),
        "shift": Skill("H", "lll", lambda v: (v + 3) % LETTERS + LETTER),
        "digit sum": Skill("D", "ddd", lambda v: digit(v.sum(1) % 10)),
        "duplicate": Skill("T", "ll", lambda v: v.repeat_interleave(2, 1) + LETTER),
    }
)
"""Name → task."""


class StringTasks:
    """Rows of some skills, drawn alike.

    Args: skills: names in `SKILLS`. Attributes: length: characters of a row.

    Raises: InputError: no skill, or one that is not there.

    >>> world = StringTasks(["add", "reverse"])
    >>> rows = world.batch(3, torch.Generator().manual_seed(2))
    >>> [text(row) for row in rows["ids"]], rows["mask"].sum(1).tolist()
    (['A48=12.', 'Rddh=hdd.', 'Rcac=cac.'], [3, 4, 4])
    """

    def __init__(self, skills: Sequence[str] = tuple(SKILLS)) -> None:
        unknown = sorted(set(skills) - set(SKILLS))
        if unknown or not skills:
            raise InputError(f"skills are some of {', '.join(SKILLS)}; got {', '.join(unknown) or 'none'}")
        self.skills = tuple(skills)
        self.length = max(_length(SKILLS[name]) for name in skills)

    def rows(self, skill: str, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`ids` [n, length], and `mask` [n, length]: where a model is to predict. Rows of one skill."""
        task = SKILLS[skill]
        return self._written(task, drawn(task, n, generator))

    def batch(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`ids`, `mask` and under `truth` the number of each row's skill [n]."""
        which = torch.randint(len(self.skills), (n,), generator=generator)
        ids = torch.zeros(n, self.length, dtype=torch.long)
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for number_, skill in enumerate(self.skills):
            places = (which == number_).nonzero().flatten()
            rows = self.rows(skill, len(places), generator)
            ids[places], mask[places] = rows["ids"], rows["mask"]
        return {"ids": ids, "mask": mask, "truth": which}

    def _written(self, task: Skill, values: Tensor) -> dict[str, Tensor]:
        n, k = values.shape
        answers = task.answer(values)
        ids = torch.zeros(n, self.length, dtype=torch.long)
        ids[:, 0] = ALPHABET.index(task.letter)
        ids[:, 1 : k + 1] = values + torch.tensor(_offsets(task))
        ids[:, k + 1] = EQUALS
        start = k + 2
        ids[:, start : start + answers.shape[1]] = answers
        end = start + (answers > 0).sum(1, keepdim=True)
        ids.scatter_(1, end, END)
        place = torch.arange(self.length)
        return {"ids": ids, "mask": (place >= start) & (place <= end)}

    @staticmethod
    def card() -> str:
        """What is random here, and why it matters."""
        return (
            "Random: operands (evenly; in `count` each letter is an a with probability 0.4). Tasks share one model "
            "and one alphabet but little else, so that each must be learned from its own rows, and some take longer than others."
        )


def drawn(task: Skill, n: int, generator: torch.Generator) -> Tensor:
    """Values of operands: [n, k]."""
    tops = [10 if kind == "d" else LETTERS for kind in task.operands]
    values = torch.stack([torch.randint(top, (n,), generator=generator) for top in tops], 1)
    if task is SKILLS["count"]:
        values[torch.rand(values.shape, generator=generator) < 0.4] = 0
    return values


def solve(question: str) -> str:
    """The answer to a question, without its full stop.

    Raises: InputError: no question of any task.

    >>> solve("S952="), solve("P75=")
    ('259', '35')
    """
    task = next((task for task in SKILLS.values() if question[:1] == task.letter), None)
    said = [ALPHABET.find(character) for character in question[1:-1]]
    if task is None or len(said) != len(task.operands) or question[-1:] != "=":
        raise InputError(f"{question!r} is no question, such as 'S952='")
    values = torch.tensor([said]) - torch.tensor(_offsets(task))
    tops = torch.tensor([10 if kind == "d" else LETTERS for kind in task.operands])
    if bool(((values < 0) | (values >= tops)).any()):
        raise InputError(f"{question!r} has operands of another kind; need {task.operands} (d digit, l letter)")
    return text(task.answer(values)[0])


def verify(question: str, said: str) -> bool:
    """Whether what was said, up to its first full stop, is the answer.

    >>> verify("A75=", "12."), verify("A75=", "13.")
    (True, False)
    """
    return said.partition(".")[0] == solve(question)


def text(ids: Tensor) -> str:
    """One row as characters, without padding."""
    return "".join(ALPHABET[i] for i in ids.tolist()).rstrip()


def _offsets(task: Skill) -> list[int]:
    return [DIGIT if kind == "d" else LETTER for kind in task.operands]


def _length(task: Skill) -> int:
    answer = task.answer(torch.zeros(1, len(task.operands), dtype=torch.long)).shape[1]
    return 1 + len(task.operands) + 1 + answer + 1
