"""A folder that was tampered with, cut short or made by hand is refused in one line, and nothing in it is run."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tutelage.errors import InputError
from tutelage.students import NgramClassifier, StaticClassifier, artifact, load_student

from .conftest import bag_of_words


@pytest.fixture
def folder(texts, labels, tmp_path) -> Path:
    return NgramClassifier(C=1.0).fit(texts, labels).save(tmp_path / "student")


def sign(folder: Path) -> None:
    """What an attacker would do: make the manifest fit the files."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        entry.update(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    (folder / "manifest.json").write_text(json.dumps(manifest))


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        (config["state"] if key in config["state"] else config)[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    sign(folder)


def edit_arrays(folder: Path, **changes: np.ndarray | None) -> None:
    arrays = {k: v for k, v in {**load_file(folder / "model.safetensors"), **changes}.items() if v is not None}
    save_file(arrays, folder / "model.safetensors")
    sign(folder)


def refused(folder: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_student(folder)
    assert "\n" not in str(caught.value)


def test_no_pickle_and_no_code_in_the_folder(folder):
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors", "manifest.json"}


def test_what_is_not_there(tmp_path):
    refused(tmp_path / "nowhere", "does not exist")
    refused(tmp_path, "has no manifest.json")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_one_changed_byte_is_found(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    refused(folder, f"{name!r} is not the file that was saved")


def test_a_missing_file_is_found(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, "'model.safetensors' is missing")


def test_a_save_that_was_interrupted_is_no_student(folder):
    (folder / "manifest.json").unlink()
    refused(folder, "was writing it interrupted")


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname"])
def test_the_manifest_cannot_point_outside(folder, name):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"size": 0, "sha256": ""}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    refused(folder, "bad entry")


@pytest.mark.parametrize("content", ["[1]", "{", "nul", "[" * 100_000, '{"files": 1}'])
def test_a_manifest_of_nonsense(folder, content):
    (folder / "manifest.json").write_text(content)
    refused(folder, "manifest.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a student"),
        ({"version": 2}, "version 2"),
        ({"tier": "oracle"}, "known are ngram, static, embedding, encoder"),
        ({"classes": ["a"]}, "at least two"),
        ({"classes": ["a", "a", "b"]}, "distinct"),
        ({"classes": ["a", 1, "b"]}, "names or integers"),
        ({"params": {"__class__": "x"}}, "unknown parameters"),
        ({"state": 3}, "no state"),
        ({"unicode": "unicode-1"}, "character table"),
        ({"thresholds": [0.5]}, "one number a class"),
        ({"thresholds": [0.5, "x", 0.5]}, "one number a class"),
        ({"thresholds": [0.5, 2.0, 0.5]}, r"thresholds must be in \[0, 1\]"),
        ({"C": -1}, "C must be a number"),
        ({"C": "x"}, "C must be a number"),
    ],
)
def test_a_signed_config_of_nonsense(folder, change, message):
    edit_config(folder, **change)
    refused(folder, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": None}, "'table' must be"),
        ({"table": np.zeros((1000, 4), np.int8)}, "no allowed power of two"),
        ({"table": np.zeros((1024, 8), np.int8)}, "'table' must be"),
        ({"table": np.zeros((1024, 4), np.float32)}, "'table' must be"),
        ({"known": np.zeros(3, np.uint64)}, "no allowed power of two"),
        ({"known": np.zeros(0, np.uint64)}, "no allowed power of two"),
        ({"scale": np.ones(2, np.float32)}, "columns for 3 classes"),
        ({"bias": np.array([0, np.nan, 0], np.float32)}, "not finite"),
    ],
)
def test_signed_arrays_that_would_read_out_of_bounds(folder, change, message):
    edit_arrays(folder, **change)
    refused(folder, message)


@pytest.mark.parametrize("header", [0, 1, 1 << 40, 2**63])
def test_a_safetensors_header_of_nonsense(folder, header):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", header) + content[8:])
    sign(folder)
    refused(folder, "not a safetensors file")


def test_json_has_a_size_limit(folder, monkeypatch):
    monkeypatch.setattr(artifact, "MAX_JSON", 10)
    refused(folder, "larger than")


def test_static_look_up_cannot_leave_its_table(texts, labels, tmp_path):
    folder = StaticClassifier(bag_of_words, C=1.0, dims=4).fit(texts, labels).save(tmp_path / "s")
    edit_arrays(folder, numbers=np.zeros(len(load_file(folder / "model.safetensors")["numbers"]), np.uint64))
    refused(folder, "not distinct")
    edit_arrays(folder, vectors=np.zeros((2, 4), np.int8))
    refused(folder, "'vectors' must be")


def test_another_tiers_folder(folder):
    with pytest.raises(InputError, match="use load_student"):
        StaticClassifier.load(folder)


def test_a_folder_that_cannot_be_written(texts, labels, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        NgramClassifier(C=1.0).fit(texts, labels).save(tmp_path / "file" / "student")


def test_saving_again_replaces_everything(folder, texts, labels):
    other = NgramClassifier(C=1.0, classes=["weather", "sport", "money"]).fit(texts, labels)
    other.save(folder, provenance={"run": 2})
    assert load_student(folder).classes_.tolist() == ["weather", "sport", "money"]
    NgramClassifier(C=1.0).fit(texts, labels).save(folder)
    assert load_student(folder).provenance_ is None
