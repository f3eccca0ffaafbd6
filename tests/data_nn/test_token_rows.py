"""Rows of tokens: windows, padding, and what is left out."""

from __future__ import annotations

import pytest

from tutelage.data.token_rows import token_rows
from tutelage.errors import InputError


def encode(text: str) -> list[int]:
    return [ord(character) for character in text]


def test_texts_are_cut_and_padded_and_nothing_else_is_lost():
    texts = ["abcdefg", "hi", "x", ""]
    rows = token_rows(texts, encode, length=3, pad=7)
    assert rows["x"].tolist() == [encode("abc"), encode("def"), [*encode("hi"), 7]], "the lone g and x predict nothing"
    assert rows["y"].tolist()[2] == [*encode("hi"), -100]
    assert (rows["y"][:2] == rows["x"][:2]).all()


def test_what_makes_no_row_is_refused():
    with pytest.raises(InputError, match="at least 2 tokens"):
        token_rows(["ab"], encode, length=1)
    with pytest.raises(InputError, match="no text has two"):
        token_rows(["a", ""], encode, length=4)
