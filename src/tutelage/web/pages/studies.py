"""Studies: the scoreboard, and a page a method with what it is, its verdict, its arms over seeds, and how to repeat it."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tutelage.web import plots, scoreboard
from tutelage.web.bench import NotHere, bench_of

router = APIRouter()

MOST_CHARTS = 4
"""Metrics of a part that are drawn; the table has all."""


@router.get("/studies")
def studies(request: Request, family: str = "", verdict: str = "", words: str = "") -> HTMLResponse:
    """The scoreboard, or those of a family, a verdict, or with all of some words."""
    bench = bench_of(request)
    every = scoreboard.board(bench.settings.scoreboard)
    wanted = words.casefold().split()
    shown = [
        study
        for study in every
        if family in ("", study.family)
        and verdict in ("", study.verdict)
        and all(word in f"{study.slug} {study.title} {study.claim} {study.summary}".casefold() for word in wanted)
    ]
    return bench.page(
        request, "studies.html.j2", area="studies", studies=shown, every=len(every), tally=scoreboard.tally(every),
        families=sorted({study.family for study in every}), family=family, verdict=verdict, words=words,
    )  # fmt: skip


@router.get("/studies/{slug}")
def study(request: Request, slug: str) -> HTMLResponse:
    """One method."""
    bench = bench_of(request)
    every = {one.slug: one for one in scoreboard.board(bench.settings.scoreboard)}
    if (found := every.get(slug)) is None:
        raise NotHere(f"there is no method {slug[:80]!r}")
    module, api = scoreboard.api_of(slug)
    parts = [_part(*part) for part in found.parts]
    return bench.page(
        request, "study.html.j2", area="studies", study=found, doc=scoreboard.doc_of(slug), module=module, api=api,
        parts=parts, versions=found.found.get("versions", {}),
    )  # fmt: skip


def _part(name: str, arms: list[scoreboard.Json], bars: list[scoreboard.Json], sentence: str) -> dict[str, Any]:
    """A part as the page shows it: charts, a table of means, every seed's figures, bars."""
    metrics = list(dict.fromkeys(metric for arm in arms for metric in arm["figures"]))
    charts = []
    for metric in metrics[:MOST_CHARTS]:
        rows = [
            {"arm": arm["name"], "role": arm["role"], "seed": seed, "value": value}
            for arm in arms
            for seed, value in zip(arm["seeds"], arm["figures"].get(metric, []), strict=False)
            if np.isfinite(value)
        ]
        if rows:
            charts.append((metric, plots.drawn(plots.arms_chart(metric, rows))))
    table = [
        {"name": arm["name"], "role": arm["role"], "seconds": arm["seconds"], "cells": [_cell(arm, m) for m in metrics]}
        for arm in arms
    ]
    seeds = arms[0]["seeds"] if arms else []
    return {
        "name": name, "metrics": metrics, "charts": charts, "table": table, "bars": bars, "sentence": sentence,
        "arms": arms, "seeds": seeds,
    }  # fmt: skip


def _cell(arm: scoreboard.Json, metric: str) -> str:
    """Mean ± sd over seeds, a dash where the arm has no such figure."""
    values = arm["figures"].get(metric)
    if not values:
        return "–"
    spread = f" ± {np.std(values, ddof=1):.3g}" if len(values) > 1 else ""
    return f"{np.mean(values):.4g}{spread}"
