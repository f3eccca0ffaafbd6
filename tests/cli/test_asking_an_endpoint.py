"""The job with an OpenAI-compatible endpoint: keys, budgets, pauses, rehearsals, the ledger's figures."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import KEY, Cli
from tests.pipeline.corpora import SCHEME, jsonl, rows, said
from tests.teachers.endpoint import Endpoint
from tutelage.pipeline.folder import Run

ROWS = rows(60)


def oracle(text: str, _: str) -> str:
    return json.dumps({"label": said(text)[0]})


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(oracle, key=KEY, model="known") as server:
        yield server


@pytest.fixture
def job(tmp_path: Path, endpoint: Endpoint) -> list[object]:
    """The arguments of the job, without the verb."""
    labels = tmp_path / "labels.yaml"
    labels.write_text(SCHEME.to_yaml())
    texts = jsonl(tmp_path / "texts.jsonl", ROWS)
    return [
        texts, "--labels", labels, "--teacher", "openai:known", "--base-url", endpoint.url, "--out", tmp_path / "run",
        "--concurrency", 4,
    ]  # fmt: skip


def everything(folder: Path) -> bytes:
    """All bytes of a run, tables decoded."""
    import pyarrow.parquet as pq

    parts = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            parts.append(file.read_bytes())
            if file.suffix == ".parquet":
                parts.append(json.dumps(pq.read_table(file).to_pylist(), default=str, ensure_ascii=False).encode())
    return b"\n".join(parts)


def test_the_whole_job_asks_once_and_keeps_the_key_to_itself(
    cli: Cli, job: list[object], endpoint: Endpoint, key: str, tmp_path: Path
) -> None:
    done = cli("distill", *job, "--student", "ngram", "--gold", "topic", "--json")
    assert done.code == 0, done.err
    assert done.data["student"]["macro_f1"] > 0.8
    assert done.data["labels"]["answered"] == 48
    assert endpoint.completed == dict.fromkeys((row["text"] for row in ROWS), 1)
    assert key.encode() not in everything(tmp_path / "run")
    assert key not in done.out + done.err
    facts = cli("ledger", tmp_path / "run", "--json").data
    assert {name: facts[name] for name in ("texts", "answered", "failed", "requests")} == {
        "texts": 60, "answered": 60, "failed": 0, "requests": 60,
    }  # fmt: skip
    assert facts["cost"] == 0.0
    again = cli("distill", tmp_path / "run", "--json")
    assert again.code == 0, again.err
    assert endpoint.total == 60


def test_a_spent_budget_is_learned_from(
    cli: Cli, job: list[object], endpoint: Endpoint, key: str, tmp_path: Path
) -> None:
    priced = [*job, "--price", "100/100", "--budget", "1usd"]
    done = cli("distill", *priced, "--student", "ngram")
    assert done.code == 0, done.err
    assert "the student learns from what was labelled" in done.err
    facts = cli("ledger", tmp_path / "run", "--json").data
    assert 10 <= facts["answered"] < 60
    assert 0 < facts["cost"] <= 1.0
    assert facts["currency"] == "usd"
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["labels"]["answered"] == facts["answered"]
    assert metrics["labels"]["pending"] == 60 - facts["answered"]
    assert metrics["teacher"]["cost_per_million"]["currency"] == "usd"
    step = cli("annotate", *priced)
    assert step.code == 3, "on its own the step says that it is not done"
    assert "budget" in step.line


def test_a_bare_number_is_no_budget(cli: Cli, job: list[object], key: str) -> None:
    done = cli("distill", *job, "--budget", "5")
    assert done.code == 2
    assert "5usd" in done.line


def test_an_endpoint_that_sends_us_away_pauses_and_resumes(
    cli: Cli, job: list[object], endpoint: Endpoint, key: str, tmp_path: Path
) -> None:
    assert cli("annotate", *job, "--limit", 20).code == 0
    endpoint.faults, endpoint.retry_after = {"429": 1.0}, "3600"
    paused = cli("distill", *job)
    assert paused.code == 3
    assert "run the same command later" in paused.line
    assert Run(tmp_path / "run").table("annotations").num_rows == 20
    endpoint.faults = {}
    assert cli("annotate", *job).code == 0
    assert endpoint.completed == dict.fromkeys((row["text"] for row in ROWS), 1)


def test_a_dry_run_shows_a_prompt_and_asks_nothing(cli: Cli, job: list[object], endpoint: Endpoint, key: str) -> None:
    done = cli("distill", *job, "--price", "1/2", "--dry-run")
    assert done.code == 0, done.err
    assert "matches, clubs, athletes" in done.out
    assert "usd" in done.out
    assert endpoint.bodies == []
    facts = cli("distill", *job, "--price", "1/2", "--dry-run", "--json").data
    assert (facts["texts"], facts["pending"], facts["currency"]) == (60, 60, "usd")
    assert facts["cost"] > 0


def test_a_dry_run_leaves_nothing_and_changes_no_run(cli: Cli, job: list[object], key: str) -> None:
    folder = Path(str(job[job.index("--out") + 1]))
    assert cli("annotate", *job, "--dry-run").code == 0
    assert not folder.exists()
    cli("annotate", *job, "--limit", 30)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".yaml", ".json", ".parquet")}
    other = [*job, "--temperature", "0.7", "--max-words", "20"]
    assert cli("annotate", *other, "--dry-run", "--json").data["pending"] == 60
    assert {path: path.read_bytes() for path in before} == before


def test_a_dry_run_of_what_is_there_costs_nothing(cli: Cli, job: list[object], key: str) -> None:
    cli("annotate", *job, "--limit", 30)
    assert cli("annotate", *job, "--dry-run", "--json").data["pending"] == 30


@pytest.mark.parametrize("step", ["distill", "annotate"])
def test_no_key_wrong_key_no_model(
    cli: Cli, job: list[object], endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, step: str, tmp_path: Path
) -> None:
    texts, labels = job[0], job[2]
    done = cli(step, texts, "--labels", labels, "--teacher", "openai:known", "--out", tmp_path / "x")
    assert (done.code, "OPENAI_API_KEY" in done.line) == (2, True)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    done = cli(step, *job)
    assert (done.code, "401" in done.line, "sk-wrong" in done.err) == (2, True, False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    done = cli(step, *[{"openai:known": "openai:unknown"}.get(str(x), x) for x in job])
    assert (done.code, "404" in done.line, "unknown" in done.line) == (2, True, True)
    assert len(endpoint.bodies) <= 2, "a wrong model costs a request or two, not sixty"


def test_a_received_run_does_not_get_the_key_unasked(
    cli: Cli, job: list[object], endpoint: Endpoint, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("annotate", *job, "--limit", 12).code == 0
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "of another user"))
    asked = len(endpoint.bodies)
    fresh = jsonl(tmp_path / "gold.jsonl", [{"text": r["text"], "label": r["topic"]} for r in rows(12, seed=9)])
    for arguments in (["distill"], ["annotate"], ["evaluate", "--gold", fresh]):
        done = cli(arguments[0], tmp_path / "run", *arguments[1:])
        assert done.code == 2
        assert "you have not sent a key before" in done.line
    assert len(endpoint.bodies) == asked


def test_failures_of_content_are_counted_and_asked_again_on_request(
    cli: Cli, job: list[object], endpoint: Endpoint, key: str, tmp_path: Path
) -> None:
    bad = {row["text"] for row in ROWS[:5]}
    endpoint.oracle = lambda text, _: '{"label": "astrology"}' if text in bad else oracle(text, _)
    assert cli("annotate", *job, "--repairs", 0).code == 0
    facts = cli("ledger", tmp_path / "run", "--json").data
    assert (facts["answered"], facts["failed"], facts["pending"]) == (55, 5, 0)
    endpoint.oracle = oracle
    before = endpoint.total
    assert cli("annotate", *job, "--repairs", 0).code == 0
    assert endpoint.total == before, "a failure is an answer: it is not asked again by itself"
    assert cli("annotate", *job, "--repairs", 0, "--retry-failed").code == 0
    assert cli("ledger", tmp_path / "run", "--json").data["failed"] == 0


def test_the_ledger_tells_a_changed_row(cli: Cli, job: list[object], key: str, tmp_path: Path) -> None:
    assert cli("annotate", *job, "--limit", 10).code == 0
    assert cli("ledger", tmp_path / "run", "--verify").code == 0
    with sqlite3.connect(tmp_path / "run" / "labels.sqlite") as db:
        db.execute("UPDATE answers SET label = '[\"sport\"]' WHERE label != '[\"sport\"]'")
    done = cli("ledger", tmp_path / "run", "--verify")
    assert done.code == 2
    assert "do not match their digest" in done.line


def test_asked_twice_the_teacher_agrees_with_itself(cli: Cli, job: list[object], endpoint: Endpoint, key: str) -> None:
    done = cli("distill", *job, "--student", "ngram", "--rerun", 12, "--json")
    assert done.code == 0, done.err
    assert done.data["agreement"]["teacher_teacher"] == {"alpha": 1.0, "ci": [1.0, 1.0], "n": 12}
    assert endpoint.total == 72


def test_options_that_a_run_would_ignore_are_refused(cli: Cli, job: list[object], key: str, tmp_path: Path) -> None:
    assert cli("annotate", *job, "--limit", 10).code == 0
    done = cli("distill", tmp_path / "run", "--gold", "topic")
    assert (done.code, "--gold" in done.line) == (2, True)
