"""The model card of a run's student: what it does, who taught it, how far it may be trusted, what it must not be used for.

Markdown with the head that model hubs read. Every figure is from `metrics.json`; what was not measured is said not to be known.
"""

from __future__ import annotations

from typing import Any

import yaml

from tutelage.pipeline import figures
from tutelage.pipeline.folder import Run

_SHOWN_LABELS = 40
_USE = """```python
from tutelage.students import load_student

student = load_student("FOLDER")  # or "hf://OWNER/NAME"
print(student.predict(["a text"]), student.predict_proba(["a text"]))
```"""


def model_card(run: Run) -> str:
    """README.md for the student of a run."""
    metrics: dict[str, Any] = run.json("metrics")
    config = run.config
    names = [f"`{name}`" for name in config.labels.names]
    student, annotated = metrics.get("student") or {}, metrics.get("labels") or {}
    how_many = "any number" if config.labels.multi else "one"
    learned = f"{figures.count(annotated['answered'])} texts" if annotated else "texts"
    sections = {
        f"# {run.name}": [
            f"Gives a text {how_many} of {len(names)} labels ({config.labels.name}): "
            f"{', '.join(names[:_SHOWN_LABELS])}{', …' if len(names) > _SHOWN_LABELS else ''}.",
            figures.headline(metrics) if metrics else "Nothing has been measured about its quality.",
        ],
        "## Use": [_USE],
        "## How it was made": [
            f"It learned from {learned} labelled by a teacher ({run.stage('annotate').get('teacher', config.teacher.spec)}), "
            f"not by people. Student: {student.get('name', 'see config.json')}. Texts are cut to {config.texts.max_words} words."
        ],
        "## How far it can be trusted": _trust(metrics),
        "## What it costs": _cost(metrics),
        "## Limits": ["\n".join(f"- {line}" for line in _limits(metrics))],
    }  # fmt: skip
    parts = [part for title, said in sections.items() if said for part in (title, *said)]
    return "\n\n".join([_head(metrics), *parts]) + "\n"


def _head(metrics: dict[str, Any]) -> str:
    """The YAML that model hubs read."""
    languages = [name for name in (metrics.get("pool") or {}).get("languages") or {} if len(name) in (2, 3)]
    head: dict[str, Any] = {
        "library_name": "tutelage", "pipeline_tag": "text-classification", "tags": ["distillation", "label-free"],
    }  # fmt: skip
    if languages:
        head["language"] = sorted(languages)
    value = figures.number((metrics.get("student") or {}).get("macro_f1"))
    if value is not None:
        head["model-index"] = [{
            "name": metrics["run"],
            "results": [{
                "task": {"type": "text-classification"},
                "dataset": {"name": "held-out human labels of the run", "type": "private"},
                "metrics": [{"type": "f1", "name": "macro-F1", "value": round(value, 4)}],
            }],
        }]  # fmt: skip
    return "---\n" + yaml.safe_dump(head, allow_unicode=True, sort_keys=False) + "---"


def _trust(metrics: dict[str, Any]) -> list[str]:
    gold: dict[str, Any] = metrics.get("gold") or {}
    said = []
    if outcome := metrics.get("acceptance"):
        said.append(f"**{outcome['outcome'].capitalize()}.** {outcome['sentence']}")
    rows = [line for line in figures.lines(metrics) if line.macro_f1 is not None]
    if rows:
        table = ["| | macro-F1 | 95 % | texts/s |", "|---|---|---|---|"]
        for r in rows:
            cells = (
                f"{r.name} ({r.note})" if r.note else r.name,
                figures.score(r.macro_f1),
                figures.interval(r.interval),
            )
            table.append(f"| {' | '.join(cells)} | {figures.rate(r.texts_per_second)} |")
        said += [
            f"On {figures.count(gold.get('n'))} texts labelled by people, which neither has seen:",
            "\n".join(table),
        ]
    if caveat := gold.get("caveat"):
        said.append(caveat)
    weak = [
        f"{name} ({figures.score(entry['f1'])})"
        for name, entry in ((metrics.get("student") or {}).get("per_label") or {}).items()
        if entry.get("support") and (figures.number(entry.get("f1")) or 0) < 0.6
    ]
    if weak:
        said.append(f"Labels with an F1 below 0.6: {', '.join(weak)}.")
    error = figures.number(((metrics.get("student") or {}).get("calibration") or {}).get("ece"))
    if error is not None:
        said.append(f"Expected calibration error of its confidences: {error:.3f}.")
    return said or ["Nobody has checked it against people."]


def _cost(metrics: dict[str, Any]) -> list[str]:
    cost = metrics.get("cost") or {}
    teacher, said = cost.get("teacher") or {}, []
    if teacher.get("requests"):
        paid = f", {figures.money(teacher['amount'], teacher.get('currency'))}" if teacher.get("amount") else ""
        said.append(f"The teacher was asked {figures.count(teacher['requests'])} times{paid}.")
    hours = figures.number((cost.get("student") or {}).get("per_million_texts_core_hours"))
    if hours is not None:
        said.append(f"The student needs {hours:.2g} core-hours for a million texts.")
    return [" ".join(said)] if said else []


def _limits(metrics: dict[str, Any]) -> list[str]:
    privacy = metrics.get("privacy")
    return [
        "It repeats its teacher's mistakes and biases, and knows the texts it was taught on: other sources, languages and "
        "times may be read worse. `tutelage serve` says when texts drift from them.",
        *(metrics.get("warnings") or []),
        figures.privacy_sentence(privacy)
        if privacy
        else "A student can hold on to words of the texts it learned from; this one was not shielded.",
    ]
