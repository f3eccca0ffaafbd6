"""Which smoke forms are due: those of studies whose own files changed, and a rotating share of the rest.

A study's own files are its module, its method, and the private pieces beside them; what lies on lower floors has tests of
its own. Changed is what differs from the merge base with the main branch (on the main branch itself: from the commit
before), and what is new. One in `ROUND` of the others is due; which ones follows from the commit, so that a commit always
gets the same ones. Where git cannot tell (no repository, a shallow clone), all go by rotation.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tutelage.studies.catalogue import Entry
from tutelage.studies.fingerprint import sources

ROUND = 6
MAIN = ("origin/main", "main")
OWN = ("tutelage.studies.", "tutelage.methods.")


@dataclass(frozen=True)
class Due:
    """The smoke forms of a run: studies that changed, studies whose turn it is, and how that was decided."""

    changed: tuple[Entry, ...]
    turn: tuple[Entry, ...]
    others: int
    reason: str

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything that is due, in the order of the catalogue's families and slugs."""
        return tuple(sorted((*self.changed, *self.turn), key=lambda entry: (entry.family, entry.slug)))

    def __str__(self) -> str:
        changed = f"{len(self.changed)} changed{_names(self.changed)}"
        return f"smoke forms: {changed}; {len(self.turn)} of {self.others} others by rotation{_names(self.turn)}; {self.reason}"


def due(entries: Sequence[Entry], root: Path) -> Due:
    """What is due in the checkout at `root`."""
    files, reason = changed_files(root)
    changed = tuple(entry for entry in entries if files & own_files(entry))
    rest = [entry for entry in entries if entry not in changed]
    number = turn(root, entries)
    return Due(changed, share(rest, number), len(rest), f"{reason}, turn {number % ROUND + 1} of {ROUND}")


def share(entries: Sequence[Entry], number: int) -> tuple[Entry, ...]:
    """One in `ROUND` of the entries; `ROUND` numbers in a row give each of them once."""
    return tuple(entries[number % ROUND :: ROUND])


def own_files(entry: Entry) -> set[Path]:
    """The files of a study and of its method."""
    method = entry.path.parents[2] / "methods" / entry.family / entry.path.name
    return {path.resolve() for name, path in sources(entry.module).items() if name.startswith(OWN)} | {method.resolve()}


def changed_files(root: Path) -> tuple[set[Path], str]:
    """Files that differ from where the work began, and where that was; none where git cannot tell."""
    head = _git(root, "rev-parse", "HEAD")
    bases = [_git(root, "merge-base", "HEAD", main) for main in MAIN]
    base = next((found for found in bases if found and found != head), None) or _git(root, "rev-parse", "HEAD~1")
    if head is None or base is None:
        return set(), "no history to compare with"
    changed = _git(root, "diff", "--name-only", "-z", base)
    new = _git(root, "ls-files", "--others", "--exclude-standard", "--full-name", "-z")
    top = Path(_git(root, "rev-parse", "--show-toplevel") or root)
    names = f"{changed or ''}\0{new or ''}".split("\0")
    return {(top / name).resolve() for name in names if name}, f"since {base[:7]}"


def turn(root: Path, entries: Collection[Entry]) -> int:
    """A number for this commit; without git, for the studies as they are."""
    if (head := _git(root, "rev-parse", "HEAD")) is not None:
        return int(head[:8], 16)
    digest = hashlib.sha256(b"".join(sorted(entry.path.read_bytes() for entry in entries)))
    return int(digest.hexdigest()[:8], 16)


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where there is no git, no repository or no such commit."""
    try:
        run = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip("\n")


def _names(entries: Collection[Entry]) -> str:
    return f" ({', '.join(entry.slug for entry in entries)})" if entries else ""
