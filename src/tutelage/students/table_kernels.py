"""From numbers to sums: the kernels that look features up and add their rows of a table.

1. `_known_rows` keeps the features that the student has learned, by one bit each (a Bloom filter with one hash function).
2. `_add_rows` sums these features' table rows, small integers in vector registers. Integer sums are exact, so the result does
   not depend on their order, on the machine or on the number of threads.

`sum_rows` does it for texts, in one pass with the reading of `text_kernels`; `gather_sums` for lists of rows, in training.
"""

# pyright: reportCallIssue=false
# (an intrinsic is called without the typing context that its definition takes)

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tutelage.students import text_kernels
from tutelage.students.compiled import address, inline, jit
from tutelage.students.text_kernels import numbers_of, scratch, tokenise

_U = np.uint64
LANES = (4, 8, 16, 32)
"""Widths of a table row for which there is vector code; wider rows are a multiple of the last."""


def lanes(columns: int) -> int:
    """The least width of a table row with vector code that holds so many columns.

    >>> lanes(3), lanes(17), lanes(100)
    (4, 32, 128)
    """
    most = LANES[-1]
    return next((width for width in LANES if columns <= width), -(-columns // most) * most)


def _row_adder(lanes: int):
    """The intrinsic that adds `lanes` columns, from `column` on, of table rows rows[first:last] to total[column:]."""

    @intrinsic
    def add(typing, table, rows, first, last, column, total):
        def generate(context, builder, signature, arguments):
            table_value, rows_value, first, last, column, total_value = arguments
            table_kind, rows_kind, *_, total_kind = signature.args
            width, real = table_kind.dtype.bitwidth, isinstance(table_kind.dtype, types.Float)
            narrow = ir.VectorType(ir.FloatType() if real else ir.IntType(width), lanes)
            wide = narrow if real else ir.VectorType(ir.IntType(32), lanes)
            word = ir.IntType(64)
            item = context.make_array(table_kind)(context, builder, table_value)
            stride = builder.extract_value(item.strides, 0)
            start = builder.gep(
                builder.bitcast(item.data, ir.IntType(8).as_pointer()),
                [builder.mul(column, ir.Constant(word, width // 8))],
            )
            numbers = builder.bitcast(
                context.make_array(rows_kind)(context, builder, rows_value).data, ir.IntType(32).as_pointer()
            )
            out = builder.bitcast(
                address(context, builder, total_kind, total_value, builder.mul(column, ir.Constant(word, 4))),
                wide.as_pointer(),
            )
            total_slot = cgutils.alloca_once(builder, wide)
            builder.store(builder.load(out, align=4), total_slot)
            with cgutils.for_range_slice(builder, first, last, ir.Constant(word, 1), word) as (index, _):
                row = builder.zext(builder.load(builder.gep(numbers, [index])), word)
                pointer = builder.bitcast(builder.gep(start, [builder.mul(row, stride)]), narrow.as_pointer())
                values = builder.load(pointer, align=width // 8)
                so_far = builder.load(total_slot)
                added = builder.fadd(so_far, values) if real else builder.add(so_far, builder.sext(values, wide))
                builder.store(added, total_slot)
            builder.store(builder.load(total_slot), out, align=4)
            return context.get_dummy_value()

        i = types.int64
        return types.void(table, rows, i, i, i, total), generate

    return add


_add4, _add8, _add16, _add32 = (_row_adder(lanes) for lanes in LANES)


@inline
def _add_rows(table, rows, first, last, total):
    """Add the table's rows rows[first:last] to total (S,): int8 or int16 to int32, float32 to float32."""
    width = table.shape[1]
    if width == 4:
        _add4(table, rows, first, last, 0, total)
    elif width == 8:
        _add8(table, rows, first, last, 0, total)
    elif width == 16:
        _add16(table, rows, first, last, 0, total)
    else:
        for column in range(0, width, 32):
            _add32(table, rows, first, last, column, total)


@inline
def _known_rows(numbers, m, known, shift, rows):
    """Table rows of the features whose bit in `known` is set, in order; returns how many there are."""
    mask = _U(len(known) - 1)
    kept = _U(0)  # unsigned: numba would check a signed index for being negative
    for j in range(m):
        number = numbers[j]
        rows[kept] = number >> shift
        kept += known[number >> _U(14) & mask] >> (number >> _U(8) & _U(63)) & _U(1)
    return np.int64(kept)


@jit
def sum_rows(
    data, starts, ends, page, pages, pairs, shortest, longest, known, place, table, totals, counts,
    text_source=text_kernels.SOURCE,
):  # fmt: skip
    """Sum of the table rows of each text's known features, and how many these are.

    known: bits (a power of two of 64-bit words) that are set for features the table knows; place (2^b,) int32: where in the
    table the row of a feature's highest b bits is, or empty where the table has them in that order; table (V or 2^b, S) int8
    or int16; fills totals (R, S) int32, counts (R,). text_source: part of the compiled code's key, never given.
    """
    folded, bounds, numbers = scratch(starts, ends, pairs, shortest, longest)
    rows = np.empty(len(numbers), np.uint32)
    shift = _U(65 - _bit_length(len(place) if len(place) else len(table)))
    for i in range(len(starts)):
        count = tokenise(data, starts[i], ends[i], page, pages, folded, bounds)
        m = numbers_of(folded, bounds, count, pairs, shortest, longest, numbers)
        m = _known_rows(numbers, m, known, shift, rows)
        if len(place):
            for j in range(m):
                rows[j] = place[rows[j]]
        counts[i] = m
        totals[i] = 0
        _add_rows(table, rows, 0, m, totals[i])


@inline
def _bit_length(n):
    bits = 0
    while n:
        n >>= 1
        bits += 1
    return bits


@jit
def gather_sums(table, rows, bounds, first, last, totals):
    """totals[i] = sum of table rows rows[bounds[i]:bounds[i + 1]] for i in [first, last): (V, S), float32 -> (R, S)."""
    for i in range(first, last):
        totals[i] = 0
        _add_rows(table, rows, bounds[i], bounds[i + 1], totals[i])
