"""One target under atheris, in a process of its own: `python -m tests.fuzz.child NAME FOLDER SECONDS`; see `__main__`.

Everything that a target raises is written into FOLDER/faults, once for each place that it comes from, and the search goes on.
What ends the process (a segmentation fault, a hang outside of Python, memory without end) is left to libFuzzer, which keeps the
input.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import traceback
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from tests.fuzz.promise import SECONDS, Target, keeps_promise

COMPILED = tuple(
    f"tutelage.students.{name}"
    for name in ("compiled", "text_kernels", "table_kernels", "dense_kernels", "training_kernels", "propagation")
)
"""numba takes bytecode as Python makes it; their plain reference in `tokens` leads the search instead."""
BESIDES = {"readers": ("pypdf", "html"), "schemes": ("yaml",)}
"""Libraries written in Python whose branches lead the search too, as this package's do."""
MEMORY = 2048
"""Megabytes."""


def main(name: str, folder: Path, seconds: int) -> None:
    """Search until the time is over; does not return."""
    if (
        name == "kernels"
    ):  # what indexes an array inside of a kernel is checked too; compiled code of that kind is kept apart
        os.environ |= {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(folder / "numba")}
    from atheris import Fuzz, Setup, instrument_imports  # pyright: ignore

    warnings.simplefilter("ignore")
    package = f"tests.fuzz.{name}"
    with instrument_imports(include=["tutelage", *BESIDES.get(name, ())], exclude=COMPILED):
        target: Target = import_module(package).TARGET
    corpus, seeds, faults = (folder / part for part in ("corpus", "seeds", "faults"))
    for part in (corpus, seeds, faults):
        part.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        with suppress(Exception):
            target.run(seed)  # compiles and imports, which is not to be counted as the first input's time
        (seeds / f"{number:03d}").write_bytes(seed)
    words = ("".join(f"\\x{byte:02x}" for byte in word) for word in target.words)
    (folder / "words.txt").write_text("".join(f'"{word}"\n' for word in words))

    def one(data: bytes) -> None:
        keep(faults, target, data)

    longest = max(4096, 2 * max(map(len, target.seeds())))
    options = {
        "max_total_time": seconds, "max_len": longest, "len_control": 0, "timeout": 6 * int(SECONDS), "rss_limit_mb": MEMORY,
        "dict": folder / "words.txt", "artifact_prefix": f"{faults}/", "print_final_stats": 1,
    }  # fmt: skip
    Setup([name, *(f"-{key}={value}" for key, value in options.items()), str(corpus), str(seeds)], one)
    Fuzz()


def keep(folder: Path, target: Target, data: bytes) -> None:
    """Try one input; write a fault down when nothing was raised from its place before."""
    try:
        keeps_promise(target, data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "tutelage" in frame.filename or "fuzz" in frame.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        kind = f"{type(error).__name__} at {place}"
        file = folder / hashlib.sha256(kind.encode()).hexdigest()[:12]
        if not file.exists():
            file.write_bytes(data)
            message = {"kind": kind, "message": str(error)[:500], "trace": traceback.format_exception(error)}
            file.with_suffix(".json").write_text(json.dumps(message, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
