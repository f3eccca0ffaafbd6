"""From a module to a verdict: the four answers, budgets, tuning, the cache, and what a crash leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tutelage.errors import InputError
from tutelage.studies.crew import ArmFailed
from tutelage.studies.runner import Options, UnequalBudgets, run_study
from tutelage.studies.scoreboard import as_text
from tutelage.studies.store import Store
from tutelage.studies.worker import Block, Runner, Unit, load_study

ALL = sorted(f"{arm} {seed}" for arm in ("base", "ours") for seed in range(100, 105))


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(store=tmp_path / "store")


@pytest.mark.parametrize(
    "name, verdict",
    [("holds", "holds"), ("fails", "does not hold"), ("doubtful", "inconclusive"), ("needs_file", "not run")],
)
def test_the_verdict_of_a_study_whose_answer_is_known(toy, options, name, verdict):
    report = run_study(toy(name), options)
    assert report.verdict == verdict
    assert f"verdict {verdict.upper()}" in as_text(report)


def test_a_missing_file_or_package_is_not_run_with_the_reason_in_one_line(toy, options, tmp_path):
    assert "absent.csv: give the data folder with --data" in run_study(toy("needs_file"), options).why_not
    assert "is not in" in run_study(toy("needs_file"), replace(options, data=tmp_path)).why_not
    (tmp_path / "absent.csv").write_text("a,b")
    assert run_study(toy("needs_file"), replace(options, data=tmp_path)).verdict == "holds"
    report = run_study(toy("needs_package"), options)
    assert report.verdict == "not run"
    assert report.why_not == "needs the Python package absent_package, which is not installed"


def test_unequal_budgets_are_an_error_unless_the_part_says_why(toy, options):
    with pytest.raises(UnequalBudgets, match="steps differ on seed 102: base 10, ours 11"):
        run_study(toy("unequal"), options)
    report = run_study(toy("excused"), options)
    assert report.verdict == "holds"
    assert "steps differ: seed 102 needs one more" in as_text(report)


def test_arms_are_tuned_on_the_tuning_seed_and_frozen(toy, options, log):
    report = run_study(toy("stacked"), options)
    part = report.parts[0]
    assert part.choices == {"base": {"lr": 2.0}, "ours": {"lr": 2.0}, "bound": {"lr": 1.0}}
    assert [budget.trials for budget in part.budgets["ours"]] == [3] * 5
    assert report.verdict == "holds"
    ran = log()
    assert ran.count("ours 1000") == ran.count("base 1000") == 3
    assert ran.count("ours 104") == 1
    assert not [line for line in ran if line.startswith("bound 1000")]


def test_a_finished_study_costs_nothing_the_second_time(toy, options, log):
    first = run_study(toy("holds"), options)
    assert log() == ALL
    again = run_study(toy("holds"), options)
    assert log() == []
    assert again.cached
    assert again.to_json() == first.to_json()
    assert "(from the cache)" in as_text(again)


def test_more_seeds_compute_only_the_new_ones(toy, options, log):
    run_study(toy("holds"), options)
    log()
    report = run_study(toy("holds"), replace(options, seeds=6))
    assert log() == ["base 105", "ours 105"]
    assert report.parts[0].seeds == (100, 101, 102, 103, 104, 105)


def test_fresh_seeds_are_computed_and_judged(toy, options, log):
    report = run_study(toy("holds"), replace(options, first_seed=500))
    assert log()[0] == "base 500"
    assert report.verdict == "holds"


def test_fewer_seeds_than_the_study_has_decide_nothing(toy, options):
    report = run_study(toy("holds"), replace(options, seeds=3))
    assert report.verdict == "inconclusive"
    assert "3 of 5 seeds decide nothing" in " ".join(as_text(report).split())


def test_no_store_keeps_nothing(toy, options, log):
    for _ in range(2):
        run_study(toy("holds"), replace(options, store=None))
        assert log() == ALL


def test_a_damaged_file_of_the_store_is_computed_anew(toy, options, log):
    run_study(toy("holds"), options)
    log()
    victim = sorted((options.store / "holds").iterdir())[0]
    victim.write_text('{"values":')
    assert run_study(toy("holds"), options).verdict == "holds"
    assert len(log()) == 1


def test_changed_code_is_computed_anew(toy, options, log, tmp_path, monkeypatch):
    entry = toy("holds")
    module = tmp_path / "toy_edited.py"
    module.write_text(entry.path.read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    edited = replace(entry, module="toy_edited", path=module)
    run_study(edited, options)
    assert log() == ALL
    module.write_text(entry.path.read_text() + "\n# a change\n")
    run_study(edited, options)
    assert log() == ALL


def test_figures_do_not_depend_on_how_many_processes_compute_them(toy, options):
    alone = run_study(toy("holds"), replace(options, store=None, jobs=1)).to_json()["arms"]
    side_by_side = run_study(toy("holds"), replace(options, store=None, jobs=2)).to_json()["arms"]
    assert [arm["figures"] for arm in alone] == [arm["figures"] for arm in side_by_side]


def test_an_arm_that_uses_global_randomness_is_repeatable_and_does_not_depend_on_its_neighbours(toy, options):
    whole = run_study(toy("global"), replace(options, store=None, jobs=1)).parts[0].results
    for arm in ("base", "ours"):
        alone = Runner(load_study("toy_global"), "standard", Path(), None).run(Block(0, (Unit(arm, 102),)))
        assert alone[0].values["score"] == whole[arm, "score"][2]


def test_an_arm_that_raises_is_an_error_and_keeps_what_is_finished(toy, options, log):
    with pytest.raises(ArmFailed, match=r"arm ours, seed 103 failed(.|\n)*ZeroDivisionError"):
        run_study(toy("raises"), replace(options, jobs=1))
    assert len(list((options.store / "raises").iterdir())) == 7


def test_a_killed_process_is_an_error_and_the_next_run_resumes(toy, options, log, tmp_path, monkeypatch):
    kill = tmp_path / "kill"
    kill.touch()
    monkeypatch.setenv("TOY_KILL", str(kill))
    with pytest.raises(ArmFailed, match=r"its process ended with code -9:\nlast words"):
        run_study(toy("dies"), replace(options, jobs=1))
    assert log() == [line for line in ALL if not line.endswith("104")]
    kill.unlink()
    assert run_study(toy("dies"), options).verdict == "holds"
    assert log() == ["base 104", "ours 103", "ours 104"]


def test_ctrl_c_ends_the_children_and_keeps_what_is_finished(toy, options, tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    toy("blocks")
    program = (
        "import sys; from pathlib import Path; from tutelage.studies.catalogue import Entry;"
        "from tutelage.studies.runner import Options, run_study;"
        "run_study(Entry('blocks', 'toys', 'toy_blocks', Path('.')), Options(store=Path(sys.argv[1]), jobs=1))"
    )
    environment = {**os.environ, "TOY_PIPE": str(pipe), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(options.store)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as parent:
        child = int(pipe.read_text())
        parent.send_signal(signal.SIGINT)
        _, errors = parent.communicate(timeout=20)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert len(list((options.store / "blocks").iterdir())) == 3


def test_the_smoke_form_runs_every_arm_once_and_claims_nothing(toy, options, log):
    for name in ("fails", "stacked"):
        report = run_study(toy(name), replace(options, mode="fast"))
        assert report.verdict is None
        assert "SMOKE   every arm ran once; nothing is claimed" in as_text(report)
        assert not (options.store / name).exists()
    assert log() == ["base 100", "base 100", "bound 100", "ours 100", "ours 100"]
    assert run_study(toy("needs_file"), replace(options, mode="fast")).verdict is None
    with pytest.raises(ArmFailed, match="ours, seed 103"):
        run_study(toy("raises"), replace(options, mode="fast", first_seed=103))


def test_progress_counts_trials(toy, options):
    seen: list[tuple[int, int, str]] = []
    run_study(toy("holds"), replace(options, jobs=1, watch=lambda *event: seen.append(event)))
    assert [(done, total) for done, total, _ in seen] == [(n, 10) for n in range(11)]
    assert seen[1][2] == "arm base, seed 100"


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"seeds": 0}, "--seeds"),
        ({"first_seed": -1}, "--first-seed"),
        ({"jobs": 0}, "--jobs"),
        ({"data": Path("/no")}, "/no"),
    ],
)
def test_options_are_checked_at_the_door(wrong, words):
    with pytest.raises(InputError, match=words):
        Options(**wrong)


def test_the_store_is_ordinary_files(tmp_path):
    assert Store(tmp_path).get("absent") is None
