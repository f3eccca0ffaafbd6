"""Classroom: mastery maps of answer logs, and a tutoring dialogue on MathDial's moves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from tutelage.data.answer_files import read_answer_log
from tutelage.data.dialogue import MOVES, Dialogue, Move, Speaker, Turn
from tutelage.errors import InputError
from tutelage.pipeline.config import TeacherConfig
from tutelage.pipeline.trace import TRACERS
from tutelage.pipeline.trace_page import curve_chart, headline, score_chart
from tutelage.web import corpora, plots, tutoring
from tutelage.web.bench import Fields, NotHere, Workbench, bench_of, fields_of, going_to
from tutelage.web.jobs import LOG
from tutelage.web.settings import folder_in, foreign

router = APIRouter()

SKILLS = 60
SHADES = 8
_NAMED: dict[str, Move] = {move: move for move in MOVES}


@router.get("/classroom")
def classroom(request: Request) -> HTMLResponse:
    """All mastery maps, and the way to more."""
    bench = bench_of(request)
    root = bench.settings.traces
    found = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()] if root.is_dir() else []
    rows = [(path.name, _facts(path), bench.jobs.of(path) is not None) for path in sorted(found)]
    return bench.page(request, "classroom.html.j2", area="classroom", rows=rows, tracers=["auto", *TRACERS])


@router.put("/classroom/logs/{name:path}")
async def upload(request: Request, name: str) -> HTMLResponse:
    """Keep a log of answers, and show what is in it."""
    bench = bench_of(request)
    body = await request.body()
    ref = await asyncio.to_thread(corpora.keep_upload, bench.settings, name, body)
    path = corpora.path_of(bench.settings, ref)
    try:
        log = await asyncio.to_thread(read_answer_log, path)
    except InputError:
        path.unlink()
        raise
    return bench.page(request, "log.html.j2", ref=ref, log=log)


@router.post("/classroom/traces")
async def trace(request: Request) -> Response:
    """Start `tutelage trace` on an uploaded log."""
    bench, fields = bench_of(request), await fields_of(request)
    source = corpora.path_of(bench.settings, fields.text("source"))
    tracer = fields.text("tracer", "auto")
    if tracer not in ("auto", *TRACERS):
        raise InputError(f"no tracer {tracer[:40]!r}; there are auto, {', '.join(TRACERS)}")
    folder = folder_in(bench.settings.traces, fields.text("name"))
    bench.jobs.have_room()
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"there is a map {folder.name!r} already; give another name") from None
    except OSError as error:
        raise InputError(f"cannot make the map {folder.name!r}: {error.strerror}") from None
    arguments = ["trace", str(source), "--out", str(folder), "--tracer", tracer]
    bench.jobs.start(folder, arguments, bench.keys.environment(TeacherConfig()))
    return going_to(request, f"/classroom/traces/{quote(folder.name)}")


@router.get("/classroom/traces/{name}")
def mastery(request: Request, name: str) -> HTMLResponse:
    """The mastery map of a log; while it is being made, what is going on."""
    bench = bench_of(request)
    folder = folder_in(bench.settings.traces, name)
    if not folder.is_dir():
        raise NotHere(f"there is no mastery map {name!r}")
    facts = _facts(folder)
    if facts is None:
        live = bench.jobs.of(folder) is not None
        return bench.page(request, "tracing.html.j2", area="classroom", name=name, live=live, lines=_said(folder))
    with foreign(f"{name}/trace.json"):
        return _map(bench, request, name, facts)


def _map(bench: Workbench, request: Request, name: str, facts: dict[str, Any]) -> HTMLResponse:
    rows = [
        {"learner": row["learner"], "next": row["next"],
         "cells": [(cell["mastery"], cell["answers"], round(SHADES * cell["mastery"])) for cell in row["cells"]]}
        for row in facts["grid"]["rows"]
    ]  # fmt: skip
    return bench.page(
        request, "mastery.html.j2", area="classroom", name=name, f=facts, headline=headline(facts), rows=rows,
        skills=facts["skill_table"][:SKILLS], scores=plots.drawn(score_chart(facts["tracers"], facts["chosen"])),
        curves=plots.drawn(curve_chart(facts["curves"])),
    )  # fmt: skip


@router.get("/classroom/tutoring")
def lesson(request: Request) -> HTMLResponse:
    """Choose a problem and a side."""
    bench = bench_of(request)
    models = tutoring.materials(bench.settings.data)
    return bench.page(
        request, "tutoring.html.j2", area="classroom", problems=models.problems.values(), source=models.source,
        key_hosts=bench.keys.hosts, key=bench.keys.there,
    )  # fmt: skip


@router.post("/classroom/tutoring")
async def say(request: Request) -> HTMLResponse:
    """Begin a dialogue, or say something in it and hear the other side."""
    bench, fields = bench_of(request), await fields_of(request)
    return bench.page(request, "dialogue.html.j2", **await asyncio.to_thread(_round, bench, fields))


def _round(bench: Workbench, fields: Fields) -> dict[str, Any]:
    models = tutoring.materials(bench.settings.data)
    if (problem := models.problems.get(fields.text("problem"))) is None:
        raise InputError("choose a problem")
    teaching = fields.text("side", "teach") == "teach"
    dialogue = tutoring.started(problem, teaching)
    if fields.text("turns"):
        dialogue = Dialogue(problem, tutoring.turns_from(fields.text("turns")))
        text = fields.raw("say").strip()
        if not text or len(text) > tutoring.MOST_CHARACTERS:
            raise InputError(f"say something, in up to {tutoring.MOST_CHARACTERS:,} characters")
        if len(dialogue.turns) + 2 > tutoring.MOST_TURNS:
            raise InputError("this dialogue is long enough; begin a new one")
        if teaching:
            chosen = fields.text("move")
            move = _NAMED.get(chosen) or tutoring.move_of(models, dialogue, text)
            dialogue = dialogue.and_then(Turn("teacher", text, move))
        else:
            dialogue = dialogue.and_then(Turn("pupil", text))
        with bench.trial:
            other = _other_side(bench, models, fields, teaching)
            dialogue = dialogue.and_then(other.reply(dialogue.turns, problem))
    return {
        "dialogue": dialogue, "problem": problem, "teaching": teaching, "turns": tutoring.turns_to(dialogue.turns),
        "outcome": tutoring.outcome(dialogue), "moves": MOVES, "model": fields.text("model"), "base_url": fields.text("base_url"),
        "expected": tutoring.expected(models, dialogue) if teaching else [], "source": models.source,
    }  # fmt: skip


def _other_side(bench: Workbench, models: tutoring.Materials, fields: Fields, teaching: bool) -> Speaker:
    """Who answers: a language model where one is named, else the simulated learner or the planned tutor."""
    if not (model := fields.text("model")):
        return models.pupils if teaching else tutoring.offline_tutor(models)
    from tutelage.teachers.llm.asking import Asking
    from tutelage.teachers.llm.endpoint import OpenAIChat
    from tutelage.teachers.tutoring import LLMPupil, LLMTutor

    asked = TeacherConfig(spec=f"openai:{model}", base_url=fields.text("base_url") or None)
    with bench.keys.lent(asked):
        chat = OpenAIChat(model, asked.base_url, temperature=0.7, timeout=60.0, max_tokens=400)
    return LLMPupil(Asking(chat)) if teaching else LLMTutor(Asking(chat), plan=models.policy)


def _facts(folder: Path) -> dict[str, Any] | None:
    """`trace.json` of a folder. Raises: InputError: damaged, or of another format."""
    try:
        facts = json.loads((folder / "trace.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {folder.name}/trace.json: {error}") from None
    if not isinstance(facts, dict) or facts.get("format") != 1:
        raise InputError(f"{folder.name}/trace.json is of another format; make the map again")
    return facts


def _said(folder: Path) -> list[str]:
    try:
        return (folder / LOG).read_text("utf-8", "replace").splitlines()[-12:]
    except OSError:
        return []
