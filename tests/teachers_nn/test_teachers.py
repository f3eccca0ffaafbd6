"""Frozen, averaged, tapped and cached teachers."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tutelage.errors import InputError
from tutelage.teachers.cache import Dense, TeacherCache, TopK, logits_signal
from tutelage.teachers.frozen import frozen, frozen_copy, verify
from tutelage.teachers.momentum import MomentumTeacher, half_life_decay
from tutelage.teachers.prototypes import ClassPrototypes
from tutelage.teachers.taps import FeatureTap, split_at
from tutelage.training import Distillation, Lesson, fit, weights_fingerprint

X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(20) % 3


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


# frozen


def test_a_frozen_teacher_stays_in_evaluation_inside_a_lesson() -> None:
    lesson = Lesson()
    lesson.teacher, lesson.student = frozen(net()), net()
    lesson.train()
    assert lesson.student.training
    assert not lesson.teacher.training
    lesson.teacher(X)
    verify(lesson)


def test_a_thawed_copy_is_a_student_again() -> None:
    student = copy.deepcopy(frozen(net())).requires_grad_(True)
    lesson = Lesson()
    lesson.student = student
    assert lesson.train().student[1].training


def test_a_frozen_copy_does_not_follow() -> None:
    student = net()
    anchor = frozen_copy(student)
    before = weights_fingerprint(anchor)
    student[0].weight.data.add_(1)
    student(X)
    assert weights_fingerprint(anchor) == before
    anchor[1].running_mean.add_(1)
    with pytest.raises(RuntimeError, match="frozen"):
        verify(anchor)


# momentum


def test_without_warm_up_it_is_pytorchs_average() -> None:
    student, theirs = net(), None
    ours = MomentumTeacher(student, 0.8, warmup=False, buffers="copy")
    theirs = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    theirs.n_averaged += 1
    for _ in range(5):
        student(X)
        for parameter in student.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        ours.update(student)
        theirs.update_parameters(student)
    for mine, other in zip(ours.module.state_dict().values(), theirs.module.state_dict().values(), strict=True):
        assert torch.allclose(mine, other)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8))
def test_with_warm_up_it_starts_as_a_plain_mean(values: list[float]) -> None:
    student = nn.Linear(1, 1, bias=False)
    teacher = MomentumTeacher(student, 0.9999)
    for value in values:
        student.weight.data.fill_(value)
        teacher.update(student)
    assert teacher.module.weight.item() == pytest.approx(np.mean(values), abs=1e-4)


@pytest.mark.parametrize(("rule", "mean", "count"), [("copy", 4.0, 3), ("average", 2.0, 3), ("keep", 0.0, 0)])
def test_buffers_follow_their_rule_and_integers_are_never_averaged(rule: str, mean: float, count: int) -> None:
    student = nn.BatchNorm1d(1)
    teacher = MomentumTeacher(student, 0.5, warmup=False, buffers=rule)
    student.running_mean.fill_(4.0)
    student.num_batches_tracked.fill_(3)
    teacher.update(student)
    assert teacher.module.running_mean.item() == mean
    assert teacher.module.num_batches_tracked.item() == count


def test_its_decay_may_follow_the_steps_and_it_may_follow_another_teacher() -> None:
    student = nn.Linear(1, 1, bias=False)
    teacher = MomentumTeacher(student, lambda t: float(t > 0), warmup=False)
    slow = MomentumTeacher(teacher.module, 0.5, warmup=False)
    for value in (5.0, 9.0):
        student.weight.data.fill_(value)
        teacher.update(student)
    assert teacher.module.weight.item() == 5.0
    slow.update(teacher.module)
    assert not slow.train().training
    assert half_life_decay(100) ** 5 == pytest.approx(0.5)


def test_momentum_refuses_nonsense() -> None:
    for call in (
        lambda: MomentumTeacher(net(), 1.5),
        lambda: MomentumTeacher(net(), buffers="melt"),
        lambda: MomentumTeacher(net()).update(nn.Linear(2, 2)),
        lambda: half_life_decay(0),
    ):
        with pytest.raises(InputError):
            call()


# taps


def test_taps_read_without_changing_anything() -> None:
    model = net().eval()
    expected, hooks = model(X), [len(m._forward_hooks) for m in model.modules()]
    with FeatureTap(model, {"in": "0", "out": ""}, what="input") as tap:
        assert torch.equal(model(X), expected)
        assert torch.equal(tap["in"], X)
        model(X[:2])
        assert tap.features()["out"].shape == (2, 4)
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    with FeatureTap(model, {"h": "2"}) as tap:
        model(X)
        tap["h"].sum().backward()
    assert model[0].weight.grad is not None


def test_taps_name_what_is_wrong() -> None:
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared)
    with pytest.raises(InputError, match="tap 'h': no module 'nowhere'"):
        FeatureTap(model, {"h": "nowhere"})
    with FeatureTap(model, {"h": "1", "o": "3"}, select=None) as tap:
        with pytest.raises(InputError, match="was not called"):
            tap["h"]
        with pytest.raises(InputError, match="no tap 'x'"):
            tap["x"]
        model(X)
        with pytest.raises(InputError, match="was called 2 times"):
            tap["h"]
        assert len(tap.all("h")) == 2


def test_taps_see_into_tuples_and_outputs() -> None:
    with FeatureTap(nn.LSTM(4, 5), {"h": ""}) as tap:
        tap.model(X)
        assert tap["h"].shape == (20, 5)


@given(st.integers(0, 3))
def test_head_and_tail_are_the_model(cut: int) -> None:
    model = net().eval()
    head, tail = split_at(model, str(cut))
    assert torch.equal(tail(head(X)), model(X))
    with pytest.raises(InputError):
        split_at(model, "9")
    with pytest.raises(InputError):
        split_at(nn.Linear(1, 1), "0")


# cache


def cache(folder: Path, **options) -> TeacherCache:
    settings = {"size": 20, "signals": {"logits": logits_signal(3)}, "key": {"teacher": "t", "view": "none"}}
    return TeacherCache(folder, **(settings | options))


def test_a_cached_teacher_says_what_the_teacher_says(tmp_path: Path) -> None:
    teacher = net()
    store = cache(tmp_path)
    store.fill(teacher, (X, Y))
    assert store.complete
    assert teacher.training
    index = torch.tensor([3, 17, 0])
    said = store({"index": index})
    truth = teacher.eval()(X[index])
    assert torch.allclose(said, truth - truth.mean(1, keepdim=True), atol=2e-3)
    history = fit(Distillation(net(), cache(tmp_path), hard=0.0, soft=1.0), (X, Y), epochs=30, lr=0.05)
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_an_interrupted_fill_asks_only_for_the_rest(tmp_path: Path) -> None:
    asked: list[int] = []

    def teacher(batch):
        if len(asked) >= 10 and not done:
            raise KeyboardInterrupt
        asked.extend(batch["index"].tolist())
        return batch["x"][:, :3]

    done = False
    with pytest.raises(KeyboardInterrupt):
        cache(tmp_path).fill(teacher, (X,), batch_size=5)
    done = True
    reopened = cache(tmp_path)
    assert not reopened.complete
    with pytest.raises(InputError, match="no row for example 10"):
        reopened.rows("logits", torch.tensor([2, 10]))
    reopened.fill(teacher, (X,), batch_size=5)
    assert asked == list(range(20))
    reopened.fill(teacher, (X,))
    assert len(asked) == 20


def test_several_signals_are_filled_together(tmp_path: Path) -> None:
    store = cache(tmp_path, signals={"logits": logits_signal(3), "hidden": Dense((2, 2), scaled=True)})
    store.fill(lambda b: {"logits": b["x"][:, :3], "hidden": 1e5 * b["x"].view(-1, 2, 2)}, (X,))
    hidden = store.rows("hidden", torch.arange(20))
    assert torch.allclose(hidden, 1e5 * X.view(-1, 2, 2), atol=1e5 * X.abs().max().item() * 1e-3)


@given(st.integers(1, 50), st.integers(0, 99))
def test_the_top_of_many_classes_keeps_its_probabilities(k: int, seed: int) -> None:
    logits = 3 * torch.randn(4, 50, generator=torch.Generator().manual_seed(seed))
    signal = TopK(50, k)
    back = signal.decode(
        {part: array.to(getattr(torch, signal.layout()[part][1])) for part, array in signal.encode(logits).items()}
    )
    p, q = logits.softmax(1), back.exp()
    assert torch.allclose(q.sum(1), torch.ones(4), atol=5e-3)
    assert torch.equal(back.argmax(1), logits.argmax(1))
    top = p.topk(k).indices
    assert torch.allclose(p.gather(1, top), q.gather(1, top), rtol=1e-2, atol=1e-4)


def test_rows_are_written_once_unless_the_cache_is_writable(tmp_path: Path) -> None:
    store = cache(tmp_path / "a")
    store.write("logits", torch.tensor([1]), torch.ones(1, 3))
    with pytest.raises(InputError, match="writable=True"):
        store.write("logits", torch.tensor([1]), torch.zeros(1, 3))
    past = cache(tmp_path / "b", writable=True, signals={"past": Dense((3,), "float32")})
    for value in (0.25, 0.5):
        past.write("past", torch.tensor([4, 2]), torch.full((2, 3), value))
    assert past({"index": torch.tensor([2])}).tolist() == [[0.5] * 3]


def test_a_cache_refuses_what_it_is_not_for(tmp_path: Path) -> None:
    cache(tmp_path)
    for changed in ({"size": 19}, {"key": {"teacher": "other"}}, {"signals": {"logits": logits_signal(4)}}):
        with pytest.raises(InputError, match="is a cache of another"):
            cache(tmp_path, **changed)
    store = cache(tmp_path)
    for call in (
        lambda: store.fill(net(), (X[:5],)),
        lambda: store.write("logits", torch.tensor([0]), torch.ones(1, 4)),
        lambda: store.write("logits", torch.tensor([0]), torch.full((1, 3), torch.nan)),
        lambda: store.rows("logits", torch.tensor([20])),
        lambda: store.rows("nothing", torch.tensor([0])),
        lambda: store({"x": X}),
        lambda: cache(tmp_path / "new", size=0),
    ):
        with pytest.raises(InputError):
            call()
    (tmp_path / "logits.values.npy").write_bytes(b"broken")
    with pytest.raises(InputError, match="fill it again"):
        cache(tmp_path)


# prototypes


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 99))
def test_the_running_mean_does_not_depend_on_the_batches(cuts: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    size = sum(cuts)
    features, labels = torch.randn(size, 2, generator=generator), torch.randint(0, 3, (size,), generator=generator)
    table = ClassPrototypes(4, 2)
    for f, y in zip(features.split(cuts), labels.split(cuts), strict=True):
        table.update(f, y)
    for c in range(4):
        mine = features[labels == c]
        expected = mine.mean(0) if len(mine) else torch.zeros(2)
        assert torch.allclose(table(torch.tensor(c)), expected, atol=1e-5)
    assert (table.distances(features)[:, 3] == torch.inf).all()


def test_soft_weights_momentum_and_unit_length() -> None:
    table = ClassPrototypes(2, 2, momentum=0.5, unit=True)
    table.update(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert torch.allclose(table.prototypes, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 0.0]]))
    table.update(torch.tensor([[5.0, 0.0]]), torch.tensor([0]))
    assert table.prototypes[0].norm().item() == pytest.approx(1)
    table.reset()
    assert table.counts.sum() == 0
    for call in (
        lambda: table.update(torch.zeros(2, 3), torch.tensor([0, 1])),
        lambda: table.update(torch.zeros(2, 2), torch.zeros(2, 5)),
        lambda: ClassPrototypes(2, 2, momentum=1.0),
    ):
        with pytest.raises(InputError):
            call()
