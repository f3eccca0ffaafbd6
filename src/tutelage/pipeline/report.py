"""The report: `metrics.json` as one self-contained page, `report.html`, that opens offline and may be sent on.

The page is data first: every text and label is escaped by the template, every JSON block against leaving its <script>,
and a Content-Security-Policy lets only this page's own two scripts run (by their hash) and nothing be loaded or sent. The
charts are in the page twice: drawn as SVG, which needs no JavaScript, and as Vega-Lite, which replaces it where scripts run.

What was not measured has no section. With `texts=False` the page holds no text of the corpus.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tutelage.errors import InputError
from tutelage.evaluation.agreement import reading
from tutelage.pipeline import charts, figures
from tutelage.pipeline.folder import Run, write_atomically

if TYPE_CHECKING:
    import jinja2

MOST_LABELS_IN_A_HEAT_MAP = 40

_PAIRS = (
    ("human_human", "People among each other"),
    ("teacher_human", "Teacher and people"),
    ("student_human", "Student and people"),
    ("student_teacher", "Student and teacher"),
    ("teacher_teacher", "Teacher and itself, asked twice"),
)
_LINE_ENDS = {0x2028: "\\u2028", 0x2029: "\\u2029", ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A chart in the page: its specification, the same drawn, and its figures as a table."""

    key: str
    spec: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_report(run: Path, *, texts: bool = True) -> Path:
    """Write `report.html` beside the run's `metrics.json`.

    Args:
        run: the run folder.
        texts: False leaves out the corpus's texts (and their ids), so that the page can go where they must not.

    Returns: the path of the page.
    Raises: InputError: no metrics there, metrics of another format, a folder that cannot be written.
    """
    run = Path(run)
    page = render_report(read_metrics(run), texts=texts, configuration=_configuration(run))
    target = run / "report.html"
    try:
        write_atomically(target, page.encode())
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
    return target


def publish(run: Run, *, texts: bool | None = None) -> Path:
    """Write the report of a run, and remember whether it may quote texts; None: as it was written before.

    Raises: InputError: see `write_report`.
    """
    shown = bool(run.stage("report").get("texts", True)) if texts is None else texts
    path = write_report(run.path, texts=shown)
    run.finish("report", texts=shown)
    return path


def read_metrics(run: Path) -> Metrics:
    """The run's `metrics.json`. Raises: InputError: missing, not readable, or of a newer format."""
    path = run / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{run} has no metrics.json yet; make it with `tutelage evaluate {run}`") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; make it again with `tutelage evaluate {run}`") from None
    found = metrics.get("format") if isinstance(metrics, dict) else None
    if found != 1:
        raise InputError(f"{path} has format {found!r}, this version reads format 1; upgrade tutelage")
    return metrics


def render_report(metrics: Metrics, *, texts: bool = True, configuration: str = "") -> str:
    """The page as HTML; `configuration` is the text of run.yaml to show."""
    library, script = charts.javascript(), _part("report.js")
    drawn = {figure.key: figure for figure in _figures(metrics)}
    return (
        _templates()
        .get_template("report.html.j2")
        .render(
            m=metrics,
            css=_part("report.css"),
            library=library,
            script=script,
            policy=content_security_policy(library, script),
            headline=figures.headline(metrics),
            lines=figures.lines(metrics),
            agreement=_agreement(metrics),
            labels=_labels(metrics),
            languages=_languages(metrics),
            confused=_confused(metrics),
            disagreements=_disagreements(metrics, texts=texts),
            figures=drawn,
            texts=texts,
            configuration=configuration,
        )
    )


def _part(name: str) -> str:
    return resources.files("tutelage.pipeline").joinpath("templates", name).read_text("utf-8")


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_part),
    )  # fmt: skip
    filters: dict[str, Callable[..., str]] = {
        "score": figures.score, "interval": figures.interval, "percent": figures.percent, "count": figures.count,
        "rate": figures.rate, "bytes": figures.size, "duration": figures.seconds, "reading": reading,
    }  # fmt: skip
    environment.filters.update(filters)
    environment.globals.update(money=figures.money)
    return environment


