"""Studies and methods are found by their files, and described without being imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.errors import InputError
from tutelage.studies import catalogue

STUDY = """
from somewhere import heavy

STUDY = Study(
    slug="ps-kd",
    paper=Paper("Self-Knowledge Distillation", "Kim et al.", 2021, "2006.12000"),
    claim="better calibrated",
    parts=(heavy.part,),
)
"""
METHOD = '''"""Progressive self-knowledge distillation: the student's own past
softens its targets.

Kim et al.
"""

import a_package_that_is_not_there


def progressive_targets(targets: Tensor, past: Tensor, alpha: float = 0.8) -> Tensor:
    """Mix hard targets with the past.

    More words.
    """


class ProgressiveSelfDistillation(Lesson):
    """Train on refined targets."""

    def __init__(self, student: Module, *, alpha: float = 0.8) -> None: ...


class Settings:
    """Plain values."""

    steps: int = 3


def _private(): ...
'''


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with two studies, one shared module and one method."""
    for family, name, text in [
        ("distillation", "ps_kd", STUDY),
        ("distillation", "swing", STUDY.replace("ps-kd", "swing")),
        ("graphs", "fastrp", STUDY.replace("ps-kd", "fastrp")),
        ("graphs", "_common", STUDY),
        ("graphs", "__init__", ""),
    ]:
        (tmp_path / "studies" / family).mkdir(parents=True, exist_ok=True)
        (tmp_path / "studies" / family / f"{name}.py").write_text(text)
    (tmp_path / "methods" / "distillation").mkdir(parents=True)
    (tmp_path / "methods" / "distillation" / "ps_kd.py").write_text(METHOD)
    monkeypatch.setattr(catalogue, "_ROOT", tmp_path)
    return tmp_path


def test_studies_are_their_files():
    assert [(e.family, e.slug) for e in catalogue.studies()] == [
        ("distillation", "ps-kd"),
        ("distillation", "swing"),
        ("graphs", "fastrp"),
    ]
    assert [e.module for e in catalogue.studies("graphs")] == ["tutelage.studies.graphs.fastrp"]
    assert catalogue.find_study("ps_kd").slug == "ps-kd"


def test_an_unknown_name_suggests_near_ones():
    with pytest.raises(InputError, match=r"no study 'pskd'; did you mean ps-kd\?"):
        catalogue.find_study("pskd")
    with pytest.raises(InputError, match="there are fastrp, ps-kd, swing"):
        catalogue.find_study("zzz")
    with pytest.raises(InputError, match=r"no family 'graph'; did you mean graphs\?"):
        catalogue.studies("graph")
    with pytest.raises(InputError, match=r"no method 'ps-kt'; did you mean ps-kd\?"):
        catalogue.find_method("ps-kt")


def test_a_card_is_read_from_the_source_alone():
    card = catalogue.find_study("ps-kd").card()
    assert (card.slug, card.family, card.title) == ("ps-kd", "distillation", "Self-Knowledge Distillation")
    assert (card.authors, card.year, card.arxiv, card.claim) == ("Kim et al.", 2021, "2006.12000", "better calibrated")


def test_a_method_is_described_without_being_imported():
    method = catalogue.find_method("ps-kd")
    assert method.summary == ("Progressive self-knowledge distillation: the student's own past softens its targets.")
    assert method.api == [
        (
            "progressive_targets(targets: Tensor, past: Tensor, alpha: float=0.8)",
            "Mix hard targets with the past.",
        ),
        ("ProgressiveSelfDistillation(student: Module, *, alpha: float=0.8)", "Train on refined targets."),
        ("Settings(steps: int = 3)", "Plain values."),
    ]
    assert method.api == method.api
