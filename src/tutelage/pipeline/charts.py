"""The report's charts as Vega-Lite specifications (Altair), from pieces of `metrics.json`.

Colours are CSS variables (`var(--accent)`), which both Vega's SVG in the browser and the static SVG resolve in the page:
one specification serves light, dark and print. Nothing is told by colour alone: roles have shapes, heat maps have numbers.
Every function returns a specification as a dictionary; `to_svg` draws it without a browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

Spec = dict[str, Any]
Row = Mapping[str, Any]

WIDE, HALF = 680, 430
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_ROLES = ("teacher", "student", "other student", "trained on gold", "dummy")
_COLOURS = ("var(--teacher)", "var(--accent)", "var(--soft)", "var(--ink)", "var(--muted)")
_SHAPES = ("diamond", "circle", "circle", "square", "cross")


def score_chart(rows: Sequence[Row]) -> Spec:
    """Macro-F1 of every labeller with its interval: rows of name, role, value, low, high."""
    import altair as alt

    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=220, domain=False, ticks=False))
    top = max([1e-9, *(row["high"] for row in rows)])
    scale = alt.Scale(domain=[0, min(1.0, top * 1.12)])
    base = alt.Chart(_data(rows)).encode(y=y)
    tooltip = _tips(("name", "labeller"), ("value", "macro-F1", ".3f"), ("low", "from", ".3f"), ("high", "to", ".3f"))
    bars = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", scale=scale, title="macro-F1 with 95% interval", axis=alt.Axis(tickCount=6)),
        x2="high:Q",
        color=_role_colour(),
        tooltip=tooltip,
    )
    points = base.mark_point(size=90, filled=True, opacity=1).encode(
        x=alt.X("value:Q", scale=scale), color=_role_colour(), shape=_role_shape(), tooltip=tooltip
    )
    values = base.mark_text(align="left", dx=7, color="var(--ink)").encode(
        x="high:Q", text=alt.Text("value:Q", format=".3f")
    )
    words = "; ".join(f"{row['name']} {row['value']:.3f}" for row in rows)
    return _finish([bars, points, values], f"Macro-F1 with 95% intervals: {words}", height=34 * len(rows) + 10)


def language_chart(rows: Sequence[Row]) -> Spec:
    """Macro-F1 per language, teacher and student: rows of language, role, value, n."""
    import altair as alt

    base = alt.Chart(_data(rows)).encode(
        y=alt.Y("language:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False)),
        x=alt.X("value:Q", title="macro-F1", scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=5)),
    )
    line = base.mark_line(color="var(--rule)", strokeWidth=3).encode(detail="language:N")
    points = base.mark_point(size=90, filled=True, opacity=1).encode(
        color=_role_colour(legend=True),
        shape=_role_shape(legend=True),
        tooltip=_tips(("language", "language"), ("role", "who"), ("value", "macro-F1", ".3f"), ("n", "texts", ",")),
    )
    words = "; ".join(f"{row['language']} {row['role']} {row['value']:.3f}" for row in rows)
    return _finish(
        [line, points], f"Macro-F1 by language: {words}", width=HALF, height=34 * len({row["language"] for row in rows})
    )


def heat_chart(
    names: Sequence[str], table: Sequence[Sequence[float | None]], *, rows: str, columns: str, shares: bool
) -> Spec:
    """A K × K table as a heat map with its numbers.

    Args:
        rows, columns: what a row and a column is.
        shares: the cells are counts and the shade is their share of the row; else the cells are scores in [0, 1].
    """
    import altair as alt

    cells = []
    for i, row in enumerate(table):
        total = sum(v or 0 for v in row)
        for j, value in enumerate(row):
            if value is None or (shares and not value):
                continue
            shade = value / total if shares else value
            text = f"{value:,.0f}" if shares else f"{value:.2f}"
            cells.append({"row": names[i], "column": names[j], "value": value, "share": shade, "text": text})
    low = 0.0 if shares else max(0.0, min([c["share"] for c in cells] or [0]) - 0.05)
    high = max([c["share"] for c in cells] or [1])
    many = len(names) > 8
    beside = alt.Axis(domain=False, ticks=False, grid=False, labelLimit=200)
    below = alt.Axis(
        domain=False,
        ticks=False,
        grid=False,
        labelLimit=200,
        labelAngle=-45 if many else 0,
        labelAlign="right" if many else "center",
    )
    order = alt.Scale(domain=list(names))
    shown = [("value", "texts", ","), ("share", "of the row", ".0%")] if shares else [("value", "macro-F1", ".3f")]
    base = alt.Chart(_data(cells)).encode(
        y=alt.Y("row:N", sort=None, scale=order, title=rows, axis=beside),
        x=alt.X("column:N", sort=None, scale=order, title=columns, axis=below),
        tooltip=_tips(("row", rows), ("column", columns), *shown),
    )
    tiles = base.mark_rect(fill="var(--heat)", cornerRadius=2).encode(
        fillOpacity=alt.FillOpacity("share:Q", scale=alt.Scale(domain=[low, high], range=[0.06, 1]), legend=None)
    )
    text = base.mark_text(color="var(--ink)", fontSize=11).encode(text="text:N")
    step = 29 if many else 44
    kind = "Confusion matrix" if shares else "Transfer matrix"
    description = f"{kind}: {rows} in rows, {columns} in columns, {len(names)} each; the figures follow as a table"
    return _finish(
        [tiles, text], description, width={"step": step * 1.25}, height={"step": step}, ground="var(--panel)"
    )


def learning_chart(
    sizes: Sequence[int],
    scores: Sequence[Sequence[float]],
    law: Mapping[str, float] | None,
    references: Mapping[str, float],
) -> Spec:
    """Macro-F1 by number of labels: every seed, their mean, the fitted law to four times the labels, and fixed lines."""
    import altair as alt

    seeds = [{"n": n, "score": s} for n, row in zip(sizes, scores, strict=True) for s in row]
    means = [{"n": n, "score": sum(row) / len(row)} for n, row in zip(sizes, scores, strict=True)]
    end = 4 * sizes[-1] if law else sizes[-1]
    ticks = [*sizes, *([2 * sizes[-1], 4 * sizes[-1]] if law else [])]
    x = alt.X(
        "n:Q",
        title="labels (log scale)",
        scale=alt.Scale(type="log", domain=[sizes[0] * 0.9, end * 1.05], nice=False),
        axis=alt.Axis(values=ticks, format=",", grid=False, labelOverlap="greedy"),
    )
    y = alt.Y("score:Q", title="macro-F1", scale=alt.Scale(zero=False, nice=True))
    tooltip = _tips(("n", "labels", ","), ("score", "macro-F1", ".3f"))
    dots = alt.Chart(_data(seeds)).mark_point(size=22, color="var(--accent)", filled=True, opacity=0.35)
    line = alt.Chart(_data(means)).mark_line(color="var(--accent)", point={"size": 60, "color": "var(--accent)"})
    layers = [chart.encode(x=x, y=y, tooltip=tooltip) for chart in (dots, line)]
    if law:
        steps = [sizes[-1] * 4 ** (i / 12) for i in range(13)]
        path = [{"n": n, "score": law["a"] - law["b"] * n ** -law["c"]} for n in steps]
        layers.append(
            alt.Chart(_data(path))
            .mark_line(color="var(--accent)", strokeDash=[5, 4])
            .encode(x=x, y=y, tooltip=_tips(("n", "labels", ",.0f"), ("score", "extrapolated", ".3f")))
        )
    for name, value in references.items():
        line = alt.Chart(_data([{"score": value, "name": f"{name} {value:.3f}", "n": sizes[0]}]))
        layers.append(line.mark_rule(color="var(--muted)", strokeDash=[2, 3]).encode(y=y))
        layers.append(line.mark_text(align="left", dy=-6, color="var(--muted)").encode(x=x, y=y, text="name:N"))
    words = "; ".join(f"{m['n']} labels {m['score']:.3f}" for m in means)
    return _finish(layers, f"Learning curve, mean macro-F1: {words}", height=280)


def reliability_chart(bins: Mapping[str, Sequence[Row]]) -> Spec:
    """Accuracy against confidence for each role (teacher, student): bins of confidence, accuracy, n."""
    import altair as alt

    rows = [
        {"role": role, "confidence": b["confidence"], "accuracy": b["accuracy"], "n": b["n"]}
        for role, table in bins.items()
        for b in table
        if b["n"]
    ]
    scale = alt.Scale(domain=[0, 1])
    diagonal = (
        alt.Chart(_data([{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]))
        .mark_line(color="var(--muted)", strokeDash=[2, 3])
        .encode(x=alt.X("confidence:Q", scale=scale), y=alt.Y("accuracy:Q", scale=scale))
    )
    base = alt.Chart(_data(rows)).encode(
        x=alt.X("confidence:Q", title="how sure it is", scale=scale, axis=alt.Axis(format=".0%", tickCount=5)),
        y=alt.Y("accuracy:Q", title="how often it is right", scale=scale, axis=alt.Axis(format=".0%", tickCount=5)),
        color=_role_colour(legend=True),
    )
    tooltip = _tips(("role", "who"), ("confidence", "sure", ".0%"), ("accuracy", "right", ".0%"), ("n", "texts", ","))
    points = base.mark_point(filled=True, opacity=1).encode(
        shape=_role_shape(legend=True),
        size=alt.Size("n:Q", legend=None, scale=alt.Scale(range=[30, 220])),
        tooltip=tooltip,
    )
    words = "; ".join(f"{r['role']} {r['confidence']:.0%} sure, {r['accuracy']:.0%} right" for r in rows)
    return _finish(
        [diagonal, base.mark_line(strokeWidth=1.5), points], f"Reliability diagram: {words}", width=HALF, height=300
    )


def coverage_chart(points: Sequence[Row], thresholds: Mapping[str, Row]) -> Spec:
    """Accuracy against coverage, with the thresholds for wanted precisions marked at their cross-fitted place."""
    import altair as alt

    x = alt.X(
        "coverage:Q",
        title="share of texts kept",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    y = alt.Y(
        "accuracy:Q",
        title="share of them right",
        scale=alt.Scale(zero=False, nice=True),
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    tooltip = _tips(("threshold", "confidence from", ".2f"), ("coverage", "kept", ".0%"), ("accuracy", "right", ".1%"))
    rows = [{k: p[k] for k in ("threshold", "coverage", "accuracy")} for p in points]
    chart = (
        alt.Chart(_data(rows)).mark_line(color="var(--accent)", interpolate="linear").encode(x=x, y=y, tooltip=tooltip)
    )
    marks = [
        {"label": f"for {float(p):.0%}", **{k: t[k] for k in ("threshold", "coverage", "accuracy")}}
        for p, t in thresholds.items()
        if t["threshold"] is not None and t["accuracy"] is not None
    ]
    layers = [chart]
    if marks:
        base = alt.Chart(_data(marks)).encode(x=x, y=y, tooltip=tooltip)
        layers += [
            base.mark_point(shape="triangle-up", size=80, filled=True, opacity=1, color="var(--ink)"),
            base.mark_text(align="right", dx=-9, dy=5, color="var(--ink)").encode(text="label:N"),
        ]
    last = rows[-1]
    words = f"keeping {last['coverage']:.0%} of the texts, {last['accuracy']:.0%} are right"
    return _finish(layers, f"Coverage and accuracy of the student: {words}", width=HALF, height=300)


def to_svg(spec: Spec) -> str:
    """The chart as an SVG element, drawn without a browser; text in it is escaped by Vega."""
    import vl_convert

    return vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version(), allowed_base_urls=[])


@cache
def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed`."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vega_lite_version())


@cache
def vega_lite_version() -> str:
    """The Vega-Lite version that Altair writes, as vl-convert names it: the nearest one that it has."""
    import altair
    import vl_convert

    wanted = tuple(int(part) for part in altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    known = sorted(tuple(map(int, version.split("."))) for version in vl_convert.get_vegalite_versions())
    fitting = [version for version in known if version[0] == wanted[0]] or known
    return "{}.{}".format(*min(fitting, key=lambda version: abs(version[1] - wanted[1])))


def _data(rows: Sequence[Row]) -> alt.InlineData:
    import altair as alt

    return alt.InlineData(values=[dict(row) for row in rows])


def _tips(*fields: tuple[str, str] | tuple[str, str, str]) -> list[alt.Tooltip]:
    """What a tooltip shows: (field, title) for words, (field, title, format) for numbers."""
    import altair as alt

    return [
        alt.Tooltip(f"{field}:Q", title=title, format=how[0]) if how else alt.Tooltip(f"{field}:N", title=title)
        for field, title, *how in fields
    ]


def _role_colour(*, legend: bool = False) -> alt.Color:
    import altair as alt

    return alt.Color("role:N", scale=alt.Scale(domain=_ROLES, range=_COLOURS), legend=_legend() if legend else None)


def _role_shape(*, legend: bool = False) -> alt.Shape:
    import altair as alt

    return alt.Shape("role:N", scale=alt.Scale(domain=_ROLES, range=_SHAPES), legend=_legend() if legend else None)


def _legend() -> alt.Legend:
    import altair as alt

    return alt.Legend(title=None, orient="top", values=["teacher", "student"], symbolSize=80)


def _finish(
    layers: Sequence[alt.Chart],
    description: str,
    *,
    width: int | Spec = WIDE,
    height: int | Spec = 260,
    ground: str = "transparent",
) -> Spec:
    """The whole specification: size, description for screen readers, and the look."""
    import altair as alt

    layered = alt.layer(*layers).properties(width=width, height=height, description=description[:2_000])
    return layered.configure(**look(ground)).to_dict()


def look(ground: str = "transparent") -> Spec:
    """What every chart of ours is configured with: fonts, and the page's colours."""
    axis = {
        "domainColor": "var(--rule)", "tickColor": "var(--rule)", "gridColor": "var(--hair)", "labelColor": "var(--ink)",
        "titleColor": "var(--muted)", "titleFontWeight": "normal", "labelFontSize": 12, "titleFontSize": 12, "titlePadding": 10,
    }  # fmt: skip
    return {
        "font": FONT,
        "background": "transparent",
        "padding": 4,
        "axis": axis,
        "view": {"stroke": None, "fill": ground},
        "legend": {"labelColor": "var(--ink)", "labelFontSize": 12, "symbolStrokeWidth": 0},
        "text": {"fontSize": 12},
    }
