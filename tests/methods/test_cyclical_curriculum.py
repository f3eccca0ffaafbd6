"""The curriculum as a stream, a sampler and a loader: no presentation lost, and a resumed run is in the right phase."""

from __future__ import annotations

from itertools import accumulate

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from tests.methods.common import Case, MethodContract
from tutelage.curricula.pacing import cycle_sizes
from tutelage.errors import InputError
from tutelage.methods.dynamics.cyclical_curriculum import (
    CyclicalLoader,
    CyclicalSampler,
    phase_indices,
    presentations,
)
from tutelage.students.mlp import mlp
from tutelage.studies import Trial
from tutelage.studies.dynamics.cyclical_curriculum import Looks, Noisy, split, stacked, train
from tutelage.training import Lesson, Supervised, fit, seeded

EASY = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 0.5])


class TestCurriculum(MethodContract):
    """Plain lessons on the curriculum's batches: it learns, repeats itself, and resumes in the phase where it was."""

    def case(self, shape: tuple[int, ...] = (6,), classes: int = 3, dtype: torch.dtype = torch.float32) -> Case:
        case = super().case(shape, classes, dtype)
        scores = torch.arange(1.0, len(case.data["x"]) + 1)
        case.data = CyclicalLoader(case.data, scores, cycle_sizes(budget=2), batch_size=4)  # type: ignore[assignment]
        return case

    def lesson(self, case: Case) -> Lesson:
        return Supervised(case.student)

    def test_refuses_a_teacher_that_does_not_fit(self) -> None:
        with pytest.raises(InputError, match="one score an example; got 3 for 12"):
            CyclicalLoader(super().case().data, torch.ones(3), [1.0])


def test_a_stream_is_its_phases_one_after_the_other():
    sizes = cycle_sizes(0.25, 1.0, 0.5, budget=3)
    counts = [2, 4, 8, 4, 2, 4]
    stream = presentations(EASY, sizes, 3, 0, sum(counts))
    for phase, (count, end) in enumerate(zip(counts, accumulate(counts), strict=True)):
        assert torch.equal(stream[end - count : end], phase_indices(EASY, count, 3, phase))
    assert sorted(stream[6:14].tolist()) == list(range(8)), "the phase of all data shows each example once"


@pytest.mark.parametrize("cut", [1, 5, 6, 13, 23])
def test_a_stretch_is_the_same_whoever_asks_for_it(cut: int):
    sizes = cycle_sizes(budget=3)
    whole = presentations(EASY, sizes, 0, 0, 24)
    assert torch.equal(
        torch.cat([presentations(EASY, sizes, 0, 0, cut), presentations(EASY, sizes, 0, cut, 24)]), whole
    )


def test_easy_examples_fill_the_small_phases():
    scores = torch.cat([torch.full((50,), 1.0), torch.full((50,), 0.05)])
    easy = [(phase_indices(scores, 25, seed, 0) < 50).float().mean().item() for seed in range(40)]
    assert sum(easy) / 40 > 0.9
    even = [(phase_indices(torch.ones(100), 25, seed, 0) < 50).float().mean().item() for seed in range(40)]
    assert sum(even) / 40 == pytest.approx(0.5, abs=0.06)


def test_an_epoch_is_n_presentations_and_epochs_follow_one_another():
    sizes = cycle_sizes(budget=3)
    sampler = CyclicalSampler(EASY, sizes, seed=5)
    passes = [list(sampler) for _ in range(3)]
    assert len(sampler) == 8
    assert sampler.epochs == 3
    assert [i for one in passes for i in one] == presentations(EASY, sizes, 5, 0, 24).tolist()
    with pytest.raises(InputError, match="pay for 3 epochs and this is number 4"):
        iter(sampler)
    sampler.set_epoch(1)
    assert list(sampler) == passes[1]


def test_whole_sizes_and_equal_scores_are_plain_epochs():
    sampler = CyclicalSampler(torch.ones(10), [1.0, 1.0])
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_no_budget_is_lost_where_sizes_do_not_divide():
    sampler = CyclicalSampler(torch.ones(7), cycle_sizes(1 / 3, 0.9, 0.7, budget=5))
    assert sampler.epochs == 5
    assert [len(list(sampler)) for _ in range(5)] == [7] * 5


