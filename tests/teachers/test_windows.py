"""Texts of any length become one annotation each, whatever a window says or does not say."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.annotations import annotations
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.base import ScriptedChat
from tutelage.teachers.llm.teacher import LLMTeacher
from tutelage.teachers.windows import annotate_in_windows

SCHEME = LabelScheme.from_dict(["sport", "politics"])


class Echo:
    """A teacher that gives the probability of "sport" that the text states, and fails where it states none."""

    name = fingerprint = "echo"

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        return "prompt"

    def annotate(self, table: pa.Table, scheme: LabelScheme, *, ledger=None, sample=0, progress=None) -> pa.Table:
        stated = [[float(word) for word in text.split() if word[0] in "01"] for text in table["text"].to_pylist()]
        return annotations(
            table["id"].to_pylist(),
            [["sport" if p[0] >= 0.5 else "politics"] if p else [] for p in stated],
            probs=[[p[0], 1 - p[0]] if p else None for p in stated],
            status=["ok" if p else "refusal" for p in stated],
            tokens_in=[1] * len(stated),
        )

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        raise NotImplementedError


def pool(*texts: str) -> pa.Table:
    return pa.table({"id": [f"t{n}" for n in range(len(texts))], "text": list(texts)})


def test_windows_are_averaged_and_add_their_cost():
    (row,) = annotate_in_windows(
        Echo(), pool("0.9 is here. 0.5 is here."), SCHEME, characters=13, overlap=0
    ).to_pylist()
    assert row["probs"] == pytest.approx([0.7, 0.3])
    assert row["label"] == ["sport"]
    assert row["tokens_in"] == 2


def test_a_window_without_an_answer_decides_nothing():
    (row,) = annotate_in_windows(
        Echo(), pool("Nothing here. 0.2 is here."), SCHEME, characters=13, overlap=0
    ).to_pylist()
    assert (row["status"], row["label"]) == ("ok", ["politics"])


def test_a_text_without_any_answer_has_the_reason_of_the_first_failure():
    rows = annotate_in_windows(Echo(), pool("Nothing here.", "0.9 is here."), SCHEME).to_pylist()
    assert [(row["id"], row["status"], row["label"]) for row in rows] == [
        ("t0", "refusal", []),
        ("t1", "ok", ["sport"]),
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["0.9 is here.", "0.1 is here.", "Nothing."]), min_size=1, max_size=6), st.integers(1, 3)
)
def test_probabilities_stay_probabilities_and_order_is_kept(sentences, samples):
    table = pool(" ".join(sentences), *sentences)
    done = annotate_in_windows(Echo(), table, SCHEME, characters=13, overlap=0, samples=samples)
    assert done["id"].to_pylist() == table["id"].to_pylist()
    for probs, status in zip(done["probs"].to_pylist(), done["status"].to_pylist(), strict=True):
        assert (probs is None) == (status != "ok")
        assert probs is None or np.isclose(sum(probs), 1)


def test_reruns_are_asked_once_each_and_never_again():
    model = ScriptedChat(lambda request: '{"label": "sport"}')
    with Ledger(":memory:") as ledger:
        for _ in range(2):
            annotate_in_windows(LLMTeacher(model), pool("They won."), SCHEME, samples=3, ledger=ledger)
    assert len(model.requests) == 3


def test_what_cannot_be_merged_is_refused():
    with pytest.raises(InputError, match="single-label"):
        annotate_in_windows(Echo(), pool("0.9"), LabelScheme.from_dict({"kind": "multi", "labels": ["a", "b"]}))
    with pytest.raises(InputError, match="samples"):
        annotate_in_windows(Echo(), pool("0.9"), SCHEME, samples=0)
