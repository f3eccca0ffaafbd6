"""A ranking teacher's file of scores: exact, resumable, and refused where it is not sound."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.teachers.scores import mean_of_teachers, read_scores, score_matrix, score_triples

QUERIES = {"q1": "bread", "q2": "tax"}
PASSAGES = {f"p{n}": "x" * n for n in range(5)}
TRIPLES = [("q1", "p1", "p2"), ("q1", "p3", "p0"), ("q2", "p4", "p1")]


def length(pairs: list[tuple[str, str]]) -> list[float]:
    """A teacher that likes long passages."""
    return [len(passage) / 3 for _, passage in pairs]


def test_scores_survive_the_file_to_the_bit(tmp_path: Path) -> None:
    table = score_triples(length, TRIPLES, QUERIES, PASSAGES, tmp_path / "s.tsv")
    assert score_matrix(table).tolist() == [[1 / 3, 2 / 3], [1.0, 0.0], [4 / 3, 1 / 3]]
    assert table["query"].to_pylist() == ["q1", "q1", "q2"]
    assert table.equals(read_scores(tmp_path / "s.tsv"))


@settings(deadline=None, max_examples=40)
@given(cut=st.integers(0, 60), batch=st.integers(1, 3))
def test_a_file_that_was_cut_anywhere_is_completed_and_whole_lines_are_not_asked_again(
    tmp_path_factory: pytest.TempPathFactory, cut: int, batch: int
) -> None:
    out = tmp_path_factory.mktemp("cut") / "s.tsv"
    score_triples(length, TRIPLES, QUERIES, PASSAGES, out)
    whole = out.read_bytes()
    out.write_bytes(whole[:cut])
    asked: list[tuple[str, str]] = []

    def teacher(pairs: list[tuple[str, str]]) -> list[float]:
        asked.extend(pairs)
        return length(pairs)

    score_triples(teacher, TRIPLES, QUERIES, PASSAGES, out, batch_size=batch)
    assert out.read_bytes() == whole
    assert len(asked) == 2 * (len(TRIPLES) - whole[:cut].count(b"\n"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.0\t2.0\tq\ta", "Expected 5 columns, got 4"),
        ("1.0\tnan\tq\ta\tb", "line 2: a score that is not a finite number"),
        ("1.0\t\tq\ta\tb", "line 2: a score that is not a finite number"),
        ("1.0\tinf\tq\ta\tb", "not a finite number"),
        ("1.0\thigh\tq\ta\tb", "cannot read teacher scores"),
        ("1.0\t2.0\tq\ta\ta", "line 2: the same passage twice"),
    ],
)
def test_unsound_rows_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "s.tsv"
    path.write_text(f"1.0\t0.5\tq\ta\tb\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_scores(path)


def test_other_refusals(tmp_path: Path) -> None:
    out = tmp_path / "s.tsv"
    with pytest.raises(InputError, match="cannot read teacher scores"):
        read_scores(out)
    with pytest.raises(InputError, match=r"2 ids are not among the passages: p8, p9"):
        score_triples(length, [("q1", "p8", "p9")], QUERIES, PASSAGES, out)
    with pytest.raises(InputError, match="tab or a line break"):
        score_triples(length, [("q1", "p1", "p\t2")], QUERIES, {**PASSAGES, "p\t2": "x"}, out)
    with pytest.raises(InputError, match="one finite score"):
        score_triples(lambda pairs: [1.0], TRIPLES, QUERIES, PASSAGES, out)
    with pytest.raises(InputError, match="one finite score"):
        score_triples(lambda pairs: [float("nan")] * len(pairs), TRIPLES, QUERIES, PASSAGES, out)
    score_triples(length, TRIPLES, QUERIES, PASSAGES, out)
    with pytest.raises(InputError, match="scores of other triples"):
        score_triples(length, TRIPLES[1:], QUERIES, PASSAGES, out)


def test_the_mean_of_teachers_and_its_warning(tmp_path: Path) -> None:
    one = score_triples(length, TRIPLES, QUERIES, PASSAGES, tmp_path / "a.tsv")
    loud = score_triples(lambda pairs: [10 * v for v in length(pairs)], TRIPLES, QUERIES, PASSAGES, tmp_path / "b.tsv")
    assert mean_of_teachers(one, one).equals(one)
    with pytest.warns(UserWarning, match="standard deviations"):
        mean = mean_of_teachers(one, loud)
    assert score_matrix(mean)[0].tolist() == pytest.approx([5.5 / 3, 11 / 3])
    with pytest.raises(InputError, match="same triples"):
        mean_of_teachers(one, one.slice(1))
