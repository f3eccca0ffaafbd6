"""Timed events: sorted, numbered once, split without a leak; files and tables that do not fit are refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.events import TimedEvents, read_simplices
from tutelage.errors import InputError

streams = st.lists(
    st.tuples(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 9)), min_size=2, max_size=30
)


def named(events: TimedEvents) -> list[tuple[object, set[object]]]:
    return [(time, {events.names[i] for i in events[e]}) for e, time in enumerate(events.times.tolist())]


@given(streams)
def test_events_come_out_in_order_of_time_each_with_its_members_once(stream: list[tuple[list[int], int]]):
    events = TimedEvents.from_groups([group for group, _ in stream], [time for _, time in stream])
    expected = sorted(((time, set(group)) for group, time in stream), key=lambda event: event[0])
    assert named(events) == expected
    assert events.sizes.tolist() == [len(group) for _, group in expected]
    assert events.incidence().toarray().sum(axis=1).tolist() == events.sizes.tolist()


@given(streams, st.floats(0.01, 0.99))
def test_no_part_knows_of_a_moment_of_a_later_part(stream: list[tuple[list[int], int]], quantile: float):
    events = TimedEvents.from_groups([group for group, _ in stream], [time for _, time in stream])
    try:
        old, new = events.split(quantile)
    except InputError:
        assert np.round(np.quantile(events.times, quantile)) >= events.times.max()
        return
    assert old.times.max() < new.times.min()
    assert named(old) + named(new) == named(events)
    assert old.names == events.names


def test_integer_times_are_cut_at_the_rounded_quantile():
    events = TimedEvents.from_groups(["ab"] * 5, [0, 1, 2, 3, 10])
    old, new = events.split(0.9)  # the quantile is 7.2
    assert (old.times.tolist(), new.times.tolist()) == ([0, 1, 2, 3], [10])
    first, second, third = events.split(0.25, 0.5)
    assert [part.times.tolist() for part in (first, second, third)] == [[0, 1], [2], [3, 10]]


def test_nodes_of_a_part_are_those_it_has_seen():
    old, new = TimedEvents.from_groups(["ab", "bc", "cd"], [1, 2, 3]).split(0.5)
    assert [np.array(list("abcd"))[part.seen].tolist() for part in (old, new)] == [["a", "b", "c"], ["c", "d"]]


def test_a_part_is_counted_in_order_of_time():
    events = TimedEvents.from_groups(["cd", "ab", "ef"], [2, 1, 3])
    assert named(events.part(0, 1)) == [(1, {"a", "b"})]
    assert named(events.part(1, 3)) == [(2, {"c", "d"}), (3, {"e", "f"})]


def test_pairs_keep_their_direction():
    events = TimedEvents.from_pairs(["x", "y", "y"], ["y", "x", "y"], [3.0, 1.0, 2.0])
    assert events.names == ("y", "x")
    assert [events[e].tolist() for e in range(3)] == [[0, 1], [0, 0], [1, 0]]
    assert events.incidence().toarray().tolist() == [[1, 1], [1, 0], [1, 1]]
    with pytest.raises(InputError, match="3 and 2"):
        TimedEvents.from_pairs("abc", "ab", [1, 2, 3])


def test_a_table_with_a_row_a_member():
    times = pd.to_datetime(["2024-01-02", "2024-01-01", "2024-01-02"])
    frame = pd.DataFrame({"mail": [7, 8, 7], "person": ["ann", "bob", "cid"], "ts": times})
    for table in (frame, pa.table(frame)):
        events = TimedEvents.from_table(table, group="mail", member="person", time="ts")
        assert [people for _, people in named(events)] == [{"bob"}, {"ann", "cid"}]
        old, new = events.split(0.5)
        assert (len(old), len(new)) == (1, 1)


def test_a_table_that_does_not_fit_is_refused():
    table = pa.table({"g": [1], "m": pa.array([None], pa.string()), "t": [1]})
    with pytest.raises(InputError, match=r"no column 'who'; there are g, m, t"):
        TimedEvents.from_table(table, group="g", member="who", time="t")
    with pytest.raises(InputError, match="column 'm' has empty cells"):
        TimedEvents.from_table(table, group="g", member="m", time="t")


@pytest.mark.parametrize(
    ("groups", "times", "message"),
    [
        ([], [], "an event at least"),
        (["ab"], [1, 2], "1 events, times"),
        (["ab", ""], [1, 2], "event 1 has no members"),
        (["ab"], [np.nan], "finite"),
        (["ab"], ["monday"], "finite numbers or datetime64"),
    ],
)
def test_refuses_events_that_are_none(groups: list[str], times: list[object], message: str):
    with pytest.raises(InputError, match=message):
        TimedEvents.from_groups(groups, times)


@pytest.mark.parametrize("quantiles", [(), (0.0,), (1.0,), (0.8, 0.6)])
def test_refuses_quantiles_that_cut_nothing(quantiles: tuple[float, ...]):
    with pytest.raises(InputError, match="ascend between 0 and 1"):
        TimedEvents.from_groups(["ab", "ac"], [1, 2]).split(*quantiles)


def test_refuses_a_split_of_one_moment():
    with pytest.raises(InputError, match="too few distinct times"):
        TimedEvents.from_groups(["ab", "ac"], [1, 1]).split(0.5)


def write(folder: Path, sizes: str, members: str, times: str) -> Path:
    folder.mkdir()
    for what, content in (("nverts", sizes), ("simplices", members), ("times", times)):
        (folder / f"{folder.name}-{what}.txt").write_text(content)
    return folder


def test_the_three_files_plain_and_packed(tmp_path: Path):
    folder = write(tmp_path / "mail", "2\n3\n", "1\n2\n2\n3\n3\n", "20\n10\n")
    assert named(read_simplices(folder)) == [(10, {2, 3}), (20, {1, 2})]
    for path in list(folder.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert named(read_simplices(folder)) == [(10, {2, 3}), (20, {1, 2})]


@pytest.mark.parametrize(
    ("sizes", "members", "times", "message"),
    [
        ("2\n", "1\n2\n3\n", "5\n", "2 members in all, but 3"),
        ("2\n", "1\n2\n", "5\n6\n", "1 sizes of groups and 2 times"),
        ("3\n0\n", "1\n2\n3\n", "5\n6\n", "members in all"),
        ("2\n", "1\nx\n", "5\n", "as integers"),
    ],
)
def test_refuses_files_that_do_not_fit(tmp_path: Path, sizes: str, members: str, times: str, message: str):
    with pytest.raises(InputError, match=message):
        read_simplices(write(tmp_path / "mail", sizes, members, times))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"no such file: .*mail-nverts\.txt \(or mail-nverts\.txt\.gz\)"):
        read_simplices(tmp_path / "mail")
