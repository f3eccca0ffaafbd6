"""A student to a folder and back: what every tier keeps and checks, around what it alone knows of (`_state`, `_restore`).

The folder itself, its files and checksums, is `tutelage.students.artifact`; here is what must be true of them together. Nothing
that is read is believed: parameters must be the tier's, classes distinct names or integers, thresholds probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from tutelage.errors import InputError
from tutelage.students import artifact
from tutelage.students.artifact import Json

if TYPE_CHECKING:
    from tutelage.data.labels import LabelScheme
    from tutelage.students.base import Student

S = TypeVar("S", bound="Student")


class State(NamedTuple):
    """What a tier keeps beside its parameters: numbers for config.json, arrays for model.safetensors."""

    config: dict[str, Json]
    arrays: dict[str, np.ndarray]


def save(
    student: Student, folder: str | Path, scheme: LabelScheme | None, provenance: Mapping[str, object] | None
) -> Path:
    """Write a fitted student; see `Student.save`."""
    student._check_fitted()
    scheme = scheme or student.scheme_
    if scheme is not None and list(scheme.names) != student.classes_.tolist():
        raise InputError(f"the scheme {scheme.name!r} has other labels than the student: give fit classes=scheme.names")
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write the student to {path}: {error.strerror or error}") from None
    config, arrays = student._state(path)
    head: dict[str, Json] = {
        "tier": student.tier, "classes": student.classes_.tolist(), "params": student._plain_params(),
    }  # fmt: skip
    if student.thresholds_ is not None:
        head["thresholds"] = student.thresholds_.tolist()
    return artifact.write(
        path,
        {**head, "state": config},
        arrays,
        scheme=scheme.model_dump(mode="json") if scheme is not None else None,
        provenance=provenance if provenance is not None else student.provenance_,
        reference=student.reference_.arrays() if student.reference_ is not None else None,
    )


def load(tier: type[S], folder: str | Path) -> S:
    """The student of a folder; see `Student.load`."""
    path = artifact.check(folder)
    config = artifact.read_config(path, tier.tier)
    params, classes, state = config.get("params"), config.get("classes"), config.get("state")
    known = set(tier._get_param_names())
    if not isinstance(params, dict) or not set(params) <= known or not isinstance(state, dict):
        raise InputError(f"{path / 'config.json'}: unknown parameters or no state")
    if not isinstance(classes, list) or len(classes) < 2 or len({type(c) for c in classes}) != 1:
        raise InputError(f"{path / 'config.json'}: classes must be a list of at least two names or integers")
    _check_params(params, path)
    try:
        student = tier(**{name: tuple(v) if isinstance(v, list) else v for name, v in params.items()})
        student.classes_ = np.asarray(classes)
        named = params.get("class_weight")
        if isinstance(named, dict):  # JSON keys are strings, labels need not be
            student.set_params(class_weight={c: named[str(c)] for c in classes if str(c) in named})
        if (
            student.classes_.ndim > 1
            or student.classes_.dtype.kind not in "Uib"
            or len(np.unique(student.classes_)) != len(classes)
        ):
            raise InputError(f"{path / 'config.json'}: classes must be distinct names or integers")
        student._restore(State(state, artifact.read_arrays(path)), path)
        student.thresholds_ = _thresholds(config.get("thresholds"), len(classes), path)
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path / 'config.json'}: a value is of a kind that the {tier.tier} student has not ({why})"
        ) from None
    if (path / "scheme.json").is_file():
        from tutelage.data.labels import LabelScheme

        document = artifact.read_json(path / "scheme.json")
        student.scheme_ = LabelScheme.from_dict(document, where=str(path / "scheme.json"))
        if list(student.scheme_.names) != student.classes_.tolist():
            raise InputError(f"{path / 'scheme.json'}: the labels are not the student's classes")
    if (path / "provenance.json").is_file():
        student.provenance_ = artifact.read_json(path / "provenance.json")
    if (path / artifact.REFERENCE).is_file():
        from tutelage.evaluation.drift import Reference

        student.reference_ = Reference.from_arrays(artifact.read_arrays(path, artifact.REFERENCE), len(classes))
    return student


def _check_params(params: Mapping[str, Json], path: Path) -> None:
    """Of the parameters that all tiers share or that reach a kernel, whether each is of its kind; the tier checks the rest."""
    for name in ("multi", "pairs", "threads", "chars"):
        value = params.get(name)
        numbers = value if name == "chars" and isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(number, int) for number in numbers):
            raise InputError(f"{path / 'config.json'}: the parameter {name} cannot be {str(value)[:60]!r}")
    if params.get("cache") is not None:  # predicting would write a file wherever it says
        raise InputError(f"{path / 'config.json'}: a student that is stored names no cache")


def _thresholds(given: Json, k: int, path: Path) -> np.ndarray | None:
    """The thresholds (K,) of a multi-label student, where it has its own."""
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != k or not all(isinstance(each, int | float) for each in given):
        raise InputError(f"{path / 'config.json'}: thresholds must be one number a class")
    thresholds = np.asarray(given, np.float32)
    if not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise InputError(f"{path / 'config.json'}: thresholds must be in [0, 1]")
    return thresholds
