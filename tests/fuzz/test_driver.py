"""The command that searches longer: what it counts, what it keeps, and what it says without atheris."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fuzz import __main__ as driver
from tests.fuzz.child import keep
from tests.fuzz.promise import Target


def broken(data: bytes) -> None:
    if data.startswith(b"a"):
        raise KeyError(data)
    if data.startswith(b"b"):
        raise UnicodeError("two\nlines")


BROKEN = Target("nothing", broken, lambda: [b""])


def test_a_fault_is_kept_once_for_each_place_with_its_input(tmp_path: Path) -> None:
    for data in (b"fine", b"a1", b"a2", b"b1", b"b2"):
        keep(tmp_path, BROKEN, data)
    told = driver.faults(tmp_path)
    assert sorted(line.partition(" at ")[0] for line in told) == ["KeyError", "UnicodeError"]
    assert all("test_driver.py:" in line and "\n" not in line for line in told)
    inputs = {file.read_bytes() for file in tmp_path.iterdir() if not file.suffix}
    assert inputs == {b"a1", b"b1"}
    traces = [json.loads(file.read_text())["trace"][-1] for file in tmp_path.glob("*.json")]
    assert sorted(traces) == ["KeyError: b'a1'\n", "UnicodeError: two\nlines\n"]


def test_an_input_that_ended_the_process_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "crash-1234").write_bytes(b"x")
    assert driver.faults(tmp_path) == [f"crash of the process ({tmp_path / 'crash-1234'})"]
    assert driver.faults(tmp_path / "nowhere") == []


def test_without_atheris_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "find_spec", lambda name: None)
    assert driver.main(["--target", "replies"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "coverage-guided fuzzing needs an extra that is not installed: pip install 'tutelage[fuzz]'"
    ]


def test_a_search_of_no_seconds_would_never_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        driver.main(["--seconds", "0"])
    assert "--seconds must be at least 1; got 0" in capsys.readouterr().err


def test_an_interruption_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "find_spec", lambda name: True)
    monkeypatch.setattr(driver, "fuzz", interrupted)
    assert driver.main(["--target", "replies", "--folder", str(tmp_path)]) == 130
    assert capsys.readouterr().err.startswith("interrupted; what was found so far is in")


def test_a_process_that_ends_before_it_searches_is_a_fault(tmp_path: Path) -> None:
    run, told = driver.fuzz("nonsense", tmp_path, 1)
    assert run.inputs == 0
    assert told == [f"the process ended with 1: see {tmp_path / 'log.txt'}"]


def test_two_seconds_of_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("atheris")
    assert driver.main(["--target", "replies", "--seconds", "2", "--folder", str(tmp_path)]) == 0
    row = capsys.readouterr().out.splitlines()[2].split("|")
    name, inputs, _, before, after, kept, faults = (cell.strip() for cell in row[1:-1])
    assert (name, faults) == ("replies", "0")
    assert int(inputs.replace(",", "")) > 100
    assert 0 < int(before.replace(",", "")) <= int(after.replace(",", ""))
    assert int(kept) > 0
    assert any((tmp_path / "replies" / "corpus").iterdir())
