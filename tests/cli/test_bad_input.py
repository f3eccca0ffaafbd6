"""What a user can get wrong with a whole file or folder ends in one line and exit code 2."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows, table
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.distill import configure
from tutelage.pipeline.folder import Run

ROWS = rows(45)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    file = tmp_path / "labels.yaml"
    file.write_text(SCHEME.to_yaml())
    return file


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return jsonl(tmp_path / "texts.jsonl", ROWS)


@pytest.fixture
def truth(tmp_path: Path) -> str:
    """A teacher that needs neither network nor encoder: people's labels."""
    return f"human:{table(tmp_path / 'truth.csv', [{'id': r['id'], 'label': r['topic']} for r in ROWS])}"


def empty(folder: Path) -> Path:
    (folder / "empty.jsonl").write_bytes(b"")
    return folder / "empty.jsonl"


def header_only(folder: Path) -> Path:
    (folder / "header.csv").write_text("id,text\n")
    return folder / "header.csv"


def wrong_kind(folder: Path) -> Path:
    (folder / "texts.docx").write_bytes(b"PK\x03\x04")
    return folder / "texts.docx"


def gone(folder: Path) -> Path:
    return folder / "gone.csv"


def no_parquet(folder: Path) -> Path:
    (folder / "no.parquet").write_bytes(b"PAR1 not really")
    return folder / "no.parquet"


@pytest.mark.parametrize(
    ("make", "says"),
    [(empty, "is empty"), (header_only, "is empty"), (wrong_kind, "texts.docx"), (no_parquet, "no.parquet"), (gone, "gone.csv")],
)  # fmt: skip
def test_files_without_texts(
    cli: Cli, labels: Path, tmp_path: Path, truth: str, make: Callable[[Path], Path], says: str
) -> None:
    done = cli("distill", make(tmp_path), "--labels", labels, "--teacher", truth, "--out", tmp_path / "run")
    assert done.code == 2
    assert says in done.line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--text", "headline"], "no column 'headline'"),
        (["--lang", "language"], "no column 'language'"),
        (["--gold", "nothing"], "no column 'nothing'"),
        (["--gold", "gold.csv"], "no such gold file"),
        (["--teacher", "oracle:delphi"], "unknown teacher"),
        (["--student", "giant"], "'ngram'"),
        (["--budget", "5usd"], "budget"),
        (["--max-words", "1"], "max_words"),
        (["--gold", "topic", "--gold-share", "3"], "share"),
    ],
)
def test_options_that_do_not_fit(
    cli: Cli, labels: Path, texts: Path, truth: str, tmp_path: Path, options: list[str], says: str
) -> None:
    done = cli("distill", texts, "--labels", labels, "--teacher", truth, "--out", tmp_path / "run", *options)
    assert done.code == 2
    assert says in done.line


@pytest.mark.parametrize(
    ("scheme", "says"),
    [
        ("labels: [one]", "at least two labels"),
        ("labels: [a, b, A]", "entry 3"),
        ("name: x", "labels"),
        ("labels: [{nam: a}, b]", "nam"),
    ],
)
def test_schemes_that_are_none(cli: Cli, texts: Path, tmp_path: Path, scheme: str, says: str) -> None:
    (tmp_path / "s.yaml").write_text(scheme)
    done = cli("distill", texts, "--labels", tmp_path / "s.yaml", "--out", tmp_path / "run")
    assert done.code == 2
    assert "s.yaml" in done.line
    assert says in done.line
    assert not (tmp_path / "run").exists()


def test_no_labels_named(cli: Cli, texts: Path) -> None:
    done = cli("distill", texts)
    assert (done.code, "--labels" in done.line) == (2, True)


def test_gold_outside_the_scheme(cli: Cli, labels: Path, texts: Path, truth: str, tmp_path: Path) -> None:
    gold = table(tmp_path / "gold.csv", [{"id": r["id"], "label": "astrology"} for r in ROWS[:9]])
    done = cli("distill", texts, "--labels", labels, "--teacher", truth, "--gold", gold, "--out", tmp_path / "run")
    assert done.code == 2
    assert "'astrology' (9×)" in done.line