def test_it_feeds_a_loader_of_one_s_own():
    data = TensorDataset(torch.arange(8))
    loader = DataLoader(data, batch_size=3, sampler=CyclicalSampler(EASY, [0.5, 1.0, 0.5]))
    seen = [torch.cat([x for (x,) in loader]).tolist() for _ in range(2)]
    assert seen[0] + seen[1] == presentations(EASY, [0.5, 1.0, 0.5], 0, 0, 16).tolist()


def test_the_loader_names_its_examples():
    (batch,) = CyclicalLoader((torch.arange(8) * 10, torch.arange(8)), EASY, [1.0], batch_size=8)
    assert torch.equal(batch["index"] * 10, batch["x"])
    assert torch.equal(batch["index"], batch["y"])


class Endless(IterableDataset):
    def __iter__(self):
        return iter(range(3))


@pytest.mark.parametrize(
    ("scores", "sizes", "message"),
    [
        (torch.tensor([1.0, float("nan")]), [1.0], "finite"),
        (torch.zeros(2), [1.0], "not all zero"),
        (torch.ones(4), [0.25, 0.5], "less than one epoch"),
        (torch.ones(4), [0.1], "less than one"),
    ],
)
def test_refuses_a_curriculum_that_cannot_be_drawn(scores: torch.Tensor, sizes: list[float], message: str):
    with pytest.raises(InputError, match=message):
        CyclicalSampler(scores, sizes)


def test_refuses_data_without_numbers_and_stretches_beyond_the_end():
    with pytest.raises(InputError, match="Endless has none"):
        CyclicalLoader(Endless(), torch.ones(3), [1.0])
    with pytest.raises(InputError, match="has 8 presentations"):
        presentations(EASY, [1.0], 0, 4, 9)


SMALL = Noisy(train=64, validation=32, test=64, width=16, epochs=2, looks=2)


def test_a_row_of_the_study_is_the_loader_in_the_one_loop(tmp_path):
    data = split(Trial(3, SMALL, tmp_path))
    scores = torch.arange(1.0, 65.0)
    stream = presentations(scores, cycle_sizes(budget=2), 3, 0, 128)
    looks = train([(data, 1, 3)], [stream], SMALL)
    with seeded(3, "init"):
        lesson = Supervised(mlp(64, 16, 64, 10))
    loader = CyclicalLoader((data.x, data.y[1]), scores, cycle_sizes(budget=2), batch_size=32, seed=3)
    fit(lesson, loader, epochs=2, lr=2e-3, weight_decay=0.0)
    logits = lesson.student(data.validation[0])
    assert looks.loss[-1].item() == pytest.approx(
        torch.nn.functional.cross_entropy(logits, data.validation[1]).item(), abs=1e-4
    )


def test_every_arm_of_the_study_counts_its_presentations(tmp_path):
    arms = ["plain", "ccl", "plain, twice as long"]
    trials = [Trial(4, SMALL, tmp_path, arm=arm) for arm in arms]
    figures = stacked([split(trials[0])] * 3, trials)
    assert [trial.budget.examples for trial in trials] == [128, 128, 256]
    assert figures[0]["accuracy"] == pytest.approx(
        sum(figures[0][f"accuracy, {name}"] for name in ("clean", "10 % wrong", "30 % wrong")) / 3
    )


def test_the_checkpoint_is_chosen_by_validation():
    looks = Looks(
        [torch.tensor([0.5, 0.1]), torch.tensor([0.2, 0.4])], [torch.tensor([0.9, 0.8]), torch.tensor([0.7, 0.95])]
    )
    figures = looks.figures()
    assert figures["accuracy"].tolist() == pytest.approx([0.7, 0.8])
    assert figures["best on test"].tolist() == pytest.approx([0.9, 0.95])
    assert figures["last five"].tolist() == pytest.approx([0.8, 0.875])


def test_wrong_labels_are_in_the_training_part_only(tmp_path):
    data = split(Trial(3, SMALL, tmp_path))
    changed = (data.y != data.y[0]).float().mean(1)
    assert changed.tolist() == pytest.approx([0.0, 6 / 64, 19 / 64])
