"""`hf://`: a folder that `datasets` can load stands for the hub, so that no test needs a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.data.data_files import read, stream, streamed_texts
from tutelage.data.corpus import read_texts
from tutelage.errors import InputError, MissingExtra


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("datasets")
    for split in ("train", "test"):
        rows = [{"id": i, "text": f"{split} {i}" if i != 1 else "", "label": i % 2} for i in range(4)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_folder_of_splits_is_read_and_streamed(folder: Path) -> None:
    table, rejects = read(f"hf://{folder}", keep={"gold": "label"})
    assert table["text"].to_pylist() == ["train 0", "train 2", "train 3"]
    assert table["id"].to_pylist() == ["0", "2", "3"]
    assert table["gold"].to_pylist() == ["0", "0", "1"]
    assert [(r.row, r.id, r.reason) for r in rejects] == [(2, "1", "empty")]
    batches, _ = stream(f"hf://{folder}#test")
    assert streamed_texts(batches) == ["test 0", "test 2", "test 3"]
    assert read_texts(f"hf://{folder}#test", limit=1)["text"].to_pylist() == ["test 0"]


def test_a_data_set_that_cannot_be_loaded_is_one_line(folder: Path) -> None:
    for address in (f"hf://{folder}#dev", f"hf://{folder}/nowhere", f"hf://{folder}:other"):
        with pytest.raises(InputError, match="cannot load data set") as caught:
            read_texts(address)
        assert address in str(caught.value)
        assert "\n" not in str(caught.value)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"tutelage\[hub\]"):
        read_texts("hf://org/name")
