"""Tickets: which weights, from where they start, when a run has understood, and that the stack of the study is the one loop."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.evaluation.curves import Crossing
from tutelage.methods.dynamics.grokking_tickets import (
    Grown,
    PairMlp,
    PhaseTimes,
    PreciseSupervised,
    Ticket,
    norm_matched,
    phase_times,
    precise_cross_entropy,
    train_to_generalise,
)
from tutelage.students.masks import apply_mask, bake_mask, magnitude_mask
from tutelage.students.mlp import mlp
from tutelage.studies.dynamics._grokking_rows import Row, Training, grow, two_hot
from tutelage.studies.dynamics.grokking_tickets import figures
from tutelage.training import History, Lesson, Supervised, seeded
from tutelage.worlds.modular import ModularArithmetic


class TestPreciseSupervised(MethodContract):
    def lesson(self, case: Case) -> Lesson:
        return PreciseSupervised(case.student)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return PreciseSupervised(case.student), Supervised(case.student)

    def mismatched(self, case: Case) -> None:
        return None


class TestFullTicket(MethodContract):
    """A ticket of all weights is the network; the mask trains, resumes and is saved with it."""

    keep = 1.0

    def case(self, shape: tuple[int, ...] = (6,), classes: int = 3, dtype: torch.dtype = torch.float32) -> Case:
        case = super().case(shape, classes, dtype)
        apply_mask(case.student, magnitude_mask(case.student.state_dict(), self.keep))
        return case

    def lesson(self, case: Case) -> Lesson:
        return PreciseSupervised(case.student)

    def mismatched(self, case: Case) -> None:
        return None


class TestSparseTicket(TestFullTicket):
    keep = 0.4


def model(p: int = 5, seed: int = 0) -> PairMlp:
    with seeded(seed, "init"):
        return PairMlp(p, 8, 8)


def parts(p: int = 5, share: float = 0.6) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return ModularArithmetic(p).split(share, torch.Generator().manual_seed(0))


def test_the_network_by_hand():
    net = PairMlp(2, 1, 1)
    with torch.no_grad():
        for name, value in (("E", [[1.0], [3.0]]), ("I", [[2.0]]), ("O", [[0.5]]), ("U", [[1.0, -1.0]])):
            getattr(net, name).copy_(torch.tensor(value))
    assert net(torch.tensor([[0, 1], [1, 1]])).tolist() == [[4.0, -4.0], [6.0, -6.0]]


def test_first_weights_have_the_paper_s_sizes():
    with seeded(0, "init"):
        net = PairMlp(67, 500, 48)
    sizes = {name: value.std().item() for name, value in net.named_parameters()}
    assert sizes == pytest.approx({"E": 67**-0.5, "I": 500**-0.5, "O": 48**-0.5, "U": 500**-0.5}, rel=0.02)


def test_double_precision_keeps_the_gradient_that_single_precision_rounds_away():
    logits, y = torch.tensor([[25.0, 0.0]]), torch.tensor([0])
    single, double = (logits.clone().requires_grad_() for _ in range(2))
    nn.functional.cross_entropy(single, y).backward()
    precise_cross_entropy(double, y).backward()
    assert single.grad is not None
    assert double.grad is not None
    assert single.grad[0, 0].item() == 0.0
    assert double.grad[0, 0].item() == pytest.approx(-1.389e-11, rel=1e-3)


def test_a_ticket_is_the_largest_trained_weights_at_their_first_values():
    first, trained = model(), model(seed=1)
    student = Ticket.of(first.state_dict(), trained.state_dict(), keep=0.3).rewind(trained)
    mask = magnitude_mask(trained.state_dict(), 0.3)
    for name, value in first.state_dict().items():
        assert torch.equal(getattr(student, name), value * mask[name])
    assert set(trained.state_dict()) == {"E", "I", "O", "U"}, "the model that was given is left as it is"


def test_a_full_ticket_trains_like_the_network():
    train, test = parts()
    ticket = Ticket.of(model().state_dict(), model(seed=1).state_dict(), keep=1.0)
    runs = [train_to_generalise(m, train, test, steps=20, every=5) for m in (model(), ticket.rewind(model()))]
    state = bake_mask(runs[1].model).state_dict()
    assert all(torch.allclose(value, state[name]) for name, value in runs[0].model.state_dict().items())


def test_a_run_ends_some_steps_after_it_has_generalised():
    train, _ = parts()
    start = model()
    before = copy.deepcopy(start.state_dict())
    run = train_to_generalise(start, train, train, steps=2000, every=10, patience=30, weight_decay=0.0, lr=0.01)
    assert run.history.stopped == "generalised"
    assert run.times.memorised.step >= run.times.generalised.step > 0, "here the rest is the training set"
    assert run.history["step"][-1] == run.times.generalised.step + 30
    assert all(torch.equal(value, run.initial[name]) for name, value in before.items())
    assert all(torch.equal(value, start.state_dict()[name]) for name, value in before.items())


def test_a_run_without_success_is_censored_at_its_last_step():
    train, test = parts()
    run = train_to_generalise(model(), train, test, steps=20, every=10)
    assert run.times == PhaseTimes(Crossing(20, True), Crossing(20, True))
    with pytest.raises(InputError, match="had not generalised by step 20"):
        Ticket.of_run(run)


def test_a_run_that_generalised_gives_its_ticket():
    times = PhaseTimes(Crossing(10, False), Crossing(40, False))
    run = Grown(model(seed=1), model().state_dict(), History(), times)
    assert Ticket.of_run(run, 0.25).density == pytest.approx(0.25)


def test_phases_are_first_crossings():
    times = phase_times([10, 20, 30, 40], [0.5, 0.99, 0.9, 1.0], [0.1, 0.2, 0.95, 0.9])
    assert (times.memorised.step, times.generalised.step, times.delay) == (20, 30, 10)


@pytest.mark.parametrize("order", [1, 2])
def test_the_control_starts_with_the_ticket_s_norm(order: int):
    state = model().state_dict() | {"bias": torch.ones(3)}
    mask = magnitude_mask(model(seed=1).state_dict(), 0.4)
    matched = norm_matched(state, mask, order)
    norms = [
        torch.cat([values[name].flatten() for name in mask]).norm(p=order)
        for values in ({name: state[name] * there for name, there in mask.items()}, matched)
    ]
    assert norms[1].item() == pytest.approx(norms[0].item(), rel=1e-5)
    assert torch.equal(matched["bias"], state["bias"])
    ratio = matched["E"] / state["E"]
    assert torch.allclose(ratio, ratio[0, 0].expand_as(ratio)), "one factor for all weights"


def test_refuses_states_of_two_networks():
    with pytest.raises(InputError, match="one run"):
        Ticket.of(model().state_dict(), mlp(2, 3).state_dict())
    with pytest.raises(InputError, match=r"in \(0, 1\]"):
        Ticket.of(model().state_dict(), model().state_dict(), keep=0.0)


def rows(seeds: tuple[int, ...] = (0, 1, 2)) -> list[Row]:
    train, test = parts(7, 0.7)
    states = [{name: value.detach().clone() for name, value in model(7, seed).state_dict().items()} for seed in seeds]
    masks = [None, magnitude_mask(states[0], 0.5), None]
    decays = [1.0, 1.0, 0.0]
    return [Row(s, train, test, mask, decay) for s, mask, decay in zip(states, masks, decays, strict=False)]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_row_of_the_study_is_a_run_of_the_one_loop(number: int):
    stacked = rows()
    grow(stacked, Training(steps=60, every=20, lr=0.01))
    row = stacked[number]
    student = model(7)
    student.load_state_dict(row.initial)
    if row.mask is not None:
        apply_mask(student, row.mask)
    alone = train_to_generalise(student, row.train, row.test, steps=60, every=20, lr=0.01, weight_decay=row.decay)
    state = bake_mask(alone.model).state_dict()
    for name, value in row.final.items():
        there = value if row.mask is None else value * row.mask[name]
        assert torch.allclose(there, state[name], atol=2e-4), name


def test_rows_leave_when_they_are_done_and_the_others_go_on_undisturbed():
    train, _ = parts(5)
    together = [Row(model(5, seed).state_dict(), train, train, decay=0.0) for seed in range(3)]
    grow(together, Training(steps=400, every=10, patience=20, lr=0.01))
    alone = [Row(model(5, seed).state_dict(), train, train, decay=0.0) for seed in range(3)]
    for row in alone:
        grow([row], Training(steps=400, every=10, patience=20, lr=0.01))
    for a, b in zip(together, alone, strict=True):
        assert (a.memorised, a.generalised, a.spent) == (b.memorised, b.generalised, b.spent)
        assert a.generalised is not None
        assert a.spent == a.generalised + 20
        assert all(torch.allclose(value, b.final[name], atol=1e-4) for name, value in a.final.items())
    assert len({row.spent for row in together}) > 1, "they end at different steps"


def test_weights_at_the_moment_of_memorising_are_kept():
    train, test = parts(5)
    row = Row(model(5).state_dict(), train, test, decay=0.0)
    grow([row], Training(steps=300, every=10, lr=0.01))
    assert row.memorised is not None
    again = Row(model(5).state_dict(), train, test, decay=0.0)
    grow([again], Training(steps=row.memorised, every=10, lr=0.01))
    assert all(torch.allclose(value, again.final[name]) for name, value in row.at_memory.items())


def test_what_a_row_did_not_reach_counts_as_the_limit():
    row = Row({}, {}, {}, memorised=50, best=0.3)
    assert figures(row, 400) == {
        "steps to memorise": 50,
        "steps to generalise": 400,
        "delay": 350,
        "best accuracy": 0.3,
        "censored": 1.0,
    }


def test_a_question_is_two_numbers():
    assert two_hot(torch.tensor([[2, 0], [1, 1]]), 3).tolist() == [[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]
