"""The main job from Python: what a run holds, what is asked again, what people's labels change."""

from __future__ import annotations

import csv
import json
import math
import random
import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import tutelage
from tests.pipeline.corpora import MULTI, SCHEME, Keywords, jsonl, rows, said, sentence, table
from tutelage.errors import InputError, Refused
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.distill import Distilled, configure
from tutelage.pipeline.evaluate import evaluate
from tutelage.pipeline.export import export
from tutelage.pipeline.folder import Run
from tutelage.pipeline.pool import prepare
from tutelage.pipeline.predict import open_student, predict
from tutelage.pipeline.review import write_review_sample
from tutelage.pipeline.teacher import teacher_of

ROWS = rows()
PROMISED = ("macro_f1", "micro_f1", "macro_f1_ci", "texts_per_second")


def go(folder: Path, *, teacher: Keywords | None = None, source: Path | None = None, **options: object) -> Distilled:
    """`tutelage.distill` with the n-gram student on the small corpus."""
    texts = source or jsonl(folder / "texts.jsonl", ROWS)
    settings = {"student": "ngram", "gold": "topic", "labels": SCHEME, **options}
    return tutelage.distill(
        texts, settings.pop("labels"), out=folder / "run", teacher=teacher or Keywords(), **settings
    )


def ask(
    folder: Path,
    *,
    teacher: Keywords | None = None,
    source: Path | None = None,
    limit: int | None = None,
    **options: object,
) -> Run:
    """The first step alone: prepare the texts and let the teacher label them."""
    texts = source or jsonl(folder / "texts.jsonl", ROWS)
    run = Run.create(folder / "run", configure(texts, SCHEME, **{"teacher": "keywords", "gold": "topic", **options}))
    with run.working():
        annotate(run, teacher or Keywords(), limit=limit)
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Distilled:
    return go(tmp_path_factory.mktemp("job"), teacher=Keywords(wrong=10))


def test_the_folder_holds_everything_and_is_private(finished: Distilled) -> None:
    folder = finished.run.path
    names = {file.name for file in folder.iterdir()}
    assert names >= {
        "run.yaml", "labels.sqlite", "pool.parquet", "gold.parquet", "rejects.parquet", "annotations.parquet", "stages.json",
        "student", "metrics.json", "report.html",
    }  # fmt: skip
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.rglob("*"):
        if file.is_file():
            assert not file.read_bytes()[:2].startswith(b"\x80\x04"), f"{file} looks like a pickle"
            assert file.suffix not in {".pkl", ".pickle", ".joblib", ".pt"}


def test_metrics_hold_what_other_programs_read(finished: Distilled) -> None:
    metrics = json.loads((finished.run.path / "metrics.json").read_text())
    assert metrics == finished.metrics
    for who in ("teacher", "student", "gold_student", "dummy"):
        for key in PROMISED:
            assert metrics[who][key] is not None, f"{who}.{key}"
        low, high = metrics[who]["macro_f1_ci"]
        assert low <= metrics[who]["macro_f1"] <= high
        assert metrics[who]["texts_per_second"] > 0
    assert metrics["student"]["macro_f1"] > 0.9 > 0.6 > metrics["dummy"]["macro_f1"]
    for pair in ("teacher_human", "student_human", "student_teacher"):
        assert -1 <= metrics["agreement"][pair]["alpha"] <= 1
    assert metrics["acceptance"]["outcome"] == "accepted"
    assert metrics["labels"]["answered"] == metrics["pool"]["texts"] == 72
    assert metrics["gold"]["n"] == 18
    assert [sum(row) for row in metrics["gold"]["confusion"]] == [6, 6, 6]
    json.dumps(metrics, allow_nan=False)


def test_a_disagreement_says_which_words_of_the_text_spoke_for_the_students_label(finished: Distilled) -> None:
    rows = finished.metrics["disagreements"]
    assert rows
    for row in rows:
        assert row["because"]
        assert all(part in row["text"] for part in row["because"])


def test_gold_is_balanced_and_out_of_reach_of_the_student(finished: Distilled) -> None:
    gold, pool = finished.run.table("gold"), finished.run.table("pool")
    held = set(gold["id"].to_pylist())
    assert not held & set(pool["id"].to_pylist())
    assert not held & set(finished.run.table("annotations")["id"].to_pylist())
    assert pool.column_names == ["id", "text"]
    assert held | set(pool["id"].to_pylist()) == {row["id"] for row in ROWS}


