"""CAKT: the right steps become frames, nothing is seen too early, and each part does what its equation says."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.methods.education.cakt import (
    CAKT,
    Block,
    CaktNetwork,
    Film1d,
    Film3d,
    SqueezeExcite,
    TwoGateFusion,
    tries,
)
from tutelage.students.knowledge_tracing import TracerOptions, TracingLesson
from tutelage.students.learners import Learners
from tutelage.studies import Part, Trial
from tutelage.studies.education.cakt import STUDY, Pupils, other_tries
from tutelage.training import Lesson, seeded

CONCEPTS = 3


def network(film: type[Film1d] | type[Film3d] = Film1d, **options: object) -> CaktNetwork:
    with seeded(0, "init"):
        return CaktNetwork(CONCEPTS, 4, 2, film(4, 2), **options).eval()  # type: ignore[arg-type]


class TestCakt(MethodContract):
    """Interactions in the place of vectors; there is no teacher and no neutral setting."""

    settings = (((7,), CONCEPTS, torch.float32), ((3,), CONCEPTS, torch.float32))

    def case(self, shape: tuple[int, ...] = (7,), classes: int = CONCEPTS, dtype: torch.dtype = torch.float32) -> Case:
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(1, 2 * classes + 1, (12, *shape), generator=generator)
        x[0, 2:] = 0
        return Case(network(), torch.nn.Identity(), {"x": x, "y": torch.zeros(12)}, classes)

    def lesson(self, case: Case) -> Lesson:
        return TracingLesson(case.student, case.classes)

    def mismatched(self, case: Case) -> None:
        return None


def test_frames_are_the_last_tries_at_the_asked_concept():
    concepts = torch.tensor([[5, 6, 5, 5, -1]])
    place = torch.tensor([[0, 1, 2, 3, 4]])
    found = tries(concepts, torch.tensor([[5, 5, 6, 5, 5]]), place, k=2)[0].tolist()
    assert found == [[-1, -1], [-1, 0], [-1, 1], [0, 2], [2, 3]]
    assert tries(concepts, torch.tensor([[6, 9]]), torch.tensor([[4, 4]]), k=7)[0, :, -1].tolist() == [1, -1]


def test_the_authors_form_looks_for_the_concept_of_the_step_before():
    concepts = torch.tensor([[5, 6, 5, 5]])
    found = tries(concepts, concepts, torch.arange(4).unsqueeze(0), k=2, at="current")[0].tolist()
    assert found == [[-1, -1], [-1, 0], [-1, 1], [0, 2]]


@pytest.mark.parametrize("at", ["next", "current"])
def test_an_answer_never_decides_its_own_prediction(at: str):
    learner = network(history=partial(tries, at=at))
    x = torch.tensor([[1, 2, 4, 1, 4, 1]])
    for step in range(6):
        flipped = x.clone()
        flipped[0, step] = (x[0, step] + CONCEPTS - 1) % (2 * CONCEPTS) + 1
        changed = (learner(x) - learner(flipped)).abs()[0] > 1e-7
        assert not changed[: step + 1].any()
        assert changed[step + 1 :].any() or step == 5


@pytest.mark.parametrize("film", [Film1d, Film3d])
def test_asking_is_predicting_one_step_further(film: type[Film1d]):
    learner = network(film)
    x = torch.tensor([[1, 2, 4, 0], [4, 5, 1, 2]])
    for concept in range(CONCEPTS):
        longer = torch.tensor([[1, 2, 4, 1 + concept, 0], [4, 5, 1, 2, 1 + concept]])
        said, asked = learner(longer), learner.ask(x)
        assert asked[0, concept].item() == pytest.approx(said[0, 3].item(), abs=1e-5)
        assert asked[1, concept].item() == pytest.approx(said[1, 4].item(), abs=1e-5)


def test_without_an_earlier_try_the_curve_is_zero():
    learner, x = network(), torch.tensor([[1, 5, 3]])
    concepts = torch.tensor([[0, 1, 2]])
    assert not learner.curve(learner.embed(x), concepts, concepts, torch.tensor([[0, 1, 2]])).any()


def test_older_frames_fade_by_the_exponential_of_their_age():
    class Sum(torch.nn.Module):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return frames.sum(1)

    learner = CaktNetwork(CONCEPTS, 4, 2, Sum(), decay=0.5)
    x, concepts = torch.tensor([[1, 2, 4]]), torch.tensor([[0, 1, 0]])
    v = learner.curve(learner.embed(x), concepts, torch.tensor([[0]]), torch.tensor([[3]]))[0, 0]
    e = learner.embed(x)[0]
    assert torch.allclose(v, e[0] * torch.exp(torch.tensor(-1.0)) + e[2], atol=1e-6)
    still = CaktNetwork(CONCEPTS, 4, 2, Sum(), decay=None)
    v = still.curve(learner.embed(x), concepts, torch.tensor([[0]]), torch.tensor([[3]]))[0, 0]
    assert torch.allclose(v, e[0] + e[2])


def test_the_gates_are_two_sigmoids():
    fuse = TwoGateFusion(2)
    torch.nn.init.zeros_(fuse.gates.weight)
    fuse.gates.bias.data = torch.tensor([0.0, 0.0, 100.0, -100.0])
    z = fuse(torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0, 1.0]]))
    assert torch.allclose(z, torch.tensor([[1 + 1.0, 2 + 0.0]]), atol=1e-6)


def test_squeeze_and_excite_weighs_frames_alike_in_one_and_three_dimensions():
    weigh = SqueezeExcite(2)
    frames = torch.randn(3, 4, 2)  # [M, d, k]
    film = frames.transpose(1, 2).unflatten(2, (2, 2)).unsqueeze(1)  # [M, 1, k, 2, 2]
    flat = weigh(film).flatten(3).squeeze(1).transpose(1, 2)
    assert torch.allclose(flat, weigh(frames), atol=1e-6)


def test_a_block_whose_convolutions_are_zero_is_its_skip():
    block = Block(2, 2, 3, dims=1).eval()
    for part in block.body:
        if isinstance(part, torch.nn.Conv1d):
            torch.nn.init.zeros_(part.weight)
    x = torch.randn(4, 2, 3)
    assert torch.allclose(block(x), x.relu())


def test_learns_who_has_learned():
    log = Learners(learners=60, concepts=3, answers=20, dynamics="bkt").log(seed=0)
    train, val = log.split([0.7, 0.3])
    tracer = CAKT(8, k=2, options=TracerOptions(epochs=20, batch_size=8, lr=0.01)).fit(train, val)
    assert max(tracer.history_["val AUC"]) > 0.6
    assert tracer.mastery(val).shape == (len(val), 3)


@pytest.mark.parametrize("options", [{"k": 0}, {"film": "2d"}])
def test_refuses_settings_that_make_no_sense(options: dict[str, object]):
    with pytest.raises(InputError, match="k >= 1"):
        CAKT(8, **options)  # type: ignore[arg-type]


def test_frames_that_make_no_square_are_refused_before_the_fit():
    with pytest.raises(InputError, match="width must be a square, as 64 or 225; got 60"):
        CAKT(60, film="3d")
    CAKT(225, film="3d")


def test_refuses_frames_that_are_no_square():
    with pytest.raises(InputError, match="square width"):
        Film3d(width=6, k=2)


def test_the_control_shows_as_many_frames_of_other_concepts_only():
    concepts = torch.tensor([[0, 1, 0, 2, 0, 1, 0]])
    place = torch.arange(7).unsqueeze(0)
    right, other = tries(concepts, concepts, place, 3), other_tries(concepts, concepts, place, 3)
    for step in range(7):
        seen = [j for j in other[0, step].tolist() if j >= 0]
        assert seen == sorted(set(seen))
        assert all(j < step and concepts[0, j] != concepts[0, step] for j in seen)
        possible = int((concepts[0, :step] != concepts[0, step]).sum())
        assert len(seen) == min(int((right[0, step] >= 0).sum()), possible)


@pytest.mark.parametrize("part", STUDY.parts[1:], ids=lambda part: part.name)
def test_the_long_form_of_the_study_runs_every_arm(part: Part, tmp_path: Path):
    log = Learners(40, 4, 20, "bkt").log(seed=0)
    train, validation, test = log.split([0.5, 0.25, 0.25])
    data = Pupils(train, validation, test, np.array(test.learners)[test.sequence], np.add(*test.earlier()) > 0)
    for arm in part.arms:
        figures = arm.run(data, Trial(3, part.fast, tmp_path, arm=arm.name, choice=arm.grid[0]))
        assert 0 <= np.mean(figures["AUC"]) <= 1
