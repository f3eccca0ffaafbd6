"""Meta-DMoE: the step by hand, what flows back through it, who is silent when, and the study's rows."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.methods.common import Case, MethodContract, vectors
from tutelage.curricula.episodes import EpisodeBatches, EpisodeSampler
from tutelage.data.domains import DomainSet
from tutelage.errors import InputError
from tutelage.methods.adaptation.meta_dmoe import MetaDMoE, follow, meta_dmoe, super_domains
from tutelage.objectives.divergence import hard_cross_entropy
from tutelage.students.adapted import Features
from tutelage.students.aggregator import AttentionAggregator
from tutelage.students.mlp import Mlp, mlp
from tutelage.studies import Trial
from tutelage.studies.adaptation._meta_dmoe_arms import METHOD, Angles, School, chosen, tent
from tutelage.studies.adaptation._meta_dmoe_rows import Best, Learner, Places, Rehearsal, plain
from tutelage.studies.adaptation.meta_dmoe import STUDY, stacked
from tutelage.teachers.experts import ExpertPool
from tutelage.training import Batch, Lesson, Progress, Stack, fit, one_cycle, seeded
from tutelage.worlds.digit_views import rotated_digits


class QueryOnly(Lesson):
    """Plain training on the queries of episodes."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {"ce": hard_cross_entropy(self.student(batch["query"].flatten(0, 1)), batch["y"].flatten())}


class TestMetaDMoE(MethodContract):
    def case(self, shape: tuple[int, ...] = (6,), classes: int = 3, dtype: torch.dtype = torch.float32) -> Case:
        case = vectors(shape, classes, dtype)
        generator = torch.Generator().manual_seed(2)
        case.data = {
            "x": torch.randn(12, 5, *shape, generator=generator).to(dtype),
            "query": torch.randn(12, 4, *shape, generator=generator).to(dtype),
            "y": torch.arange(48).view(12, 4) % classes,
            "group": torch.arange(12) % 3,
        }
        with seeded(4, "init"):
            case.student = mlp(int(torch.tensor(shape).prod()), 5, 4, classes).to(dtype)
            experts = [mlp(int(torch.tensor(shape).prod()), 7, 4, classes).to(dtype) for _ in range(3)]
            case.teacher = ExpertPool(experts, own=[0, 1, 2])
        return case

    def lesson(self, case: Case, steps: int = 2) -> Lesson:
        assert isinstance(case.teacher, ExpertPool)
        with seeded(5, "init"):
            aggregator = AttentionAggregator(4, 3, heads=2).to(case.data["x"].dtype)
        return MetaDMoE(case.student, case.teacher, aggregator, steps=steps, rate=0.3)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson] | None:
        """Without inner steps nothing is adapted: plain training on the queries."""
        return self.lesson(case, steps=0), QueryOnly(case.student)

    def mismatched(self, case: Case) -> Lesson | None:
        """Experts whose features are wider than the student's."""
        experts = [mlp(6, 7, 8, 3) for _ in range(3)]
        return MetaDMoE(case.student, ExpertPool(experts, own=[0, 1, 2]), AttentionAggregator(8, 3, heads=2))


def line(weights, x: Tensor) -> Tensor:
    """Features a · x, one row of a for each row of x."""
    return weights["a"].unsqueeze(-1) * x


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.01, 0.5), st.integers(0, 4))
def test_the_steps_by_hand(start: float, goal: float, rate: float, steps: int):
    """f = a x with x = 1: a' = a − 2α (a − t), so (a − t) shrinks by 1 − 2α each step; dθ'/dt = 1 − (1 − 2α)^steps."""
    a = torch.tensor([[start]], dtype=torch.float64, requires_grad=True)
    t = torch.full((1, 3, 1), goal, dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, 3, 1, dtype=torch.float64)
    moved = follow(line, {"a": a}, one, t, rate, steps=steps, create_graph=True)["a"]
    left = (1 - 2 * rate) ** steps
    assert moved.item() == pytest.approx(goal + (start - goal) * left, abs=1e-9)
    if steps:
        by_target, by_start = torch.autograd.grad(moved.sum(), [t, a])
        assert by_target.sum().item() == pytest.approx(1 - left, abs=1e-9)
        assert by_start.item() == pytest.approx(left, abs=1e-9)


