"""Export: the student in a folder of its own, native or ONNX, checked before anyone relies on it; or the labelled texts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tutelage.errors import InputError
from tutelage.pipeline.card import model_card
from tutelage.pipeline.dataset import export_dataset
from tutelage.pipeline.folder import Run, new_folder
from tutelage.pipeline.predict import open_student
from tutelage.students.hub import checked, push_folder

if TYPE_CHECKING:
    from tutelage.students.base import Student

FORMATS = ("native", "onnx", "dataset")
CHECKED_TEXTS = 1_000
TOLERANCE = 1e-3
"""Difference of a probability up to which another label is a tie that fell the other way."""


def export(run: str | Path, to: str | Path, *, format: str = "native", hub: str | None = None) -> dict[str, object]:
    """Write the student of a run, or with format "dataset" its labelled texts, to a folder: -> facts (format, bytes, note).

    The folder has a README.md, the model card (see `card`); it is yours to edit. `hub` is the name of a repository,
    "owner/name", to which the folder is pushed too. An ONNX export holds the native student too (which turns texts into the
    model's inputs) and `model.onnx`; it is run on up to a thousand texts of the pool, and its labels must equal the student's.
    A data set (see `dataset`) holds the texts themselves, and is not pushed.

    Raises: InputError: unknown format, the folder is not empty, predictions differ, the hub refuses; MissingExtra: ONNX or
        huggingface_hub is not installed.
    """
    if format not in FORMATS:
        raise InputError(f"unknown export format {format!r}; there are {', '.join(FORMATS)}")
    target = Path(to)
    if format == "dataset":
        if hub is not None:
            raise InputError(
                f"a data set holds your texts, so --push-to-hub does not push it: look at {target} first, then "
                f"`hf upload {hub} {target} --repo-type dataset`"
            )
        rows = export_dataset(Run(run), target)
        note = ", " + ", ".join(f"{count:,} texts to {name}" for name, count in rows.items())
        return _facts(target, format, note) | {"rows": rows}
    if hub is not None:
        checked(hub)
    note = ""
    with new_folder(target) as fresh:
        student = open_student(run)
        student.save(fresh)
        if format == "onnx":
            note = _with_onnx(student, run, fresh)
        if (Path(run) / "run.yaml").exists():
            (fresh / "README.md").write_text(model_card(Run(run)), encoding="utf-8")
        usual = (fresh / "config.json").stat().st_mode
        for file in fresh.glob("*.safetensors"):  # written for the owner alone; who serves it may be somebody else
            file.chmod(usual)
    if hub is not None:
        note += f", pushed: {push_folder(target, hub)}"
    return _facts(target, format, note)


def _facts(target: Path, format: str, note: str) -> dict[str, object]:
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    return {"folder": str(target), "format": format, "bytes": size, "note": note}


def _with_onnx(student: Student, run: str | Path, folder: Path) -> str:
    """Write `model.onnx` into the folder and run it: -> what the check found."""
    from tutelage.students.onnx import export_onnx, inputs

    file = export_onnx(student, folder / "model.onnx")
    if not (Path(run) / "run.yaml").exists() or find_spec("onnxruntime") is None:
        return ", not run on any text"
    import onnxruntime

    texts = Run(run).table("pool")["text"].to_pylist()[:CHECKED_TEXTS]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    theirs = np.asarray(session.run(["probabilities"], inputs(student, texts))[0])
    ours = student.predict_proba(pa.array(texts))
    alike = student.decide(ours) == student.decide(theirs)
    same = int((alike if alike.ndim == 1 else alike.all(axis=1)).sum())
    worst = float(np.abs(ours - theirs).max())
    if same < len(texts) and worst > TOLERANCE:
        raise InputError(
            f"the ONNX export gives another label on {len(texts) - same} of {len(texts)} texts; not written"
        )
    return f", equal labels on {same:,} of {len(texts):,} texts (largest difference of a probability {worst:.1e})"
