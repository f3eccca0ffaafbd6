"""The two verbs: what they print, what they write, how they end."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from tutelage.cli.methods import methods
from tutelage.cli.study import study
from tutelage.errors import InputError
from tutelage.studies import catalogue

APP = typer.Typer()
APP.command()(study)
APP.command()(methods)


@pytest.fixture
def run(toy, monkeypatch, tmp_path):
    """arguments → the result of the command line, in an empty folder, with the toys as the catalogue."""
    names = {"holds": "holds", "fails": "fails", "raises": "raises"}
    monkeypatch.setattr(catalogue, "find_study", lambda name: toy(names[name]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, entries: tuple[str, ...] = ("holds", "fails")):
        monkeypatch.setattr(catalogue, "studies", lambda family=None: [toy(name) for name in entries])
        return CliRunner().invoke(APP, list(arguments))

    return invoke


def test_one_study_prints_its_verdict_and_writes_its_json(run, tmp_path):
    result = run("study", "holds", "--json", "out/holds.json")
    assert result.exit_code == 0
    assert "verdict HOLDS" in result.output
    assert json.loads((tmp_path / "out/holds.json").read_text())["verdict"] == "holds"
    assert list((tmp_path / "cache/tutelage/studies/holds").iterdir())
    assert not (tmp_path / "docs").exists()


def test_json_goes_to_standard_output_alone(run):
    result = run("study", "fails", "--json", "-")
    assert json.loads(result.stdout)["verdict"] == "does not hold"


def test_no_cache_keeps_nothing(run, tmp_path):
    assert run("study", "holds", "--no-cache").exit_code == 0
    assert not (tmp_path / "cache").exists()


def test_all_writes_the_scoreboard(run, tmp_path):
    result = run("study", "--all")
    assert result.exit_code == 0
    assert "`tutelage study --all`" in (tmp_path / "docs/studies.md").read_text()
    assert len(json.loads((tmp_path / "docs/studies.json").read_text())["studies"]) == 2


@pytest.mark.parametrize("extra", [["--fast"], ["--seeds", "5"], ["--first-seed", "100"]])
def test_the_scoreboard_is_written_by_the_standard_run_only(run, tmp_path, extra):
    assert run("study", "--all", *extra).exit_code == 0
    assert not (tmp_path / "docs").exists()


def test_a_failing_arm_ends_with_1_after_the_others_ran(run, tmp_path):
    result = run("study", "--all", entries=("raises", "holds"))
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.output
    assert "verdict HOLDS" in result.output
    assert "1 failed: raises" in result.output
    assert not (tmp_path / "docs").exists()


def test_a_family_writes_a_list(run, tmp_path):
    assert run("study", "--family", "toys", "--json", "f.json").exit_code == 0
    written = json.loads((tmp_path / "f.json").read_text())
    assert [entry["slug"] for entry in written["studies"]] == ["holds", "fails"]
    assert written["command"] == "tutelage study --family toys"


def test_the_smoke_form_claims_nothing(run):
    result = run("study", "fails", "--fast")
    assert result.exit_code == 0
    assert "SMOKE" in result.output
    assert "verdict" not in result.output


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["study"], "say which study"),
        (["study", "holds", "--all"], "say which study"),
        (["study", "holds", "--fast", "--full"], "exclude"),
        (["study", "holds", "--data", "nowhere"], "nowhere does not exist"),
    ],
)
def test_what_cannot_be_meant_is_refused(run, arguments, words):
    result = run(*arguments)
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)


def test_methods_lists_and_shows_with_verdicts(run, tmp_path):
    (tmp_path / "docs").mkdir()
    known = catalogue.methods()[0]
    board = {"studies": [{"slug": known.slug, "verdict": "holds"}]}
    (tmp_path / "docs/studies.json").write_text(json.dumps(board))
    listed = run("methods")
    assert listed.exit_code == 0
    assert known.slug in listed.output
    shown = run("methods", known.slug)
    assert f"verdict HOLDS   tutelage study {known.slug}" in shown.output
    assert known.module in shown.output
    as_json = json.loads(run("methods", known.slug, "--json").output)
    assert as_json[0]["verdict"] == "holds"
    with pytest.raises(InputError, match="no method"):
        catalogue.find_method("no-such-thing")
