"""Runs: all of them with their status, and one with its live progress, to be stopped and resumed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.responses import StreamingResponse

from tutelage.errors import InputError
from tutelage.web.bench import NotHere, Workbench, bench_of, going_to, is_htmx
from tutelage.web.progress import STAGES, State, arguments_of, runs_in, state_of
from tutelage.web.settings import folder_in

router = APIRouter()

PAUSE = 0.4
"""Seconds between two looks at a run that is watched."""
_WATCHERS = threading.BoundedSemaphore(64)


@router.get("/runs")
def runs(request: Request) -> HTMLResponse:
    """All runs, latest first."""
    bench = bench_of(request)
    states = [state_of(path, bench.jobs.of(path)) for path in runs_in(bench.settings.runs)]
    return bench.page(request, "runs.html.j2", area="runs", states=states, folder=bench.settings.runs.name,
                      live=any(state.live for state in states))  # fmt: skip


@router.get("/runs/{name}")
def run(request: Request, name: str) -> HTMLResponse:
    """One run."""
    bench = bench_of(request)
    state = _state(bench, name)
    damaged = state.status == "damaged"
    config = None if damaged else bench.run(name).config
    return bench.page(request, "run.html.j2", area="runs", tab="overview", config=config, **panel(bench, state))


@router.get("/runs/{name}/events")
async def events(request: Request, name: str) -> Response:
    """The run's progress as server-sent events: `progress` with the panel whenever it changes, `end` when it is over."""
    bench = bench_of(request)
    _state(bench, name)

    async def stream() -> AsyncIterator[str]:
        shown = ""
        if not _WATCHERS.acquire(blocking=False):  # so many pages are open: this one stays as it was loaded
            yield event("end", "")
            return
        try:
            while not bench.closing.is_set():
                state = await asyncio.to_thread(_state, bench, name)
                html = bench.fragment("panel.html.j2", **panel(bench, state))
                if html != shown:
                    shown = html
                    yield event("progress", html)
                if not state.live:
                    break
                await asyncio.sleep(PAUSE)
            if bench.closing.is_set():
                yield event("progress", bench.fragment("ended.html.j2"))
            yield event("end", "")
        except NotHere:  # the folder was deleted
            yield event("end", "")
        finally:
            _WATCHERS.release()

    return StreamingResponse(stream(), media_type="text/event-stream")


@router.post("/runs/{name}/stop")
def stop(request: Request, name: str) -> Response:
    """Interrupt the run as Ctrl-C does; a second time, kill it."""
    bench = bench_of(request)
    bench.jobs.stop(folder_in(bench.settings.runs, name))
    return _panel_or_page(request, name)


@router.post("/runs/{name}/resume")
def resume(request: Request, name: str) -> Response:
    """Go on where the run stopped."""
    bench = bench_of(request)
    found = bench.run(name)
    if _state(bench, name).live:
        raise InputError(f"the run {name} is going already")
    bench.jobs.start(found.path, arguments_of(found), bench.keys.environment(found.config.teacher))
    return _panel_or_page(request, name)


def event(kind: str, data: str) -> str:
    """A server-sent event.

    >>> event("progress", "a\\nb")
    'event: progress\\ndata: a\\ndata: b\\n\\n'
    """
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {kind}\n{lines}\n"


def panel(bench: Workbench, state: State) -> dict[str, Any]:
    """What the panel of a run is rendered from."""
    at = next((key for key, _ in STAGES if key not in state.stages), None) if state.live else None
    steps = [(word, "now" if key == at else "done" if key in state.stages else "") for key, word in STAGES]
    return {
        "state": state, "name": state.name, "steps": steps, "mine": bench.jobs.of(folder_in(bench.settings.runs, state.name)),
        "headline": state.headline,
    }  # fmt: skip


def _panel_or_page(request: Request, name: str) -> Response:
    bench = bench_of(request)
    if not is_htmx(request):
        return going_to(request, f"/runs/{quote(name)}")
    return bench.page(request, "watch.html.j2", **panel(bench, _state(bench, name)))


def _state(bench: Workbench, name: str) -> State:
    folder = folder_in(bench.settings.runs, name)
    if not (folder / "run.yaml").is_file():
        raise NotHere(f"there is no run {name!r}")
    return state_of(folder, bench.jobs.of(folder))
