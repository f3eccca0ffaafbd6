"""Operations on one text: normal form, truncation, faults, chunks."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.text import MAX_TEXT_BYTES, as_text, chunk_text, fault, normalise, text_id, truncate_words

anything = st.text(max_size=80)
prose = st.text(st.sampled_from("ab .!?\n…。"), max_size=120)


@given(anything)
def test_the_normal_form_is_a_fixed_point_and_blind_to_case_space_and_composition(text: str) -> None:
    normal = normalise(text)
    assert normalise(normal) == normal
    assert normalise(f" \n{text}\t ") == normal
    assert normalise(unicodedata.normalize("NFD", text)) == normal
    assert text_id(text) == text_id(normal)


def test_normal_forms_by_hand() -> None:
    assert normalise("Straße\u00a0 STRASSE") == "strasse strasse"
    assert normalise("e\u0301") == normalise("É") == "é"
    assert normalise(" \n ") == ""


@given(anything, st.integers(1, 12))
def test_truncation_keeps_a_prefix_of_whole_words(text: str, limit: int) -> None:
    kept, cut = truncate_words(text, limit)
    assert text.startswith(kept)
    assert kept.split() == text.split()[:limit]
    assert cut == (len(text.split()) > limit)
    assert cut or kept == text
    assert truncate_words(kept, limit) == (kept, False)


def test_truncation_needs_a_limit() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        truncate_words("a", 0)


@given(anything)
def test_a_text_without_fault_can_be_written_and_is_not_blank(text: str) -> None:
    if fault(text) is None:
        text.encode("utf-8")
        assert text.strip()
        assert "\x00" not in text
        assert as_text(text) == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        ("", "empty"),
        ("\u2003\x85", "empty"),
        ("x" * MAX_TEXT_BYTES, None),
        ("x" * (MAX_TEXT_BYTES + 1), "too_long"),
        ("ł" * (MAX_TEXT_BYTES // 2), None),
        ("ł" * (MAX_TEXT_BYTES // 2) + "x", "too_long"),
        ("🎉" * (MAX_TEXT_BYTES // 4) + "x", "too_long"),
        ("\x00", "nul_bytes"),
        ("\ud800", "invalid_utf8"),
        (b"caf\xe9", "invalid_utf8"),
        (b"\xe9" * (MAX_TEXT_BYTES + 1), "too_long"),
        (7, "not_text"),
        (["a"], "not_text"),
    ],
)
def test_faults_by_hand(value: object, reason: str | None) -> None:
    assert fault(value) == reason


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | anything | st.binary(max_size=9),
        st.lists,
        max_leaves=5,
    )
)
def test_any_value_becomes_a_string_that_can_be_written(value: object) -> None:
    text = as_text(value)
    assert (text is None) == (value is None)
    assert text is None or text.encode("utf-8") is not None


@given(prose, st.integers(1, 30), st.data())
def test_chunks_cover_the_text_in_order_within_the_limit(text: str, limit: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, limit - 1))
    spans = chunk_text(text, limit, overlap=overlap)
    assert all(0 < end - start <= limit for start, end in spans)
    assert spans == sorted(spans)
    covered = {place for start, end in spans for place in range(start, end)}
    assert all(place in covered for place, letter in enumerate(text) if not letter.isspace())
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end - start <= overlap
    assert all(text[start:end] == text[start:end].strip() for start, end in spans)


def test_chunks_end_at_sentences_and_share_whole_ones() -> None:
    text = "One is. Two is. Three is. Four is."
    assert [text[a:b] for a, b in chunk_text(text, 16)] == ["One is. Two is.", "Three is.", "Four is."]
    assert [text[a:b] for a, b in chunk_text(text, 19, overlap=8)] == [
        "One is. Two is.",
        "Two is. Three is.",
        "Four is.",
    ]
    assert chunk_text("", 5) == []


@pytest.mark.parametrize(("limit", "overlap"), [(0, 0), (5, 5), (5, -1)])
def test_chunks_need_sensible_settings(limit: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        chunk_text("a", limit, overlap=overlap)
