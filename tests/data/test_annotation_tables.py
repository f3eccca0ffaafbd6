"""Annotation tables: hard labels, soft targets, merging and voting, against hand-computed cases."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.annotations import ANNOTATIONS, FAILURES, annotations, hard_labels, merge, ok, soft_targets, vote
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError

SINGLE = LabelScheme.from_dict(["x", "y", "z"])
MULTI = LabelScheme.from_dict({"kind": "multi", "labels": ["x", "y", "z"]})


def test_the_builder_fills_the_schema() -> None:
    table = annotations(
        ["a", "b"], [["x"], []], status=pa.array(["ok", "refusal"]), tokens_in=np.array([3, 4]), cost=0.5
    )
    assert table.schema == ANNOTATIONS
    assert table.select(["sample", "status", "tokens_in", "cost", "probs", "evidence"]).to_pylist() == [
        {"sample": 0, "status": "ok", "tokens_in": 3, "cost": 0.5, "probs": None, "evidence": None},
        {"sample": 0, "status": "refusal", "tokens_in": 4, "cost": 0.5, "probs": None, "evidence": None},
    ]
    assert ok(table)["id"].to_pylist() == ["a"]
    assert annotations([], []).num_rows == 0
    with pytest.raises(ValueError, match="no column"):
        annotations(["a"], [["x"]], tokens=3)
    with pytest.raises(ValueError, match="length"):
        annotations(["a"], [["x"]], cost=[1.0, 2.0])


def test_hard_labels_of_single_and_multi_schemes() -> None:
    table = annotations(list("abcd"), [["y"], [], ["z", "x"], ["x"]], status=["ok", "refusal", "ok", "invalid_json"])
    assert hard_labels(table, SINGLE).tolist() == [1, -1, 2, -1]
    assert hard_labels(table, MULTI).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert hard_labels(annotations([], []), SINGLE).shape == (0,)
    assert hard_labels(annotations([], []), MULTI).shape == (0, 3)


def test_slices_and_chunks_make_no_difference() -> None:
    whole = annotations(
        [str(i) for i in range(9)], [["xyz"[i % 3]] for i in range(9)], probs=[[0.5, 0.25, 0.25], None, None] * 3
    )
    chunked = pa.concat_tables([whole.slice(0, 2), whole.slice(2, 5), whole.slice(7)])
    for table in (whole.slice(3, 4), chunked.slice(3, 4)):
        assert hard_labels(table, SINGLE).tolist() == [0, 1, 2, 0]
        assert soft_targets(table, SINGLE).tolist() == [[0.5, 0.25, 0.25], [0, 1, 0], [0, 0, 1], [0.5, 0.25, 0.25]]
        assert vote(table, SINGLE)["id"].to_pylist() == ["3", "4", "5", "6"]


def test_a_label_outside_the_scheme_is_named_with_its_row_and_text() -> None:
    table = annotations(["a", "b"], [["x"], ["X"]])
    for use in (hard_labels, soft_targets, vote):
        with pytest.raises(InputError, match=r"row 2 \(id b\): label 'X' is not in scheme 'labels': x, y, z"):
            use(table, SINGLE)
    assert hard_labels(annotations(["a"], [["odd"]], status="unknown_label"), SINGLE).tolist() == [-1]


def test_soft_targets_are_probabilities_else_hard_labels_and_zero_for_failures() -> None:
    probs = [[0.2, 0.5, 0.3], None, [1.0, 0.0, 0.0], [1.0, 1.0, 2.0]]
    table = annotations(list("abcd"), [["y"], ["z"], [], ["z"]], probs=probs, status=["ok", "ok", "blocked", "ok"])
    targets = soft_targets(table, SINGLE)
    assert targets.dtype == np.float32
    assert targets.tolist() == np.array([[0.2, 0.5, 0.3], [0, 0, 1], [0, 0, 0], [0.25, 0.25, 0.5]], np.float32).tolist()
    assert soft_targets(table, MULTI)[3].tolist() == [1, 1, 2]  # one probability a label: not shared out


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        ([0.5, 0.5], r"row 2 \(id b\): 2 probabilities; scheme 'labels' has 3 labels"),
        ([0.5, -0.5, 1.0], r"row 2 \(id b\): probabilities must be finite"),
        ([float("nan"), 0.5, 0.5], r"row 2 \(id b\): probabilities must be finite"),
        ([0.0, 0.0, 0.0], r"row 2 \(id b\): probabilities must be finite, not negative, not all zero"),
    ],
)
def test_impossible_probabilities_are_refused_with_their_row(probs: list[float], message: str) -> None:
    table = annotations(["a", "b"], [["x"], ["x"]], probs=[[1.0, 0.0, 0.0], probs])
    with pytest.raises(InputError, match=message):
        soft_targets(table, SINGLE)


def test_merge_keeps_order_and_schema() -> None:
    one, two = annotations(["a"], [["x"]], cost=1), annotations(["b", "a"], [["y"], ["z"]], sample=1)
    assert merge([one, two])["id"].to_pylist() == ["a", "b", "a"]
    assert merge([one, two.select(ANNOTATIONS.names[::-1])]).schema == ANNOTATIONS


def test_a_vote_by_hand() -> None:
    table = annotations(
        ["b", "a", "b", "a", "b", "c"],
        [["y"], [], ["x"], ["z"], ["y"], []],
        status=["ok", "refusal", "ok", "ok", "ok", "blocked"],
        evidence=["b0", "a0", "b1", "a1", "b2", "c0"],
        sample=[0, 0, 1, 1, 2, 0],
        tokens_in=[1, 2, 3, 4, 5, 6],
        cost=[0.5, 0.25, 0.5, 0.25, 0.5, 1.0],
    )
    rows = vote(table, SINGLE).select(["id", "label", "probs", "status", "evidence", "tokens_in", "cost"]).to_pylist()
    third = float(np.float32(1 / 3))
    assert rows[0]["probs"] == pytest.approx([third, 2 * third, 0.0])
    assert [{**row, "probs": None} for row in rows] == [
        {"id": "b", "label": ["y"], "probs": None, "status": "ok", "evidence": "b0", "tokens_in": 9, "cost": 1.5},
        {"id": "a", "label": ["z"], "probs": None, "status": "ok", "evidence": "a1", "tokens_in": 6, "cost": 0.5},
        {"id": "c", "label": [], "probs": None, "status": "blocked", "evidence": "c0", "tokens_in": 6, "cost": 1.0},
    ]
    assert rows[1]["probs"] == [0.0, 0.0, 1.0]
    assert rows[2]["probs"] is None


def test_a_tie_goes_to_the_label_that_the_scheme_names_first() -> None:
    table = annotations(["a", "a"], [["z"], ["y"]])
    assert vote(table, SINGLE)["label"].to_pylist() == [["y"]]
    assert vote(table, MULTI)["label"].to_pylist() == [["y", "z"]]
    assert vote(annotations(["a"] * 3, [["x"], ["x", "y"], []]), MULTI)["label"].to_pylist() == [["x"]]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans()), max_size=20))
def test_votes_are_shares_of_the_usable_answers(answers: list[tuple[str, str, bool]]) -> None:
    table = annotations(
        [key for key, _, _ in answers],
        [[label] if good else [] for _, label, good in answers],
        status=["ok" if good else "refusal" for _, _, good in answers],
    )
    voted = vote(table, SINGLE)
    assert voted.schema == ANNOTATIONS
    assert voted["id"].to_pylist() == list(dict.fromkeys(key for key, _, _ in answers))
    for row in voted.to_pylist():
        counts = Counter(label for key, label, good in answers if good and key == row["id"])
        if counts:
            total = counts.total()
            assert row["probs"] == pytest.approx([counts[name] / total for name in "xyz"])
            assert row["label"] == [max("xyz", key=lambda name: counts[name])]
        else:
            assert (row["label"], row["probs"], row["status"]) == ([], None, "refusal")


def test_one_vote_changes_nothing_but_adds_certainty() -> None:
    table = annotations(["a", "b"], [["x"], ["z"]], teacher="t", prompt="p", tokens_out=2)
    assert vote(table, SINGLE).drop_columns("probs").equals(table.drop_columns("probs"))
    assert soft_targets(vote(table, SINGLE), SINGLE).tolist() == soft_targets(table, SINGLE).tolist()


def test_failures_are_reasons_and_not_ok() -> None:
    assert "ok" not in FAILURES
    assert len(set(FAILURES)) == len(FAILURES)
