"""A finished run in an experiment tracker: MLflow or trackio (extra `track`), wherever the tracker itself is told to write.

What goes there are the configuration without label definitions and addresses, every number of `metrics.json`, and the model card.
No text of the corpus does. The tracker's own environment says where to: `MLFLOW_TRACKING_URI`, `TRACKIO_DIR`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tutelage.errors import InputError, MissingExtra
from tutelage.pipeline.card import model_card
from tutelage.pipeline.folder import Run

TRACKERS = ("mlflow", "trackio")
PROJECT = "tutelage"


def figures_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The single numbers of a run's metrics by dotted name; lists, tables and what quotes texts are left out.

    >>> figures_of({"student": {"macro_f1": 0.8, "name": "ngram", "coverage": [1, 2]}, "format": 1})
    {'student.macro_f1': 0.8}
    """
    return dict(_numbers({name: value for name, value in metrics.items() if name not in ("format", "disagreements")}))


def log_run(run: Run, tracker: str, *, project: str = PROJECT) -> int:
    """Log a run that has been evaluated: -> how many figures.

    Raises: InputError: no such tracker, no metrics yet, or the tracker refuses; MissingExtra: it is not installed.
    """
    if tracker not in TRACKERS:
        raise InputError(f"no tracker {tracker!r}; there are {', '.join(TRACKERS)}")
    metrics = run.json("metrics")
    if not metrics:
        raise InputError(f"{run.path} has no metrics yet: run `tutelage evaluate {run.path}` first")
    found, options = figures_of(metrics), _options(run)
    try:
        (_mlflow if tracker == "mlflow" else _trackio)(run, project, options, found)
    except ImportError as error:
        raise MissingExtra(f"the tracker {tracker}", "track") from error
    except Exception as error:  # a tracker raises what its backend raises
        raise InputError(f"{tracker} took nothing of {run.path}: {str(error).strip().splitlines()[0]}") from error
    return len(found)


def _mlflow(run: Run, project: str, options: dict[str, str], found: dict[str, float]) -> None:
    import mlflow

    mlflow.set_experiment(project)
    with mlflow.start_run(run_name=run.name):
        mlflow.log_params(options)
        mlflow.log_metrics({_plain(name): value for name, value in found.items()})
        mlflow.log_text(model_card(run), "README.md")


def _trackio(run: Run, project: str, options: dict[str, str], found: dict[str, float]) -> None:
    import trackio

    with redirect_stdout(sys.stderr):  # it prints what it does; standard output is for results
        trackio.init(project=project, name=run.name, config={**options, "card": model_card(run)}, embed=False)
        trackio.log(dict(found))
        trackio.finish()


def _options(run: Run) -> dict[str, str]:
    """The configuration as flat strings, without label definitions, the teacher's address and folders above the source."""
    settings = run.config.model_dump(mode="json", exclude={"labels", "format"})
    settings["teacher"].pop("base_url", None)
    settings["texts"]["source"] = Path(settings["texts"]["source"]).name
    flat: dict[str, str] = {"labels": run.config.labels.name}
    for section, value in settings.items():
        if isinstance(value, dict):
            flat |= {f"{section}.{name}": str(each) for name, each in value.items() if each is not None}
        elif value is not None:
            flat[section] = str(value)
    return flat


def _numbers(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, each in value.items():
        if isinstance(each, Mapping):
            yield from _numbers(each, f"{prefix}{name}.")
        elif isinstance(each, int | float) and not isinstance(each, bool):
            yield f"{prefix}{name}", float(each)


def _plain(name: str) -> str:
    """A name that MLflow takes: letters, digits, and a few marks.

    >>> _plain("per_label.war, peace & co.f1")
    'per_label.war_ peace _ co.f1'
    """
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
