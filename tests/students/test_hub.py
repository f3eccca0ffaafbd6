"""A student to a hub and back; the hub is a folder here, the library's own calls are what reaches it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tutelage.errors import InputError
from tutelage.students import NgramClassifier, load_student
from tutelage.students.hub import fetched, push_folder

huggingface_hub = pytest.importorskip("huggingface_hub")

TEXTS = ["goal and match", "bank and market", "a late goal", "a cheap loan"]
LABELS = ["sport", "money", "sport", "money"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a folder a repository, behind the three calls that are used."""
    root = tmp_path / "hub"

    class Api:
        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
            (root / name).mkdir(parents=True, exist_ok=exist_ok)
            (root / name / ".private").write_text(str(private))

        def upload_folder(
            self, *, repo_id: str, folder_path: Path, commit_message: str, ignore_patterns: list[str] | None
        ) -> str:
            shutil.copytree(
                folder_path, root / repo_id, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*ignore_patterns or [])
            )
            return f"hub/{repo_id}/commit/1"

        def upload_file(self, *, path_or_fileobj: bytes, path_in_repo: str, repo_id: str) -> str:
            (root / repo_id / path_in_repo).write_bytes(path_or_fileobj)
            return f"hub/{repo_id}/commit/2"

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        if not (root / name).is_dir():
            raise huggingface_hub.errors.LocalEntryNotFoundError(f"no repository {name}\nand a long explanation")
        here = tmp_path / "cache" / name / (revision or "main")
        shutil.copytree(root / name, here, dirs_exist_ok=True)
        return str(here)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return root


@pytest.fixture(scope="module")
def student() -> NgramClassifier:
    return NgramClassifier(C=4.0).fit(TEXTS, LABELS)


def test_a_student_comes_back_as_it_went(hub: Path, student: NgramClassifier) -> None:
    assert student.push_to_hub("ada/news", card="# news") == "hub/ada/news/commit/2"
    assert (hub / "ada/news/README.md").read_text() == "# news"
    assert (hub / "ada/news/.private").read_text() == "True"
    for back in (
        NgramClassifier.from_pretrained("ada/news"), load_student("hf://ada/news"), load_student("hf://ada/news@v1"),
    ):  # fmt: skip
        assert (back.predict_proba(TEXTS) == student.predict_proba(TEXTS)).all()


def test_a_folder_goes_before_a_hub(hub: Path, student: NgramClassifier, tmp_path: Path) -> None:
    folder = student.save(tmp_path / "mine")
    assert NgramClassifier.from_pretrained(folder).predict(TEXTS).tolist() == LABELS
    assert push_folder(folder, "ada/mine", private=False) == "hub/ada/mine/commit/1"
    assert (hub / "ada/mine/.private").read_text() == "False"
    assert not (hub / "ada/mine/README.md").exists()


def test_a_changed_file_of_a_hub_is_noticed(hub: Path, student: NgramClassifier) -> None:
    student.push_to_hub("ada/news")
    weights = hub / "ada/news/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="damaged"):
        load_student("hf://ada/news")


@pytest.mark.parametrize("name", ["", "../up", "a/b/c", "ada/..", "https://x/y", "a b/c"])
def test_a_bad_name_is_refused_before_anything_is_sent(hub: Path, student: NgramClassifier, name: str) -> None:
    with pytest.raises(InputError, match="looks like owner/name"):
        student.push_to_hub(name)
    assert not hub.exists()


def test_what_the_hub_says_is_one_line(hub: Path) -> None:
    with pytest.raises(InputError) as caught:
        fetched("ada/nothing")
    assert str(caught.value) == "cannot fetch the student ada/nothing: no repository ada/nothing"


def test_without_a_connection_there_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="cannot fetch the student ada/never") as caught:
        load_student("hf://ada/never")
    assert "\n" not in str(caught.value)
