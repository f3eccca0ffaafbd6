"""Every command of the README and the pages: run as it stands where it can be, and checked word by word where it cannot.

The commands of a page run in their order, in this process, in a folder that holds what they name: the tickets of the tutorials, a
table of their labels, a run that has learned from them. An endpoint on loopback stands where a page has one.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from tests.cli.conftest import Cli, _environment, cli  # noqa: F401 - fixtures
from tests.docs.pages import GENERATED, PAGES, ROOT, Command, blocks, commands, name_of
from tests.pipeline.corpora import jsonl, table
from tests.teachers.endpoint import Endpoint
from tutelage.cli import app

DATA = ROOT / "docs" / "tutorials" / "data"
TICKETS = [json.loads(line) for line in (DATA / "tickets.jsonl").read_text(encoding="utf-8").splitlines()]
TOPIC = {row["text"]: row["topic"] for row in TICKETS}

CHECKED_ONLY = {
    r"^tutelage (serve|ui)\b": "runs until it is stopped; tests/serving and tests/web start it",
    r"^tutelage demo\b": "a minute; tests/pipeline/test_zero_shot_job.py runs a part of it",
    r"^tutelage study [\w-]+$": "minutes; tests/studies runs smoke forms",
    r"--engine ray\b": "starts a cluster; tests/pipeline/test_predict_ray.py",
    r"--push-to-hub\b": "needs a hub; tests/students has one in a folder",
    r"--teacher llama:": "needs the extra `llama` and a minute",
    r"--batch$": "asks again every half minute; tests/teachers/test_llm_batch.py",
    r"^tutelage refresh runs/tickets$": "needs texts that a service has kept; tests/serving/test_refresh.py",
    r"^zcat ": "tests/cli/test_predict_page.py runs it through a shell",
}
"""Commands that are parsed with their options and not run, and who runs them."""

ADDRESS = r"^http://(localhost|127\.0\.0\.1):8000/v1$"
"""Where the pages' endpoints listen."""

EARLIER = {"docs/predict.md": "tests/cli/test_predict_page.py"}
"""Pages whose commands run in another test."""


def bare(command: Command) -> str:
    """The line without its comment and without settings before the program's name."""
    return re.sub(r"\s+#.*|^([A-Z_]+=\S+ )+", "", command.line)


def reason(command: Command) -> str | None:
    line = bare(command)
    return next((why for pattern, why in CHECKED_ONLY.items() if re.search(pattern, line)), EARLIER.get(command.page))


def verb(command: Command) -> list[str] | None:
    """The words after `tutelage`; None where it is another program's command."""
    words = [word for word in command.words if not re.fullmatch(r"[A-Z_]+=.*", word)]
    if "|" in words:
        first, last = words[: words.index("|")], words[words.index("|") + 1 :]
        words = (last if "|" not in last else last[: last.index("|")]) if first[0] in ("echo", "zcat") else words
    return words[1:] if words[0] == "tutelage" else None


ALL = [command for page in PAGES for command in commands(page)]
TUTELAGE = typer.main.get_command(app)


@pytest.mark.parametrize("command", [c for c in ALL if verb(c)], ids=str)
def test_a_command_has_the_options_that_it_uses(command: Command) -> None:
    words = verb(command) or []
    place = TUTELAGE
    while (known := getattr(place, "commands", None)) and words:
        assert words[0] in known, f"no verb {words[0]}"
        place, words = known[words[0]], words[1:]
    if "--help" not in words:
        place.make_context("tutelage", list(words))


def test_other_commands_name_what_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    others = [command for command in ALL if verb(command) is None]
    assert others
    for command in others:
        match command.words:
            case ["make", target]:
                assert target in targets, command
            case ["pip", "install", what]:
                extras = re.fullmatch(r"tutelage(?:\[([\w,]+)\])?", what)
                assert extras, command
                assert set(filter(None, (extras[1] or "").split(","))) <= set(project["optional-dependencies"]), command
            case ["export", setting]:
                assert setting.startswith("OPENAI_API_KEY="), command
            case ["curl", "-s", address, "-H", "content-type: application/json", "-d", body]:
                assert address.endswith("/predict"), command
                assert set(json.loads(body)) == {"text"}, command
            case _:
                pytest.fail(f"nobody checks {command}")


def test_the_tables_name_what_is_there() -> None:
    for pattern in CHECKED_ONLY:
        assert any(re.search(pattern, bare(command)) for command in ALL), pattern
    for told in [*CHECKED_ONLY.values(), *EARLIER.values()]:
        for path in re.findall(r"tests/[\w/.]+", told):
            assert (ROOT / path).exists(), path
    assert not set(EARLIER) - {name_of(page) for page in PAGES}


def test_the_tutorials_data_is_small_and_what_the_page_shows() -> None:
    assert sum(file.stat().st_size for file in DATA.iterdir()) < 40_000
    assert {row["lang"] for row in TICKETS} == {"en", "de", "es", "fr", "pl"}
    (shown,) = blocks(ROOT / "docs/tutorials/support-tickets.md", "yaml")
    assert shown == (DATA / "labels.yaml").read_text(encoding="utf-8")


