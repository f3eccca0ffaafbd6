"""Tables that replay searches, their logs, and rank reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tutelage.curricula.search import RandomSearch
from tutelage.errors import InputError
from tutelage.evaluation.tabular import Row, SearchLog, TabularBenchmark, explore, rank_report
from tutelage.students.space import Space

ROWS = {((1, 0), "a"): Row((0.5, 0.7), (0.6, 0.6), 10), ((1, 1), "b"): Row((0.9, 0.8), (0.7, 0.9), 30)}


def test_a_table_survives_its_file(tmp_path: Path):
    table = TabularBenchmark(ROWS, {"epochs": 5})
    table.save(tmp_path / "table.json")
    read = TabularBenchmark.load(tmp_path / "table.json")
    assert (read.rows, read.about) == (table.rows, table.about)
    (tmp_path / "table.json").write_text('{"about": {}, "rows": [{"architecture": [1]}]}')
    with pytest.raises(InputError, match=r"table\.json is not a table"):
        TabularBenchmark.load(tmp_path / "table.json")


def test_a_search_sees_one_stored_run_at_a_time_and_the_scorer_the_mean():
    table = TabularBenchmark(ROWS)
    rng = np.random.default_rng(0)
    assert {table.ask(((1, 0), "a"), rng) for _ in range(30)} == {0.5, 0.7}
    assert table.best() == ((1, 1), "b")
    assert table.regret(((1, 0), "a")) == pytest.approx(0.2)
    with pytest.raises(InputError, match="not one of the table's 2"):
        table.ask((9,), rng)


def test_refuses_rows_that_cannot_be_compared():
    with pytest.raises(InputError, match="same number of runs"):
        TabularBenchmark({(1,): Row((0.5,), (0.5,), 1), (2,): Row((0.5, 0.5), (0.5,), 1)})
    with pytest.raises(InputError, match="needs rows"):
        TabularBenchmark({})


def test_exploring_stops_at_the_budget_or_where_nothing_is_new():
    space = Space({"x": range(10)})
    calls: list = []

    def evaluate(architecture: tuple) -> float:
        calls.append(architecture)
        return -abs(architecture[0] - 4)

    log = explore(RandomSearch(space), evaluate, distinct=6, batch=2, epochs=5)
    assert (log.distinct, len(calls), log.epochs) == (6, 6, 30)
    assert log.new() == list(range(6))
    whole = explore(RandomSearch(space), evaluate, distinct=99)
    assert (whole.distinct, whole.best) == (10, (4,))


def test_a_log_pays_once_for_what_is_asked_twice():
    log = SearchLog()
    for size in (3, 5, 3, 4):
        log.add((size,), lambda a: a[0], epochs=2)
    assert (log.distinct, log.epochs, log.new(), log.best) == (3, 6, [0, 1, 3], (5,))
    with pytest.raises(InputError, match="nothing was evaluated"):
        _ = SearchLog().best


def test_rank_reports():
    report = rank_report([3, 2, 1], [10, 20, 30])
    assert (report.kendall, report.spearman, report.regret) == (pytest.approx(-1), pytest.approx(-1), 20)
    for scores, truth in (([1], [1]), ([1, 2], [1, 2, 3]), ([1, np.nan], [1, 2])):
        with pytest.raises(InputError, match="two or more"):
            rank_report(scores, truth)
