"""N2N: its reward, its policies, a search that learns, the training of children, and what it refuses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.evaluation.cost import parameters
from tutelage.evaluation.tabular import TabularBenchmark
from tutelage.methods.search.n2n import N2N, LogitMatching, compression_reward, policy_search
from tutelage.students.edit_policies import FACTORS, RemovalPolicy, ShrinkagePolicy
from tutelage.students.editing import describe
from tutelage.studies.search import _n2n_table as stored
from tutelage.training import predict_all, seeded


def mlp(depth: int = 3, width: int = 16) -> nn.Sequential:
    blocks = [nn.Sequential(nn.Linear(4 if i == 0 else width, width), nn.ReLU()) for i in range(depth)]
    return nn.Sequential(*blocks, nn.Linear(width, 2))


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Sequential, Tensor, Tensor]:
    x = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] + x[:, 1] > 0).long()
    with seeded(0):
        teacher = mlp()
    optimizer = torch.optim.Adam(teacher.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(teacher(x), y).backward()
        optimizer.step()
    return teacher, x, y


class TestLogitMatching(MethodContract):
    """The lesson of children; the teacher's logits come with the batch."""

    def lesson(self, case: Case) -> LogitMatching:
        case.data["t"] = predict_all(case.teacher, case.data["x"])
        return LogitMatching(case.student)


def test_the_reward_by_hand():
    assert compression_reward(0.8, 1.0, 25, 100) == pytest.approx(0.8 * 0.75 * 1.25)
    assert compression_reward(1.0, 1.0, 100, 100) == -1
    assert compression_reward(0.4, 0.8, 50, 100, min_accuracy=0.5, iteration=0) == pytest.approx(0.5 * 0.75)
    half = (1 - 5 / 15) ** 4
    assert compression_reward(0.4, 0.8, 50, 100, min_accuracy=0.5, iteration=5) == pytest.approx(half * (1 + 0.375) - 1)


@given(st.floats(0, 1), st.integers(1, 99), st.integers(1, 99), st.integers(0, 30))
def test_smaller_at_the_same_accuracy_is_never_worse(accuracy: float, a: int, b: int, iteration: int):
    small, large = sorted((a, b))
    rewards = [
        compression_reward(accuracy, 1.0, n, 100, max_parameters=50, iteration=iteration) for n in (small, large)
    ]
    assert rewards[0] >= rewards[1] - 1e-9
    assert all(-1 <= r <= 1 for r in rewards)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1000), st.sampled_from([RemovalPolicy, ShrinkagePolicy]))
def test_what_is_not_free_stays_and_costs_nothing(depth: int, seed: int, kind: type):
    layers = describe(mlp(depth))
    with seeded(seed):
        policy = kind()
        none = policy.sample(layers, 3, [False] * len(layers))
        drawn = policy.sample(layers, 3, [i == 0 for i in range(len(layers))])
    fixed = 1 if kind is RemovalPolicy else len(FACTORS) - 1
    assert (none.actions == fixed).all()
    assert not none.log_prob.any()
    assert (drawn.actions[:, 1:] == fixed).all()
    assert (drawn.log_prob < 0).all()
    assert (drawn.entropy > 0).all()


@pytest.mark.parametrize("kind", [RemovalPolicy, ShrinkagePolicy])
@pytest.mark.parametrize("shared", [False, True])
def test_a_policy_learns_what_is_rewarded(kind: type, shared: bool):
    layers = describe(mlp(4))
    with seeded(1):
        policy = kind()

    def reward(actions: tuple, iteration: int) -> float:
        return 1.0 - sum(a > 0 for a in actions[1:4]) / 3

    log = policy_search(
        policy, layers, [False, True, True, True, False], reward, iterations=60, rollouts=8, lr=0.03, shared=shared
    )
    assert sum(log.rewards[-80:]) / 80 > sum(log.rewards[:16]) / 16 + 0.1
    assert len(log.asked) == 480
    assert log.distinct <= (8 if kind is RemovalPolicy else len(FACTORS) ** 3)


