"""Report: the run's figures, with confusion cells that open their texts, and a slider over what a threshold would do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from tutelage.errors import InputError
from tutelage.pipeline import charts, figures
from tutelage.pipeline.folder import Run
from tutelage.pipeline.gold import gold_codes
from tutelage.pipeline.labelled import predicted
from tutelage.pipeline.report import read_metrics, render_report
from tutelage.web import plots
from tutelage.web.bench import NotHere, bench_of
from tutelage.web.settings import foreign
from tutelage.web.students import student_of

router = APIRouter()

Metrics = Mapping[str, Any]
PAIRS = (
    ("human_human", "People among each other"),
    ("teacher_human", "Teacher and people"),
    ("student_human", "Student and people"),
    ("student_teacher", "Student and teacher"),
)
MOST_LABELS = 40
"""Labels beyond which a confusion matrix is no picture."""
MOST_TEXTS = 200
SHADES = 8


@router.get("/runs/{name}/report")
def report(request: Request, name: str) -> HTMLResponse:
    """The page; a run without figures says how to get them."""
    bench = bench_of(request)
    run = bench.run(name)
    if not (run.path / "metrics.json").exists():
        return bench.page(request, "report.html.j2", area="runs", tab="report", name=name, m=None)
    m = read_metrics(run.path)
    with foreign("metrics.json"):
        return _page(request, name, m)


def _page(request: Request, name: str, m: Metrics) -> HTMLResponse:
    student = m.get("student") or {}
    agreement = m.get("agreement") or {}
    curve = m.get("learning_curve") or {}
    return bench_of(request).page(
        request, "report.html.j2", area="runs", tab="report", name=name, m=m, headline=figures.headline(m),
        lines=figures.lines(m),
        agreement=[(word, agreement[key]) for key, word in PAIRS if agreement.get(key)], learning=_learning(m), curve=curve,
        pareto=_pareto(m), confusion=_confusion(m), coverage=_coverage(student),
        at=threshold_at(student.get("coverage") or [], 0.0), gold=m.get("gold") or {},
        disagreements=(m.get("disagreements") or [])[:20], per_label=_per_label(m),
    )  # fmt: skip


@router.get("/runs/{name}/report/threshold")
def threshold(request: Request, name: str, at: float = 0.0) -> HTMLResponse:
    """What a threshold would do."""
    bench = bench_of(request)
    m = read_metrics(bench.run(name).path)
    with foreign("metrics.json"):
        found = threshold_at((m.get("student") or {}).get("coverage") or [], at)
        return bench.page(request, "threshold.html.j2", at=found, gold=m.get("gold") or {})


@router.get("/runs/{name}/report/cell")
async def cell(request: Request, name: str, gold: int, said: int) -> HTMLResponse:
    """The texts that people gave the label number `gold` and the student the label number `said`."""
    bench = bench_of(request)
    run = bench.run(name)
    labels = run.config.labels.names
    if not (0 <= gold < len(labels) and 0 <= said < len(labels)):
        raise NotHere(f"the scheme has labels 0 to {len(labels) - 1}")
    texts = await asyncio.to_thread(texts_of_cell, run, gold, said)
    return bench.page(
        request, "cell.html.j2", texts=texts[:MOST_TEXTS], n=len(texts), people=labels[gold], student=labels[said]
    )


@router.get("/runs/{name}/report.html")
def file(request: Request, name: str, texts: bool | None = None) -> Response:
    """The page to send on: one file, written afresh from the figures, with or without the texts; else as the run's own is."""
    run = bench_of(request).run(name)
    with foreign("stages.json or metrics.json"):
        shown = bool(run.stage("report").get("texts", True)) if texts is None else texts
        content = render_report(read_metrics(run.path), texts=shown)
    return Response(
        content, media_type="text/html", headers={"content-disposition": 'attachment; filename="report.html"'}
    )