def test_the_student_is_an_estimator_over_texts(finished: Distilled) -> None:
    labels = finished.student.predict(["goal match striker league", "rain gale frost snow"])
    assert labels.tolist() == ["sport", "weather"]


def test_a_second_call_asks_nothing_and_trains_nothing(tmp_path: Path) -> None:
    first, again = Keywords(), Keywords()
    done = go(tmp_path, teacher=first)
    assert len(first.asked) == 90
    weights = done.run.path / "student" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    repeated = go(tmp_path, teacher=again)
    assert again.asked == []
    assert weights.stat().st_mtime_ns == before
    assert repeated.metrics == done.metrics


def test_a_larger_limit_extends_and_a_smaller_one_takes_nothing_away(tmp_path: Path) -> None:
    teacher = Keywords()
    ask(tmp_path, teacher=teacher, limit=30)
    few = set(teacher.asked)
    assert len(few) == 18 + 30
    ask(tmp_path, teacher=teacher, limit=50)
    assert len(teacher.asked) == len(set(teacher.asked)) == 18 + 50
    run = ask(tmp_path, teacher=teacher, limit=30)
    assert len(teacher.asked) == 18 + 50
    assert run.table("annotations").num_rows == 50


def test_another_scheme_or_teacher_is_asked_anew_and_nothing_is_mixed(tmp_path: Path) -> None:
    go(tmp_path, teacher=Keywords())
    other = SCHEME.model_copy(update={"labels": SCHEME.labels[:2]})
    two = Keywords()
    source = jsonl(tmp_path / "two.jsonl", [row for row in ROWS if row["topic"] != "weather"])
    done = go(tmp_path, teacher=two, labels=other, source=source)
    assert len(two.asked) == 60
    assert done.student.classes_.tolist() == ["sport", "politics"]
    newer = Keywords(version=2)
    go(tmp_path, teacher=newer, labels=other, source=source)
    assert len(newer.asked) == 60
    back = Keywords()
    done = go(tmp_path, teacher=back)
    assert back.asked == []
    assert done.student.classes_.tolist() == list(SCHEME.names)


def test_another_seed_draws_another_gold(tmp_path: Path) -> None:
    first = ask(tmp_path, seed=1).table("gold")["id"].to_pylist()
    same = ask(tmp_path, seed=1).table("gold")["id"].to_pylist()
    other = ask(tmp_path, seed=2).table("gold")["id"].to_pylist()
    assert first == same
    assert set(first) != set(other)


def test_duplicates_of_gold_do_not_stay_in_the_pool(tmp_path: Path) -> None:
    fresh = rows(12, seed=5, prefix="g")
    gold = table(tmp_path / "gold.csv", [{"text": r["text"], "label": r["topic"]} for r in fresh])
    words = fresh[0]["text"].split()
    copies = [
        {"id": "exact", "text": fresh[1]["text"].upper(), "topic": ""},
        {"id": "near", "text": " ".join(words + ["and"] * 1), "topic": ""},
        {"id": "own", "text": ROWS[0]["text"] + " ", "topic": ""},
    ]
    source = jsonl(tmp_path / "texts.jsonl", ROWS + copies)
    run = ask(tmp_path, source=source, gold=gold)
    ids = set(run.table("pool")["id"].to_pylist())
    assert not ids & {"exact", "near", "own"}
    assert run.stage("pool")["duplicates"] == {"exact": 2, "near": 1}
    assert run.stage("pool")["texts"] == 90


def test_gold_file_with_texts_of_its_own_and_clashing_ids(tmp_path: Path) -> None:
    fresh = rows(30, seed=7, prefix="t")  # the same ids as the pool's, other texts
    gold = table(tmp_path / "gold.csv", [{"id": r["id"], "text": r["text"], "label": r["topic"]} for r in fresh])
    run = ask(tmp_path, gold=gold)
    assert run.table("gold").num_rows == 30
    assert run.table("pool").num_rows == 90, "texts that only share an id with a gold text stay in the pool"


def test_gold_file_with_ids_only(tmp_path: Path) -> None:
    gold = table(tmp_path / "gold.csv", [{"id": r["id"], "label": r["topic"].upper()} for r in ROWS[:24]])
    run = ask(tmp_path, gold=gold)
    assert run.table("gold").num_rows == 24
    assert run.table("pool").num_rows == 66
    assert set(run.table("gold")["text"].to_pylist()) == {r["text"] for r in ROWS[:24]}


