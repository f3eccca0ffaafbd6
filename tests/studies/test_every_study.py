"""What every study promises: its name, a claim, a bar with a gate, and a smoke form that runs every arm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tutelage.studies.catalogue import Entry, methods, studies
from tutelage.studies.runner import Options, run_study
from tutelage.studies.worker import load_study

ENTRIES = [pytest.param(entry, id=entry.slug) for entry in studies()]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_study_is_named_like_its_file_and_has_a_method_of_the_same_name(entry: Entry):
    study = load_study(entry.module)
    assert study.slug == entry.slug
    assert entry.card().claim == study.claim
    assert entry.card().title == study.paper.title
    assert (entry.family, entry.slug) in {(method.family, method.slug) for method in methods()}


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_smoke_form_runs_every_arm_or_says_what_is_missing(entry: Entry):
    folder = os.environ.get("TUTELAGE_DATA")
    report = run_study(entry, Options(mode="fast", data=Path(folder) if folder else None))
    assert report.verdict is None
    for part in report.parts:
        ran = part.results is not None
        assert ran != bool(part.reason)
        assert not ran or set(part.budgets) == {arm.name for arm in part.part.arms}
