"""Masking what the teacher looks at: what is dropped by hand, what stays, who follows whom, and the stacked arm."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.methods.common import Case, MethodContract
from tutelage.data.collate import pad_collate
from tutelage.errors import InputError
from tutelage.methods.selftraining.mhim_mil import MHIM, InstanceMasker, PlainMil, kept_instances, ranks, warm_start
from tutelage.students.pooling import AttentionMil
from tutelage.studies import Trial
from tutelage.studies.selftraining.mhim_mil import Bags, Rule, model, split, stack_of, stacked, train
from tutelage.training import Lesson, Progress, cosine, fit, seeded


def mil(classes: int = 3, seed: int = 0, dropout: float = 0.0) -> AttentionMil:
    with seeded(seed, "init"):
        return AttentionMil(4, classes, width=6, hidden=5, dropout=dropout)


class TestMHIM(MethodContract):
    settings = (((5, 4), 3, torch.float32), ((7, 4), 4, torch.float64))

    def case(self, shape: tuple[int, ...] = (5, 4), classes: int = 3, dtype: torch.dtype = torch.float32) -> Case:
        x = torch.randn(12, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        mask = torch.arange(shape[0]) < torch.randint(
            2, shape[0] + 1, (12, 1), generator=torch.Generator().manual_seed(1)
        )
        data = {"x": x, "mask": mask, "y": torch.arange(12) % classes}
        return Case(mil(classes, 0).to(dtype), mil(classes, 1).to(dtype), data, classes)

    def lesson(self, case: Case) -> Lesson:
        return MHIM(case.student, case.teacher, InstanceMasker(random=0.2, high=0.2), decay=0.9)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return MHIM(case.student, case.teacher, InstanceMasker(high=0.0), alpha=0.0), PlainMil(case.student)

    def mismatched(self, case: Case) -> Lesson:
        return MHIM(case.student, mil(case.classes + 1), InstanceMasker())


ATTENTION = torch.tensor([[0.05, 0.4, 0.1, 0.3, 0.15, 0.0]])
MASK = torch.tensor([[True, True, True, True, True, False]])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_highest_and_the_lowest_attention_are_dropped_by_hand():
    kept = kept_instances(ATTENTION, MASK, high=0.4, generator=generator())
    assert kept.tolist() == [[True, False, True, False, True, False]], "⌈0.4 · 5⌉ = 2 of the 5 real ones"
    kept = kept_instances(ATTENTION, MASK, low=0.4, generator=generator())
    assert kept.tolist() == [[False, True, False, True, True, False]]
    assert ranks(ATTENTION, MASK).tolist() == [[4, 0, 3, 1, 2, 5]]


def test_after_random_drops_the_shares_are_of_what_is_left():
    kept = kept_instances(ATTENTION, MASK, random=0.8, high=0.5, generator=generator())
    assert not kept[0, 1], "⌈0.5 · 1⌉ = 1 of all instances: the one with most attention"
    attention = torch.rand(1, 100, generator=generator())
    kept = kept_instances(attention, attention > -1, random=0.3, high=0.1, generator=generator())
    assert 100 - 30 - 7 <= int(kept.sum()) <= 70
    assert not kept[0, attention[0].argsort(descending=True)[:7]].any()


def test_a_share_of_the_candidates_is_dropped_at_random():
    attention = torch.arange(100.0).flip(0).unsqueeze(0)
    seen = torch.zeros(100)
    for seed in range(30):
        kept = kept_instances(
            attention, attention >= 0, high=0.1, high_random=0.5, generator=torch.Generator().manual_seed(seed)
        )
        assert int((~kept).sum()) == 10, "half of 20 candidates"
        seen += ~kept[0]
    assert seen[20:].sum() == 0
    assert (seen[:20] > 0).all()
    kept = kept_instances(attention, attention >= 0, high=0.8, high_random=0.5, generator=generator())
    assert int((~kept).sum()) == 80, "h > s: all are candidates and h of them goes"


@settings(deadline=None, max_examples=50)
@given(
    random=st.floats(0, 0.99), low=st.floats(0, 0.99), high=st.floats(0, 0.99), share=st.floats(0.05, 1),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)  # fmt: skip
def test_a_bag_never_loses_everything_and_padding_is_never_kept(random, low, high, share, lengths):
    mask = torch.arange(9) < torch.tensor(lengths).unsqueeze(1)
    attention = torch.rand(mask.shape, generator=generator()) * mask
    kept = kept_instances(attention, mask, random=random, low=low, high=high, high_random=share, generator=generator())
    assert kept.any(1).all()
    assert not (kept & ~mask).any()


def test_nothing_masked_is_everything_kept_and_shares_can_differ_by_bag():
    assert torch.equal(kept_instances(ATTENTION, MASK, generator=generator()), MASK)
    attention, mask = ATTENTION.expand(2, 6), MASK.expand(2, 6)
    kept = kept_instances(attention, mask, high=torch.tensor([0.0, 0.2]), generator=generator())
    assert kept.sum(1).tolist() == [5, 4]


def test_the_share_of_high_attention_falls_to_nothing():
    masker = InstanceMasker(high=cosine(0.4, 0.0))
    counts = [int(masker(ATTENTION, MASK, u, generator()).sum()) for u in (0.0, 0.5, 1.0)]
    assert counts == [3, 4, 5]


def test_the_loss_by_hand():
    """The teacher sees the whole bag, the student what is left; softmax runs over feature dimensions."""
    student, trained = mil(2, 0), mil(2, 1)
    lesson = MHIM(student, trained, InstanceMasker(high=0.2), alpha=0.5)
    x = torch.randn(1, 5, 4, generator=generator())
    parts = lesson.losses({"x": x, "y": torch.tensor([1])}, Progress(0, 1))
    whole = trained.eval()(x)
    left = torch.ones(1, 5).bool()
    left[0, whole.attention[0].argmax()] = False
    output = student(x[:, left[0]])
    target = (whole.feature / 0.1).softmax(-1)
    assert parts["ce"].item() == pytest.approx(
        nn.functional.cross_entropy(output.logits, torch.tensor([1])).item(), rel=1e-5
    )
    expected = -0.5 * (target * output.feature.log_softmax(-1)).sum().item()
    assert parts["consistency"].item() == pytest.approx(expected, rel=1e-5)
    assert lesson.kept.item() == pytest.approx(0.8)


def test_the_teacher_follows_slowly_and_its_dropout_is_on_only_while_it_is_asked():
    student, trained = mil(2, 0, dropout=0.5), mil(2, 1, dropout=0.5)
    lesson = MHIM(student, trained, InstanceMasker(), decay=0.75)
    x, mask = torch.randn(1, 5, 4), torch.ones(1, 5).bool()
    said = [lesson.ask(x, mask).attention for _ in range(2)]
    assert not torch.equal(*said)
    assert not lesson.teacher.module.training
    quiet = MHIM(student, trained, InstanceMasker(), noisy=False)
    assert torch.equal(quiet.ask(x, mask).attention, quiet.ask(x, mask).attention)
    lesson.after_step(Progress(0, 1))
    expected = 0.75 * trained.head.weight + 0.25 * student.head.weight
    assert torch.allclose(lesson.teacher.module.head.weight, expected)  # type: ignore[union-attr]


def test_the_student_begins_with_the_embedding_only():
    trained, fresh = mil(2, 0), mil(2, 1)
    before = copy.deepcopy(fresh.head.weight)
    started = warm_start(trained, fresh)
    assert torch.equal(started.embed[0].weight, trained.embed[0].weight)  # type: ignore[index]
    assert torch.equal(started.head.weight, before)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="cannot copy 'trunk'"):
        warm_start(trained, fresh, part="trunk")


def test_padding_changes_nothing():
    net = mil(2).eval()
    short, long = torch.randn(3, 4), torch.randn(6, 4)
    x, mask = pad_collate([short, long])
    together, alone = net(x, mask), net(short.unsqueeze(0))
    assert torch.allclose(together.logits[0], alone.logits[0], atol=1e-6)
    assert torch.equal(together.attention[0, 3:], torch.zeros(3))
    assert torch.allclose(together.attention.sum(1), torch.ones(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"random": 1.0}, r"\[0, 1\)"), ({"high": -0.1}, r"\[0, 1\)"), ({"high_random": 0.0}, "high_random")],
)
def test_refuses_shares_that_leave_nothing(options: dict[str, float], message: str):
    with pytest.raises(InputError, match=message):
        InstanceMasker(**options)  # type: ignore[arg-type]


def test_refuses_bags_without_instances_and_negative_weights():
    lesson = MHIM(mil(2), mil(2), InstanceMasker())
    bags = {"x": torch.zeros(2, 3, 4), "y": torch.tensor([0, 1]), "mask": torch.tensor([[True] * 3, [False] * 3])}
    with pytest.raises(InputError, match="an instance a bag"):
        lesson.losses(bags, Progress(0, 1))
    with pytest.raises(InputError, match="alpha"):
        MHIM(mil(2), mil(2), InstanceMasker(), alpha=-1.0)


SMALL = Bags(train=6, validation=8, test=12, epochs=2, width=8, hidden=4, dropout=0.0)


def test_a_stacked_row_of_the_study_is_the_lesson(tmp_path):
    one = split(Trial(3, SMALL, tmp_path))
    trained, student = model(3, SMALL), model(3, SMALL, "student")
    stack = stack_of([student])
    (best,) = train(stack, [one], [3], SMALL, epochs=2, teachers=stack_of([trained]), rules=[Rule(high=0.05)])
    masker = InstanceMasker(random=0.3, high=cosine(0.05, 0.0))
    lesson = MHIM(student, trained, masker, alpha=0.1, decay=SMALL.decay)
    columns = {name: one.train[name] for name in ("x", "mask", "y")}
    fit(lesson, columns, epochs=2, batch_size=1, lr=SMALL.lr, optimizer="adam", weight_decay=0.0, seed=3)
    flat = torch.cat([p.detach().flatten() for p in lesson.student.parameters()])
    assert torch.allclose(stack.weights.detach()[0], flat, atol=1e-5)
    assert 0 <= best.lost.item() <= 1


def test_every_arm_of_the_study_is_measured_in_its_place(tmp_path):
    trials = [Trial(seed, SMALL, tmp_path, arm=arm) for seed in (3, 4) for arm in ("abmil", "mhim")]
    data = {seed: split(trial) for seed, trial in zip((3, 4), trials[::2], strict=True)}
    figures = stacked([data[trial.seed] for trial in trials], trials)
    assert len(figures) == 4
    assert [trial.budget.steps for trial in trials] == [12, 24, 12, 24]
    assert figures[0]["evidence lost"] == 0.0
