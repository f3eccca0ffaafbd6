"""What every study promises: its name, a claim, a bar with a gate, and a smoke form that runs every arm.

Smoke forms run for studies that changed and a rotating share of the rest (see `due`); `--smoke all` runs them all,
`--smoke ssld,ps-kd` these.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import SMOKE
from tests.studies.due import due
from tutelage.studies.catalogue import Entry, find_study, methods, studies
from tutelage.studies.runner import Options, run_study
from tutelage.studies.worker import load_study

ENTRIES = [pytest.param(entry, id=entry.slug) for entry in studies()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the smoke forms of this run, and note the choice for its last lines."""
    if "smoked" not in metafunc.fixturenames:
        return
    wanted = str(metafunc.config.getoption("--smoke"))
    if wanted == "all":
        chosen, metafunc.config.stash[SMOKE] = studies(), "smoke forms: all"
    elif wanted == "due":
        now = due(studies(), metafunc.config.rootpath)
        chosen, metafunc.config.stash[SMOKE] = now.entries, str(now)
    else:
        chosen = [find_study(name) for name in wanted.split(",")]
    metafunc.parametrize("smoked", chosen, ids=[entry.slug for entry in chosen])


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_study_is_named_like_its_file_and_has_a_method_of_the_same_name(entry: Entry):
    study = load_study(entry.module)
    assert study.slug == entry.slug
    assert entry.card().claim == study.claim
    assert entry.card().title == study.paper.title
    assert (entry.family, entry.slug) in {(method.family, method.slug) for method in methods()}


def test_the_smoke_form_runs_every_arm_or_says_what_is_missing(smoked: Entry):
    folder = os.environ.get("TUTELAGE_DATA")
    report = run_study(smoked, Options(mode="fast", data=Path(folder) if folder else None))
    assert report.verdict is None
    for part in report.parts:
        ran = part.results is not None
        assert ran != bool(part.reason)
        assert not ran or set(part.budgets) == {arm.name for arm in part.part.arms}