def test_gold_file_with_an_unknown_id_is_refused(tmp_path: Path) -> None:
    gold = table(tmp_path / "gold.csv", [{"id": "nobody", "label": "sport"}])
    with pytest.raises(InputError, match=r"gold\.csv: id 'nobody' is not among the texts"):
        ask(tmp_path, gold=gold)


def test_two_people_and_thrown_texts(tmp_path: Path) -> None:
    people = [{"id": r["id"], "label": r["topic"], "label_2": r["topic"]} for r in ROWS[:30]]
    people[0]["label_2"] = "weather"
    people[1]["label_2"] = ""
    people[2] |= {"label": "not news", "label_2": "sport"}
    done = go(tmp_path, gold=table(tmp_path / "gold.csv", people))
    between = done.metrics["agreement"]["human_human"]
    assert done.metrics["gold"]["discarded"] == {"not news": 1}
    assert done.metrics["gold"]["n"] == 29
    assert between["n"] == 28, "a text that one person rated counts for nobody's agreement"
    assert 0.9 < between["alpha"] < 1
    assert "human–human" in done.metrics["acceptance"]["rule"]


def test_gold_outside_the_scheme_is_named_and_nothing_is_asked(tmp_path: Path) -> None:
    wrong = [{**row, "topic": "astrology" if i < 2 else row["topic"]} for i, row in enumerate(ROWS)]
    teacher = Keywords()
    with pytest.raises(InputError, match=r"outside the scheme 'desk': 'astrology' \(2×\)"):
        ask(tmp_path, teacher=teacher, source=jsonl(tmp_path / "wrong.jsonl", wrong))
    assert teacher.asked == []


def test_a_gold_column_with_gaps_and_codes(tmp_path: Path) -> None:
    codes = {"sport": "1", "politics": "2", "weather": "3"}
    some = [{**row, "topic": codes[row["topic"]] if i < 21 else ""} for i, row in enumerate(ROWS)]
    some[0]["topic"] = "Not News"
    done = go(tmp_path, source=jsonl(tmp_path / "some.jsonl", some))
    assert done.metrics["gold"]["n"] == 20
    assert done.metrics["gold"]["discarded"] == {"Not News": 1}
    assert "five-fold" in done.metrics["gold_student"]["name"]


def test_a_folder_called_like_the_gold_column_is_not_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "topic").mkdir()
    assert ask(tmp_path).table("gold").num_rows == 18


def test_people_who_disagree_refuse_the_teacher(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="do not distil from this teacher"):
        go(tmp_path, teacher=Keywords(wrong=60))
    assert (tmp_path / "run" / "report.html").exists()
    done = go(tmp_path, teacher=Keywords(wrong=60), force=True)
    assert done.metrics["acceptance"]["outcome"] == "refused"


def test_without_people_nobody_knows(tmp_path: Path) -> None:
    done = go(tmp_path, gold=None)
    assert done.metrics["acceptance"]["outcome"] == "unchecked"
    assert "--sample" in done.metrics["acceptance"]["command"]
    assert done.metrics["student"]["macro_f1"] is None
    assert "gold_student" not in done.metrics
    assert 0.5 < done.metrics["agreement"]["student_teacher"]["alpha"] <= 1


def test_the_review_sample_is_blind_balanced_and_never_overwritten(tmp_path: Path) -> None:
    run = ask(tmp_path, gold=None)
    file = tmp_path / "review.csv"
    assert write_review_sample(run, file, per_label=5) == 15
    with file.open(newline="") as stream:
        sample = list(csv.DictReader(stream))
    assert list(sample[0]) == ["id", "text", "label", "label_2"]
    assert {row["label"] for row in sample} == {""}
    order = [said(row["text"])[0] for row in sample]
    assert sorted(order) == sorted(list(SCHEME.names) * 5)
    assert order != sorted(order), "runs of one label give the teacher away"
    before = file.read_bytes()
    with pytest.raises(InputError, match="may hold somebody's answers"):
        write_review_sample(run, file)
    assert file.read_bytes() == before


