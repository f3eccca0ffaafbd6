"""Tracers that count: hand-computed means, and a regression that sees what it should and nothing later."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.data.knowledge_tracing import AnswerLog
from tutelage.errors import InputError
from tutelage.students.tracing_baselines import ConceptMean, Pfa

LOG = AnswerLog.of({"ann": [("a", 0), ("a", 1), ("b", 1)], "bob": [("a", 1), ("b", 1), ("a", 0)]})


def test_a_concept_mean_is_drawn_to_the_mean_of_all():
    tracer = ConceptMean(weight=2.0).fit(LOG)  # a: 2 of 4, b: 2 of 2, all: 4 of 6
    expected = {"a": (2 + 2 * 4 / 6) / 6, "b": (2 + 2 * 4 / 6) / 4}
    assert tracer.predict(LOG) == pytest.approx([expected[LOG.concepts[c]] for c in LOG.concept])
    assert tracer.mastery(LOG)[0].tolist() == tracer.mastery(LOG)[1].tolist()
    with pytest.raises(InputError, match="'z' is not among"):
        tracer.predict(AnswerLog.of({"ann": [("z", 1)]}))


def test_features_are_logarithms_of_what_came_before():
    tracer = Pfa().fit(LOG)
    row = tracer._of_answers(LOG).toarray()[5]  # bob's third answer, on a: one right on a, two right in all
    #       one-hot a b | log(1 + right) a b | log(1 + wrong) a b | of the learner: right, wrong
    assert row == pytest.approx([1, 0, np.log(2), 0, 0, 0, np.log(3), 0])


def test_an_answer_is_predicted_from_earlier_ones_only():
    tracer, other = Pfa().fit(LOG), AnswerLog.of({"ann": [("a", 0), ("a", 0), ("b", 0)]})
    same = AnswerLog.of({"ann": [("a", 0), ("a", 1), ("b", 0)]})
    assert tracer.predict(other)[:2] == pytest.approx(tracer.predict(same)[:2])
    assert tracer.predict(other)[2] != pytest.approx(tracer.predict(same)[2])


def test_mastery_is_what_the_next_answer_would_be():
    longer = AnswerLog.of({"ann": [("a", 0), ("a", 1), ("b", 1), ("a", 1)]})
    tracer = Pfa().fit(LOG)
    assert tracer.mastery(LOG.take([0]))[0, 0] == pytest.approx(tracer.predict(longer)[3])


def test_refuses_a_log_without_two_outcomes():
    with pytest.raises(InputError, match="same outcome"):
        Pfa().fit(AnswerLog.of({"ann": [("a", 1), ("a", 1)]}))
