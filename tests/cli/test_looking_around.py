"""Help, versions, label schemes, doctor; and that none of it is slow."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.pipeline.corpora import environment

VERBS = (
    "distill",
    "demo",
    "annotate",
    "train",
    "evaluate",
    "report",
    "export",
    "predict",
    "ledger",
    "trace",
    "doctor",
    "labels",
)
HEAVY = ("torch", "transformers", "sklearn", "numba", "pandas", "openai", "altair", "datasets")


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules, file=sys.__stderr__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    return set(done.stderr.split())


def test_importing_the_package_costs_nothing() -> None:
    loaded = modules_after("import tutelage")
    assert not loaded & {*HEAVY, "numpy", "pydantic", "pyarrow", "scipy", "typer"}


def test_help_loads_nothing_heavy() -> None:
    loaded = modules_after(
        "sys.argv = ['tutelage', '--help']\nfrom tutelage.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass"
    )
    assert not loaded & {*HEAVY, "numpy", "pydantic", "pyarrow", "scipy"}


def test_every_verb_explains_itself_without_loading_anything() -> None:
    code = (
        "import sys\nfrom tutelage.cli import main\n"
        f"for verb in {VERBS!r}:\n"
        "    sys.argv = ['tutelage', verb, '--help']\n"
        "    try:\n        main()\n    except SystemExit as end:\n        assert not end.code, verb\n"
        "assert 'numpy' not in sys.modules and 'torch' not in sys.modules"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime - before.ru_utime < len(VERBS) * 0.4
    assert done.stdout.count("Usage: tutelage") == len(VERBS)


def test_version(cli: Cli) -> None:
    import tutelage

    assert cli("--version").out.strip() == tutelage.__version__


def test_the_exit_codes_are_documented(cli: Cli) -> None:
    shown = cli("--help").out
    for code in ("0 done", "2 bad input", "3 paused", "4 refused", "130 Ctrl-C"):
        assert code in " ".join(shown.split())


def test_an_unknown_option_is_a_usage_error(cli: Cli) -> None:
    done = cli("distill", "x", "--lables", "y")
    assert done.code == 2
    assert "--lables" in done.err
    assert "Traceback" not in done.err


def test_module_and_script_are_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tutelage", "--version"], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.strip()


def test_a_scheme_that_is_shown_can_be_loaded_again(cli: Cli, tmp_path: Path) -> None:
    from tutelage.data.labels import LabelScheme

    file = tmp_path / "iptc.yaml"
    file.write_text(cli("labels", "show", "iptc").out)
    assert LabelScheme.from_file(file) == LabelScheme.load("iptc")
    assert cli("labels", "show", "iptc", "--json").data["name"] == "iptc"
    assert "- weather" in cli("labels", "show", "iptc", "--prompt").out


def test_a_template_is_sound_and_overwrites_nothing(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "labels.yaml"
    assert cli("labels", "template", file).code == 0
    assert "3 labels" in cli("labels", "check", file).out
    before = file.read_text()
    done = cli("labels", "template", file)
    assert (done.code, "exists" in done.line) == (2, True)
    assert file.read_text() == before


def test_check_warns_of_labels_without_definitions(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "bare.json"
    file.write_text(json.dumps(["a", "b"]))
    assert len(cli("labels", "check", file, "--json").data["warnings"]) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("labels: [one]", "at least two labels"),
        ("labels: [x, X]", "labels, entry 2"),
        ("labels: [a, '']", "entry 2"),
        ("{", "YAML"),
    ],
)
def test_an_unsound_scheme_is_one_line(cli: Cli, tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(content)
    done = cli("labels", "check", file)
    assert done.code == 2
    assert says in done.line
    assert "wrong.yaml" in done.line


def test_doctor_says_what_is_there(cli: Cli) -> None:
    facts = cli("doctor", "--json").data
    assert set(facts["extras"]) == {"encoder", "hub", "onnx", "llama", "pdf", "ray", "serve", "studies", "track"}
    assert facts["device"].startswith(("cpu", "cuda"))
    assert "extras" not in cli("doctor").out


def test_a_terminal_that_is_not_utf8(tmp_path: Path) -> None:
    scheme = tmp_path / "scheme.yaml"
    scheme.write_text("name: ü🚀\nlabels: [天気, sport]\n", encoding="utf-8")
    said = []
    for more in ([], ["--json"]):
        command = [sys.executable, "-m", "tutelage", "labels", "show", str(scheme), *more]
        done = subprocess.run(
            command, capture_output=True, check=True, env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        )
        said.append(done.stdout.decode("ascii"))
    assert "sport" in said[0]
    assert json.loads(said[1])["labels"][0]["name"] == "天気"


@pytest.mark.parametrize("command", [["--help"], ["methods"], ["labels", "show", "iptc"]])
def test_a_reader_that_is_gone_and_a_disk_that_is_full(command: list[str]) -> None:
    whole = [sys.executable, "-m", "tutelage", *command]
    near, far = os.pipe()
    os.close(near)
    with os.fdopen(far, "wb") as pipe:
        done = subprocess.run(whole, stdout=pipe, stderr=subprocess.PIPE, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (141, b"")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(whole, stdout=full, stderr=subprocess.PIPE, env=environment(), check=False)
    assert done.returncode == 2
    assert done.stderr == b"tutelage: cannot write the output: No space left on device\n"
