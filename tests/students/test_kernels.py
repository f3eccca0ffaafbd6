"""The kernels give what `tokens` says, for any bytes in any Arrow layout, and `tokens` means what it says."""

from __future__ import annotations

import unicodedata

import numba
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.students import NgramClassifier, compiled, features, table_kernels, text_kernels, tokens, unicode
from tutelage.students.features import Grams
from tutelage.students.table_kernels import lanes

GRAMS = [Grams(True, None), Grams(False, None), Grams(True, (2, 4)), Grams(False, (1, 3))]

interesting = st.sampled_from(
    [
        "",
        "a",
        "A b",
        "don't",
        "ß",
        "ẞ",
        "İ",
        "ΟΔΟΣ",
        "Ⱥ",
        "K",
        "é",
        "e\u0301",
        "東京 tower",
        "สวัสดี",
        "😀😀",
        "❤\ufe0f",
        "\x00",
        "𝔄",
        "ǅ",
    ]
)
words = st.lists(st.one_of(interesting, st.text(max_size=12), st.text("abcXYZ019 -.,é", max_size=90)), max_size=6)
texts = words.map("".join)
raw = st.one_of(st.binary(max_size=90), texts.map(lambda text: text.encode("utf-8", "ignore")))


def string_array(rows: list[bytes | None], *, large: bool, before: int = 0, after: int = 0) -> pa.Array:
    """Rows of any bytes as a string array, sliced out of a longer one; nulls keep bytes under them."""
    padded = [b"slice"] * before + [b"under null" if row is None else row for row in rows] + [b"off"] * after
    offsets = np.cumsum([0, *map(len, padded)]).astype(np.int64 if large else np.int32)
    there = np.array([True] * before + [row is not None for row in rows] + [True] * after, bool)
    valid = np.packbits(there, bitorder="little")
    buffers = [pa.py_buffer(valid.tobytes()), pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(padded))]
    kind = pa.large_string() if large else pa.string()
    return pa.Array.from_buffers(kind, len(padded), buffers).slice(before, len(rows))


def reference(row: bytes | None, grams: Grams) -> list[int]:
    text = (row or b"").decode("utf-8", "surrogateescape")
    return [feature.number for feature in tokens.features(text, pairs=grams.pairs, chars=grams.chars)]


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.one_of(raw, st.none()), max_size=6),
    grams=st.sampled_from(GRAMS),
    large=st.booleans(),
    before=st.integers(0, 9),
    after=st.integers(0, 3),
    cut=st.integers(0, 6),
)
def test_numbers_are_the_references(rows, grams, large, before, after, cut):
    whole = string_array(rows, large=large, before=before, after=after)
    chunked = pa.chunked_array([whole.slice(0, cut), whole.slice(cut)], whole.type)
    numbers, bounds = features.feature_numbers(chunked, grams, 1)
    assert len(bounds) == len(rows) + 1
    for i, row in enumerate(rows):
        assert numbers[bounds[i] : bounds[i + 1]].tolist() == reference(row, grams)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(raw, min_size=1, max_size=5),
    grams=st.sampled_from(GRAMS),
    classes=st.sampled_from([1, 4, 5, 16, 17, 40]),
    wide=st.booleans(),
    placed=st.booleans(),
)
def test_sums_are_sums_of_known_rows(rows, grams, classes, wide, placed):
    rng = np.random.default_rng(classes)
    limit = 32767 if wide else 127
    table = rng.integers(-limit, limit, (300 if placed else 1024, lanes(classes))).astype(np.int16 if wide else np.int8)
    place = rng.integers(0, 300, 1024).astype(np.int32) if placed else None
    named = [np.array(reference(row, grams), np.uint64) for row in rows]
    learned = np.unique(np.concatenate(named))[::2]
    known = features.filter_of(learned)
    got = features.summed(
        pa.chunked_array([string_array(list(rows), large=False)]), grams, known, place, table,
        lambda totals, counts: np.column_stack([totals, counts]), 1,
    )  # fmt: skip
    for numbers, result in zip(named, got, strict=True):
        kept = numbers[features.is_known(numbers, known)]
        where = features.rows_of(kept, 10)
        expected = table[where if place is None else place[where]].astype(np.int64).sum(0)
        assert result[:-1].tolist() == expected.tolist()
        assert result[-1] == len(kept)


@given(numbers=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=200))
def test_the_filter_forgets_nothing(numbers):
    learned = np.array(numbers, np.uint64)
    assert features.is_known(learned, features.filter_of(learned)).all()


def test_the_filter_passes_few_strangers():
    rng = np.random.default_rng(0)
    learned, strangers = rng.integers(0, 2**63, (2, 20_000)).astype(np.uint64)
    assert features.is_known(strangers, features.filter_of(learned)).mean() < 0.05