def test_rows_adapt_each_on_its_own():
    student = mlp(3, 4, 2, 2)
    features = Features(student)
    weights = {name: value.expand(2, *value.shape) for name, value in features.weights().items()}
    x, t = torch.randn(2, 5, 3), torch.randn(2, 5, 2)
    together = follow(features.rows, weights, x, t, torch.tensor([0.1, 0.4]), steps=3)
    for row, rate in enumerate((0.1, 0.4)):
        alone = copy.deepcopy(student)
        for _ in range(3):
            loss = (alone.features(x[row]) - t[row]).square().mean()
            for p, g in zip(
                alone.body.parameters(), torch.autograd.grad(loss, list(alone.body.parameters())), strict=True
            ):
                p.data -= rate * g
        for name, value in alone.body.named_parameters():
            assert torch.allclose(together[f"model.body.{name}"][row], value, atol=1e-6), name


def test_groups_are_of_nearly_equal_size_and_everyone_is_in_one():
    drawn = super_domains(11, 4, torch.Generator().manual_seed(1))
    assert sorted(drawn.bincount().tolist()) == [2, 3, 3, 3]
    assert not torch.equal(drawn, super_domains(11, 4, torch.Generator().manual_seed(2)))


def lesson_of(**options: object) -> MetaDMoE:
    with seeded(0, "init"):
        experts = [mlp(3, 4, 2, 2) for _ in range(3)]
        pool, aggregator = ExpertPool(experts, own=[0, 1, 2]), AttentionAggregator(2, 3, heads=1)
        return MetaDMoE(mlp(3, 4, 2, 2), pool, aggregator, **options)  # type: ignore[arg-type]


def batch_of(group: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "x": torch.randn(1, 6, 3, generator=generator),
        "query": torch.randn(1, 4, 3, generator=generator),
        "y": torch.tensor([[0, 1, 0, 1]]),
        "group": torch.tensor([group]),
    }


@pytest.mark.parametrize("leave_own_out", [True, False])
def test_the_domain_s_own_expert_is_silent_in_training_only(leave_own_out: bool):
    lesson = lesson_of(leave_own_out=leave_own_out, steps=1)
    costs, answers = [], []
    for scale in (1.0, 5.0):
        for p in lesson.pool.experts[1].parameters():
            p.data *= scale
        costs.append(lesson.losses(batch_of(group=1), Progress(0, 1))["ce"].item())
        answers.append(lesson.adapt(batch_of()["x"][0])(torch.ones(1, 3)))
    assert (costs[0] == costs[1]) == leave_own_out
    assert not torch.equal(*answers)


@pytest.mark.parametrize("second_order", [True, False])
def test_the_aggregator_learns_through_the_adapted_weights_alone(second_order: bool):
    lesson = lesson_of(second_order=second_order, steps=2)
    lesson.losses(batch_of(), Progress(0, 1))["ce"].backward()
    held = [p.grad is not None and bool(p.grad.any()) for p in lesson.aggregator.parameters()]
    assert any(held) == second_order
    assert lesson.log_rate.grad is not None, "the step size learns in both"
    assert all(p.grad is None for p in lesson.pool.parameters())
    assert any(p.grad is not None for p in lesson.student.head.parameters())  # type: ignore[union-attr]


