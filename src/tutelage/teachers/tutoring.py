"""Tutors: what a teacher says next in a dialogue, and the guard that keeps it from giving the answer away.

A tutor is a `Speaker` of the teacher's side: `reply(history, problem)` is its next turn. `LLMTutor` asks a chat model, with
the move that it should make where one is planned; a turn in which the guard finds the answer is sent back once, and what
still leaks then is cut. `LLMPupil` lets a chat model play the pupil, so that a tutor can be tried in a closed loop.

Everything goes through the ledger. The pupil's name is never sent, and what either side said stands behind control marks
that are broken up, so that no utterance gives orders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from tutelage.data.dialogue import Dialogue, Move, Role, Speaker, Turn, TutoringProblem
from tutelage.errors import InputError
from tutelage.evaluation.answers import normalise_answer, quantities
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.asking import Asking
from tutelage.teachers.llm.data import Message, neutralise

Tutor = Speaker
"""A speaker whose turns are the teacher's."""

HOW: dict[Move, str] = {
    "focus": "Point the pupil to the next step with one question or hint, without doing the step.",
    "probing": "Ask the pupil to explain or check their own thinking; do not say what is wrong.",
    "telling": "Explain one step that the pupil cannot find alone.",
    "generic": "React briefly and kindly, and ask the pupil to go on.",
}
"""What a tutor who makes a move does."""

_STATED = re.compile(r"\b(?:answers?|result|solution|total|equals|makes|gives|is|are|be)\b|=", re.IGNORECASE)


@dataclass(frozen=True)
class AnswerGuard:
    """Does a text give the answer of a problem away?

    Numbers that stand in the problem itself are no secret: where the answer is one of them (`masked`), only a text that
    states it as the result leaks.

    >>> guard = AnswerGuard(TutoringProblem("1", "Ann has 3 bags of four apples. How many?", "12"))
    >>> guard.leaks("3 times 4 is twelve"), guard.leaks("How many bags are there?"), guard.masked
    (True, False, False)

    Raises: InputError: an answer that is not a number.
    """

    problem: TutoringProblem

    def __post_init__(self) -> None:
        if normalise_answer(self.problem.answer) is None:
            raise InputError(f"problem {self.problem.id}: the answer must be one number; found {self.problem.answer!r}")

    @cached_property
    def answer(self) -> Fraction:
        """The value that must not be said."""
        return quantities(self.problem.answer)[0].value

    @cached_property
    def masked(self) -> bool:
        """Whether the problem's own text holds the number."""
        return any(quantity.value == self.answer for quantity in quantities(self.problem.text))

    def leaks(self, text: str) -> bool:
        """Whether the text says the answer."""
        if not self.masked:
            return any(quantity.value == self.answer for quantity in quantities(text))
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            for mark in _STATED.finditer(sentence):
                after = quantities(sentence[mark.end() :])
                if after and after[0].value == self.answer and not sentence.rstrip().endswith("?"):
                    return True
        return False

    def redact(self, text: str) -> str:
        """The sentences of a text that do not leak; a question to go on with where none is left.

        >>> AnswerGuard(TutoringProblem("1", "6 + 6?", "12")).redact("Well done. So it is 12.")
        'Well done.'
        """
        kept = [sentence for sentence in re.split(r"(?<=[.!?])\s+", text) if not self.leaks(sentence)]
        return " ".join(kept) or "What would you try next?"


Plan = Callable[[Sequence[Dialogue]], Sequence[Move]]
"""The move that a tutor should make next in each dialogue."""

_TUTOR = """\
You are a tutor who helps a pupil with an exercise. Be kind, brief, factually right, and stay on the subject. Let the pupil \
think: never state the final answer.

Exercise: {text}
Solution, for you alone: {solution}
The pupil's own solution, which is wrong: {wrong}
{how}Write your next turn only."""

_PUPIL = """\
You play a pupil in a conversation with a tutor. {profile}
You solved an exercise and believe in your solution, which is wrong. You give it up only when the tutor's questions make you \
see the mistake yourself; then you work it out step by step, without slips of arithmetic. You answer in one to three sentences.

Exercise: {text}
Your solution: {wrong}
Write your next turn only."""


