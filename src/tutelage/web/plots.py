"""Charts that only the workbench has, in the look of the report's (see `tutelage.pipeline.charts`), drawn as SVG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tutelage.pipeline import charts

Row = Mapping[str, Any]

_ROLES = ("baseline", "method", "ablation", "reference")
_COLOURS = ("var(--teacher)", "var(--accent)", "var(--soft)", "var(--muted)")
_SHAPES = ("diamond", "circle", "square", "cross")


def drawn(spec: charts.Spec) -> str:
    """A chart as an SVG element; the same chart is drawn once."""
    return _drawn(json.dumps(spec, sort_keys=True))


@lru_cache(maxsize=256)
def _drawn(spec: str) -> str:
    return charts.to_svg(json.loads(spec))


def arms_chart(metric: str, rows: Sequence[Row]) -> charts.Spec:
    """Every arm's figure on every seed, and its mean: rows of arm, role, seed, value."""
    import altair as alt

    arms = list(dict.fromkeys(row["arm"] for row in rows))
    y = alt.Y("arm:N", sort=arms, title=None, axis=alt.Axis(domain=False, ticks=False, labelLimit=220, grid=True))
    x = alt.X("value:Q", title=metric, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(grid=False, tickCount=6))
    colour = alt.Color("role:N", scale=alt.Scale(domain=_ROLES, range=_COLOURS), legend=None)
    shape = alt.Shape("role:N", scale=alt.Scale(domain=_ROLES, range=_SHAPES), legend=None)
    base = alt.Chart(alt.InlineData(values=[dict(row) for row in rows])).encode(y=y, color=colour)
    seeds = base.mark_point(filled=True, size=42, opacity=0.55).encode(x=x, shape=shape)
    means = base.mark_tick(thickness=2.5, size=22).encode(x=alt.X("mean(value):Q", title=metric))
    said = [f"{arm} {_mean([r['value'] for r in rows if r['arm'] == arm]):.4g}" for arm in arms]
    return _finished(
        alt.layer(seeds, means), f"{metric} of every arm, mean over seeds: {'; '.join(said)}", 30 * len(arms)
    )


def pareto_chart(rows: Sequence[Row]) -> charts.Spec:
    """Quality against speed: rows of name, role (as in the report), value, speed, front (whether nothing beats it)."""
    import altair as alt

    roles, colours = ("teacher", "student", "other student"), ("var(--teacher)", "var(--accent)", "var(--soft)")
    x = alt.X("speed:Q", title="texts per second (log scale)", scale=alt.Scale(type="log", nice=True, padding=30),
              axis=alt.Axis(grid=False, format="~s", tickCount=5))  # fmt: skip
    y = alt.Y("value:Q", title="macro-F1", scale=alt.Scale(zero=False, nice=True, padding=24))
    base = alt.Chart(alt.InlineData(values=[dict(row) for row in rows])).encode(x=x, y=y)
    front = base.transform_filter("datum.front").mark_line(
        interpolate="step-before", color="var(--rule)", strokeWidth=2
    )
    points = base.mark_point(filled=True, size=130, opacity=1).encode(
        color=alt.Color("role:N", scale=alt.Scale(domain=roles, range=colours), legend=None),
        shape=alt.Shape("role:N", scale=alt.Scale(domain=roles, range=["diamond", "circle", "circle"]), legend=None),
    )
    names = base.mark_text(dy=-14, color="var(--ink)").encode(text="name:N")
    said = "; ".join(f"{row['name']} {row['value']:.3f} at {row['speed']:,.0f} a second" for row in rows)
    return _finished(alt.layer(front, points, names), f"Quality against speed: {said}", 300)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)


def _finished(chart: Any, description: str, height: int) -> charts.Spec:
    return (
        chart.properties(width=charts.WIDE - 60, height=height, description=description[:2_000])
        .configure(**charts.look())
        .to_dict()
    )