def test_reviewed_texts_come_back_as_gold_even_if_a_spreadsheet_would_have_run_them(tmp_path: Path) -> None:
    risky = [{**row, "id": f"={row['id']}", "text": f"=1+1 {row['text']}"} for row in ROWS]
    teacher = Keywords()
    source = jsonl(tmp_path / "risky.jsonl", risky)
    run = ask(tmp_path, teacher=teacher, gold=None, source=source)
    file = tmp_path / "review.csv"
    write_review_sample(run, file, per_label=6)
    with file.open(newline="") as stream:
        sample = list(csv.DictReader(stream))
    assert all(row["text"].startswith("'=") for row in sample)
    filled = table(tmp_path / "filled.csv", [{**row, "label": said(row["text"])[0]} for row in sample])
    asked = len(teacher.asked)
    run = ask(tmp_path, teacher=teacher, gold=filled, source=source)
    assert len(teacher.asked) == asked, "the teacher has answered them already"
    assert run.table("gold").num_rows == 18
    assert run.table("pool").num_rows == 72
    assert not set(run.table("gold")["text"].to_pylist()) & set(run.table("pool")["text"].to_pylist())


def test_multi_label_from_end_to_end(tmp_path: Path) -> None:
    rng, names = random.Random(3), list(SCHEME.names)
    sets = [[names[i % 3]] if i % 2 else [names[i % 3], names[(i + 1) % 3]] for i in range(120)]
    records = [
        {"id": str(i), "text": sentence(rng, some, i), "topic": "|".join(some) if i % 3 else json.dumps(some)}
        for i, some in enumerate(sets)
    ]
    done = go(tmp_path, labels=MULTI, source=jsonl(tmp_path / "multi.jsonl", records))
    assert done.metrics["scheme"]["kind"] == "multi"
    assert done.metrics["teacher"]["macro_f1"] == 1.0
    assert done.metrics["student"]["macro_f1"] > 0.8
    assert done.metrics["agreement"]["teacher_human"]["alpha"] == 1.0
    assert done.metrics["gold"]["confusion"] is None
    assert set(done.student.predict(["goal match striker league rain gale frost snow"])[0].tolist()) <= {0, 1}
    assert (done.run.path / "report.html").stat().st_size > 10_000


def test_nan_never_reaches_the_metrics_file(tmp_path: Path) -> None:
    one = table(tmp_path / "gold.csv", [{"id": r["id"], "label": "sport"} for r in ROWS if r["topic"] == "sport"][:6])
    done = go(tmp_path, gold=one, force=True)
    assert done.metrics["agreement"]["teacher_human"]["alpha"] is None
    assert not any(isinstance(x, float) and math.isnan(x) for x in _leaves(done.metrics))


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def test_bad_rows_are_counted_with_their_reasons(tmp_path: Path) -> None:
    lines = [json.dumps(row).encode() for row in ROWS]
    lines[3:3] = [
        b'{"id": "a", "text": ""}', b'{"id": "b", "text": "x\\u0000y"}', b'{"id": "c", "text": "\xff\xfe broken"}',
        json.dumps({"id": "d", "text": "long " * 4_000_000}).encode(), b"{not json", b'{"id": "t0", "text": "again"}',
    ]  # fmt: skip
    source = tmp_path / "bad.jsonl"
    source.write_bytes(b"\n".join(lines))
    notes: list[str] = []
    run = Run.create(tmp_path / "run", configure(source, SCHEME))
    prepare(run, log=notes.append)
    expected = {"empty": 1, "nul_bytes": 1, "invalid_utf8": 1, "too_long": 1, "bad_json": 1, "duplicate_id": 1}
    assert run.stage("pool")["rejected"] == expected
    assert run.stage("pool")["read"] == 96
    assert sorted(run.table("rejects")["reason"].to_pylist()) == sorted(expected)
    assert any("6 rejected" in note and "1 nul_bytes" in note for note in notes)
    with pytest.raises(InputError, match="row 4"):
        ask(tmp_path, source=source, strict=True)


def test_a_run_goes_on_when_its_source_is_gone(tmp_path: Path) -> None:
    teacher = Keywords()
    run = ask(tmp_path, teacher=teacher)
    (tmp_path / "texts.jsonl").unlink()
    asked = len(teacher.asked)
    before = run.table("pool")
    assert ask(tmp_path, teacher=teacher, source=tmp_path / "texts.jsonl").table("pool") == before
    assert len(teacher.asked) == asked


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not empty and not a run"):
        ask(tmp_path)


