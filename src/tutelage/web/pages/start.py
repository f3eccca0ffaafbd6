"""A new run: texts by upload or path, a label-scheme editor, the prompt as the teacher will see it, a trial, and the start."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from tutelage.data.labels import BUILT_IN, Label, LabelScheme
from tutelage.errors import InputError
from tutelage.web import corpora, draft
from tutelage.web.bench import Fields, bench_of, fields_of, going_to
from tutelage.web.progress import arguments_of, note_settings
from tutelage.web.settings import folder_in

router = APIRouter()

TAKEN = ("new", "scheme", "prompt", "trial")
"""Names that no run can have: addresses of ours."""
_EMPTY = (Label.model_construct(name=""), Label.model_construct(name=""), Label.model_construct(name=""))


@router.get("/runs/new")
def new(request: Request) -> HTMLResponse:
    """The form."""
    bench = bench_of(request)
    return bench.page(
        request, "new.html.j2", area="runs", teachers=draft.teachers_here(), key_hosts=bench.keys.hosts, key=bench.keys.there,
        built_in=BUILT_IN, texts=bench.settings.texts.name, **_editor(None, _EMPTY),
    )  # fmt: skip


@router.put("/files/{name:path}")
async def upload(request: Request, name: str) -> HTMLResponse:
    """Keep a file that was chosen or dropped, and show what is in it."""
    bench = bench_of(request)
    body = await request.body()
    ref = await asyncio.to_thread(corpora.keep_upload, bench.settings, name, body)
    try:
        corpus = await asyncio.to_thread(corpora.look_at, bench.settings, ref)
    except InputError:
        corpora.path_of(bench.settings, ref).unlink()
        raise
    return bench.page(request, "corpus.html.j2", corpus=corpus)


@router.post("/files/look")
async def look(request: Request) -> HTMLResponse:
    """Show what is in a file of the folder of texts."""
    bench, fields = bench_of(request), await fields_of(request)
    ref = corpora.ref_of(bench.settings, fields.text("path"))
    return bench.page(request, "corpus.html.j2", corpus=await asyncio.to_thread(corpora.look_at, bench.settings, ref))


@router.post("/runs/scheme")
async def scheme(request: Request) -> HTMLResponse:
    """The editor with a built-in scheme or one of a file, or with a row more or less."""
    bench, fields = bench_of(request), await fields_of(request)
    if wanted := fields.text("scheme"):
        found = draft.scheme_named(bench.settings, wanted)
        return bench.page(request, "scheme.html.j2", **_editor(found, found.labels))
    rows = _rows(fields)
    if fields.text("do") == "add":
        rows.append(Label.model_construct(name=""))
    elif fields.text("do").startswith("remove-"):
        place = fields.text("do").removeprefix("remove-")
        rows = [row for n, row in enumerate(rows) if str(n) != place]
    shown = {
        "scheme_name": fields.text("scheme_name"),
        "kind": fields.text("kind", "single"),
        "discard": fields.text("discard"),
    }
    return bench.page(request, "scheme.html.j2", **{**_editor(None, rows), **shown})


@router.post("/runs/prompt")
async def prompt(request: Request) -> HTMLResponse:
    """The prompt and what it would cost; nobody is asked."""
    bench, fields = bench_of(request), await fields_of(request)
    made = draft.draft_of(fields, bench.settings)
    shown = await asyncio.to_thread(draft.preview, made, bench.keys, bench.trials)
    return bench.page(request, "prompt.html.j2", shown=shown, trial=draft.TRIAL, warnings=made.config.labels.warnings())


@router.post("/runs/trial")
async def trial(request: Request) -> HTMLResponse:
    """Ask the teacher about ten texts."""
    bench, fields = bench_of(request), await fields_of(request)
    made = draft.draft_of(fields, bench.settings)

    def ask() -> list[draft.Tried]:
        with bench.trial:
            return draft.trial(made, bench.keys, bench.trials)

    return bench.page(request, "trial.html.j2", rows=await asyncio.to_thread(ask))


@router.post("/runs")
async def create(request: Request) -> Response:
    """Make the run and start it."""
    bench, fields = bench_of(request), await fields_of(request)
    made = draft.draft_of(fields, bench.settings)
    name = fields.text("name")
    if name in TAKEN:
        raise InputError(f"a run cannot be called {name!r}; give another name")
    folder = folder_in(bench.settings.runs, name)

    def begin() -> None:
        bench.jobs.have_room()  # else a run would be left that nobody has started
        bench.settings.runs.mkdir(parents=True, exist_ok=True)
        with bench.keys.lent(made.config.teacher):
            pass  # a key that is missing is said here, not after the run has begun
        run = draft.create(made, folder, bench.keys, bench.trials)
        note_settings(run, budget=made.budget, limit=made.limit)
        bench.jobs.start(folder, arguments_of(run), bench.keys.environment(made.config.teacher))

    await asyncio.to_thread(begin)
    return going_to(request, f"/runs/{quote(name)}")


def _rows(fields: Fields) -> list[Label]:
    """The editor's rows as they are, complete or not."""
    columns = [fields.all(f"label_{part}") for part in ("name", "definition", "examples", "code")]
    return [
        Label.model_construct(
            name=name, definition=told, examples=tuple(examples.split("|") if examples else ()), code=code
        )
        for name, told, examples, code in zip(*columns, strict=False)
    ]


def _editor(scheme: LabelScheme | None, rows: tuple[Label, ...] | list[Label]) -> dict[str, Any]:
    return {
        "scheme_name": scheme.name if scheme else "labels", "kind": scheme.kind if scheme else "single", "labels": rows,
        "discard": ", ".join(label.name for label in scheme.discard) if scheme else "",
    }  # fmt: skip
