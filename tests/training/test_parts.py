"""Schedules, seeds, batches, callbacks, stages, inference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from tutelage.data.indexed import IndexedDataset
from tutelage.errors import InputError
from tutelage.training import (
    Batches,
    EarlyStop,
    EveryK,
    KeepBest,
    Lesson,
    ShowProgress,
    Stage,
    Stages,
    Supervised,
    Validate,
    after,
    child_seed,
    constant,
    cosine,
    fit,
    generators,
    linear,
    logits_of,
    one_cycle,
    predict_all,
    seed_all,
    seeded,
    sigmoid_ramp,
    step,
    step_order,
)

X, Y = torch.eye(12), torch.arange(12) % 3


@given(st.floats(0, 1))
def test_schedules_stay_between_their_ends(u: float) -> None:
    for schedule in (linear(2.0, 5.0), cosine(2.0, 5.0)):
        assert 2.0 <= schedule(u) <= 5.0
    assert 0 <= one_cycle()(u) <= 1
    assert 0 < sigmoid_ramp(2.0)(u) <= 2.0
    assert constant(3.0)(u) == 3.0
    assert after(0.3, 4.0)(u) <= 4.0


def test_one_cycle_is_pytorchs_in_the_limit_of_many_steps() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=5000, pct_start=0.1)
    for i in range(4999):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(one_cycle(0.1)(i / 5000), abs=2e-3)
        optimizer.step()
        theirs.step()


def test_schedules_refuse_nonsense() -> None:
    for call in (lambda: step({0.5: 1.0}), lambda: after(1.0), lambda: one_cycle(warmup=-0.1)):
        with pytest.raises(InputError):
            call()


def test_generators_of_a_seed_are_independent_and_repeatable() -> None:
    one, two = generators(3), generators(3)
    draws = [torch.rand(4, generator=g) for g in one]
    assert all(torch.equal(d, torch.rand(4, generator=g)) for d, g in zip(draws, two, strict=True))
    assert len({tuple(d.tolist()) for d in draws}) == 3
    assert child_seed(0, "a") != child_seed(1, "a") != child_seed(0, "b")
    with pytest.raises(InputError):
        generators(True)


def test_seeded_puts_all_three_generators_back() -> None:
    seed_all(0)
    expected = torch.rand(1).item(), np.random.rand()  # noqa: NPY002
    seed_all(0)
    with seeded(99):
        torch.rand(5), np.random.rand(5)  # noqa: NPY002
    assert (torch.rand(1).item(), np.random.rand()) == expected  # noqa: NPY002


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 3), st.booleans())
def test_every_example_comes_once_an_epoch(size: int, batch: int, epoch: int, shuffle: bool) -> None:
    source = Batches(IndexedDataset((torch.arange(size),)), batch, seed=1, shuffle=shuffle)
    seen = torch.cat([b["index"] for b in source.epoch(epoch)])
    assert sorted(seen.tolist()) == list(range(size))
    rest = [b["index"].tolist() for b in source.epoch(epoch, first=1)]
    assert rest == [b["index"].tolist() for b in source.epoch(epoch)][1:]


def test_processes_share_each_batch() -> None:
    data = IndexedDataset((torch.arange(10),))
    whole = [b["index"] for b in Batches(data, 4).epoch(2)]
    parts = [[b["index"] for b in Batches(data, 4, process=p, processes=2).epoch(2)] for p in range(2)]
    for all_, first, second in zip(whole, *parts, strict=True):
        assert set(all_.tolist()) == {*first.tolist(), *second.tolist()}
        assert len(first) == len(second)
    with pytest.raises(InputError):
        Batches(data, 3, processes=2)


def test_the_order_of_steps_is_that_of_batches() -> None:
    source = Batches(IndexedDataset((torch.arange(10),)), 4, seed=5, drop_last=True)
    expected = [b["index"] for epoch in range(3) for b in source.epoch(epoch)][:5]
    assert torch.equal(step_order(10, 4, 5, 5), torch.stack(expected))


def test_iterables_need_steps_and_cannot_be_indexed() -> None:
    class Stream(IterableDataset):
        def __iter__(self):
            yield from zip(X, Y, strict=True)

    loader = DataLoader(Stream(), batch_size=4)
    with pytest.raises(InputError, match="number its examples"):
        IndexedDataset(Stream())
    assert fit(Supervised(nn.Linear(12, 3)), loader, steps=7)["step"] == [3, 6, 7]
    with pytest.raises(InputError, match="in steps, not epochs"):
        fit(Supervised(nn.Linear(12, 3)), iter([]), epochs=1)
    with pytest.raises(InputError, match="gave no batch"):
        fit(Supervised(nn.Linear(12, 3)), iter([]), steps=1)


def test_indexed_data_refuses_what_it_cannot_number() -> None:
    for data in ((X, Y[:3]), {"y": Y}, iter([1]), (X[:0],)):
        with pytest.raises(InputError):
            IndexedDataset(data)
    with pytest.raises(IndexError):
        IndexedDataset((X, Y))[12]
    assert IndexedDataset((X, Y))[-1]["index"] == 11


def test_callbacks_see_the_run_and_leave_it_alone() -> None:
    calls: list[tuple[int, bool]] = []

    def probe(run) -> None:
        torch.rand(3)
        calls.append((run.progress.step, run.lesson.training))

    def student():
        with seeded(0):
            return nn.Sequential(nn.Linear(12, 8), nn.Dropout(0.5), nn.Linear(8, 3))

    plain, watched = student(), student()
    fit(Supervised(plain), (X, Y), epochs=3, batch_size=6)
    callbacks = [
        EveryK(2, probe),
        EveryK(2, probe, unit="epoch"),
        Validate(lambda m: {"a": torch.rand(1)}),
        ShowProgress(),
    ]
    history = fit(Supervised(watched), (X, Y), epochs=3, batch_size=6, callbacks=callbacks)
    assert calls == [(2, False), (4, False), (4, False), (6, False)]
    assert torch.equal(plain[0].weight, watched[0].weight)
    assert len(history["a"]) == 3
    for unused in (EarlyStop("nothing", patience=1), KeepBest("nothing")):
        with pytest.raises(InputError, match="no column 'nothing'"):
            fit(Supervised(nn.Linear(12, 3)), (X, Y), epochs=1, callbacks=[unused])


def test_stages_carry_weights_and_start_optimisers_anew() -> None:
    student = nn.Linear(12, 3)
    rates = []

    def spy(groups):
        rates.append(groups[0]["lr"])
        return torch.optim.SGD(groups)

    stages = Stages(
        [
            Stage("general", Supervised(student), (X, Y), {"epochs": 2, "lr": 0.5, "optimizer": spy}),
            Stage("task", Supervised(student), (X, Y), {"steps": 1, "lr": 0.1, "optimizer": spy}),
        ]
    )
    before = student.weight.clone()
    history = stages.run(measure=lambda stage: {"norm": student.weight.norm()})
    assert history["stage"] == ["general", "general", "task"]
    assert [value is None for value in history["norm"]] == [True, False, False]
    assert rates == [0.5, 0.1]
    assert not torch.equal(before, student.weight)
    with pytest.raises(InputError, match="no stage called"):
        stages.run(skip={"nothing"})
    with pytest.raises(InputError, match="names that differ"):
        Stages([stages.stages[0], stages.stages[0]])


def test_inference_keeps_order_and_modes() -> None:
    model = nn.Sequential(nn.Linear(12, 3), nn.Dropout(0.9))
    model[1].eval()
    loader = DataLoader(IndexedDataset((X, Y)), batch_size=5, shuffle=True)
    shuffled, plain = predict_all(model, loader), predict_all(model, (X, Y), batch_size=7)
    assert torch.allclose(shuffled, plain)
    assert torch.allclose(plain, model[0](X))
    assert (model.training, model[1].training) == (True, False)
    losses = predict_all(
        model,
        (X, Y),
        function=lambda m, b: nn.functional.cross_entropy(m(b["x"]), b["y"], reduction="none"),
    )
    assert losses.shape == (12,)
    assert not losses.requires_grad
    (losses * 2).sum()
    with pytest.raises(InputError, match="indices"):
        predict_all(model, [{"x": X[:2], "index": torch.tensor([5, 5])}].__iter__())


def test_logits_of_what_models_return() -> None:
    from types import SimpleNamespace

    class Model(nn.Module):
        def __init__(self, wrap) -> None:
            super().__init__()
            self.wrap = wrap

        def forward(self, x):
            return self.wrap(x)

    for wrap in (lambda x: x, lambda x: (x, None), lambda x: SimpleNamespace(logits=x)):
        assert torch.equal(logits_of(Model(wrap), X), X)
        assert torch.equal(logits_of(Model(wrap), {"x": X}), X)
    with pytest.raises(InputError, match="returned str"):
        logits_of(Model(lambda x: "no"), X)


def test_a_lesson_must_say_what_a_batch_costs() -> None:
    with pytest.raises(NotImplementedError, match="write losses"):
        Lesson().losses({}, None)
