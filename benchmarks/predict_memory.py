"""Does `tutelage predict` take constant memory? Millions of short texts through the real command, a table of peaks.

    python benchmarks/predict_memory.py AG_NEWS_TEST.csv [--millions 1 3 10] [--lines 1 3] [--folder SCRATCH]

The file is AG News' test part (class 1–4, title, description). Its titles with their human labels train an n-gram student,
which then labels titles drawn with replacement: `--millions` of them as Parquet (row groups of 100,000) into Parquet,
`--lines` millions as JSON Lines into JSON Lines and through standard input and output. Each row of the table is one command in
a process of its own; its memory is what Linux says was the most resident at a time, at half of the rows and at the end. If
memory is constant, the last column does not depend on the number of rows. Seconds of the CPU (all threads) tell the speed on a
machine that does other things too. The files need about 100 MB a million.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MILLION, GROUP = 1_000_000, 100_000


class Measured(NamedTuple):
    """One command: rows out, seconds by the clock and of the CPU, peak MiB until half of the rows were written and in all."""

    rows: int
    seconds: float
    busy: float
    early: float
    peak: float


def drawn(titles: list[str], rows: int) -> Iterator[object]:
    """Arrow tables of `GROUP` rows: a number and a title."""
    import numpy as np
    import pyarrow as pa

    pool, rng = pa.array(titles), np.random.default_rng(0)
    for start in range(0, rows, GROUP):
        texts = pool.take(pa.array(rng.integers(0, len(titles), GROUP)))
        yield pa.table({"n": pa.array(range(start, start + GROUP)), "text": texts})


def write(titles: list[str], rows: int, path: Path) -> None:
    """So many rows as Parquet or JSON Lines, a row group at a time."""
    import pyarrow.parquet as pq

    with path.open("wb") as stream:
        parquet = None
        for table in drawn(titles, rows):
            if path.suffix == ".parquet":
                parquet = parquet or pq.ParquetWriter(stream, table.schema)  # type: ignore[attr-defined]
                parquet.write_table(table)
            else:
                lines = (json.dumps(row) + "\n" for row in table.to_pylist())  # type: ignore[attr-defined]
                stream.write("".join(lines).encode())
        if parquet is not None:
            parquet.close()


def peak(process: int) -> float:
    """Most memory resident so far, MiB; 0 when the process has ended (`ru_maxrss` would count the parent's too)."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text(encoding="utf-8"))
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def watch(student: Path, source: Path, out: Path, *, pipe: bool) -> Measured:
    """Run the command and look at it twenty times a second. Raises: RuntimeError: it failed."""
    command = [sys.executable, "-m", "tutelage", "predict", str(student), "-" if pipe else str(source), "--quiet"]
    command += [] if pipe else ["--out", str(out)]
    seen: list[tuple[float, int]] = []  # peak and bytes written so far
    done = threading.Event()
    started = time.perf_counter()
    with source.open("rb") as stdin, (out if pipe else out.with_name("log")).open("wb") as stdout:
        process = subprocess.Popen(command, stdin=stdin if pipe else subprocess.DEVNULL, stdout=stdout)

        def look() -> None:
            while not done.wait(0.05):
                written = sum(file.stat().st_size for file in out.parent.glob(f"*{out.name}*"))
                if now := peak(process.pid):
                    seen.append((now, written))

        watcher = threading.Thread(target=look)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        done.set()
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    half = out.stat().st_size / 2
    early = max((memory for memory, written in seen if written <= half), default=0.0)
    busy = usage.ru_utime + usage.ru_stime
    return Measured(rows_in(out), seconds, busy, early, max(memory for memory, _ in seen))


def rows_in(path: Path) -> int:
    """Rows of a Parquet file, lines of another one."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_metadata(path).num_rows
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))


def main() -> None:
    """Train, generate, run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--millions", type=int, nargs="*", default=[1, 3, 10])
    parser.add_argument("--lines", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--folder", type=Path, help="where the files go for the time being")
    arguments = parser.parse_args()
    from tutelage.data.sources import ag_news
    from tutelage.students import NgramClassifier

    corpus = ag_news(arguments.file)
    titles = [text.split(". ")[0] for text in corpus["text"].to_pylist()]
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        folder = Path(scratch)
        student = NgramClassifier().fit(titles, corpus["gold"].to_pylist()).save(folder / "student")
        heads = ("rows", "seconds", "CPU s", "rows/s", "rows/CPU s", "MiB at half", "peak MiB")
        print(f"{'input':<8}" + "".join(f"{head:>13}" for head in heads))
        jobs = [("parquet", n, False) for n in arguments.millions]
        jobs += [("jsonl", n, pipe) for pipe in (False, True) for n in arguments.lines]
        for ending, millions, pipe in jobs:
            source, out = folder / f"in.{ending}", folder / f"out.{ending}"
            write(titles, millions * MILLION, source)
            got = watch(student, source, out, pipe=pipe)
            if got.rows != millions * MILLION:
                raise SystemExit(f"{got.rows:,} rows came out of {millions * MILLION:,}")
            cells = (f"{got.rows:,}", f"{got.seconds:.1f}", f"{got.busy:.1f}", f"{got.rows / got.seconds:,.0f}")
            cells += (f"{got.rows / got.busy:,.0f}", f"{got.early:.0f}", f"{got.peak:.0f}")
            print(f"{'stdin' if pipe else ending:<8}" + "".join(f"{cell:>13}" for cell in cells), flush=True)
            source.unlink()
            out.unlink()


if __name__ == "__main__":
    main()
