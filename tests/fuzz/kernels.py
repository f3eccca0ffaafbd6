"""The compiled kernels over Arrow's buffers: any bytes, any layout, against plain Python, next to memory that may not be read."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from tests.fuzz.promise import Draws, Target, walled, walled_array
from tutelage.students import dense_kernels, features, tokens
from tutelage.students.features import Grams
from tutelage.students.table_kernels import lanes

GRAMS = (Grams(True, None), Grams(False, None), Grams(True, (2, 4)), Grams(False, (1, 3)), Grams(True, (1, 8)))
COLUMNS = (1, 4, 5, 9, 17, 40)


def texts(draws: Draws) -> tuple[pa.Array, list[bytes]]:
    """A string array in a layout that Arrow allows, whose bytes end at the wall, and the rows that it means."""
    flags, before = draws.below(8), draws.below(20)
    large, nulls, holes = bool(flags & 1), bool(flags & 2), bool(flags & 4)
    lengths = [draws.below(256) for _ in range(draws.below(12))]
    skip = draws.below(256) if holes else 0
    data = draws.rest()
    ends = np.minimum(np.cumsum([skip, *lengths]), len(data))
    offsets = np.concatenate([np.full(before, min(skip, len(data))), ends])
    count = len(offsets) - 1
    there = np.array([(n * 7 + flags) % 3 > 0 for n in range(count)] if nulls else [True] * count, bool)
    bounds = walled(offsets.astype(np.int64 if large else np.int32).tobytes())
    valid = walled(np.packbits(there, bitorder="little").tobytes()) if nulls else None
    kind = pa.large_string() if large else pa.string()
    array = pa.Array.from_buffers(kind, count, [valid, bounds, walled(data)])
    rows = [data[a:b] if there[n] else b"" for n, (a, b) in enumerate(pairwise(offsets))]
    cut = min(before // 2, count)
    return array.slice(cut), rows[cut:]


def run(data: bytes) -> None:
    """See `TARGET`."""
    draws = Draws(data)
    grams, columns, wide = GRAMS[draws.below(len(GRAMS))], COLUMNS[draws.below(len(COLUMNS))], draws.below(2)
    placed, seed = draws.below(2), draws.below(256)
    array, rows = texts(draws)
    column = pa.chunked_array([array.slice(0, seed % 5), array.slice(seed % 5)], array.type)
    expected = [_reference(row, grams) for row in rows]

    numbers, bounds = features.feature_numbers(column, grams, 1)
    assert bounds.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert numbers.tolist() == [number for row in expected for number in row]
    if not rows:
        return

    rng = np.random.default_rng(seed)
    kind = np.int16 if wide else np.int8
    table = walled_array(rng.integers(-127, 128, (16 if placed else 64, lanes(columns))).astype(kind))
    place = walled_array(rng.integers(0, 16, 64).astype(np.int32)) if placed else None
    known = walled_array(features.filter_of(np.unique(numbers)[::2]))
    got = features.summed(
        column, grams, known, place, table, lambda totals, counts: np.column_stack([totals, counts]), 1
    )
    for named, result in zip(expected, got, strict=True):
        kept = np.array(named, np.uint64)
        kept = kept[features.is_known(kept, known)]
        where = features.rows_of(kept, 6)
        assert result[:-1].tolist() == table[where if place is None else place[where]].astype(int).sum(0).tolist()
        assert result[-1] == len(kept)

    totals = np.ascontiguousarray(got[:, :columns].astype(np.int32))
    logits = np.empty((len(rows), columns), np.float32)
    best = np.empty(len(rows), np.int64)
    scale, bias = np.full(columns, 0.01, np.float32), rng.normal(size=columns).astype(np.float32)
    dense_kernels.centred_logits(totals, got[:, -1].astype(np.int64), scale, bias, logits)
    dense_kernels.best_columns(logits, best)
    assert (logits.max(1) == 0).all()
    assert (best == logits.argmax(1)).all()


def _reference(row: bytes, grams: Grams) -> list[int]:
    text = row.decode("utf-8", "surrogateescape")
    return [feature.number for feature in tokens.features(text, pairs=grams.pairs, chars=grams.chars)]


def seeds() -> list[bytes]:
    """Words of several scripts, broken UTF-8, long words, in every kind of layout."""
    contents = [
        "Fears for T-N pension, ÄRGER! don't".encode(),
        "ΟΔΟΣ İ ẞ Ⱥ 東京 tower 😀😀 ❤\ufe0f สวัสดี e\u0301".encode(),
        b"\xff\xfe\xc3 a\xf0\x9f\x98 \xed\xa0\x80 \x00 \xc0\x80",
        b"x" * 70 + b" " + b"ab cd " * 12,
        ("Å" * 40 + "ﬁ" * 30).encode(),
    ]
    return [
        bytes([n % 5, n % 6, n % 2, n // 2 % 2, n, n % 8, n % 20, 4, 9, 0, 33, 64, 2]) + content
        for n, content in enumerate(contents * 3)
    ]


TARGET = Target(
    "The kernels give what plain Python gives, for any bytes in any layout of Arrow, and read no byte beyond their buffers.",
    run,
    seeds,
    words=("İ".encode(), "ẞ".encode(), "東".encode(), "😀".encode(), b"\xed\xa0\x80", b"\xc0", b"\xf4\x90", b"'", b" "),
)
