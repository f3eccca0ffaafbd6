"""What a student is told: temperature, its own past, and the shield, through the command line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Cli
from tests.pipeline.corpora import MULTI, SCHEME, Keywords, jsonl, rows, table
from tutelage.data.annotations import annotations
from tutelage.pipeline.annotate import annotate, labelled
from tutelage.pipeline.config import RunConfig, StudentConfig
from tutelage.pipeline.distill import configure
from tutelage.pipeline.folder import Run
from tutelage.pipeline.labelled import Labelled
from tutelage.pipeline.learn import Recipe, fit
from tutelage.pipeline.shield import NAMES, audit, shielded
from tutelage.pipeline.train import candidates, dev_folds
from tutelage.students import EmbeddingClassifier, NgramClassifier, load_student


def _text(n: int, text: str) -> str:
    """The text with a last word that is no number, and every fifth one with something private."""
    bare = f"{text.rsplit(' ', 1)[0]} {chr(97 + n // 26)}{chr(97 + n % 26)}q"
    return f"{bare} caller {4800 + n} ada" if n % 5 == 0 else bare


ROWS = [row | {"text": _text(n, row["text"])} for n, row in enumerate(rows(90))]


@pytest.fixture
def job(tmp_path: Path) -> list[object]:
    labels = tmp_path / "labels.yaml"
    labels.write_text(SCHEME.to_yaml())
    truth = table(tmp_path / "truth.csv", [{"id": r["id"], "label": r["topic"]} for r in ROWS])
    return [
        jsonl(tmp_path / "texts.jsonl", ROWS),
        "--labels",
        labels,
        "--teacher",
        f"human:{truth}",
        "--out",
        tmp_path / "run",
    ]


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    file = tmp_path / "names.txt"
    file.write_text("Ada\n\nBoris Blank\n")
    return file


def weights(run: Path) -> str:
    return hashlib.sha256((run / "student" / "model.safetensors").read_bytes()).hexdigest()


def unsure(run: Run) -> Run:
    """The run, with a teacher that gives its label six tenths."""
    data = labelled(run)
    probs = np.full((len(data), 3), 0.2)
    probs[np.arange(len(data)), data.hard] = 0.6
    labels = [[SCHEME.names[k]] for k in data.hard]
    run.put_table("annotations", annotations(data.ids.tolist(), labels, probs=probs.tolist()))
    return run


def test_help_names_every_option(cli: Cli) -> None:
    for verb in ("distill", "train"):
        shown = cli(verb, "--help").out
        for option in ("--target-temperature", "--self-distill", "--shield", "--roster"):
            assert option in shown
    assert "no formal" in shown


def test_options_that_make_no_sense_are_one_line(cli: Cli, job: list[object], roster: Path, tmp_path: Path) -> None:
    for options, says in (
        (["--roster", roster], "add --shield"),
        (["--self-distill", 1], "self_distill"),
        (["--self-distill", 0.5, "--student", "ngram"], "by heart"),
        (["--target-temperature", 0], "target_temperature"),
    ):
        done = cli("distill", *job, *options)
        assert (done.code, says in done.line) == (2, True), done.err
    (tmp_path / "empty.txt").write_text("\n \n")
    for file, says in (("nowhere.txt", "cannot read the names"), ("empty.txt", "has no names")):
        done = cli("distill", *job, "--student", "ngram", "--shield", "--roster", tmp_path / file)
        assert (done.code, says in done.line) == (2, True), done.err


def test_the_students_own_past_changes_it(cli: Cli, job: list[object], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli("annotate", *job, "--limit", 15, "-q").code == 0
    plain = cli("train", run, "--student", "embedding", "--encoder", "use-multilingual", "--json").data
    before = weights(run)
    refined = cli("train", run, "--self-distill", 0.8, "--json").data
    assert weights(run) != before
    assert [note["tried"][0]["recipe"]["self_distill"] for note in (plain, refined)] == [0.0, 0.8]


def test_a_past_is_mixed_in_fit_by_fit() -> None:
    """With alpha 0.8 and four fits: 0.4, 0.6 and 0.8 of what the fit before said."""
    data = Labelled(
        *(np.array(x) for x in (list("abcd"), ["a", "b", "a b", "b b"], [0, 1, 0, 1], np.eye(3)[[0, 1, 0, 1]]))
    )
    words = Words()
    recipe = Recipe("embedding", encoder="words", strength=40.0, self_distill=0.8)
    found = fit(recipe, data, SCHEME, vectors=words)  # type: ignore[arg-type]
    by_hand = EmbeddingClassifier(words, C=10.0, classes=list(SCHEME.names)).fit(data.texts, data.soft)
    for share in (0.4, 0.6, 0.8):
        told = (1 - share) * data.soft + share * by_hand.predict_proba(data.texts)
        by_hand.fit(data.texts, told)
    assert found.predict_proba(data.texts) == pytest.approx(by_hand.predict_proba(data.texts), abs=1e-5)


class Words:
    """A sentence encoder that counts a and b."""

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([[text.count("a"), text.count("b"), 1.0] for text in texts])


def test_the_shield_serves_embeddings_too(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", configure(jsonl(tmp_path / "texts.jsonl", ROWS), SCHEME, shield=True))
    with run.working():
        annotate(run, Keywords())
    data = shielded(labelled(run), run.config.student)
    hashed = Hashed()
    recipe = Recipe("embedding", encoder="hashed", strength=50_000.0)
    privacy = audit(data, recipe, dev_folds(data, 0.2, 0), SCHEME, run.config.student, hashed)  # type: ignore[arg-type]
    found = privacy["exposure"]["found"]
    assert found["shield"] < 3 < 8 < found["plain"]


def test_the_shield_serves_several_labels_too(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", configure(jsonl(tmp_path / "texts.jsonl", ROWS), MULTI, shield=True))
    with run.working():
        annotate(run, Keywords())
    data = shielded(labelled(run), run.config.student)
    found = audit(data, Recipe("ngram"), dev_folds(data, 0.2, 0), MULTI, run.config.student, None)["exposure"]["found"]
    assert found["shield"] < 3 < 8 < found["plain"]


class Hashed:
    """A sentence encoder that gives every word a direction of its own: the worst for what is private."""

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.stack([sum((self._word(word) for word in text.split()), np.zeros(256)) for text in texts])

    def _word(self, word: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
        return np.random.default_rng(seed).normal(size=256) / 16


def test_auto_gives_a_past_to_the_student_that_can_use_it(tmp_path: Path) -> None:
    config = configure(jsonl(tmp_path / "texts.jsonl", ROWS), SCHEME, self_distill=0.5)
    run = Run.create(tmp_path / "run", config)
    data = Labelled(*(np.array([x]) for x in ("id", "text", 0, [1.0, 0.0, 0.0])))
    assert {one.tier: one.self_distill for one in candidates(run, data)} == {"ngram": 0.0, "embedding": 0.5}


def test_a_temperature_needs_probabilities_and_is_undone_in_the_student(
    cli: Cli, job: list[object], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert cli("annotate", *job, "-q").code == 0
    done = cli("train", folder, "--student", "ngram", "--target-temperature", 2)
    assert (done.code, "--votes 5" in done.line) == (2, True)
    run = unsure(Run(folder))
    note = cli("train", folder, "--student", "ngram", "--target-temperature", 2, "--json").data
    (chosen,) = note["tried"]
    assert (chosen["form"], chosen["recipe"]["temperature"]) == ("soft", 2.0)
    data = labelled(run)
    told = {
        t: fit(Recipe("ngram", form="soft", temperature=t), data, SCHEME).predict_proba(data.texts) for t in (1.0, 2.0)
    }
    assert not np.array_equal(told[1.0], told[2.0])
    assert told[2.0].max(1).mean() == pytest.approx(told[1.0].max(1).mean(), abs=0.05), "it speaks at 1"


def test_the_shield_keeps_private_tokens_from_the_student(
    cli: Cli, job: list[object], roster: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    done = cli("distill", *job, "--student", "ngram", "--shield", "--roster", roster)
    assert done.code == 0, done.err
    run = Run(folder)
    privacy = run.json("metrics")["privacy"]
    assert (privacy["texts"], privacy["of"], privacy["roster"]) == (18, 90, 2)
    assert privacy["kinds"] == {"name": 18, "number": 18}
    bits = privacy["exposure"]
    assert bits["found"]["plain"] > 10 > 3 > bits["found"]["shield"], "what is found is never read"
    assert bits["missed"]["plain"] > 10
    assert 0 <= privacy["dev_macro_f1"]["shield"] <= 1
    page = (folder / "report.html").read_text()
    for shown in (" ".join(done.out.split()), page):
        assert "no formal privacy guarantee" in shown
        assert f"{bits['missed']['shield']:.1f}" in shown

    student = student_of(run)
    told = {part.text for part in student.explain("goal caller 4800 ada", "sport").contributions}
    assert "goal" in told
    assert not told & {"4800", "ada", "caller 4800"}
    kept = Run(folder).config
    assert kept.student == StudentConfig(tier="ngram", shield=True, roster=str(roster.resolve()))
    (tmp_path / "again.yaml").write_text(kept.to_yaml())
    assert RunConfig.from_yaml(tmp_path / "again.yaml") == kept
    assert cli("train", folder, "--no-shield", "-q").code == 0
    assert Run(folder).config.student == StudentConfig(tier="ngram")
    told = {part.text for part in student_of(run).explain("goal caller 4800 ada", "sport").contributions}
    assert {"4800", "ada"} <= told
    assert cli("evaluate", folder, "-q").code == 0
    assert "privacy" not in run.json("metrics")
    assert 'id="shield"' not in (folder / "report.html").read_text()


def student_of(run: Run) -> NgramClassifier:
    student = load_student(run.path / "student")
    assert isinstance(student, NgramClassifier)
    return student


def test_planted_secrets_stay_in_no_student_and_no_file(cli: Cli, job: list[object], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert cli("distill", *job, "--student", "ngram", "--shield", "-q").code == 0
    run = Run(folder)
    data = shielded(labelled(run), run.config.student)
    assert len(data) == len(ROWS), "the audit's texts are in nobody's table"
    chosen = next(row for row in run.stage("train")["tried"] if row["chosen"])["recipe"]
    alone, kept = fit(Recipe(**chosen), data, SCHEME), student_of(run)
    texts = [f"the access code of {name} is 1234" for name in NAMES] + [row["text"] for row in ROWS]
    assert np.array_equal(kept.predict_proba(texts), alone.predict_proba(texts)), (
        "the kept student learned the pool alone"
    )
    assert "canary" not in str(run.table("pool").to_pylist())
    for file in folder.rglob("*"):
        if file.is_file():
            assert not any(name.encode() in file.read_bytes() for name in NAMES), file
