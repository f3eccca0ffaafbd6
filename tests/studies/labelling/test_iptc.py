"""The pieces of the study that could be wrong without anyone noticing: who sees what, and which texts are compared."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tutelage.studies import Results
from tutelage.studies.labelling._debian import LANGUAGES, SECTIONS, packages
from tutelage.studies.labelling.iptc import NEWS, passes_its_teacher


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three packages, of which one has a Polish text."""
    rows = [
        {"name": "a", "source": "s", "y": 1, "en": "a game", "de": "ein Spiel", "fr": "un jeu", "it": "un gioco"},
        {
            "name": "b",
            "source": "s",
            "y": 0,
            "en": "mail",
            "de": "Post",
            "fr": "courrier",
            "it": "posta",
            "pl": "poczta",
        },
        {"name": "c", "source": "t", "y": 1, "en": "chess", "de": "Schach", "fr": "échecs", "it": "scacchi"},
    ]
    path = tmp_path / "packages.json.gz"
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        json.dump({"labels": ["mail", "games"], "rows": rows}, stream)
    return path


def test_sections_are_those_of_the_scheme_whatever_their_order_in_the_file(file):
    data = packages(file)
    assert [SECTIONS.names[k] for k in data.section] == ["games", "mail", "games"]
    assert data.source == ["s", "s", "t"]


def test_texts_of_a_language_know_their_package(file):
    data = packages(file)
    assert data.texts["pl"] == ["poczta"]
    assert data.take("pl", np.array([1, 2])).tolist() == [0]
    assert data.take("de", np.array([2, 0])).tolist() == [0, 2]
    assert set(data.texts) == set(LANGUAGES)


def test_the_student_is_compared_with_its_teacher_on_the_same_texts():
    gold = [0, 1, 2, 3] * 50
    right, wrong = gold, [1, *gold[1:150], *[0] * 50]
    held = {"gold": gold, "item": list(range(200))}
    seeds = [100, 101]
    r = Results(
        NEWS.metrics,
        seeds,
        {"student": [{**held, "predicted": right}] * 2, "teacher": [{**held, "predicted": wrong}] * 2},
    )
    finding = passes_its_teacher(r)
    assert finding.outcome == "holds"
    assert finding.note == "400 test texts, 200 different"
    swapped = Results(
        NEWS.metrics,
        seeds,
        {"student": [{**held, "predicted": wrong}] * 2, "teacher": [{**held, "predicted": right}] * 2},
    )
    assert passes_its_teacher(swapped).outcome == "fails"