@dataclass
class Desk:
    """The folder in which the commands of a page run, and what is done between them by people."""

    folder: Path
    cli: Cli
    endpoint: Endpoint
    monkeypatch: pytest.MonkeyPatch

    def run(self, command: Command) -> None:
        words = command.words
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.monkeypatch.setenv(name, value.replace("…", "key"))
            return
        stdin = f"{words[1]}\n" if words[0] == "echo" else ""
        asked = [re.sub(ADDRESS, self.endpoint.url, word) for word in verb(command) or []]
        quick = quicker(asked)
        if asked[:2] == ["labels", "template"]:
            (self.folder / asked[2]).unlink(missing_ok=True)
        done = self.cli(*quick, stdin=stdin)
        assert done.code == 0, f"{command}\n{done.out}\n{done.err}"
        if quick == asked:
            assert [form(line) for line in done.out.splitlines()][: len(command.shows)] == [*map(form, command.shows)]
        if asked[:2] == ["labels", "template"] and command.page == "README.md":
            shutil.copy(DATA / "labels.yaml", self.folder / asked[2])  # "edit it, then:"
        if "--sample" in asked:
            self.review(self.folder / asked[asked.index("--sample") + 1])

    def review(self, sample: Path) -> None:
        """Two people fill in the sample, and agree but for one text."""
        with sample.open(encoding="utf-8", newline="") as stream:
            found = list(csv.DictReader(stream))
        for number, row in enumerate(found):
            row["label"] = TOPIC[row["text"]]
            row["label_2"] = "billing" if number == 0 else row["label"]
        table(sample, found)


def quicker(words: list[str]) -> list[str]:
    """The same command with labels from a file in the place of the default encoder, and with the student that learns fastest."""
    if words[0] == "distill" and "--teacher" not in words:
        words = [*words, "--teacher", "human:labels.csv"]
    if words[0] in ("distill", "train") and "--dry-run" not in words:
        words = [*words, "--student", "ngram"]  # of two the last one counts
    return [re.sub("^ensemble:zero-shot", "ensemble:human:others.csv", word) for word in words]


def form(line: str) -> str:
    """A line without its figures; of JSON the names."""
    if line.startswith("{"):
        return " ".join(json.loads(line))
    return re.sub(r"\s+", " ", re.sub(r"[+−-]?\d[\d,.]*", "#", line)).strip()


def stock(folder: Path) -> None:
    """Everything that the pages name and nobody makes on them."""
    for file in DATA.iterdir():
        shutil.copy(file, folder / file.name)
    later = [{"id": f"n{number}", "text": f"{row['text']} Thank you."} for number, row in enumerate(TICKETS)]
    known = [(row["id"], row["topic"]) for row in TICKETS] + [(f"n{n}", row["topic"]) for n, row in enumerate(TICKETS)]
    table(folder / "labels.csv", [{"id": id, "label": label} for id, label in known])
    table(folder / "others.csv", [{"id": id, "label": label} for id, label in known[:100]])
    table(
        folder / "export.csv",
        [{"ticket": row["id"], "message": row["text"], "language": row["lang"]} for row in TICKETS],
    )
    codes = [
        (row["topic"], row["topic"], row["topic"] if n % 5 else "billing") for n, row in enumerate(TICKETS[:40], 1)
    ]
    table(folder / "codes.csv", [{"ann": a, "ben": b, "bot": c} for a, b, c in codes])
    pq.write_table(pa.table({"text": [*TOPIC], "label": [*TOPIC.values()]}), folder / "bought.parquet")
    pq.write_table(pa.Table.from_pylist(later[:20]), folder / "more_tickets.parquet")
    jsonl(folder / "new_texts.jsonl", later)
    jsonl(folder / "items.jsonl", later[:20])


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over the tickets, with labels from a file and the n-gram student."""
    import tutelage

    folder = tmp_path_factory.mktemp("office")
    stock(folder)
    teacher = f"human:{folder / 'labels.csv'}"
    tutelage.distill(
        folder / "tickets.jsonl", folder / "labels.yaml", out=folder / "run", teacher=teacher, student="ngram"
    )
    return folder / "run"


@pytest.fixture
def desk(cli: Cli, learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:  # noqa: F811
    stock(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with Endpoint(lambda text, _: json.dumps({"label": TOPIC.get(text, "billing")})) as endpoint:
        yield Desk(tmp_path, cli, endpoint, monkeypatch)


def makes(command: Command) -> str | None:
    """The run that a command would make."""
    words = command.words
    if words[1:2] and words[1] in ("distill", "annotate", "demo") and not reason(command):
        return words[words.index("--out") + 1] if "--out" in words else None
    return None


RUNNABLE = {
    name_of(page): [c for c in commands(page) if (verb(c) or c.words[0] == "export") and not reason(c)]
    for page in PAGES
    if page.name not in GENERATED
}


@pytest.mark.parametrize("page", [page for page, found in RUNNABLE.items() if found])
def test_the_commands_of_a_page_run(page: str, desk: Desk, learned: Path) -> None:
    made = {makes(command) for command in RUNNABLE[page]}
    for name in {"runs/tickets", "runs/demo"} - made:
        shutil.copytree(learned, desk.folder / name)
    if page == "docs/tutorials/knowledge-tracing.md":
        exec(blocks(ROOT / page, "python")[0], {})  # the log that the page makes
    for command in RUNNABLE[page]:
        desk.run(command)
    if page == "README.md":
        for block in blocks(ROOT / page, "python"):
            shutil.rmtree(desk.folder / "runs" / "tickets", ignore_errors=True)
            quick = block.replace(
                'out="runs/tickets"', 'out="runs/tickets", teacher="human:labels.csv", student="ngram"'
            )
            assert quick != block
            exec(quick, {})
