"""What a student is told in place of plain targets: by hand, in the limits, and as PS-KD's own file has it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.students.conftest import SUBJECTS, bag_of_words
from tutelage.errors import InputError
from tutelage.students import EmbeddingClassifier, EncoderClassifier, NgramClassifier, StaticClassifier, Student
from tutelage.students.targets import refined, tempered
from tutelage.students.weights import holdout

LABELS = [name for name, group in SUBJECTS.items() for _ in group] * 2


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def test_odds_are_divided_by_the_temperature():
    assert tempered(np.array([[0.8, 0.2]]), 2.0)[0] == pytest.approx([2 / 3, 1 / 3]), "odds of 4 become 2"
    several = tempered(np.array([[0.8, 0.2, 0.5]]), 0.5, multi=True)
    assert logit(several)[0] == pytest.approx([2 * np.log(4), -2 * np.log(4), 0.0], rel=1e-5)


def test_one_is_no_temperature_and_the_ends_are_everything_and_nothing():
    p = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]], np.float32)
    assert tempered(p, 1.0) is p
    assert tempered(p[:1], 1e6) == pytest.approx(np.full((1, 3), 1 / 3), abs=1e-4)
    assert tempered(p, 1e-3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert tempered(p, 1e-3, multi=True)[0].tolist() == [0.5, 0, 0]


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=6), st.floats(0.2, 5), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_temperature_can_be_undone(weights: list[float], temperature: float, multi: bool):
    p = np.array([weights]) / (sum(weights) + multi)
    again = tempered(tempered(p, temperature, multi=multi), 1 / temperature, multi=multi)
    assert again == pytest.approx(p, abs=1e-3)


def test_targets_are_refined_as_in_the_method():
    torch = pytest.importorskip("torch")
    from tutelage.methods.distillation.ps_kd import progressive_targets, share_of_past

    y, past = np.eye(3)[[0, 2]], np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    for stage in range(5):
        share = share_of_past(0.7, stage, 5)
        theirs = progressive_targets(torch.tensor([0, 2]), torch.from_numpy(past), share).numpy()
        assert refined(y, past, 0.7, stage, 5) == pytest.approx(theirs)
        assert refined(torch.from_numpy(y), torch.from_numpy(past), 0.7, stage, 5).numpy() == pytest.approx(theirs)
    assert np.array_equal(refined(y, past, 0.0, 4, 5), y)


@pytest.mark.parametrize(
    "student",
    [
        NgramClassifier(C=10.0),
        StaticClassifier(bag_of_words, C=10.0, dims=8),
        EmbeddingClassifier(bag_of_words, C=10.0),
    ],
    ids=lambda student: student.tier,
)
def test_sharpening_divides_the_logits_and_keeps_the_labels(student: Student, texts: list[str]):
    student.fit(texts, LABELS)
    before = student.predict_proba(texts)
    assert student.predict(texts).tolist() == LABELS
    after = student.sharpen(0.5).predict_proba(texts)
    assert after == pytest.approx(tempered(before, 0.5), abs=1e-5)
    assert student.predict(texts).tolist() == LABELS
    with pytest.raises(InputError, match="above zero"):
        student.sharpen(0.0)


def network(folder, **options) -> EncoderClassifier:
    fixed = {"epochs": 4, "lr": 0.002, "batch_size": 6, "max_length": 12, "dev_share": 0.0}
    return EncoderClassifier(folder, **{**fixed, **options})


def test_an_encoder_refines_its_targets_epoch_by_epoch(tiny_encoder, texts, monkeypatch):
    from tutelage.students import encoder

    seen: list[tuple[int, int, float]] = []

    def watched(targets, past, alpha, stage, stages):
        seen.append((stage, stages, (past - targets).abs().amax().item()))
        return refined(targets, past, alpha, stage, stages)

    monkeypatch.setattr(encoder, "refined", watched)
    wrong = [*LABELS[1:], LABELS[0]]
    told = {alpha: network(tiny_encoder, self_distill=alpha, epochs=40).fit(texts, wrong) for alpha in (0.0, 0.95)}
    sure = {alpha: student.predict_proba(texts).max(1).mean() for alpha, student in told.items()}
    assert sure[0.95] < sure[0.0] - 0.02, "what it once thought keeps it less sure of its wrong labels"
    with_past = seen[len(seen) // 2 :]
    assert {stages for _, stages, _ in with_past} == {40}
    assert [stage for stage, _, _ in with_past] == sorted(3 * list(range(40))), "three batches an epoch"
    assert all((gap == 0) == (stage == 0) for stage, _, gap in with_past), "before it has spoken: the label"
    with pytest.raises(InputError, match="at least 2 epochs"):
        network(tiny_encoder, self_distill=0.5, epochs=1).fit(texts, LABELS)
    with pytest.raises(InputError, match=r"in \[0, 0.95\]"):
        network(tiny_encoder, self_distill=1.0).fit(texts, LABELS)


def test_an_encoder_learns_at_a_temperature_and_speaks_at_one(tiny_encoder, texts):
    """Targets of odds e² : 1 : 1 at T = 2 are learned as odds e⁴ : 1 : 1 at T = 1."""
    soft = np.ones((len(texts), 3))
    soft[np.arange(len(texts)), np.unique(LABELS, return_inverse=True)[1]] = np.exp(2)
    soft /= soft.sum(1, keepdims=True)
    options = {"classes": sorted(SUBJECTS), "epochs": 60}
    plain = network(tiny_encoder, **options).fit(texts, soft).predict_proba(texts).max(1)
    hot = network(tiny_encoder, temperature=2.0, **options).fit(texts, soft).predict_proba(texts).max(1)
    assert plain.mean() == pytest.approx(soft.max(), abs=0.03)
    assert hot.mean() == pytest.approx(np.exp(4) / (np.exp(4) + 2), abs=0.03)
    with pytest.raises(InputError, match="temperature must be more than 0"):
        network(tiny_encoder, temperature=0.0).fit(texts, LABELS)
    with pytest.raises(InputError, match="stay as they are learned"):
        network(tiny_encoder).fit(texts, LABELS).sharpen(2.0)


def test_rows_held_out_of_tempered_targets_are_judged_at_one(tiny_encoder, texts):
    """The loss on held-out rows is that of a given dev split with the targets before tempering."""
    labels = np.eye(3)[np.unique(LABELS, return_inverse=True)[1]] * 0.7 + 0.1
    hot = tempered(labels, 2.0)
    options = {"classes": sorted(SUBJECTS), "temperature": 2.0, "dev_share": 0.3, "seed": 3}
    inside = network(tiny_encoder, **options).fit(texts, hot)
    held = holdout(hot, 0.3, 3)
    some = [text for text, out in zip(texts, held, strict=True) if not out]
    rest = [text for text, out in zip(texts, held, strict=True) if out]
    given_ = network(tiny_encoder, **options).fit(some, hot[~held], dev=(rest, labels[held]))
    assert inside.history_ == pytest.approx(given_.history_, rel=1e-4)
