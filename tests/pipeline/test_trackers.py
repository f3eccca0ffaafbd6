"""A run in MLflow and in trackio: both write into a folder here."""

from __future__ import annotations

from pathlib import Path

import pytest

import tutelage
from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows
from tutelage.errors import InputError
from tutelage.pipeline.folder import Run
from tutelage.pipeline.trackers import figures_of, log_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("track")
    texts = jsonl(folder / "texts.jsonl", rows())
    done = tutelage.distill(
        texts, SCHEME, out=folder / "run", teacher=Keywords(wrong=10), student="ngram", gold="topic"
    )
    return done.run


def test_mlflow_gets_figures_options_and_the_card_and_no_text(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra `track`")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tmp_path.as_uri())
    count = log_run(run, "mlflow", project="desk")
    client = mlflow.MlflowClient(tmp_path.as_uri())
    experiment = client.get_experiment_by_name("desk")
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id])
    assert len(logged.data.metrics) == count
    assert logged.data.metrics["student.macro_f1"] == pytest.approx(run.json("metrics")["student"]["macro_f1"])
    assert logged.data.params["labels"] == "desk"
    assert logged.data.params["texts.source"] == "texts.jsonl"
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()).decode()
    assert "# run" in everything
    assert not [text for text in run.table("pool")["text"].to_pylist() if text in everything]


def test_trackio_gets_the_figures_and_standard_output_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trackio", reason="needs the extra `track`")
    from trackio import utils

    monkeypatch.setattr(utils, "TRACKIO_DIR", tmp_path)
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path, raising=False)
    assert log_run(run, "trackio", project="desk") == len(figures_of(run.json("metrics")))
    assert list(tmp_path.rglob("*.db"))
    assert capsys.readouterr().out == ""


def test_what_cannot_be_logged_is_one_line(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no tracker 'wandb'; there are mlflow, trackio"):
        log_run(run, "wandb")
    texts = jsonl(tmp_path / "texts.jsonl", rows())
    empty = tutelage.distill(texts, SCHEME, out=tmp_path / "run", teacher=Keywords(), student="ngram").run
    (empty.path / "metrics.json").unlink()
    with pytest.raises(InputError, match="tutelage evaluate"):
        log_run(empty, "mlflow")


def test_a_tracker_that_refuses_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs the extra `track`")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    with pytest.raises(InputError, match="mlflow took nothing of") as caught:
        log_run(run, "mlflow")
    assert "\n" not in str(caught.value)
