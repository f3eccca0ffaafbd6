"""Small operations on one text: normal form, truncation by words, chunks with spans.

All of them are pure and know nothing of labels or teachers.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata

_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])\s+|\n{2,}")
_WORD = re.compile(r"\S+")
_PAGE_NUMBER = re.compile(r"(?:page|seite|p\.)?\s*\d{1,4}(?:\s*(?:/|of|von)\s*\d{1,4})?", re.IGNORECASE)
_HYPHENATED = re.compile(r"([^\W\d_])[-\u2010]\n([a-zß-öø-ÿ])")
_SURROGATE = re.compile("[\ud800-\udfff]")

MAX_TEXT_BYTES = 1_000_000
"""A longer text is no text but a file that lost its line ends; readers reject it."""


def normalise(text: str) -> str:
    """The form in which two texts count as the same: case folded, white space squeezed, NFC.

    Folding is done on decomposed characters (Unicode's canonical caseless match), so that it does not matter how an accent
    was typed.

    >>> normalise("  Der  Preis\\nSTEIGT ")
    'der preis steigt'
    """
    folded = unicodedata.normalize("NFD", text).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())


def text_id(text: str) -> str:
    """A stable id made from the text: the first 16 hex digits of sha256 over its normal form.

    >>> text_id("Prices rise") == text_id(" prices  RISE")
    True
    """
    return hashlib.sha256(normalise(text).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def clean_text(text: str) -> str:
    """A page of a document as running text: words joined over line ends, page numbers dropped, paragraphs kept.

    Compatibility characters (ligatures, full-width forms) become plain ones (NFKC), soft hyphens go. Paragraphs are
    separated by one empty line, and have no line ends inside.

    >>> clean_text("The reﬁne-\\nment of\\nlabels.\\n\\n12\\n\\n Next  one.")
    'The refinement of labels.\\n\\nNext one.'
    """
    plain = unicodedata.normalize("NFKC", text.replace("\u00ad", "")).replace("\x00", "")
    lines = [line.strip() for line in plain.splitlines()]
    joined = "\n".join("" if _PAGE_NUMBER.fullmatch(line) else line for line in lines)
    joined = _HYPHENATED.sub(r"\1\2", joined)
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n{2,}", joined))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def truncate_words(text: str, limit: int) -> tuple[str, bool]:
    """Keep the first `limit` words (split at white space); says whether anything was cut.

    The kept part is a prefix of the text, so spans into it are spans into the original.

    >>> truncate_words("one two  three four", 3)
    ('one two  three', True)
    >>> truncate_words("one two", 3)
    ('one two', False)

    Raises: ValueError: `limit` below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1 word; got {limit}")
    if len(text) <= limit:  # a word takes at least one character
        return text, False
    for count, match in enumerate(_WORD.finditer(text), 1):
        if count == limit:
            end = match.end()
            return (text[:end], True) if text[end:].strip() else (text, False)
    return text, False


def fault(value: object) -> str | None:
    """Why a value cannot be used as a text, or None when it can.

    Bytes stand for a text that is not UTF-8, as do lone surrogates, which are no characters.

    >>> fault("  "), fault(3), fault("fine")
    ('empty', 'not_text', None)
    """
    if value is None:
        return "empty"
    if isinstance(value, bytes):
        return "invalid_utf8" if len(value) <= MAX_TEXT_BYTES else "too_long"
    if not isinstance(value, str):
        return "not_text"
    if not value or value.isspace():
        return "empty"
    if len(value) > MAX_TEXT_BYTES or (
        len(value) * 4 > MAX_TEXT_BYTES and len(value.encode("utf-8", "replace")) > MAX_TEXT_BYTES
    ):
        return "too_long"
    if "\x00" in value:
        return "nul_bytes"
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return "invalid_utf8"
    return None


def as_text(value: object) -> str | None:
    """Any value as a text that can be written as UTF-8: nested values as JSON, what is no character as U+FFFD.

    >>> as_text("a"), as_text(7), as_text([True]), as_text("\\ud800"), as_text(None)
    ('a', '7', '[true]', '\ufffd', None)
    """
    if value is None:
        return None
    if type(value) is int:
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def chunk_text(text: str, limit: int, *, overlap: int = 0) -> list[tuple[int, int]]:
    """Cut a text into spans of at most `limit` characters that end at sentence ends: -> [(start, end), …].

    Neighbouring spans share up to `overlap` characters of whole sentences. A single sentence longer than `limit` is cut
    at white space (or hard, where there is none), since no sentence boundary can be respected there.

    >>> chunk_text("One is here. Two is here. Three.", 26)
    [(0, 25), (26, 32)]

    Raises: ValueError: `limit` below 1 or `overlap` not in [0, limit).
    """
    if limit < 1 or not 0 <= overlap < limit:
        raise ValueError(f"need limit >= 1 and 0 <= overlap < limit; got limit={limit}, overlap={overlap}")
    sentences = _sentence_spans(text, limit)
    spans: list[tuple[int, int]] = []
    first = 0
    while first < len(sentences):
        last = first
        while last + 1 < len(sentences) and sentences[last + 1][1] - sentences[first][0] <= limit:
            last += 1
        spans.append((sentences[first][0], sentences[last][1]))
        following = last + 1
        while (
            following - 1 > first
            and following < len(sentences)
            and sentences[last][1] - sentences[following - 1][0] <= overlap
        ):
            following -= 1
        first = following
    return spans


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text are: -> [(start, end), …], without the white space around them.

    >>> sentence_spans("One is here. Two?")
    [(0, 12), (13, 17)]
    """
    return _sentence_spans(text, max(1, len(text)))


def _sentence_spans(text: str, limit: int) -> list[tuple[int, int]]:
    """Spans of sentences without surrounding white space, none longer than `limit`."""
    spans = []
    start = 0
    for end, next_start in [(m.start(), m.end()) for m in _SENTENCE_END.finditer(text)] + [(len(text), len(text))]:
        piece = text[start:end]
        left = start + len(piece) - len(piece.lstrip())
        right = end - (len(piece) - len(piece.rstrip()))
        while right - left > limit:
            cut = next((place for place in range(left + limit, left, -1) if text[place].isspace()), left + limit)
            spans.append((left, left + len(text[left:cut].rstrip())))
            left = cut + (len(text[cut:right]) - len(text[cut:right].lstrip()))
        if right > left:
            spans.append((left, right))
        start = next_start
    return spans