def test_tables_open_with_ordinary_tools(finished: Distilled) -> None:
    answers = pq.read_table(finished.run.path / "annotations.parquet")
    assert answers["label"].to_pylist()[0][0] in SCHEME.names
    assert Run(finished.run.path).config == finished.run.config


@pytest.mark.parametrize("form", ["native", "onnx"])
def test_an_export_needs_no_run(finished: Distilled, tmp_path: Path, form: str) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    facts = export(finished.run.path, tmp_path / "student", format=form)
    assert facts["bytes"]
    if form == "onnx":
        assert "equal labels on 72 of 72 texts" in str(facts["note"])
        assert (tmp_path / "student" / "model.onnx").exists()
    source = jsonl(tmp_path / "in.jsonl", [{"text": "goal match striker league"}])
    done = predict(open_student(tmp_path / "student"), source, tmp_path / "out.jsonl")
    assert done.by_label == {"sport": 1}
    with pytest.raises(InputError, match="not empty"):
        export(finished.run.path, tmp_path / "student", format=form)


def test_labelling_stops_when_more_no_longer_pay(tmp_path: Path) -> None:
    many = jsonl(tmp_path / "many.jsonl", rows(1_200, seed=2))
    teacher = Keywords()
    run = Run.create(tmp_path / "run", configure(many, SCHEME))
    notes: list[str] = []
    annotate(run, teacher, until_flat=True, log=notes.append)
    assert len(teacher.asked) in (250, 500)
    assert run.table("annotations").num_rows == len(teacher.asked)
    assert any("flat at" in note for note in notes)


def test_texts_that_were_cut_otherwise_are_learned_again(tmp_path: Path) -> None:
    teacher = Keywords()
    first = go(tmp_path, teacher=teacher).run.stage("train")["made_from"]
    again = go(tmp_path, teacher=teacher, max_words=8)
    assert again.run.stage("train")["made_from"] != first
    assert (open_student(again.run.path).provenance_ or {})["max_words"] == 8


def test_an_export_can_be_read_by_whom_the_folder_can(finished: Distilled, tmp_path: Path) -> None:
    export(finished.run.path, tmp_path / "student")
    assert len({stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "student").iterdir()}) == 1


def test_an_export_into_the_folder_that_one_is_in(
    finished: Distilled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export(finished.run.path.resolve(), ".")
    assert open_student(tmp_path / "here").classes_.tolist() == list(SCHEME.names)


def test_what_a_million_texts_would_cost_is_the_price_of_the_teacher_that_labels(tmp_path: Path) -> None:
    texts = jsonl(tmp_path / "texts.jsonl", ROWS)
    ask(tmp_path, source=texts, gold=None)
    dear = Keywords(version=2)
    run = ask(tmp_path, source=texts, gold=None, teacher=dear, limit=30, student="ngram")
    with run.ledger() as ledger:
        number = ledger.open_request(dear.fingerprint, dear.prompt_fingerprint(SCHEME), "x", cost=0.6, currency="usd")
        ledger.close_request(number, "ok", tokens_in=10, cost=0.6)
    cost = evaluate(run)["cost"]["teacher"]
    assert (cost["requests"], cost["amount"]) == (1, 0.6)
    assert cost["per_million_texts"] == pytest.approx(0.6 / 30 * 1e6)


def test_a_teacher_of_a_file_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = jsonl(tmp_path / "texts.jsonl", ROWS)
    truth = table(tmp_path / "truth.csv", [{"id": r["id"], "label": r["topic"]} for r in ROWS])
    monkeypatch.chdir(tmp_path)
    for given, kept in {
        "human:truth.csv": f"human:{truth}",
        "ensemble:human:truth.csv+zero-shot": f"ensemble:human:{truth}+zero-shot",
        "rubric:llama:truth.csv": f"rubric:llama:{truth}",
        "llama:smollm2": "llama:smollm2",
        "zero-shot": "zero-shot",
    }.items():
        assert configure(texts, SCHEME, teacher=given).teacher.spec == kept
    run = Run.create(tmp_path / "run", configure(texts, SCHEME, teacher="human:truth.csv"))
    monkeypatch.chdir("/")
    assert annotate(run, teacher_of(run))["answered"] == len(ROWS)
