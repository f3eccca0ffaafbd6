"""Answer logs: laid out, cut and counted; read from tables and three-line files, with errors that name the line."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.answer_files import read_answer_log
from tutelage.data.knowledge_tracing import AnswerLog
from tutelage.errors import InputError

LOG = AnswerLog.of({"ann": [("a", 1), ("b", 0), ("a", 0), ("a", 1)], "bob": [("b", 1), ("b", 0)]})


def test_lies_flat_and_padded():
    assert LOG.sequence.tolist() == [0, 0, 0, 0, 1, 1]
    assert LOG.step.tolist() == [0, 1, 2, 3, 0, 1]
    concept, correct, mask = LOG.padded()
    assert concept.tolist() == [[0, 1, 0, 0], [1, 1, 0, 0]]
    assert correct.tolist() == [[True, False, False, True], [True, False, False, False]]
    assert mask.sum(1).tolist() == [4, 2]


def test_counts_earlier_tries_of_the_same_learner_and_concept_only():
    right, wrong = LOG.earlier()
    assert right.tolist() == [0, 0, 1, 1, 0, 1]
    assert wrong.tolist() == [0, 0, 0, 1, 0, 0]
    totals_right, totals_wrong = LOG.totals()
    assert totals_right.tolist() == [[2, 0], [0, 1]]
    assert totals_wrong.tolist() == [[1, 1], [0, 1]]


def test_pieces_keep_learner_and_order_and_drop_what_is_too_short():
    pieces = LOG.pieces(3, shortest=2)
    assert pieces.learners == ("ann", "bob")
    assert pieces.lengths.tolist() == [3, 2]
    assert pieces.concept.tolist() == [0, 1, 0, 1, 1]
    assert LOG.pieces(3).learners == ("ann", "ann", "bob")
    assert LOG.latest(1).correct.tolist() == [True, False]
    with pytest.raises(InputError, match="no learner has 5 answers"):
        LOG.pieces(9, shortest=5)


def test_a_split_never_tears_a_learner():
    log = AnswerLog.of({f"learner {n}": [("a", n % 2)] * 7 for n in range(10)}).pieces(3)
    parts = log.split([0.6, 0.2, 0.2], seed=1)
    names = [set(part.learners) for part in parts]
    assert sum(map(len, names)) == 10 == len(set.union(*names))
    assert sum(part.answers for part in parts) == log.answers
    with pytest.raises(InputError, match="too few"):
        LOG.split([0.5, 0.3, 0.2])


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=12), min_size=1, max_size=5
    )
)
def test_counts_agree_with_counting_one_by_one(answers: list[list[tuple[str, bool]]]):
    log = AnswerLog.of({str(n): [(c, int(ok)) for c, ok in given] for n, given in enumerate(answers)})
    right, wrong = log.earlier()
    for n in range(log.answers):
        before = [j for j in range(n) if log.sequence[j] == log.sequence[n] and log.concept[j] == log.concept[n]]
        assert right[n] == log.correct[before].sum()
        assert wrong[n] == len(before) - right[n]
    assert np.array_equal(np.concatenate([log.take([s]).concept for s in range(len(log))]), log.concept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concept": np.array([0, 2])}, r"\[0, 2\); found 2 at answer 1"),
        ({"bounds": np.array([0, 0, 2]), "learners": ("x", "y")}, "each at least one answer"),
        ({"time": np.array([2.0, 1.0])}, "runs backwards at answer 1 of learner x"),
        ({"correct": np.array([True])}, "does not fit together"),
    ],
)
def test_refuses_what_is_no_log(change: dict[str, object], message: str):
    fields = {"learners": ("x",), "concepts": ("a", "b"), "bounds": np.array([0, 2]), "concept": np.array([0, 1])}
    with pytest.raises(InputError, match=message):
        AnswerLog(**{**fields, "correct": np.array([True, False]), **change})  # type: ignore[arg-type]


def test_another_numbering_means_the_same_answers():
    wide = LOG.renamed(["z", "b", "a"])
    assert [wide.concepts[c] for c in wide.concept] == [LOG.concepts[c] for c in LOG.concept]
    with pytest.raises(InputError, match="'a' is not among the 1"):
        LOG.renamed(["b"])


def table(folder: Path, text: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_reads_a_table_by_its_usual_names_and_sorts_by_time(tmp_path: Path):
    path = table(tmp_path, "Student ID;order_id;skill_name;Correct\n7;2;add;1\n8;1;take;0\n7;1;take;0\n7;3;;1\n")
    log = read_answer_log(path)
    assert log.learners == ("7", "8")
    assert log.concepts == ("add", "take")
    assert [log.concepts[c] for c in log.concept] == ["take", "add", "take"]
    assert log.correct.tolist() == [False, True, False]
    assert log.time is not None
    assert log.time.tolist() == [1.0, 2.0, 1.0]
    assert log.remarks == (
        "learner is column 'Student ID', concept is column 'skill_name', correct is column 'Correct', time is column 'order_id'",
        "left out: 1 row without concept",
    )


def test_reads_named_columns_and_other_formats(tmp_path: Path):
    pq.write_table(pa.table({"who": ["a", "a"], "what": [10, 9], "won": [True, False]}), tmp_path / "log.parquet")
    log = read_answer_log(tmp_path / "log.parquet", learner="who", concept="what", correct="won")
    assert (log.concepts, log.concept.tolist(), log.correct.tolist()) == (("9", "10"), [1, 0], [True, False])
    dated = table(tmp_path, '{"user":"a","kc":"k","ok":"yes","time":"2024-05-31 10:00:00.5"}\n', "log.jsonl")
    assert read_answer_log(dated).time == pytest.approx([1717149600.5])


def test_says_where_one_answer_may_stand_twice(tmp_path: Path):
    path = table(tmp_path, "user,time,skill,correct\na,1,x,1\na,1,y,1\na,2,x,0\n")
    assert "33% of the answers have learner and time" in read_answer_log(path).remarks[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,skill\n1,2\n", "no column that is known to hold the correct; say --correct with one of user, skill"),
        ("user,skill,correct\na,b,1\na,b,0.5\n", "row 3: correct must be 0 or 1 .* found '0.5'"),
        ("user,skill,correct,time\na,b,1,soon\n", "row 2: time must be a number or a date .* found 'soon'"),
        ("user,skill,correct\na,,1\n", r"no answer could be read \(1 row without concept\)"),
        ("2\n1,1\n0,1,1\n", "line 1 declares 2 answers; line 2 has 2 concepts, line 3 3 outcomes"),
        ("2\n1,0\n0,1\n", "line 2 must hold concepts from 1 on"),
        ("2\n1,1\n0,2\n", "line 3 only 0 and 1"),
        ("1\n1\n", "2 lines are not three a learner"),
        ("1\nx\n0\n", "line 2 must hold whole numbers"),
    ],
)
def test_names_the_line_that_is_wrong(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=message):
        read_answer_log(table(tmp_path, text))


def test_refuses_columns_that_are_not_there(tmp_path: Path):
    path = table(tmp_path, "user,skill,correct\na,b,1\n")
    with pytest.raises(InputError, match="no column 'pupil'; say --learner with one of user, skill, correct"):
        read_answer_log(path, learner="pupil")
    with pytest.raises(InputError, match="one column cannot be two things"):
        read_answer_log(path, learner="skill")
    with pytest.raises(InputError, match="no such file"):
        read_answer_log(tmp_path / "nothing.csv")


def test_reads_three_lines_a_learner_with_trailing_commas(tmp_path: Path):
    text = "2,\n3,10,\n0,1,\n\n1\n3\n1\n"
    log = read_answer_log(table(tmp_path, text))
    assert (log.learners, log.concepts, log.bounds.tolist()) == (("learner 1", "learner 2"), ("3", "10"), [0, 2, 3])
    assert (log.concept.tolist(), log.correct.tolist()) == ([0, 1, 0], [False, True, True])
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_answer_log(packed).answers == 3
    with pytest.raises(InputError, match="no columns: leave out --learner"):
        read_answer_log(packed, learner="user")


@pytest.mark.skipif("TUTELAGE_DATA" not in os.environ, reason="needs the data folder")
@pytest.mark.parametrize(
    ("part", "learners", "answers", "long"), [("train", 2921, 224_218, 2167), ("test", 1230, 101_419, 924)]
)
def test_the_published_log_has_its_published_size(part: str, learners: int, answers: int, long: int):
    log = read_answer_log(Path(os.environ["TUTELAGE_DATA"]) / f"assist2009_updated_{part}.csv")
    assert (len(log), log.answers, int((log.lengths >= 10).sum())) == (learners, answers, long)
