"""How kernels are compiled: once a machine, to serial code without the GIL, kept where only this user can write.

numba keeps compiled code as long as the file that holds the function stays the same, and looks at no other. A kernel that is
built on another module's kernels therefore takes that module's `source_code` as the default of a last argument: numba
compiles anew for every value of such a default.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from pathlib import Path

import numba
from llvmlite import ir


def _cache() -> bool:
    """Whether compiled code can be kept: beside this file, in the user's cache, else in a private temporary folder."""
    if numba.config.CACHE_DIR:  # type: ignore[attr-defined]
        return True
    here, home = Path(__file__).parent, Path.home() / ".cache"
    if any(
        os.access(place, os.W_OK) for place in (here / "__pycache__" if (here / "__pycache__").exists() else here, home)
    ):
        return True
    private = Path(tempfile.gettempdir()) / f"tutelage-numba-{os.getuid()}"
    try:
        private.mkdir(mode=0o700, exist_ok=True)
        status = private.lstat()
    except OSError:
        return False
    if private.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        return False  # compiled code is loaded from there: nobody else may write it
    numba.config.CACHE_DIR = str(private)  # type: ignore[attr-defined]
    return True


jit = numba.njit(nogil=True, cache=_cache(), error_model="numpy")
"""Makes a kernel: compiled when first called, kept for later processes."""
inline = numba.njit(nogil=True, inline="always", error_model="numpy")
"""Makes a part of kernels, compiled into each of them."""


def source_code(file: str) -> int:
    """A number that changes whenever the file does (CRC-32).

    >>> source_code(__file__) == source_code(__file__) > 0
    True
    """
    return zlib.crc32(Path(file).read_bytes())


def address(context, builder, kind, array, index):
    """For intrinsics: where byte `index` of an array's data is. All but `index` are what numba hands to code generators."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [index])