def test_a_wrong_gold_file_leaves_a_finished_run_as_it_was(cli: Cli, texts: Path, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", configure(texts, SCHEME, student="ngram"))
    annotate(run, Keywords())
    gold = table(tmp_path / "gold.csv", [{"id": r["id"], "label": "astrology"} for r in ROWS[:9]])
    before = (run.path / "run.yaml").read_bytes(), run.table("pool"), run.table("annotations")
    done = cli("evaluate", run.path, "--gold", gold)
    assert (done.code, "'astrology'" in done.line) == (2, True)
    assert ((run.path / "run.yaml").read_bytes(), run.table("pool"), run.table("annotations")) == before


@pytest.mark.parametrize("verb", ["train", "evaluate", "report", "ledger", "export"])
def test_runs_that_are_none(cli: Cli, tmp_path: Path, verb: str) -> None:
    more = ["--to", tmp_path / "x"] if verb == "export" else []
    done = cli(verb, tmp_path / "none", *more)
    assert done.code == 2
    assert "none" in done.line
    (tmp_path / "bare").mkdir()
    assert cli(verb, tmp_path / "bare", *more).code == 2


@pytest.mark.parametrize("verb", ["train", "evaluate", "report", "export"])
def test_steps_out_of_order_say_what_comes_first(cli: Cli, texts: Path, tmp_path: Path, verb: str) -> None:
    run = Run.create(tmp_path / "run", configure(texts, SCHEME, student="ngram"))
    done = cli(verb, run.path, *(["--to", tmp_path / "x"] if verb == "export" else []))
    assert done.code == 2
    assert "tutelage " in done.line.removeprefix("tutelage: ")


def test_too_few_texts_to_learn_from(cli: Cli, labels: Path, truth: str, tmp_path: Path) -> None:
    few = jsonl(tmp_path / "few.jsonl", ROWS[:5])
    done = cli("distill", few, "--labels", labels, "--teacher", truth, "--out", tmp_path / "run", "--student", "ngram")
    assert (done.code, "at least 10 texts" in done.line) == (2, True)


def test_a_damaged_configuration_is_named(cli: Cli, texts: Path, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", configure(texts, SCHEME))
    file = run.path / "run.yaml"
    for content in (
        "{",
        "- a",
        file.read_text().replace("seed: 0", "sead: 0"),
        file.read_text().replace("format: 1", "format: 99"),
    ):
        file.write_text(content)
        done = cli("train", run.path)
        assert done.code == 2
        assert "run.yaml" in done.line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB. Skips where it may not be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        os.geteuid()
        or not mount
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("mounting a small file system is not permitted")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk(cli: Cli, labels: Path, texts: Path, truth: str, small_disk: Path, tmp_path: Path) -> None:
    job = ["--labels", labels, "--teacher", truth, "--student", "ngram"]
    assert cli("annotate", texts, *job[:4], "--out", small_disk / "run").code == 0
    _fill(small_disk / "ballast")
    done = cli("distill", texts, *job, "--out", small_disk / "run")
    assert done.code == 2
    assert "No space left" in done.line or "full" in done.line
    (small_disk / "ballast").unlink()
    assert Run(small_disk / "run").table("annotations").num_rows == 45
    assert cli("distill", texts, *job, "--out", tmp_path / "roomy").code == 0
    _fill(small_disk / "ballast")
    done = cli("predict", tmp_path / "roomy", texts, "--out", small_disk / "out.parquet")
    assert (done.code, "No space left" in done.line) == (2, True)
    assert not [file for file in small_disk.iterdir() if "out.parquet" in file.name]
    done = cli("export", tmp_path / "roomy", "--to", small_disk / "student")
    assert done.code == 2
    assert "No space left" in done.line
    assert not [file for file in small_disk.iterdir() if "student" in file.name]


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 1024)
        except OSError:
            pass


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody can write into, not even root. Skips where there is no such thing."""
    place = tmp_path / "frozen"
    place.mkdir()
    if os.geteuid():
        place.chmod(0o500)
        yield place
        place.chmod(0o700)
        return
    chattr = shutil.which("chattr")
    if not chattr or subprocess.run([chattr, "+i", place], capture_output=True, check=False).returncode:
        pytest.skip("the file system has no immutable folders")
    yield place
    subprocess.run([chattr, "-i", place], check=True)


def test_a_read_only_output_folder(cli: Cli, labels: Path, texts: Path, truth: str, frozen: Path) -> None:
    for out in (frozen, frozen / "run"):
        done = cli("distill", texts, "--labels", labels, "--teacher", truth, "--out", out)
        assert done.code == 2
        assert "cannot write" in done.line


def test_a_slip_leaves_a_run_as_it_was_and_makes_none(
    cli: Cli, labels: Path, texts: Path, truth: str, tmp_path: Path
) -> None:
    job = ["--labels", labels, "--teacher", truth, "--student", "ngram"]
    assert cli("distill", texts, *job, "--out", tmp_path / "run").code == 0
    before = (tmp_path / "run" / "run.yaml").read_bytes()
    slips = [
        (tmp_path / "txets.jsonl", []),
        (texts, ["--text", "headline"]),
        (texts, ["--shield", "--roster", tmp_path / "nobody"]),
    ]
    for source, options in slips:
        for out in ("run", "new"):
            assert cli("distill", source, *job, *options, "--out", tmp_path / out).code == 2
        assert (tmp_path / "run" / "run.yaml").read_bytes() == before
        assert not (tmp_path / "new").exists()


def test_a_student_that_cannot_be_made_is_not_the_runs(
    cli: Cli, labels: Path, texts: Path, truth: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert cli("annotate", texts, "--labels", labels, "--teacher", truth, "--out", run).code == 0
    done = cli("train", run, "--student", "ngram", "--shield", "--roster", tmp_path / "nobody")
    assert (done.code, "nobody" in done.line) == (2, True)
    assert cli("train", run, "--student", "ngram").code == 0
    assert (Run(run).config.student.tier, Run(run).config.student.shield) == ("ngram", False)


@pytest.mark.parametrize("verb", [["distill", "--labels", "ag-news"], ["predict", "RUN"], ["agreement"]])
def test_a_text_where_a_file_is_wanted(cli: Cli, tmp_path: Path, verb: list[str], texts: Path) -> None:
    if "RUN" in verb:
        run = Run.create(tmp_path / "run", configure(texts, SCHEME, student="ngram"))
        annotate(run, Keywords())
        assert cli("train", run.path).code == 0
        verb = ["predict", str(run.path)]
    done = cli(*verb, "I was charged twice this month. " * 100)
    assert (done.code, "no such file: I was charged" in done.line) == (2, True)
    assert len(done.line) < 300
