"""What MathDial's study compares with: moves told without learning, moves drawn without listening, and plain words for each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from tutelage.data.dialogue import MOVES, Dialogue, Move
from tutelage.data.draws import keyed_uniform
from tutelage.methods.education.mathdial import Moment
from tutelage.teachers.tutoring import Plan

WORDS: dict[Move, str] = {
    "focus": "Look at the step where you put the numbers together.",
    "probing": "Can you tell me why you did that?",
    "telling": "Let me show you how this step goes.",
    "generic": "Thank you, go on.",
}


def majority(train: Sequence[Moment], asked: Sequence[Moment]) -> list[Move]:
    """The commonest move for every turn."""
    return [max(MOVES, key=[moment.move for moment in train].count)] * len(asked)


def rules(train: Sequence[Moment], asked: Sequence[Moment]) -> list[Move]:
    """By keywords: greeting and praise are generic, why and how did probe, figures without a question tell, all else focuses."""

    def one(text: str) -> Move:
        if re.match(r"\W*(hi|hello|hey|great|good|well done|perfect|excellent|thank|bye)\b", text, re.IGNORECASE):
            return "generic"
        if re.search(r"\b(why|explain|how did)\b", text, re.IGNORECASE):
            return "probing"
        return "telling" if re.search(r"\d", text) and "?" not in text else "focus"

    return [one(moment.text) for moment in asked]


def refined_rules(train: Sequence[Moment], asked: Sequence[Moment]) -> list[Move]:
    """The same, refined by hand with all dialogues in sight: praise that asks something is no praise, any how probes."""

    def one(text: str) -> Move:
        if re.search(r"^\W*(hi|hello|hey)\b|\b(well done|good job|great job|thank|bye)\b", text, re.IGNORECASE):
            return "generic"
        if re.search(r"\b(why|explain|how)\b", text, re.IGNORECASE):
            return "probing"
        if "?" in text:
            return "focus"
        if re.search(r"\d", text):
            return "telling"
        praise = re.search(r"\b(great|good|perfect|excellent|correct|yes|right)\b", text, re.IGNORECASE)
        return "generic" if praise else "focus"

    return [one(moment.text) for moment in asked]


def drawn(shares: Mapping[Move, float], seed: int) -> Plan:
    """A plan that draws moves in these shares, whatever was said."""
    edges = np.cumsum([shares.get(move, 0.0) for move in MOVES])

    def plan(dialogues: Sequence[Dialogue]) -> list[Move]:
        luck = [keyed_uniform(seed, d.problem.id, len(d.of("teacher")), "plan") for d in dialogues]
        return [MOVES[int((edges <= draw * edges[-1]).sum())] for draw in luck]

    return plan
