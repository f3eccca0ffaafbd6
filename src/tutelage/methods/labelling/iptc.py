"""LLM teacher to small student with no manual labels: the protocol of the IPTC news-topic case study.

Kuzman & Ljubešić, "LLM Teacher-Student Framework for Text Classification With No Manually Annotated Data: A Case Study in
IPTC News Topic Classification", 2024 (arXiv:2411.19638).

A teacher labels a few thousand unlabelled texts, one label each, from names and short definitions; a student is trained on
these labels; people annotate only a small test sample that is balanced over the teacher's labels, without seeing them. The
teacher is accepted when its agreement with people is about as high as people's agreement with each other:

    mean_h alpha(teacher, h)  >=  alpha(humans) - 0.05        (two or more people)
    alpha(teacher, human)     >=  0.667                       (one person: Krippendorff's bound for tentative conclusions)

The student can pass its teacher because it averages the teacher's random errors over many texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tutelage.data.split import few_per_class

TOLERANCE = 0.05
"""How far the teacher may stay behind people's agreement with each other; the paper says "comparable", the number is ours."""

ACCEPTABLE = 0.667

_ELLIPSIS = re.compile(r"\.\.\.|…")


def has_many_ellipses(text: str, most: int = 1) -> bool:
    """Whether a text has more than `most` ellipses: the mark of pages made of teasers, which the paper removes.

    >>> has_many_ellipses("Read on... And here...")
    True
    """
    return len(_ELLIPSIS.findall(text)) > most


def balanced_sample(labels: Sequence[str], per_label: int = 18, *, seed: int = 0) -> np.ndarray:
    """Positions of the texts that people should review: `per_label` of each teacher label, as many as there are.

    Such a sample does not have the pool's prevalence of labels; figures on it are to be read with that in mind.

    >>> sorted(balanced_sample(["a", "a", "a", "b"], 1).tolist())[-1]
    3
    """
    return few_per_class(labels, per_label, seed=seed)


@dataclass(frozen=True)
class Acceptance:
    """Whether to distil from this teacher.

    Attributes:
        outcome: accepted, refused, or unchecked where no human label is there.
        sentence: why, with the figures.
    """

    outcome: Literal["accepted", "refused", "unchecked"]
    rule: str
    sentence: str


def accept(teacher_human: Sequence[float], human_human: float | None = None) -> Acceptance:
    """The acceptance rule on the teacher's alpha with each person, and people's alpha with each other.

    >>> accept([0.72], None).outcome, accept([0.5, 0.6], 0.7).outcome, accept([]).outcome
    ('accepted', 'refused', 'unchecked')
    """
    alphas = [a for a in teacher_human if np.isfinite(a)]
    if not alphas:
        return Acceptance(
            "unchecked", "no human labels", "No person has checked this teacher: nobody knows how good its labels are."
        )
    mean = float(np.mean(alphas))
    if human_human is not None and np.isfinite(human_human):
        bound = human_human - TOLERANCE
        rule = f"mean teacher–human alpha at least human–human alpha − {TOLERANCE}"
        against = f"people agree with each other at {human_human:.3f}"
    else:
        bound, rule, against = (
            ACCEPTABLE,
            f"teacher–human alpha at least {ACCEPTABLE}",
            f"the rule asks for {ACCEPTABLE}",
        )
    if mean >= bound:
        return Acceptance("accepted", rule, f"The teacher agrees with people at alpha {mean:.3f}; {against}.")
    return Acceptance(
        "refused",
        rule,
        f"The teacher agrees with people at alpha {mean:.3f} only; {against}: do not distil from this teacher.",
    )