def test_adapting_makes_a_copy_and_moves_no_head():
    lesson, x = lesson_of(steps=3, rate=0.5), batch_of()["x"][0]
    before = copy.deepcopy(lesson.student.state_dict())
    adapted = lesson.adapt(x)
    assert all(torch.equal(value, before[name]) for name, value in lesson.student.state_dict().items())
    moved = {name for name, value in adapted.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith("body.")}
    target = lesson.targets(x)
    gap = [(student.features(x) - target).square().mean().item() for student in (lesson.student, adapted)]  # type: ignore[operator]
    assert gap[1] < gap[0]
    assert torch.equal(lesson.answer(x, support=6), adapted(x).argmax(-1))
    assert torch.equal(lesson_of(steps=0).adapt(x)(x), lesson_of().student(x))


def test_dropout_and_running_statistics_rest():
    lesson = lesson_of().train()
    assert not any(part.training for part in lesson.modules())


def places(domains: int = 4, each: int = 40) -> DomainSet:
    """Two blobs a domain, apart on the first axis; domains are shifted along the second."""
    generator = torch.Generator().manual_seed(0)

    def domain(number: int) -> tuple[Tensor, Tensor]:
        y = torch.arange(each) % 2
        return torch.randn(each, 3, generator=generator) + torch.stack([4 * y, number + 0 * y, 0 * y], 1), y

    held = {str(number): domain(number) for number in range(domains + 2)}
    names = list(held)
    return DomainSet({n: held[n] for n in names[:domains]}, {names[-2]: held[names[-2]]}, {names[-1]: held[names[-1]]})


def test_all_of_it_learns_and_keeps_what_validation_likes():
    settings = {"experts": 2, "support": 8, "query": 8, "pretrain": 60, "rehearse": 60, "seed": 1}
    with seeded(0, "init"):
        student = mlp(3, 8, 4, 2)
    lesson = meta_dmoe(places(), student, lambda: mlp(3, 8, 4, 2), **settings)  # type: ignore[arg-type]
    (found,) = places().score(lambda domain: lesson.answer(domain.x, 8)).values()
    assert found > 0.8


@pytest.mark.parametrize(("options", "message"), [({"rate": 0.0}, "positive rate"), ({"steps": -1}, "steps >= 0")])
def test_refuses_settings_that_make_no_sense(options: dict[str, float], message: str):
    with pytest.raises(InputError, match=message):
        lesson_of(**options)


def test_refuses_what_it_cannot_adapt_to_or_learn_from():
    lesson = lesson_of()
    with pytest.raises(InputError, match="empty batch"):
        lesson.adapt(torch.zeros(0, 3))
    with pytest.raises(InputError, match="has group, query too"):
        lesson.losses({"x": torch.zeros(2, 3), "y": torch.zeros(2)}, Progress(0, 1))
    with pytest.raises(InputError, match="needs features"):
        Features(nn.Linear(2, 2))
    for domains, experts in ((2, 2), (4, 5), (4, 1)):
        with pytest.raises(InputError, match="three source domains"):
            super_domains(domains, experts, torch.Generator())
    with pytest.raises(InputError, match="group 0 has 40"):
        meta_dmoe(places(), mlp(3, 4, 2), lambda: mlp(3, 4, 2), experts=2, support=32, query=32)


SMALL = Angles(
    pictures=(60, 40, 40), domains=3, experts=3, hidden=8, pretrain=2, teach=2, rehearse=4, every=2, batch=8, support=6,
    query=6, episodes=2, steps=2, rehearsal_lr=1e-2,
)  # fmt: skip


