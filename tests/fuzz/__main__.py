"""Coverage-guided fuzzing: `python -m tests.fuzz --target readers|replies|schemes|artifacts|kernels|all --seconds 60`.

Needs the extra `fuzz` (atheris). One target after the other, each in a process of its own, from the corpus that the last run left
in --folder. Prints a table, and every fault with the file that holds its input; ends with 1 if there was one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tutelage.errors import MissingExtra

TARGETS = ("readers", "replies", "schemes", "artifacts", "kernels")
ROOT = Path(__file__).parents[2]


class Figures(NamedTuple):
    """What libFuzzer counted: inputs, edges that the corpus covered at first and in the end, inputs kept, seconds."""

    inputs: int
    edges_before: int
    edges: int
    kept: int
    seconds: int


def figures(log: str) -> Figures:
    r"""The figures of a run from libFuzzer's log.

    >>> figures("#9 INITED cov: 5 ft: 7 corp: 2/8b\n#44 DONE cov: 6 ft: 9 corp: 3/9b\nDone 44 runs in 2 second(s)")
    Figures(inputs=44, edges_before=5, edges=6, kept=3, seconds=2)
    """
    lines = re.findall(r"^#(\d+)\s+(\w+)\s+cov: (\d+).*?corp: (\d+)/", log, re.MULTILINE)
    if not lines:
        return Figures(0, 0, 0, 0, 0)
    before = next((int(cov) for _, what, cov, _ in lines if what == "INITED"), 0)
    done = re.search(r"Done \d+ runs in (\d+)", log)
    return Figures(int(lines[-1][0]), before, int(lines[-1][2]), int(lines[-1][3]), int(done[1]) if done else 0)


def faults(folder: Path) -> list[str]:
    """A line for each fault in a target's folder: what and where, and the file with the input."""
    found = []
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if file.suffix == ".json":
            known = json.loads(file.read_text())
            found.append(f"{known['kind']}: {' '.join(known['message'].split())[:160]} ({file.with_suffix('')})")
        elif not file.with_suffix(".json").exists():
            found.append(f"{file.name.split('-')[0]} of the process ({file})")
    return found


def fuzz(name: str, folder: Path, seconds: int) -> tuple[Figures, list[str]]:
    """Run one target. The log stays in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.child", name, str(folder), str(seconds)]
    with (folder / "log.txt").open("wb") as log:
        status = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode
    log_text = (folder / "log.txt").read_text(errors="replace")
    found = faults(folder / "faults")
    if status and not any(" of the process" in line for line in found):
        found.append(f"the process ended with {status}: see {folder / 'log.txt'}")
    return figures(log_text), found


def main(arguments: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--target", choices=(*TARGETS, "all"), default="all")
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "fuzz", help="corpora, faults and logs")
    asked = parser.parse_args(arguments)
    if asked.seconds < 1:
        parser.error(f"--seconds must be at least 1; got {asked.seconds}")
    if find_spec("atheris") is None:
        print(MissingExtra("coverage-guided fuzzing", "fuzz"), file=sys.stderr)
        return MissingExtra.exit_code
    print("| target | inputs | a second | edges of the corpus at first | in the end | inputs kept | faults |")
    print("|---|---|---|---|---|---|---|")
    told: list[str] = []
    for name in TARGETS if asked.target == "all" else (asked.target,):
        folder = asked.folder.resolve() / name
        try:
            run, found = fuzz(name, folder, asked.seconds)
        except KeyboardInterrupt:
            print(
                f"interrupted; what was found so far is in {folder}, and the next search goes on from there",
                file=sys.stderr,
            )
            return 130
        speed = run.inputs / max(1, run.seconds or asked.seconds)
        print(
            f"| {name} | {run.inputs:,} | {speed:,.0f} | {run.edges_before:,} | {run.edges:,} | {run.kept:,} | {len(found)} |",
            flush=True,
        )
        told += [f"{name}: {line}" for line in found]
    print("\n".join(["", *told]) if told else "\nno fault")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
