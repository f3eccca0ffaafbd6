"""From bytes to numbers: the kernels that read Arrow string buffers, without a Python object a text.

What is computed is defined in `tutelage.students.tokens`. How:

1. `tokenise` lower-cases 64 bytes at a time and gets, as one 64-bit number, which of them belong to words; the number's
   edges are the words' bounds. Characters beyond ASCII are decoded one by one and looked up.
2. `_hash` reads a word as two 64-bit numbers, more only where it is longer than 16 bytes.
3. `numbers_of` hashes words, their pairs from the words' hashes, and character n-grams where they are wanted.

All kernels are serial and release the GIL; `tutelage.students.threads` runs them over blocks of rows. They never read
outside `data`, whatever bytes it holds, given 0 <= starts <= ends <= len(data).
"""

# pyright: reportCallIssue=false
# (an intrinsic is called without the typing context that its definition takes)

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tutelage.students import tokens
from tutelage.students.compiled import address, inline, jit, source_code

_U = np.uint64
_P1, _P2, _P3, _P4 = (_U(p) for p in (tokens.P1, tokens.P2, tokens.P3, tokens.P4))
_START, _END = _U(tokens.START), _U(tokens.END)
_LOW = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(17)], np.uint64)
_HIGH = np.array([(1 << 8 * max(n - 8, 0)) - 1 for n in range(17)], np.uint64)
_BLOCK = 64
PADDING = 128
"""Bytes of scratch beyond the longest text."""
SOURCE = source_code(__file__)
"""Stands for the code below in the caches of kernels that are built on it (see `compiled`)."""


