"""What a target is, and what every target promises besides its own sentence: an end, one line a fault, no byte out of bounds."""

from __future__ import annotations

import ctypes
import mmap
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tutelage.errors import TutelageError

SECONDS = 5.0
"""Processor time that one input may take; the largest is a few kilobytes."""


@dataclass(frozen=True)
class Target:
    """One of the areas that are fuzzed.

    Args:
        promise: what must hold for any bytes, in one sentence. run: raises where it does not.
        seeds: small valid inputs, from which mutations start. words: what a mutation may put in.
    """

    promise: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()


class Hang(BaseException):
    """An input took more than its time. No `Exception`, so that no reader takes it for a fault of its file."""


@contextmanager
def within(seconds: float = SECONDS) -> Iterator[None]:
    """End what takes more processor time than this; the load of the machine does not count.

    >>> with within(0.05):
    ...     while True: pass
    Traceback (most recent call last):
    tests.fuzz.promise.Hang: more than 0.05 s for one input

    Raises: Hang.
    """

    def stop(number: int, frame: object) -> None:
        raise Hang(f"more than {seconds:g} s for one input")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def keeps_promise(target: Target, data: bytes) -> None:
    """Raises: whatever the target raises for these bytes; Hang."""
    with within():
        target.run(data)


@contextmanager
def one_line() -> Iterator[None]:
    """Pass over a fault that is told to the user, as long as it is told in one line that can be printed.

    Raises: AssertionError: more lines, or none; everything else that is raised inside.
    """
    try:
        yield
    except TutelageError as error:
        message = str(error)
        assert message.strip(), "an error without a word"
        assert not {"\n", "\r"} & {*message}, f"an error of several lines: {message!r}"
        message.encode()


class _Page:
    """Memory whose last page may not be touched."""

    def __init__(self, size: int) -> None:
        self.room = -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = mmap.mmap(-1, self.room + mmap.PAGESIZE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        libc = ctypes.CDLL(None, use_errno=True)
        end = ctypes.c_void_p(self.address + self.room)
        if libc.mprotect(end, ctypes.c_size_t(mmap.PAGESIZE), ctypes.c_int(0)):
            raise OSError(ctypes.get_errno(), "mprotect")


def walled(data: bytes) -> pa.Buffer:
    """The bytes as an Arrow buffer that ends where readable memory ends: one byte too far is a segmentation fault.

    >>> walled(b"abc").to_pybytes()
    b'abc'
    """
    page = _Page(len(data))
    page.memory[page.room - len(data) : page.room] = data
    return pa.foreign_buffer(page.address + page.room - len(data), len(data), base=page)


def walled_array(values: np.ndarray) -> np.ndarray:
    """A copy that ends where readable memory ends.

    >>> walled_array(np.eye(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    page = _Page(values.nbytes)
    copy = np.frombuffer(page.memory, values.dtype, values.size, page.room - values.nbytes).reshape(values.shape)
    copy[...] = values
    return copy


class Draws:
    """Decisions from the front of some bytes; zeros when they are spent.

    >>> draws = Draws(b"\\x05ab")
    >>> draws.below(3), draws.rest()
    (2, b'ab')
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, count: int) -> bytes:
        """The next bytes, fewer at the end."""
        piece = self._data[self._place : self._place + count]
        self._place += len(piece)
        return piece

    def below(self, count: int) -> int:
        """A number in [0, count), of one byte."""
        return int.from_bytes(self.take(1), "little") % count

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))
