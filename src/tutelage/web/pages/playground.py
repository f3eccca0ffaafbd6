"""Playground: a text through student and teacher side by side, with the n-grams that decided."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tutelage.data.text import truncate_words
from tutelage.errors import InputError
from tutelage.pipeline.folder import Run
from tutelage.pipeline.teacher import teacher_of
from tutelage.teachers.ledger import Ledger
from tutelage.web.bench import Fields, Workbench, bench_of, fields_of
from tutelage.web.highlight import stretches, strongest
from tutelage.web.progress import runs_in
from tutelage.web.students import student_of

router = APIRouter()

SHOWN = 8
"""Labels whose probabilities are drawn."""


@router.get("/playground")
def choose(request: Request) -> HTMLResponse:
    """Which student?"""
    bench = bench_of(request)
    names = [path.name for path in runs_in(bench.settings.runs) if (path / "student" / "config.json").exists()]
    return bench.page(request, "playgrounds.html.j2", area="playground", names=names)


@router.get("/runs/{name}/playground")
def page(request: Request, name: str) -> HTMLResponse:
    """The form, with a text of the run to begin with."""
    bench = bench_of(request)
    run = bench.run(name)
    ready = (run.path / "student" / "config.json").exists()
    first = ""
    if ready:
        table = run.table("gold" if run.has("gold") else "pool")
        first = str(table["text"][0]) if table.num_rows else ""
    return bench.page(
        request, "playground.html.j2", area="runs", tab="playground", name=name, ready=ready, first=first,
        teacher=run.config.teacher.spec, labels=run.config.labels.names,
    )  # fmt: skip


@router.post("/runs/{name}/playground")
async def ask(request: Request, name: str) -> HTMLResponse:
    """What the student says, and why; and what the teacher has said, where it was asked before."""
    bench, fields = bench_of(request), await fields_of(request)
    run, text = bench.run(name), ""

    def work() -> dict[str, Any]:
        nonlocal text
        text = _text(run, fields)
        return {"told": _student(run, text, fields.text("label")), "said": _known(run, text)}

    found = await asyncio.to_thread(work)
    return bench.page(request, "asked.html.j2", name=name, text=text, teacher=run.config.teacher.spec, **found)


@router.post("/runs/{name}/playground/teacher")
async def teacher(request: Request, name: str) -> HTMLResponse:
    """Ask the teacher about the text; its answer is kept, so that the same text is not paid for twice."""
    bench, fields = bench_of(request), await fields_of(request)
    run = bench.run(name)
    said = await asyncio.to_thread(lambda: _asked(bench, run, _text(run, fields)))
    return bench.page(request, "teacher.html.j2", said=said, teacher=run.config.teacher.spec)


def _text(run: Run, fields: Fields) -> str:
    """The text as student and teacher see it. Raises: InputError: it is empty."""
    text = fields.raw("text").strip()
    if not text:
        raise InputError("write a text first")
    return truncate_words(text, run.config.texts.max_words)[0]


def _student(run: Run, text: str, label: str) -> dict[str, Any]:
    """Probabilities, and for an n-gram student the stretches of the text that speak for `label` (default: the likeliest)."""
    from tutelage.students import NgramClassifier

    student = student_of(run)
    names = run.config.labels.names
    if label and label not in names:
        raise InputError(f"there is no label {label[:60]!r}; there are {', '.join(names)}")
    probs = student.predict_proba([text])
    given = student.decide(probs)[0]
    labels = [names[k] for k in np.flatnonzero(given)] if np.ndim(given) else [names[int(given)]]
    found: dict[str, Any] = {
        "tier": student.tier, "labels": labels, "bars": _bars(names, probs[0].tolist()), "why": None, "stretches": [],
        "ngrams": [],
    }  # fmt: skip
    if isinstance(student, NgramClassifier):
        classes = list(student.classes_)
        chosen = label or names[int(probs[0].argmax())]
        why = student.explain(text, classes[names.index(chosen)])
        found |= {
            "why": chosen, "stretches": stretches(text, why.contributions), "ngrams": strongest(why.contributions),
        }  # fmt: skip
    return found


def _known(run: Run, text: str) -> dict[str, Any] | None:
    """What the run's teacher said of the text when the run was labelled; None where it is another text."""
    for name in ("pool", "gold"):
        answers = "annotations" if name == "pool" else "gold_annotations"
        if run.has(name) and run.has(answers):
            table = run.table(name)
            places = np.flatnonzero(np.array(table["text"].to_pylist(), object) == text)
            if len(places):
                key = table["id"][int(places[0])].as_py()
                rows = [row for row in run.table(answers).to_pylist() if row["id"] == key]
                return _answer(run, rows[0], before=True) if rows else None
    return None


def _asked(bench: Workbench, run: Run, text: str) -> dict[str, Any]:
    asked = run.config.teacher
    bench.trials.mkdir(mode=0o700, parents=True, exist_ok=True)
    with bench.trial:
        with bench.keys.lent(asked):
            one = teacher_of(run, encoder_cache=bench.trials / "vectors.sqlite")
        with Ledger(bench.trials / "labels.sqlite", wait=5) as ledger:
            table = pa.table({"id": ["playground"], "text": [text]})
            rows = one.annotate(table, run.config.labels, ledger=ledger).to_pylist()
    if not rows:
        raise InputError(f"{one.name} says nothing about this text")
    return _answer(run, rows[0], before=False)


def _answer(run: Run, row: dict[str, Any], *, before: bool) -> dict[str, Any]:
    bars = _bars(run.config.labels.names, row["probs"]) if row["probs"] else []
    return {
        "labels": row["label"], "status": row["status"], "bars": bars, "evidence": row["evidence"], "before": before,
        "tokens": (row["tokens_in"] or 0) + (row["tokens_out"] or 0),
    }  # fmt: skip


def _bars(names: tuple[str, ...], probs: list[float]) -> list[tuple[str, float]]:
    """The likeliest labels with their probabilities."""
    return sorted(zip(names, probs, strict=True), key=lambda pair: -pair[1])[:SHOWN]
