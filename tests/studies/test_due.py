"""Which smoke forms are due: what changed always, each of the others once a round, the same ones for the same commit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.studies import due as module
from tests.studies.due import ROUND, changed_files, due, own_files, share, turn
from tutelage.studies.catalogue import Entry, find_study

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """git in an empty repository with one commit on the branch main; nobody's settings count."""
    for name in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", "/dev/null")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "n")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "n@example.org")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    run("init", "-q", "-b", "main")
    commit(run, tmp_path / "a.py", "a = 1")
    return run


def commit(git: Git, path: Path, text: str) -> None:
    path.write_text(text)
    git("add", "-A")
    git("commit", "-q", "-m", path.name)


def made(folder: Path, names: str) -> list[Entry]:
    """One study for each letter."""
    for name in names:
        (folder / f"{name}.py").write_text(f"name = {name!r}\n")
    return [Entry(name, "toys", f"toys.{name}", folder / f"{name}.py") for name in names]


def test_a_round_runs_each_study_once(tmp_path: Path):
    entries = made(tmp_path, "abcdefghijklm")
    shares = [share(entries, number) for number in range(100, 100 + ROUND)]
    assert sorted(entry.slug for part in shares for entry in part) == list("abcdefghijklm")
    assert {len(part) for part in shares} == {2, 3}


@needs_git
def test_on_a_branch_counts_what_differs_from_where_it_left_main(git: Git, tmp_path: Path):
    git("checkout", "-q", "-b", "work")
    commit(git, tmp_path / "b.py", "b = 1")
    commit(git, tmp_path / "c.py", "c = 1")
    git("checkout", "-q", "main")
    commit(git, tmp_path / "d.py", "d = 1")
    git("checkout", "-q", "work")
    files, reason = changed_files(tmp_path)
    assert files == {tmp_path / "b.py", tmp_path / "c.py"}
    assert reason == f"since {git('rev-parse', 'main~1')[:7]}"


@needs_git
def test_on_main_counts_the_last_commit_and_what_is_not_committed(git: Git, tmp_path: Path):
    commit(git, tmp_path / "b.py", "b = 1")
    commit(git, tmp_path / "c.py", "c = 1")
    (tmp_path / "a.py").write_text("a = 2")
    (tmp_path / "ü new.py").write_text("n = 1")
    assert changed_files(tmp_path)[0] == {tmp_path / "a.py", tmp_path / "c.py", tmp_path / "ü new.py"}


@needs_git
def test_without_a_commit_before_all_go_by_rotation(git: Git, tmp_path: Path):
    assert changed_files(tmp_path) == (set(), "no history to compare with")
    assert turn(tmp_path, []) == int(git("rev-parse", "HEAD")[:8], 16)


@needs_git
def test_a_shallow_clone_goes_by_rotation(git: Git, tmp_path: Path):
    commit(git, tmp_path / "b.py", "b = 1")
    git("clone", "-q", "--depth", "1", tmp_path.as_uri(), str(tmp_path / "clone"))
    assert changed_files(tmp_path / "clone")[0] == set()
    assert turn(tmp_path / "clone", []) == turn(tmp_path, [])


def test_without_git_the_turn_follows_the_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_git", lambda root, *arguments: None)
    entries = made(tmp_path, "ab")
    before = turn(tmp_path, entries)
    assert turn(tmp_path, entries[::-1]) == before
    entries[0].path.write_text("changed")
    assert turn(tmp_path, entries) != before


def test_what_changed_is_due_whatever_the_turn_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    entries = made(tmp_path, "abcdefgh")
    monkeypatch.setattr(module, "own_files", lambda entry: {entry.path})
    monkeypatch.setattr(
        module, "changed_files", lambda root: ({entries[3].path, Path("/elsewhere.py")}, "since 0123456")
    )
    monkeypatch.setattr(module, "turn", lambda root, entries: ROUND + 1)
    found = due(entries, tmp_path)
    assert [entry.slug for entry in found.entries] == ["b", "d"]
    assert str(found) == "smoke forms: 1 changed (d); 1 of 7 others by rotation (b); since 0123456, turn 2 of 6"


@pytest.mark.parametrize("slug", ["ssld", "prompting-frameworks"])
def test_a_study_owns_its_method_and_its_private_pieces_but_no_lower_floor(slug: str):
    entry = find_study(slug)
    owned = {path.relative_to(entry.path.parents[2]).as_posix() for path in own_files(entry)}
    files = {f"{floor}/{entry.family}/{entry.path.name}" for floor in ("studies", "methods")}
    assert files <= owned
    assert all(path.split("/")[0] in ("studies", "methods") for path in owned)
    assert any(Path(path).name.startswith("_") and not path.endswith("__init__.py") for path in owned)