def threshold_at(points: Sequence[Metrics], at: float) -> dict[str, float]:
    """What a threshold keeps: its own value, the share of texts kept, and the share of those that are right.

    >>> points = [{"threshold": 0.9, "coverage": 0.5, "accuracy": 1.0}, {"threshold": 0.4, "coverage": 1.0, "accuracy": 0.8}]
    >>> threshold_at(points, 0.5)["coverage"], threshold_at(points, 0.2)["accuracy"], threshold_at(points, 0.95)["coverage"]
    (0.5, 0.8, 0.0)
    """
    at = min(1.0, max(0.0, at)) if np.isfinite(at) else 0.0
    kept = [point for point in points if point["threshold"] >= at]
    if not kept:
        return {"threshold": at, "coverage": 0.0, "accuracy": float("nan")}
    last = min(kept, key=lambda point: point["threshold"])
    return {"threshold": at, "coverage": last["coverage"], "accuracy": last["accuracy"]}


def texts_of_cell(run: Run, gold: int, said: int) -> list[tuple[str, float]]:
    """(text, how sure the student is), surest first.

    Raises: InputError: texts have several labels, or there is no gold or no student.
    """
    if run.config.labels.multi:
        raise InputError("texts have several labels in this scheme: there is no cell to open")
    table = run.table("gold")
    rows = np.flatnonzero(gold_codes(table, "gold", run) == gold)
    texts = [str(table["text"][int(row)]) for row in rows]
    if not texts:
        return []
    codes, probs = predicted(student_of(run), texts)
    hits = np.flatnonzero(codes == said)
    return sorted(((texts[row], float(probs[row].max())) for row in hits), key=lambda pair: -pair[1])


def pareto_rows(m: Metrics) -> list[dict[str, Any]]:
    """Teacher and students as points of quality and speed; `front`: nobody is both better and faster."""
    scored = figures.number((m.get("student") or {}).get("macro_f1")) is not None
    rows = []
    if scored:
        rows.append({"name": "teacher", "role": "teacher", **_point(m.get("teacher") or {}, "macro_f1")})
    for row in m.get("students") or []:
        role = "student" if row.get("chosen") else "other student"
        rows.append({"name": row["tier"], "role": role, **_point(row, "macro_f1" if scored else "dev_macro_f1")})
    rows = [row for row in rows if row["value"] is not None and (row["speed"] or 0) > 0]
    for row in rows:
        beaten = [o for o in rows if o["value"] > row["value"] and o["speed"] > row["speed"]]
        row["front"] = not beaten
    return rows


def _point(entry: Metrics, key: str) -> dict[str, float | None]:
    return {"value": figures.number(entry.get(key)), "speed": figures.number(entry.get("texts_per_second"))}


def _pareto(m: Metrics) -> str | None:
    rows = pareto_rows(m)
    return plots.drawn(plots.pareto_chart(rows)) if len(rows) > 1 else None


def _learning(m: Metrics) -> str | None:
    curve = m.get("learning_curve") or {}
    if not curve.get("sizes"):
        return None
    named = {"teacher": "teacher", "gold_student": "trained on gold"} if curve.get("against") == "gold" else {}
    references = {word: figures.number((m.get(key) or {}).get("macro_f1")) for key, word in named.items()}
    known = {word: value for word, value in references.items() if value is not None}
    return plots.drawn(charts.learning_chart(curve["sizes"], curve["macro_f1"], curve.get("fit"), known))


def _coverage(student: Metrics) -> str | None:
    points = student.get("coverage")
    return plots.drawn(charts.coverage_chart(points, student.get("thresholds") or {})) if points else None


def _confusion(m: Metrics) -> dict[str, Any] | None:
    """The matrix with a shade for every cell: its share of the row."""
    table, names = (m.get("gold") or {}).get("confusion"), (m.get("scheme") or {}).get("names")
    if not table or not names or len(names) > MOST_LABELS:
        return None
    rows = [
        [(value, round(SHADES * value / max(sum(row), 1))) for value in row]
        for row in table
    ]  # fmt: skip
    return {"names": names, "rows": rows}


def _per_label(m: Metrics) -> list[dict[str, Any]]:
    student = (m.get("student") or {}).get("per_label") or {}
    teacher = (m.get("teacher") or {}).get("per_label") or {}
    counts = (m.get("labels") or {}).get("by_label") or {}
    return [
        {"name": name, "texts": counts.get(name), "f1": (student.get(name) or {}).get("f1"),
         "teacher": (teacher.get(name) or {}).get("f1")}
        for name in (m.get("scheme") or {}).get("names") or []
    ]  # fmt: skip