def test_both_stages_give_a_smaller_network_that_knows_what_the_teacher_knows(trained, tmp_path: Path):
    teacher, x, y = trained
    search = N2N(teacher, x[:100], (x[100:], y[100:]), child_epochs=2, rollouts=3, batch_size=25, lr=0.01)
    child, removal = search.remove(iterations=2)
    small, shrinkage = search.shrink(child, iterations=2, max_parameters=100)
    size = [sum(p.numel() for p in net.parameters()) for net in (teacher, child, small)]
    assert size == sorted(size, reverse=True)
    assert size[2] < size[1] < size[0]
    assert len(removal.asked) == len(shrinkage.asked) == 6
    done = search.finish(small, epochs=40)
    assert done.accuracy > 0.85
    assert done.compression == pytest.approx(size[0] / size[2])
    search.save_policies(tmp_path / "policies.safetensors")
    other = N2N(teacher, x[:100], (x[100:], y[100:]), seed=9)
    other.load_policies(tmp_path / "policies.safetensors")
    assert torch.equal(other.removal.head.weight, search.removal.head.weight)


def test_the_best_child_meets_the_limits_though_early_rewards_are_mild(trained):
    teacher, x, y = trained
    search = N2N(teacher, x[:60], (x[100:], y[100:]), child_epochs=1, rollouts=6)
    child, _ = search.remove(iterations=2, max_parameters=200)
    assert sum(p.numel() for p in child.parameters()) <= 200
    with pytest.raises(InputError, match="small and good enough"):
        search.remove(iterations=1, max_parameters=5)


def test_a_limit_by_another_name_is_refused_before_a_child_is_trained(trained, monkeypatch: pytest.MonkeyPatch):
    teacher, x, y = trained
    search = N2N(teacher, x[:60], (x[100:], y[100:]))
    monkeypatch.setattr(search, "fit_child", lambda network, epochs: pytest.fail("trained"))
    for stage in (search.remove, partial(search.shrink, teacher)):
        with pytest.raises(TypeError, match="unexpected keyword argument 'max_params'"):
            stage(iterations=1, max_params=800)  # type: ignore[call-arg]


def test_an_accuracy_that_no_child_has_is_a_limit_of_both_stages(trained):
    teacher, x, y = trained
    search = N2N(teacher, x[:60], (x[100:], y[100:]), child_epochs=1, rollouts=2)
    for stage in (search.remove, partial(search.shrink, teacher)):
        with pytest.raises(InputError, match="small and good enough"):
            stage(iterations=1, min_accuracy=1.01)


def test_a_seed_decides_a_search(trained):
    teacher, x, y = trained
    logs = []
    for seed in (1, 1, 2):
        search = N2N(teacher, x[:40], (x[100:], y[100:]), child_epochs=1, rollouts=4, seed=seed)
        logs.append(search.remove(iterations=2)[1])
    assert (logs[0].asked, logs[0].rewards) == (logs[1].asked, logs[1].rewards)
    assert (logs[0].asked, logs[0].rewards) != (logs[2].asked, logs[2].rewards)


def test_refuses_teachers_that_cannot_teach_and_searches_without_choice(trained):
    teacher, x, y = trained
    with pytest.raises(InputError, match=r"nn\.Sequential of layers and blocks; got Linear"):
        N2N(nn.Linear(4, 2), x, (x, y))  # type: ignore[arg-type]
    blind = mlp()
    nn.init.zeros_(blind[-1].weight)
    with pytest.raises(InputError, match="near chance"):
        N2N(blind, x, (x, y))
    with pytest.raises(InputError, match="need a free layer, an iteration and a rollout; got 0, 3, 5"):
        policy_search(RemovalPolicy(), describe(teacher), [False] * 4, lambda a, e: 0.0, iterations=3, lr=0.1)


@pytest.mark.parametrize(("name", "blocks"), [("removal", stored.BLOCKS), ("small", stored.SMALL_BLOCKS)])
def test_the_stored_children_are_those_of_the_networks(name: str, blocks: tuple):
    table, teacher = TabularBenchmark.load(stored.TABLES[name]), stored.convolutional(blocks)
    assert set(table.rows) == set(stored.removals(teacher))
    assert table.about["teacher"] == parameters(teacher)
    for actions in list(table.rows)[::9]:
        assert table[actions].parameters == parameters(stored.child(teacher, keep=actions, seed=0))


def test_stage_two_is_stored_for_the_best_child_of_stage_one():
    table = TabularBenchmark.load(stored.TABLES["removal"])
    base = stored.child(stored.convolutional(stored.BLOCKS), keep=stored.best_of(table), seed=0)
    shrunk = TabularBenchmark.load(stored.TABLES["shrinkage"])
    assert set(shrunk.rows) == set(stored.shrinkages(base))
    assert shrunk.about["parent"] == parameters(base)