def content_security_policy(*scripts: str) -> str:
    """Nothing may be loaded or sent; only these inline scripts may run."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{h}'" for h in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def as_json(value: object) -> str:
    """JSON that may stand inside <script>: no markup can end it.

    >>> print(as_json("</script>"))
    "\\u003c/script\\u003e"
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False).translate(_LINE_ENDS)


def _figures(metrics: Metrics) -> list[Figure]:
    """The charts that the metrics have figures for."""
    made = [
        _score_figure(metrics), _language_figure(metrics), _transfer_figure(metrics), _learning_figure(metrics),
        _reliability_figure(metrics), _coverage_figure(metrics), _confusion_figure(metrics),
    ]  # fmt: skip
    return [figure for figure in made if figure is not None]


def _figure(key: str, spec: charts.Spec, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Figure:
    return Figure(key, as_json(spec), charts.to_svg(spec), tuple(columns), tuple(map(tuple, rows)))


def _score_figure(metrics: Metrics) -> Figure | None:
    scored = [line for line in figures.lines(metrics) if line.macro_f1 is not None and line.interval]
    if not scored:
        return None
    rows = [
        {"name": x.name, "role": x.role, "value": x.macro_f1, "low": x.interval[0], "high": x.interval[1]}
        for x in scored
        if x.interval
    ]
    return _figure("scores", charts.score_chart(rows), (), ())


def _languages(metrics: Metrics) -> list[tuple[str, int, dict[str, float], dict[str, float]]]:
    """(language, texts, teacher's scores, student's scores), most texts first."""
    student = (metrics.get("student") or {}).get("per_language") or {}
    teacher = (metrics.get("teacher") or {}).get("per_language") or {}
    found = [
        (name, (student.get(name) or teacher[name])["n"], teacher.get(name) or {}, student.get(name) or {})
        for name in dict.fromkeys([*student, *teacher])
    ]
    return sorted(found, key=lambda row: -row[1])


def _language_figure(metrics: Metrics) -> Figure | None:
    languages = _languages(metrics)
    if len(languages) < 2:
        return None
    rows = [
        {"language": name, "role": role, "value": scores["macro_f1"], "n": n}
        for name, n, *both in languages
        for role, scores in zip(("teacher", "student"), both, strict=True)
        if figures.number(scores.get("macro_f1")) is not None
    ]
    return _figure("languages", charts.language_chart(rows), (), ()) if rows else None


def _transfer_figure(metrics: Metrics) -> Figure | None:
    transfer = metrics.get("transfer")
    if not transfer:
        return None
    names, table = transfer["languages"], transfer["macro_f1"]
    spec = charts.heat_chart(names, table, rows="trained on", columns="tested on", shares=False)
    ratios = transfer.get("ratios") or {}
    columns = ("trained on", *names, *(("others / own",) if ratios else ()))
    rows = [
        (name, *map(figures.score, row), *((figures.percent(ratios.get(name)),) if ratios else ()))
        for name, row in zip(names, table, strict=True)
    ]
    return _figure("transfer", spec, columns, rows)


def _learning_figure(metrics: Metrics) -> Figure | None:
    curve = metrics.get("learning_curve")
    if not curve or not curve.get("sizes"):
        return None
    references = {}
    if curve.get("against") == "gold":
        for key, name in (("teacher", "teacher"), ("gold_student", "trained on gold")):
            value = figures.number((metrics.get(key) or {}).get("macro_f1"))
            if value is not None:
                references[name] = value
    spec = charts.learning_chart(curve["sizes"], curve["macro_f1"], curve.get("fit"), references)
    rows = [
        (figures.count(n), figures.score(sum(s) / len(s)), figures.score(min(s)), figures.score(max(s)))
        for n, s in zip(curve["sizes"], curve["macro_f1"], strict=True)
    ]
    return _figure("learning", spec, ("labels", "mean macro-F1", "lowest seed", "highest seed"), rows)


def _reliability_figure(metrics: Metrics) -> Figure | None:
    bins = {role: ((metrics.get(role) or {}).get("calibration") or {}).get("bins") for role in ("teacher", "student")}
    given: dict[str, list[Any]] = {role: table for role, table in bins.items() if table}
    if not given:
        return None
    rows = [
        (role, figures.percent(b["confidence"]), figures.percent(b["accuracy"]), figures.count(b["n"]))
        for role, table in given.items()
        for b in table
        if b["n"]
    ]
    return _figure("reliability", charts.reliability_chart(given), ("who", "sure", "right", "texts"), rows)


def _coverage_figure(metrics: Metrics) -> Figure | None:
    student = metrics.get("student") or {}
    points = student.get("coverage")
    if not points:
        return None
    spec = charts.coverage_chart(points, student.get("thresholds") or {})
    rows = [
        (figures.score(p["threshold"]), figures.percent(p["coverage"]), figures.percent(p["accuracy"])) for p in points
    ]
    return _figure("coverage", spec, ("confidence from", "texts kept", "right"), rows)


def _confusion_figure(metrics: Metrics) -> Figure | None:
    table = (metrics.get("gold") or {}).get("confusion")
    names = (metrics.get("scheme") or {}).get("names")
    if not table or not names or len(names) > MOST_LABELS_IN_A_HEAT_MAP:
        return None
    spec = charts.heat_chart(names, table, rows="people said", columns="student said", shares=True)
    rows = [(name, *map(figures.count, row)) for name, row in zip(names, table, strict=True)]
    return _figure("confusion", spec, ("people said", *names), rows)


def _confused(metrics: Metrics, most: int = 8) -> list[tuple[str, str, int, float]]:
    """The commonest mistakes: (gold, student, texts, share of the gold label's texts)."""
    table = (metrics.get("gold") or {}).get("confusion") or []
    names = (metrics.get("scheme") or {}).get("names")
    if not names:
        return []
    wrong = [
        (names[i], names[j], value, value / sum(row))
        for i, row in enumerate(table)
        for j, value in enumerate(row)
        if i != j and value > 1
    ]
    return sorted(wrong, key=lambda pair: (-pair[2], -pair[3]))[:most]


def _agreement(metrics: Metrics) -> list[tuple[str, Mapping[str, Any]]]:
    pairs = metrics.get("agreement") or {}
    return [(name, pairs[key]) for key, name in _PAIRS if pairs.get(key)]


def _labels(metrics: Metrics) -> list[dict[str, Any]]:
    """One row a label: its training texts, F1 of teacher and student, support, alpha of teacher and people."""
    names = (metrics.get("scheme") or {}).get("names") or []
    teacher = (metrics.get("teacher") or {}).get("per_label") or {}
    student = (metrics.get("student") or {}).get("per_label") or {}
    alphas = ((metrics.get("agreement") or {}).get("teacher_human") or {}).get("per_label") or {}
    counts = (metrics.get("labels") or {}).get("by_label") or {}
    if not (teacher or student or alphas or counts):
        return []
    most = max([1, *counts.values()])
    return [
        {
            "name": name,
            "texts": counts.get(name) if counts else None,
            "share": (counts.get(name) or 0) / most,
            "teacher": figures.number((teacher.get(name) or {}).get("f1")),
            "alpha": figures.number(alphas.get(name)),
            **{key: (student.get(name) or {}).get(key) for key in ("precision", "recall", "f1", "support")},
        }
        for name in names
    ]


def _disagreements(metrics: Metrics, *, texts: bool) -> list[dict[str, Any]]:
    keys = (
        "teacher",
        "student",
        "teacher_confidence",
        "student_confidence",
        "gold",
        *(("id", "text", "because") if texts else ()),
    )
    return [{key: row.get(key) for key in keys} for row in (metrics.get("disagreements") or [])[:100]]


def _configuration(run: Path) -> str:
    """run.yaml without its label scheme, which the report shows elsewhere; empty where there is none."""
    try:
        text = (run / "run.yaml").read_text(encoding="utf-8")
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    if not isinstance(data, dict):
        return ""
    labels = data.pop("labels", None)
    shown = yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=100)
    if isinstance(labels, dict):
        shown += f"labels: {labels.get('name', 'labels')} ({len(labels.get('labels') or [])} labels)\n"
    return re.sub(r"://[^/@\s]+@", "://", shown)  # a name and password inside an address stay here
