"""Mental models of a student: a regression, and a prompt to a model that scores answers."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.errors import InputError
from tutelage.teachers.mental_models import Demo, PromptMentalModel, StatMentalModel


class Scorer:
    """Says yes with the probability that it is told, and keeps what it was asked."""

    name, description, context = "scorer", {}, 1000

    def __init__(self, yes: float) -> None:
        self.yes, self.asked = yes, []

    def count(self, text: str) -> int:
        return len(text)

    def score(self, messages, prefill, candidates):
        self.asked.append(messages[0]["content"])
        return np.log([self.yes if c == "yes" else 1 - self.yes for c in candidates]) - 7.0, 1


def demo(i: int, said: str, explanation: str | None = None) -> Demo:
    return Demo(f"question {i}", "yes", explanation, said)


def test_a_regression_foretells_by_features():
    model = StatMentalModel(lambda q, a, e: [float(q.startswith("hard")), float(e is not None)])
    model.fit([Demo(q, "y", None, "y" if q == "easy" else "n") for q in ["easy", "hard"] * 10])
    p = model.predict(["easy", "hard"], ["y", "y"], None)
    assert p[0] > 0.8
    assert p[1] < 0.2


def test_where_all_is_the_same_the_rate_is_foretold_and_never_certain():
    model = StatMentalModel(lambda q, a, e: [0.0])
    model.fit([demo(i, "yes") for i in range(3)])
    assert model.predict(["x", "z"], ["yes", "yes"], None).tolist() == [3.5 / 4] * 2
    model.fit([demo(i, "no") for i in range(3)])
    assert model.predict(["x"], ["yes"], ["e"]).tolist() == [0.5 / 4]


def test_a_prompt_shows_answers_in_turn_and_reads_the_probability_of_the_right_one():
    scorer = Scorer(0.75)
    model = PromptMentalModel(scorer, ["yes", "no"], k=4)
    model.fit([demo(i, "yes") for i in range(5)] + [demo(i, "no") for i in range(5, 8)])
    assert [d.said for d in model.demos] == ["yes", "no", "yes", "no"]
    p = model.predict(["new", "new"], ["yes", "no"], ["because", "because"])
    assert p.tolist() == pytest.approx([0.75, 0.25])
    prompt = scorer.asked[0]
    assert prompt.count("Question:") == 5
    assert prompt.endswith(
        "Question: new\nCorrect answer: yes\nExplanation that it reads: because\nAnswer of the model:"
    )
    model.predict(["new"], ["yes"], None)
    assert "Explanation" not in scorer.asked[-1].rpartition("Question:")[2]


def test_refuses_to_foretell_before_it_has_learned_and_answers_that_are_no_options():
    scorer = Scorer(0.5)
    prompt = PromptMentalModel(scorer, ["yes", "no"])
    for model in (StatMentalModel(lambda q, a, e: [0.0]), prompt):
        with pytest.raises(
            InputError, match=f"this {type(model).__name__} has not learned anything yet: call fit first"
        ):
            model.predict(["x"], ["yes"], None)
    prompt.fit([demo(i, said) for i in range(2) for said in ("yes", "no")])
    with pytest.raises(InputError, match="the right answer 'maybe' is none of the options: yes, no"):
        prompt.predict(["x", "y"], ["yes", "maybe"], None)
    assert scorer.asked == [], "nothing was asked for nothing"


def test_refuses_options_that_begin_alike_and_too_few_demonstrations():
    for options in (["maybe", "Might"], ["yes"]):
        with pytest.raises(InputError, match="begin differently"):
            PromptMentalModel(Scorer(0.5), options)
    with pytest.raises(InputError, match="two demonstrations of every answer of the student; got yes: 3, no: 1"):
        PromptMentalModel(Scorer(0.5), ["yes", "no"]).fit([*(demo(i, "yes") for i in range(3)), demo(9, "no")])
