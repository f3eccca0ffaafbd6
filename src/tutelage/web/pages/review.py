"""Review: people label a balanced sample, blind, by keyboard; agreement grows beside it; other tools' files go out and in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from tutelage.errors import InputError
from tutelage.pipeline import review_files
from tutelage.pipeline.reviewing import Review
from tutelage.web.bench import NotHere, bench_of, fields_of, going_to, is_htmx
from tutelage.web.progress import state_of

router = APIRouter()

KEYS = "1234567890qwertyiopfghjklzvbnm"
"""Keys of labels, in their order; the other letters are taken."""
DISCARD_KEYS = "xcda"
RECENT = 6
"""Answers that are shown again, with what the teacher said."""

_FILES: dict[str, tuple[str, Callable[[Review], str]]] = {
    "label-studio.json": ("application/json", lambda r: _json(review_files.to_label_studio(r))),
    "label-studio.xml": ("application/xml", lambda r: review_files.label_studio_config(r.scheme)),
    "argilla.json": ("application/json", lambda r: _json(review_files.to_argilla(r))),
}


@router.get("/runs/{name}/review")
def page(request: Request, name: str, who: str = "", open: bool = False, at: int = 0) -> HTMLResponse:
    """The desk of a reviewer, or who reviews."""
    bench = bench_of(request)
    run = bench.run(name)
    review = Review.of(run)
    ready = run.has("annotations")
    if review is None:  # whoever comes by an old address begins it
        who = ""
    desk = _desk(review, who, open, at) if review is not None and who else {}
    people = review.people if review is not None else []
    return bench.page(
        request, "review.html.j2", area="runs", tab="review", name=name, review=review, people=people, who=who, open=open,
        ready=ready, **desk,
    )  # fmt: skip


@router.post("/runs/{name}/review/begin")
async def begin(request: Request, name: str) -> Response:
    """Draw the sample, or let one more person in."""
    bench, fields = bench_of(request), await fields_of(request)
    who, per_label = fields.text("who"), fields.number("per_label", 1, 500, 18)
    await asyncio.to_thread(lambda: Review.begin(bench.run(name), who, per_label))
    return _to_desk(request, name, who)


@router.post("/runs/{name}/review/answer")
async def answer(request: Request, name: str) -> Response:
    """File an answer (labels, or a code to throw the text away), take one back, or go on without one."""
    bench, fields = bench_of(request), await fields_of(request)
    who, id, do = fields.text("who"), fields.raw("id"), fields.text("do")
    at, shown = fields.number("at", 0, 10**9, 0), fields.text("open") == "true"

    def work() -> dict[str, Any]:
        review = _open(bench.run(name))
        start, told = at, ""
        if do == "undo":
            undone = review.undo(who)
            start = at if undone is None else review.place[undone]
            told = "Nothing to take back" if undone is None else "The last answer is taken back"
        elif do == "skip":
            start, told = at + 1, "Skipped"
        elif do.startswith("discard:"):
            told = do.removeprefix("discard:")
            review.give(who, id, discard=told)
        else:
            labels = [do.removeprefix("label:")] if do.startswith("label:") else fields.all("label")
            review.give(who, id, labels)
            told = ", ".join(labels) or "no label"
        return {"told": told, **_desk(review, who, shown, start)}

    desk = await asyncio.to_thread(work)
    if not is_htmx(request):
        return _to_desk(request, name, who)
    return bench.page(request, "desk.html.j2", name=name, who=who, open=shown, **desk)


@router.get("/runs/{name}/review/{file}")
def export(request: Request, name: str, file: str) -> Response:
    """The review as a file of another tool."""
    if file not in _FILES:
        raise NotHere(f"there is no export {file[:60]!r}; there are {', '.join(_FILES)}")
    kind, made = _FILES[file]
    content = made(_open(bench_of(request).run(name)))
    return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{file}"'})


@router.put("/runs/{name}/review/import/{file:path}")
async def take_in(request: Request, name: str, file: str) -> HTMLResponse:
    """Read the answers of a Label Studio or Argilla file."""
    bench, body = bench_of(request), await request.body()

    def work() -> dict[str, int]:
        review = _open(bench.run(name))
        return review.take_in(review_files.read_answers(body, review))

    return bench.page(request, "taken.html.j2", counts=await asyncio.to_thread(work), name=name)


@router.post("/runs/{name}/review/gold")
def gold(request: Request, name: str) -> Response:
    """Score teacher and student on the answers: `tutelage evaluate RUN --gold reviewed.csv`."""
    bench = bench_of(request)
    run = bench.run(name)
    if state_of(run.path, bench.jobs.of(run.path)).live:
        raise InputError(f"the run {name} is going; wait for its end")
    path = _open(run).write_gold()
    arguments = ["evaluate", str(run.path), "--gold", str(path)]
    bench.jobs.start(run.path, arguments, bench.keys.environment(run.config.teacher))
    return going_to(request, f"/runs/{quote(name)}")


def _open(run: Any) -> Review:
    review = Review.of(run)
    if review is None:
        raise InputError("nobody has begun a review of this run")
    return review


def _desk(review: Review, who: str, open: bool, at: int) -> dict[str, Any]:
    """What a reviewer sees: the next text without an answer from `at` on, its keys, what was said, and agreement."""
    given = review.said(who)
    left = [n for n, item in enumerate(review.items) if item.id not in given]
    place = next((n for n in left if n >= at), left[0] if left else None)
    item = None if place is None else review.items[place]
    latest = sorted(given, key=lambda id: (given[id].created, review.place[id]), reverse=True)[:RECENT]
    recent = [(review.items[review.place[id]], given[id]) for id in latest]
    scheme = review.scheme
    rows, verdict = review.agreement()
    return {
        "item": item, "at": place or 0, "done": len(given), "total": len(review.items), "multi": scheme.multi,
        "labels": [(label, KEYS[n] if n < len(KEYS) else "") for n, label in enumerate(scheme.labels)],
        "discards": [(label.name, DISCARD_KEYS[n] if n < len(DISCARD_KEYS) else "") for n, label in enumerate(scheme.discard)],
        "recent": recent, "agreement": rows, "verdict": verdict, "hint": item.teacher if item and open else None,
    }  # fmt: skip


def _to_desk(request: Request, name: str, who: str) -> Response:
    return going_to(request, f"/runs/{quote(name)}/review?who={quote(who, safe='')}")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
