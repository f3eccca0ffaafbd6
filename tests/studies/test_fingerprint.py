"""The cache key follows the code that a study rests on, and nothing else."""

from __future__ import annotations

import sys

import pytest

from tutelage.studies import fingerprint
from tutelage.studies.fingerprint import code_fingerprint, file_digest, sources, versions


@pytest.fixture
def module(tmp_path, monkeypatch):
    """source → the name of a module that holds it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str, name: str = "probe_module") -> str:
        (tmp_path / f"{name}.py").write_text(source)
        sys.modules.pop(name, None)
        return name

    return write


def test_imports_count_wherever_they_stand_and_through_others(module):
    name = module("def f():\n    from tutelage.evaluation.significance import sign_test\n")
    assert {name, "tutelage.evaluation.significance", "tutelage.evaluation.bootstrap"} <= set(sources(name))


def test_a_name_that_a_package_makes_itself_stands_for_the_whole_package(module):
    found = set(sources(module("from tutelage.evaluation import whatever\n")))
    assert {"tutelage.evaluation.significance", "tutelage.evaluation.classification"} <= found


def test_a_name_that_a_package_has_from_a_module_stands_for_that_module(module):
    found = set(sources(module("from tutelage.teachers import Ledger\n")))  # which the package loads on first use
    assert "tutelage.teachers.ledger" in found
    assert "tutelage.teachers.zero_shot" not in found
    found = set(sources(module("from tutelage.feedback import Alternation\n")))
    assert "tutelage.feedback.alternation" in found
    assert "tutelage.feedback.snapshot" not in found


def test_the_harness_and_imports_for_type_checkers_do_not_count(module):
    source = """
from typing import TYPE_CHECKING
from tutelage.studies import Study
from tutelage.studies.verdict import judge
if TYPE_CHECKING:
    from tutelage.data.labels import Label
"""
    name = module(source)
    assert set(sources(name)) == {name}


def test_the_fingerprint_follows_the_source(module):
    before = code_fingerprint(module("A = 1\n"))
    assert code_fingerprint(module("A = 1\n")) == before
    assert code_fingerprint(module("A = 2\n")) != before


def test_data_files_that_ship_beside_a_source_count(module, tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    (tmp_path / "schemes").mkdir()
    name = module("A = 1\n")
    before = code_fingerprint(name)
    (tmp_path / "schemes" / "labels.yaml").write_text("labels: [a, b]")
    assert code_fingerprint(name) != before


def test_versions_name_the_libraries_that_are_imported(module):
    found = versions(module("import numpy as np\nimport json\n"))
    assert set(found) == {"python", "numpy"}


def test_a_folder_is_its_files(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "b").write_text("y")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "b").write_text("z")
    assert len({file_digest(tmp_path / name) for name in ("a", "one", "two")}) == 3