def test_a_row_is_read_at_the_very_end_of_its_buffer():
    """No byte beyond the buffer: the text ends where the memory does, whatever its length."""
    for length in range(1, 200):
        text = ("ab " * length)[:length].encode()
        numbers, _ = features.feature_numbers(
            pa.chunked_array([string_array([text], large=False)]), Grams(True, None), 1
        )
        assert numbers.tolist() == reference(text, Grams(True, None))


def test_blocks_cover_every_row_once_and_bound_their_bytes(monkeypatch):
    monkeypatch.setattr(features, "BLOCK_ROWS", 3)
    monkeypatch.setattr(features, "BLOCK_BYTES", 10)
    rows = ["x" * n for n in (1, 2, 3, 4, 30, 0, 0, 0, 0, 11, 1)]
    lengths = [(b.ends - b.starts).tolist() for b in features.blocks(pa.chunked_array([rows[:5], [], rows[5:]]))]
    assert [n for block in lengths for n in block] == [len(row) for row in rows]
    assert all(len(block) <= 3 and (sum(block) <= 10 or len(block) == 1) for block in lengths)


def test_threads_do_not_change_numbers(monkeypatch):
    monkeypatch.setattr(features, "BLOCK_ROWS", 2)
    rows = pa.chunked_array([["one two", "three", "", None, "four five six", "seven"]])
    one, two = (features.feature_numbers(rows, Grams(True, (2, 3)), n) for n in (1, 2))
    assert one[0].tolist() == two[0].tolist()
    assert one[1].tolist() == two[1].tolist()


def test_case_and_punctuation_do_not_matter():
    first, second = tokens.features("Fears for T-N pension, ÄRGER!"), tokens.features("fears FOR t n (pension) ärger")
    assert [f.number for f in first] == [f.number for f in second]


def test_word_order_matters_to_pairs_alone():
    forward = {f.number for f in tokens.features("man bites dog")}
    backward = {f.number for f in tokens.features("dog bites man")}
    words = {f.number for f in tokens.features("man bites dog", pairs=False)}
    assert forward & backward == words


def test_spans_point_at_the_original_text():
    text = "Die ÄRZTE, 東京!"
    found = [text[f.start : f.end] for f in tokens.features(text)]
    assert found == ["Die", "Die", "ÄRZTE", "Die ÄRZTE", "東", "ÄRZTE, 東", "京", "東京"]


def test_the_lowest_bits_tell_words_pairs_and_characters_apart():
    kinds = [f.number & 3 if f.number & 1 == 0 else 1 for f in tokens.features("ab cd", chars=(1, 1))]
    assert kinds == [1, 0, 2, 2, 1, 0, 2, 2]


def test_character_grams_stay_inside_words_and_know_their_edges():
    grams = [("abc"[f.start : f.end], f.number) for f in tokens.features("abc", pairs=False, chars=(1, 2))]
    assert [text for text, _ in grams] == ["abc", "a", "b", "c", "ab", "bc"]
    middle = {f.number for f in tokens.features("xabcx", pairs=False, chars=(2, 2))}
    assert dict(grams)["ab"] not in middle  # "ab" at the start of a word is another feature than inside one


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 24, 25, 100])
def test_words_of_every_length_hash_alike(length):
    word = ("abcdefghij" * 10)[:length].encode()
    numbers, _ = features.feature_numbers(pa.chunked_array([string_array([word], large=True)]), Grams(False, None), 1)
    assert numbers.tolist() == [tokens.hash_bytes(word) | 1]


@pytest.mark.skipif(unicodedata.unidata_version != unicode.VERSION, reason="another Unicode version than the table's")
def test_the_shipped_table_is_what_the_rules_give():
    shipped, built = unicode.table(), unicode.build()
    assert np.array_equal(shipped.pages[shipped.page], built.pages[built.page])


def test_letters_fold_as_str_lower_does():
    chars = unicode.table()
    for character in "ÄÖÜÉŁŞЖЇΩԱǄ":
        assert chars.look_up(character) == (unicode.WORD, ord(character.lower()))


def test_compiled_code_is_kept_in_a_private_folder_when_nothing_else_can_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled.numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(compiled.os, "access", lambda *_: False)
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path))
    assert compiled._cache()
    private = next(tmp_path.iterdir())
    assert private.stat().st_mode & 0o777 == 0o700
    private.chmod(0o777)
    monkeypatch.setattr(compiled.numba.config, "CACHE_DIR", "")
    assert not compiled._cache()  # others could plant code there


def test_a_kernel_is_compiled_anew_when_the_code_that_it_is_built_on_changes(tmp_path):
    student = NgramClassifier(C=1.0).fit(["a", "b"], [0, 1])
    assert student.predict(["b"]).tolist() == [1]
    keys = {signature[-1] for signature in table_kernels.sum_rows.signatures}
    assert keys == {numba.types.Omitted(text_kernels.SOURCE)}
    file = tmp_path / "module.py"
    numbers = [compiled.source_code(str(file)) for text in ("x = 1", "x = 2") if file.write_text(text)]
    assert numbers[0] != numbers[1]
