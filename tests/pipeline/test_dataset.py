"""The labelled texts of a run as a data set: what `datasets` reads is what the run holds."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

import tutelage
from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows
from tutelage.data.corpus import read_texts
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.dataset import export_dataset
from tutelage.pipeline.distill import configure
from tutelage.pipeline.export import export
from tutelage.pipeline.folder import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    texts = jsonl(folder / "texts.jsonl", rows(90))
    return tutelage.distill(
        texts, SCHEME, out=folder / "run", teacher=Keywords(wrong=10), student="ngram", gold="topic"
    ).run


def loaded(folder: Path, cache: Path):
    datasets = pytest.importorskip("datasets", reason="needs the extra `hub`")
    return datasets.load_dataset(str(folder), cache_dir=str(cache))


def test_datasets_reads_texts_labels_and_their_names(run: Run, tmp_path: Path) -> None:
    counts = export_dataset(run, tmp_path / "set")
    data = loaded(tmp_path / "set", tmp_path / "cache")
    assert {name: split.num_rows for name, split in data.items()} == counts
    assert counts["test"] == run.table("gold").num_rows
    assert data["train"].features["label"].names == list(SCHEME.names)
    texts = dict(zip(*(run.table("pool")[name].to_pylist() for name in ("id", "text")), strict=True))
    given = {row["id"]: row for row in run.table("annotations").to_pylist()}
    assert set(given) == {row["id"] for row in data["train"]}
    for row in data["train"]:
        assert row["text"] == texts[row["id"]]
        assert [SCHEME.names[row["label"]]] == given[row["id"]]["label"]
        assert row["teacher"] == row["label"]
        assert row["probs"] == given[row["id"]]["probs"]
    gold = {row["id"]: row["gold"] for row in run.table("gold").to_pylist()}
    said = {row["id"]: row["label"] for row in run.table("gold_annotations").to_pylist()}
    for row in data["test"]:
        assert [SCHEME.names[row["label"]]] == gold[row["id"]]
        assert [SCHEME.names[row["teacher"]]] == said[row["id"]]


def test_it_can_be_read_as_texts_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="needs the extra `hub`")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    export_dataset(run, tmp_path / "set")
    there = read_texts(f"hf://{tmp_path / 'set'}#test")
    assert sorted(there["text"].to_pylist()) == sorted(run.table("gold")["text"].to_pylist())


def test_several_labels_are_lists_of_numbers(tmp_path: Path) -> None:
    scheme = LabelScheme.from_dict({"name": "desk", "kind": "multi", "labels": list(SCHEME.names)})
    texts = jsonl(tmp_path / "texts.jsonl", rows(30))
    run = Run.create(tmp_path / "run", configure(texts, scheme, teacher="keywords"))
    annotate(run, Keywords(wrong=10))
    export_dataset(run, tmp_path / "set")
    data = loaded(tmp_path / "set", tmp_path / "cache")["train"]
    assert data.features["label"].feature.names == list(SCHEME.names)
    given = {row["id"]: row["label"] for row in run.table("annotations").to_pylist()}
    assert {row["id"]: [scheme.names[code] for code in row["label"]] for row in data} == given


def test_the_card_says_who_labelled_and_what_the_labels_mean(run: Run, tmp_path: Path) -> None:
    facts = export(run.path, tmp_path / "set", format="dataset")
    assert facts["rows"] == {
        name: pq.read_table(tmp_path / "set" / f"{name}.parquet").num_rows for name in ("train", "test")
    }
    _, head, body = (tmp_path / "set" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["configs"][0]["data_files"][1] == {"split": "test", "path": "test.parquet"}
    assert "labels of `train` are those of a teacher (keywords), not of people" in body
    assert run.json("metrics")["acceptance"]["sentence"] in body
    counts = Counter(row["label"][0] for row in run.table("annotations").to_pylist())
    for code, name in enumerate(SCHEME.names):
        (line,) = [line for line in body.splitlines() if line.startswith(f"| {code} | {name} |")]
        assert line.endswith(f"| {counts[name]} |")


def test_what_cannot_be_exported_is_one_line_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hf upload me/texts .* --repo-type dataset"):
        export(run.path, tmp_path / "set", format="dataset", hub="me/texts")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(InputError, match="not empty"):
        export_dataset(run, tmp_path / "full")
    texts = jsonl(tmp_path / "texts.jsonl", rows(9))
    with pytest.raises(InputError, match="tutelage annotate"):
        export_dataset(Run.create(tmp_path / "new", configure(texts, SCHEME, teacher="keywords")), tmp_path / "set")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        export_dataset(run, tmp_path / "file" / "set")
    assert {path.name for path in tmp_path.iterdir()} == {"full", "texts.jsonl", "new", "file"}
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_texts_that_nobody_asked_the_teacher_about_have_no_label_of_its(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    copy = Run(tmp_path / "run")
    copy.put_table("gold_annotations", copy.table("gold_annotations").slice(1))
    export_dataset(copy, tmp_path / "set")
    table = pq.read_table(tmp_path / "set" / "test.parquet")
    assert table["teacher"].to_pylist().count(-1) == 1
    assert table["id"].to_pylist() == run.table("gold")["id"].to_pylist()
