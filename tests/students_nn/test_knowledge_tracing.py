"""Networks that trace: no answer is seen before it is given, cutting and padding change nothing, validation chooses the epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tutelage.data.knowledge_tracing import AnswerLog
from tutelage.errors import InputError
from tutelage.evaluation.auc import auc
from tutelage.students.knowledge_tracing import (
    Dkt,
    DktNetwork,
    TracerOptions,
    TracingLesson,
    interactions,
    split_interactions,
)
from tutelage.training import Progress, seeded

QUICK = TracerOptions(epochs=2, batch_size=8, lr=0.01)


def steady(learners: int = 24) -> AnswerLog:
    """Learners who are always right, or always wrong, about three concepts."""
    return AnswerLog.of({f"learner {n}": [("abc"[(n + t) % 3], n % 2) for t in range(6)] for n in range(learners)})


def test_interactions_say_concept_outcome_and_where_there_is_none():
    log = AnswerLog.of({"ann": [("b", 1), ("a", 0)], "bob": [("b", 0)]})
    x = interactions(log)
    assert x.tolist() == [[4, 1], [2, 0]]
    concept, correct, mask = split_interactions(x, 2)
    assert concept[mask].tolist() == log.concept.tolist()
    assert correct[mask].tolist() == log.correct.astype(int).tolist()


def test_an_answer_never_decides_its_own_prediction():
    with seeded(0, "init"):
        network = DktNetwork(concepts=3, width=4)
    x = torch.tensor([[1, 2, 6, 1, 3]])
    flipped = x.clone()
    flipped[0, 2] = 3  # the same concept, answered wrong
    before, after = network(x)[0], network(flipped)[0]
    assert torch.equal(before[:3], after[:3])
    assert not torch.isclose(before[3:], after[3:]).any()


def test_asking_is_predicting_one_step_further():
    with seeded(0, "init"):
        network = DktNetwork(concepts=3, width=4)
    x = torch.tensor([[1, 2, 6, 0], [4, 5, 1, 2]])
    longer = torch.tensor([[1, 2, 6, 2, 0], [4, 5, 1, 2, 2]])  # concept 1 is asked next
    asked = network.ask(x)
    assert asked[0, 1].item() == pytest.approx(network(longer)[0, 3].item(), abs=1e-6)
    assert asked[1, 1].item() == pytest.approx(network(longer)[1, 4].item(), abs=1e-6)


def test_the_loss_is_the_mean_over_answers_and_not_over_padding():
    lesson = TracingLesson(lambda x: torch.zeros(x.shape), concepts=2)  # type: ignore[arg-type]
    loss = lesson.losses({"x": torch.tensor([[1, 3], [2, 0]])}, Progress(0, 1))["bce"]
    assert loss.item() == pytest.approx(np.log(2))


def test_who_sits_beside_a_learner_does_not_matter():
    log = AnswerLog.of({"short": [("a", 1)], "long": [("a", 1), ("b", 0), ("a", 0)] * 3})
    tracer = Dkt(4, options=QUICK).fit(log)
    alone = np.concatenate([tracer.predict(log.take([row])) for row in range(2)])
    assert tracer.predict(log) == pytest.approx(alone, abs=1e-6)
    assert tracer.mastery(log)[0] == pytest.approx(tracer.mastery(log.take([0]))[0], abs=1e-6)


def test_long_sequences_are_read_in_pieces():
    log = AnswerLog.of({"ann": [("a", 1), ("b", 0)] * 5})
    tracer = Dkt(4, options=TracerOptions(length=4, epochs=1)).fit(log)
    said = tracer.predict(log)
    assert said[:4] == pytest.approx(said[4:8], abs=1e-6), "each piece starts afresh"
    assert tracer.mastery(log) == pytest.approx(tracer.mastery(log.latest(4)), abs=1e-6)


def test_learns_and_keeps_the_best_epoch():
    train, val = steady(), steady(6)
    tracer = Dkt(8, options=TracerOptions(epochs=12, batch_size=8, lr=0.02)).fit(train, val)
    reached = auc(val.correct, tracer.predict(val))
    assert reached == pytest.approx(max(tracer.history_["val AUC"]))
    assert reached > 0.8
    mastery = tracer.mastery(val)
    assert mastery.shape == (6, 3)
    assert (mastery[1::2].mean(0) > mastery[::2].mean(0)).all()


def test_a_seed_decides_everything():
    first, again, other = (
        Dkt(4, options=TracerOptions(epochs=1, seed=seed)).fit(steady()).predict(steady()) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_refuses_what_it_cannot_judge():
    same = AnswerLog.of({"ann": [("a", 1), ("b", 1)]})
    with pytest.raises(InputError, match="cannot choose an epoch"):
        Dkt(4, options=QUICK).fit(steady(), same)
    with pytest.raises(InputError, match="'z' is not among"):
        Dkt(4, options=QUICK).fit(steady()).mastery(AnswerLog.of({"ann": [("z", 1)]}))