class LLMTutor(Speaker):
    """A chat model as tutor.

    Args:
        asking: the model, and how it may be driven. plan: the move to make; None: the model's own choice.
        guard: whether turns that hold the answer are sent back, and cut where they still do. ledger: keeps all replies.

    >>> from tutelage.teachers.llm.base import ScriptedChat
    >>> model = ScriptedChat(lambda request: "The answer is 12." if len(request.messages) < 4 else "Look at the bags again.")
    >>> tutor = LLMTutor(Asking(model))
    >>> tutor.reply([Turn("pupil", "I say 7.")], TutoringProblem("1", "3 bags of 4 apples?", "12", wrong="3 + 4 = 7")).text
    'Look at the bags again.'
    """

    def __init__(
        self, asking: Asking, *, plan: Plan | None = None, guard: bool = True, ledger: Ledger | None = None
    ) -> None:
        self.asking, self.plan, self.guard, self.ledger = asking, plan, guard, ledger

    def replies(self, dialogues: Sequence[Dialogue]) -> list[Turn | None]:
        """The tutor's turns. Raises: InputError: with `guard`, an answer that is not a number; and what `asking` raises."""
        guards = [AnswerGuard(dialogue.problem) for dialogue in dialogues] if self.guard else []
        moves = list(self.plan(dialogues)) if self.plan else [None] * len(dialogues)
        asked = [
            _messages(_TUTOR, "teacher", dialogue, how=f"Your next move: {HOW[move]}\n" if move else "")
            for dialogue, move in zip(dialogues, moves, strict=True)
        ]
        said = _ask(self.asking, asked, self.ledger)
        leaking = [n for n, guard in enumerate(guards) if (text := said[n]) is not None and guard.leaks(text)]
        again = [
            [
                *asked[n],
                {"role": "assistant", "content": neutralise(said[n] or "")},
                {"role": "user", "content": _FAULT},
            ]
            for n in leaking
        ]
        for n, text in zip(leaking, _ask(self.asking, again, self.ledger), strict=True):
            said[n] = None if text is None else guards[n].redact(text)
        return [None if text is None else Turn("teacher", text, move) for text, move in zip(said, moves, strict=True)]


_FAULT = "That gives the final answer away. Write another turn that does not contain it, in figures or in words."


class LLMPupil(Speaker):
    """A chat model that plays the pupil who believes in the problem's wrong solution.

    Args: as for `LLMTutor`.
    """

    def __init__(self, asking: Asking, *, ledger: Ledger | None = None) -> None:
        self.asking, self.ledger = asking, ledger

    def replies(self, dialogues: Sequence[Dialogue]) -> list[Turn | None]:
        """The pupils' turns. Raises: what `asking` raises."""
        said = _ask(self.asking, [_messages(_PUPIL, "pupil", dialogue) for dialogue in dialogues], self.ledger)
        return [None if text is None else Turn("pupil", text) for text in said]


def _messages(instruction: str, role: Role, dialogue: Dialogue, **more: str) -> list[Message]:
    """The instruction as a system message, then the dialogue as the player of `role` sees it, without the pupil's name."""
    problem = dialogue.problem
    fields = {name: getattr(problem, name) for name in ("text", "solution", "wrong", "profile")}
    hidden = re.compile(rf"\b{re.escape(problem.pupil)}\b") if problem.pupil else None
    hide = lambda text: neutralise(hidden.sub("pupil", text) if hidden else text)
    messages: list[Message] = [
        {"role": "system", "content": instruction.format(**{k: hide(v) for k, v in fields.items()}, **more)}
    ]
    for turn in dialogue.turns:
        messages.append({"role": "assistant" if turn.role == role else "user", "content": hide(turn.text)})
    if messages[-1]["role"] != "user":  # the other side has not spoken yet
        messages.append({"role": "user", "content": "(Begin.)"})
    return messages


def _ask(asking: Asking, asked: Sequence[Sequence[Message]], ledger: Ledger | None) -> list[str | None]:
    """One reply to each conversation; the conversation itself is what the ledger files the reply under."""
    if not asked:
        return []
    texts = [json.dumps(list(messages), ensure_ascii=False) for messages in asked]
    said = asking.ask(
        texts, json.loads, {"task": "next turn of a dialogue"}, check=lambda reply: None if reply.strip() else "it is empty",
        ledger=ledger,
    )  # fmt: skip
    return [None if text is None else text.strip() for text in said]