@intrinsic
def _load(typing, array, index):
    """The 8 bytes of a byte array from `index` on, as one number."""

    def generate(context, builder, signature, arguments):
        pointer = address(context, builder, signature.args[0], *arguments)
        return builder.load(builder.bitcast(pointer, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(array, types.int64), generate


@intrinsic
def _count_zeros(typing, number):
    """Position of the lowest bit that is set; `number` is not zero."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@intrinsic
def _fold_block(typing, source, i, target, j):
    """Copy 64 bytes in lower case; bit k of the result says that byte k is a letter or digit (0), is not ASCII (1)."""

    def generate(context, builder, signature, arguments):
        vector = ir.VectorType(ir.IntType(8), _BLOCK)

        def all_of(value: int) -> ir.Constant:
            return ir.Constant(vector, [value] * _BLOCK)

        def within(x: ir.Value, first: str, count: int) -> ir.Value:
            return builder.icmp_unsigned("<", builder.sub(x, all_of(ord(first))), all_of(count))

        pointer = address(context, builder, signature.args[0], *arguments[:2])
        x = builder.load(builder.bitcast(pointer, vector.as_pointer()), align=1)
        lower = builder.select(within(x, "A", 26), builder.or_(x, all_of(32)), x)
        pointer = address(context, builder, signature.args[2], *arguments[2:])
        builder.store(lower, builder.bitcast(pointer, vector.as_pointer()), align=1)
        word = builder.or_(within(lower, "a", 26), within(lower, "0", 10))
        foreign = builder.icmp_signed("<", x, all_of(0))
        bits = [builder.bitcast(mask, ir.IntType(_BLOCK)) for mask in (word, foreign)]
        return context.make_tuple(builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, 2)(source, types.int64, target, types.int64), generate


@inline
def _decode(data, i, end):
    """The code point at byte i (not ASCII) and its length, strictly; (0, 1) where the bytes are not UTF-8."""
    a = np.int64(data[i])
    n = 2 if 0xC2 <= a < 0xE0 else 3 if 0xE0 <= a < 0xF0 else 4 if 0xF0 <= a < 0xF5 else 0
    if n == 0 or i + n > end:
        return 0, 1
    code = a & (0xFF >> (n + 1))
    for k in range(1, n):
        b = np.int64(data[i + k])
        if b & 0xC0 != 0x80:
            return 0, 1
        code = code << 6 | (b & 0x3F)
    overlong = (n == 3 and code < 0x800) or (n == 4 and code < 0x10000)
    if overlong or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return 0, 1
    return code, n


@inline
def _encode(code, target, o):
    """Write a code point as UTF-8 at target[o:] and return its length."""
    if code < 0x80:
        target[o] = code
        return 1
    if code < 0x800:
        target[o] = 0xC0 | code >> 6
        target[o + 1] = 0x80 | (code & 0x3F)
        return 2
    if code < 0x10000:
        target[o] = 0xE0 | code >> 12
        target[o + 1] = 0x80 | (code >> 6 & 0x3F)
        target[o + 2] = 0x80 | (code & 0x3F)
        return 3
    target[o] = 0xF0 | code >> 18
    target[o + 1] = 0x80 | (code >> 12 & 0x3F)
    target[o + 2] = 0x80 | (code >> 6 & 0x3F)
    target[o + 3] = 0x80 | (code & 0x3F)
    return 4


@inline
def tokenise(data, start, end, page, pages, folded, bounds):
    """Fold data[start:end] into `folded`; bounds[2t], bounds[2t + 1] are token t's bounds there. Returns 2 × tokens."""
    count = _U(0)
    inside = _U(0)
    i = start
    o = np.int64(0)
    tail = len(folded) - _BLOCK  # scratch for a block that would reach beyond the buffer
    while i < end:
        if i + _BLOCK <= len(data):
            word, foreign = _fold_block(data, i, folded, o)
        else:
            for k in range(_BLOCK):
                folded[tail + k] = data[i + k] if i + k < end else 0
            word, foreign = _fold_block(folded, tail, folded, o)
        n = min(_BLOCK, end - i)
        if foreign != _U(0):
            n = min(n, _count_zeros(foreign))
        if n > 0:
            kept = ~_U(0) >> _U(_BLOCK - n)
            edges = (word ^ (word << _U(1) | inside)) & kept
            inside = word >> _U(n - 1) & _U(1)
            while edges != _U(0):
                bounds[count] = o + _count_zeros(edges)
                count += _U(1)
                edges &= edges - _U(1)
            i += n
            o += n
        while i < end and data[i] >= 0x80:
            code, length = _decode(data, i, end)
            entry = pages[page[code >> 8], code & 255] if code else np.uint32(0)
            kind = entry >> np.uint32(30)
            i += length
            if kind != 1 and inside:
                bounds[count] = o
                count += _U(1)
                inside = _U(0)
            if kind == 1 and not inside:
                bounds[count] = o
                count += _U(1)
                inside = _U(1)
            if kind == 2:
                bounds[count] = o
                count += _U(1)
            if kind != 0:
                o += _encode((code + np.int64(entry)) & 0x3FFFFFFF, folded, o)
            if kind == 2:
                bounds[count] = o
                count += _U(1)
    if inside:
        bounds[count] = o
        count += _U(1)
    return np.int64(count)


@inline
def _hash(folded, start, n):
    """The number of the n bytes from `start` on."""
    m = min(n, 16)
    h = (_load(folded, start) & _LOW[m]) * _P1
    h ^= h >> _U(32)
    h = (h ^ (_load(folded, start + 8) & _HIGH[m])) * _P2
    h ^= h >> _U(32)
    done = 16
    while done < n:
        h = (h ^ (_load(folded, start + done) & _LOW[min(n - done, 8)])) * _P1
        h ^= h >> _U(32)
        done += 8
    return h


@inline
def _pair(previous, h):
    return (previous + (h << _U(23) | h >> _U(41))) * _P3 & ~_U(3)


@jit
def _character_numbers(folded, start, end, shortest, longest, numbers, m):
    """Append the numbers of a token's character n-grams; returns how many numbers there are now."""
    length = 0
    for k in range(start, end):
        length += (folded[k] & 0xC0) != 0x80
    for n in range(shortest, min(longest, length - 1) + 1):
        left = start
        right = start
        for _ in range(n):
            right = _next_character(folded, right, end)
        while True:
            number = _hash(folded, left, right - left) * _P4
            numbers[m] = number + _START * _U(left == start) + _END * _U(right == end) & ~_U(1) | _U(2)
            m += 1
            if right == end:
                break
            left = _next_character(folded, left, end)
            right = _next_character(folded, right, end)
    return m


@inline
def _next_character(folded, i, end):
    i += 1
    while i < end and folded[i] & 0xC0 == 0x80:
        i += 1
    return i


@inline
def numbers_of(folded, bounds, count, pairs, shortest, longest, numbers):
    """The 64-bit numbers of all features of a tokenised text; returns how many there are."""
    m = 0
    previous = _U(0)
    if pairs and longest == 0:  # the usual case, without a branch a token
        for t in range(_U(0), _U(count), _U(2)):
            start = np.int64(bounds[t])
            h = _hash(folded, start, np.int64(bounds[t + _U(1)]) - start)
            numbers[t] = h | _U(1)
            numbers[t + _U(1)] = _pair(previous, h)
            previous = h
        return count
    for t in range(0, count, 2):
        h = _hash(folded, np.int64(bounds[t]), np.int64(bounds[t + 1] - bounds[t]))
        numbers[m] = h | _U(1)
        m += 1
        if pairs:
            numbers[m] = _pair(previous, h)
            m += 1
        if longest > 0:
            m = _character_numbers(folded, np.int64(bounds[t]), np.int64(bounds[t + 1]), shortest, longest, numbers, m)
        previous = h
    return m


@inline
def scratch(starts, ends, pairs, shortest, longest):
    """Buffers for the longest of the texts: folded bytes, token bounds, feature numbers."""
    longest_text = 0
    for i in range(len(starts)):
        longest_text = max(longest_text, ends[i] - starts[i])
    # a fold may take 3 bytes for 2; a token takes a byte and a separator; there are no more n-grams of one length than bytes
    folded = np.zeros(longest_text + longest_text // 2 + 2 * PADDING, np.uint8)
    lengths = longest - shortest + 1 if longest > 0 else 0
    most = (longest_text // 2 + 1) * (2 if pairs else 1) + longest_text * lengths
    return folded, np.empty(longest_text + 4, np.int32), np.empty(most, np.uint64)


@jit
def feature_numbers(data, starts, ends, page, pages, pairs, shortest, longest, out, counts):
    """Numbers of all features of the texts, one after the other: fills out, counts (R,); returns the total."""
    folded, bounds, numbers = scratch(starts, ends, pairs, shortest, longest)
    total = 0
    for i in range(len(starts)):
        count = tokenise(data, starts[i], ends[i], page, pages, folded, bounds)
        m = numbers_of(folded, bounds, count, pairs, shortest, longest, numbers)
        out[total : total + m] = numbers[:m]
        counts[i] = m
        total += m
    return total
