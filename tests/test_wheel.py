"""The wheel: it holds everything, works without the repository, and its core works without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.pipeline.corpora import environment, jsonl, rows

ROOT = Path(__file__).parents[1]
WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        heavy = {"torch", "transformers", "accelerate", "sentence_transformers", "tokenizers", "ray", "onnx"}
        if name.partition(".")[0] in heavy:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import tutelage
assert "site" in tutelage.__file__, tutelage.__file__
from tutelage.cli import main
main()
"""
"""The command line with the heavy libraries out of reach."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and unpacked."""
    pytest.importorskip("hatchling", reason="needs hatchling to build the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run([*map(str, build)], check=True, env=environment(PIP_DISABLE_PIP_VERSION_CHECK="1"))
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def command(site: Path, *arguments: object, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False,
        env=environment(PYTHONPATH=str(site)), timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_file_of_the_package_is_in_the_wheel(site: Path) -> None:
    source = ROOT / "src"
    wanted = {path.relative_to(source) for path in (source / "tutelage").rglob("*") if path.is_file()}
    wanted = {path for path in wanted if "__pycache__" not in path.parts and path.suffix != ".pyc"}
    assert {path for path in wanted if not (site / path).is_file()} == set()
    assert (site / "tutelage" / "py.typed").is_file()


def test_the_job_runs_from_the_wheel_alone_without_pytorch(site: Path, tmp_path: Path) -> None:
    texts = [{**row, "label": row["topic"]} for row in rows(90)]
    source = jsonl(tmp_path / "texts.jsonl", texts)
    (tmp_path / "labels.yaml").write_text(json.dumps({"name": "desk", "labels": ["sport", "politics", "weather"]}))
    command(site, "ledger", "run", "--import", source, "--labels", "labels.yaml", cwd=tmp_path)
    command(site, "train", "run", "--student", "ngram", cwd=tmp_path)
    command(site, "evaluate", "run", "--force", cwd=tmp_path)
    assert (tmp_path / "run" / "report.html").is_file()
    more = jsonl(tmp_path / "more.jsonl", rows(90, seed=1))
    out = command(site, "predict", "run", more, "--out", "-", cwd=tmp_path)
    assert len(out.splitlines()) == 90
    assert "iptc" in command(site, "methods", cwd=tmp_path)


def test_a_shell_can_complete_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tutelage"], capture_output=True, text=True, check=False,
        env=environment(_TUTELAGE_COMPLETE="complete_bash", COMP_WORDS="tutelage pre", COMP_CWORD="1"),
    )  # fmt: skip
    assert "predict" in done.stdout
