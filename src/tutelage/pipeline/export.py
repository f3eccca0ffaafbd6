"""Export: the student in a folder of its own, native or ONNX, checked before anyone relies on it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

from tutelage.errors import InputError
from tutelage.pipeline.folder import Run
from tutelage.pipeline.predict import open_student

FORMATS = ("native", "onnx")
CHECKED_TEXTS = 1_000


def export(run: str | Path, to: str | Path, *, format: str = "native") -> dict[str, object]:
    """Write the student of a run: -> facts about the export (format, bytes, note).

    An ONNX export is run on up to a thousand texts of the pool; its labels must equal the student's.

    Raises: InputError: unknown format, the folder is not empty, predictions differ; MissingExtra: ONNX is not installed.
    """
    if format not in FORMATS:
        raise InputError(f"unknown export format {format!r}; there are {', '.join(FORMATS)}")
    target = Path(to)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not empty; give another folder")
    student = open_student(run)
    fresh = target.with_name(f".{target.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    note = ""
    try:
        if format == "native":
            student.save(fresh)
        else:
            from tutelage.students.onnx import export_onnx, run_onnx

            export_onnx(student, fresh)
            if (Path(run) / "run.yaml").exists():
                texts = Run(run).table("pool")["text"].to_pylist()[:CHECKED_TEXTS]
                ours, theirs = student.predict_proba(pa.array(texts)), run_onnx(fresh, texts)
                same = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
                worst = float(np.abs(ours - theirs).max())
                if same < len(texts) and worst > 1e-3:
                    raise InputError(
                        f"the ONNX export gives another label on {len(texts) - same} of {len(texts)} texts; not written"
                    )
                note = f", equal labels on {same:,} of {len(texts):,} texts (largest difference of a probability {worst:.1e})"
        shutil.rmtree(target, ignore_errors=True)
        fresh.replace(target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    return {"folder": str(target), "format": format, "bytes": size, "note": note}