def test_a_row_of_the_study_is_the_lesson():
    """Two seeds' rows rehearse; the second is what `fit` makes of the lesson on the same episodes."""
    data = [Places.of(rotated_digits(seed, sizes=SMALL.pictures, domains=3, shared=True)) for seed in (3, 4)]
    school = School(data, [3, 4], SMALL)
    pools = school.experts()
    tokens = school.ask(pools, "x").flatten(1, 2)
    learners = []
    for seed in (3, 4):
        with seeded(seed, "init"):
            learners.append(Learner(mlp(64, 16, 16, 10), AttentionAggregator(16, 3), 0.1))
    lesson = MetaDMoE(
        copy.deepcopy(learners[1].student), pools[1], copy.deepcopy(learners[1].aggregator), rate=0.1, steps=2
    )
    keep = torch.stack([pool.keep(torch.arange(3)) for pool in pools])
    rehearsal = Rehearsal(learners, keep, support=6, query=6, steps=2)
    best = rehearsal.fit(
        {"x": school.x, "y": school.y, "tokens": tokens}, school.drawn, domain=60,
        best=lambda stack: Best(stack, plain, *school.val, 100), lr=1e-2, second_order=True,
    )  # fmt: skip
    rows = best.stack.rows()
    episodes = [
        {
            "x": school.x[1][drawn[:, :6]],
            "query": school.x[1][drawn[:, 6:]],
            "y": school.y[1][drawn[:, 6:]],
            "group": drawn[:, 0] // 60,
        }
        for drawn in school.drawn[1].unflatten(1, (-1, 12))
    ]
    given = DataLoader(episodes, batch_size=None)  # type: ignore[arg-type]
    fit(lesson, given, steps=4, lr=1e-2, schedule=one_cycle(), weight_decay=0.0, clip=5.0)
    for name, value in lesson.student.named_parameters():
        assert torch.allclose(rows[f"student.{name}"][1], value, atol=1e-5), name
    row = {n.removeprefix("aggregator."): w[1] for n, w in rows.items() if n.startswith("aggregator.")}
    said = torch.func.functional_call(lesson.aggregator, row, (tokens[1],))
    assert torch.allclose(said, lesson.aggregator(tokens[1]), atol=1e-4), "weights of keys' biases are free"
    assert rows["log_rate"][1].item() == pytest.approx(lesson.log_rate.item(), abs=1e-5)


def test_every_arm_is_measured_in_its_place(tmp_path):
    part = STUDY.parts[0]
    trials = [Trial(seed, part.fast, tmp_path, arm=arm) for seed in (3, 4) for arm in ("erm", METHOD, "tent")]
    data = {seed: part.data(trial) for seed, trial in zip((3, 4), trials[::3], strict=True)}
    figures = stacked([data[trial.seed] for trial in trials], trials)
    assert len(figures) == 6
    assert all(len(one["accuracy"]) == 3 for one in figures)  # type: ignore[arg-type]
    assert [trial.budget.steps for trial in trials] == [2, 4, 4] * 2
    assert figures[0]["worst domain"] == min(figures[0]["accuracy"])  # type: ignore[type-var]


def test_what_is_chosen_is_chosen_by_validation_row_by_row():
    with seeded(0, "init"):
        model = Mlp((64, 4, 2), None, 0.0, nn.ReLU)
    stack = Stack([model, copy.deepcopy(model)])
    right = lambda sign: lambda stack, x: torch.stack([x.sum(-1) * sign, -x.sum(-1) * sign], -1)
    x = torch.cat([torch.ones(1, 1, 3, 64), -torch.ones(1, 1, 3, 64)])
    y = torch.zeros(2, 1, 3, dtype=torch.long)
    said = chosen(stack, [(right(1.0), right(1.0)), (right(-1.0), right(-1.0))], (x, y), x)
    assert torch.equal(said.argmax(-1), y), "the first option for the first row, the second for the second"
    moved, still = tent(model, 2, 0.5)(stack, x), tent(model, 2, 0.5, steps=0)(stack, x)
    assert torch.allclose(still, plain(stack, x), atol=1e-6)
    assert not torch.allclose(moved, still, atol=1e-4)


def test_batches_of_episodes_fit_the_lesson():
    x, y, group = torch.randn(30, 3), torch.arange(30) % 2, torch.arange(3).repeat_interleave(10)
    batches = EpisodeBatches(x, y, EpisodeSampler(group, support=4, query=4), episodes=2, length=3)
    history = fit(lesson_of(), batches, steps=6, lr=1e-2)
    assert history["step"][-1] == 6
