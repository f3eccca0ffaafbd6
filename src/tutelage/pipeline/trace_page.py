"""The page of a trace: one HTML file for a teacher, self-contained, without scripts and without network access.

Charts are drawn as SVG when the page is made; the grid of learners and skills is a table whose cells have numbers, so
that nothing is told by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from tutelage.pipeline import charts, figures

if TYPE_CHECKING:
    import altair as alt
    import jinja2

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
SKILLS_IN_THE_TABLE = 60


def render_trace(facts: Mapping[str, Any]) -> str:
    """The page as HTML, from what `trace.json` holds."""
    return (
        _templates()
        .get_template("trace.html.j2")
        .render(
            f=facts,
            policy=POLICY,
            css=_part("report.css") + _part("trace.css"),
            scores=charts.to_svg(score_chart(facts["tracers"], facts["chosen"])),
            curves=charts.to_svg(curve_chart(facts["curves"])),
            headline=headline(facts),
            skills=facts["skill_table"][:SKILLS_IN_THE_TABLE],
        )
    )


def headline(facts: Mapping[str, Any]) -> str:
    """How far the figures can be trusted, in one sentence."""
    best = next(row for row in facts["tracers"] if row["name"] == facts["chosen"])
    other = facts["against"]
    low, high = other["interval"]
    name = {"pfa": "counting right and wrong answers", "mean": "knowing only how hard each skill is"}[other["name"]]
    if low > 0:
        against = f"better than {name}"
    else:
        against = f"not better than {name}" if high < 0.005 else f"not surely better than {name}"
    return (
        f"Shown a right and a wrong answer of learners it has never seen, the model finds the right one in "
        f"{best['test_auc']:.0%} of the cases (50% is guessing): {against}."
    )


def score_chart(tracers: Sequence[Mapping[str, Any]], chosen: str) -> charts.Spec:
    """AUC of every tracer with its interval."""
    import altair as alt

    rows = [
        {"name": row["name"], "value": row["test_auc"], "low": row["interval"][0], "high": row["interval"][1],
         "role": "chosen" if row["name"] == chosen else "other", "text": f"{row['test_auc']:.3f}"}
        for row in tracers
    ]  # fmt: skip
    colour = alt.Color(
        "role:N", scale=alt.Scale(domain=["chosen", "other"], range=["var(--accent)", "var(--muted)"]), legend=None
    )
    scale = alt.Scale(domain=[min(0.5, *(math.floor(row["low"] * 10) / 10 for row in rows)), 1.0])
    title = "AUC on held-out learners with 95% interval (0.5 is guessing)"
    x = alt.X("value:Q", scale=scale)
    axis = alt.Axis(tickCount=6, format=".1f")
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False))
    base = alt.Chart(alt.InlineData(values=rows)).encode(y=y, color=colour)
    layers = alt.layer(
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title, scale=scale, axis=axis), x2="high:Q"),
        base.mark_point(size=90, filled=True, opacity=1).encode(x=x),
        base.mark_text(align="left", dx=10, dy=-9).encode(x=x, text="text:N"),
    ).properties(width=charts.HALF, height=34 * len(rows))
    words = "; ".join(f"{row['name']} {row['text']}" for row in rows)
    return _dressed(layers, f"AUC by tracer: {words}")


def curve_chart(curves: Sequence[Mapping[str, Any]]) -> charts.Spec:
    """Share right by try, observed (dots) and predicted (line), one small chart a skill."""
    import altair as alt

    rows = [
        {"skill": curve["skill"], "try": p["try"], "share": p[kind], "kind": kind, "answers": p["answers"]}
        for curve in curves
        for p in curve["points"]
        for kind in ("observed", "predicted")
    ]
    scale = alt.Scale(domain=["observed", "predicted"], range=["var(--ink)", "var(--accent)"])
    legend = alt.Legend(title=None, orient="top")
    base = alt.Chart().encode(
        x=alt.X("try:O", title="try at the skill", axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "share:Q", title="answered right", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", tickCount=5)
        ),
        color=alt.Color("kind:N", scale=scale, legend=legend),
    )
    dots = base.transform_filter("datum.kind == 'observed'").mark_point(filled=True, size=45, opacity=1)
    line = base.transform_filter("datum.kind == 'predicted'").mark_line(strokeWidth=2)
    order = [curve["skill"] for curve in curves]
    drawn = (
        alt.layer(line, dots, data=alt.InlineData(values=rows))
        .properties(width=180, height=130)
        .facet(
            facet=alt.Facet(
                "skill:N", sort=order, title=None, header=alt.Header(labelColor="var(--ink)", labelLimit=175)
            ),
            columns=3,
        )
    )
    words = "; ".join(
        f"{c['skill']} from {c['points'][0]['observed']:.0%} to {c['points'][-1]['observed']:.0%}" for c in curves
    )
    return _dressed(drawn, f"Learning curves, share right at the first and the last try shown: {words}")


def _dressed(chart: alt.LayerChart | alt.FacetChart, description: str) -> charts.Spec:
    return chart.properties(description=description[:2_000]).configure(**charts.look()).to_dict()


def _part(name: str) -> str:
    return resources.files("tutelage.pipeline").joinpath("templates", name).read_text("utf-8")


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_part),
    )  # fmt: skip
    environment.filters.update(score=figures.score, percent=figures.percent, count=figures.count)
    return environment
