"""Draws the pictures of the pages: `python docs/pictures.py` writes them into docs/images.

They are plain SVG in one colour, the text's: on a page of the site they stand in the page itself and take its colour, light or
dark (see hooks.py); anywhere else a file has its own two. What they show in boxes and arrows they also say in words (`<desc>`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
IMAGES = Path(__file__).parent / "images"

ABOUT = {
    "cli": "one thin file a verb", "web": "the workbench", "studies": "the evidence, one file each",
    "serving": "HTTP, drift, refresh", "pipeline": "the main job: a run is a folder",
    "methods": "the literature, one file each", "teachers": "who knows", "students": "who learns",
    "feedback": "how a teacher changes", "training": "the one loop", "curricula": "which examples, when",
    "evaluation": "did it work", "objectives": "how far from what was said", "worlds": "small made-up data",
    "data": "texts, labels, splits, views", "errors": "one clear line",
}  # fmt: skip
"""What each folder of the package is."""

STYLE = "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}</style>"
"""For a file that is looked at by itself; the site takes it out."""
HEAD = """<marker id="{name}-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker>"""


class Message(NamedTuple):
    """Who says what to whom; an answer is drawn dashed. To oneself it is work."""

    source: str
    target: str
    text: str
    answer: bool = False


STEP = (
    Message("fit", "ProgressiveSelfDistillation", "train_step(batch, …)"),
    Message("ProgressiveSelfDistillation", "ProgressiveSelfDistillation", "logits of the student"),
    Message("ProgressiveSelfDistillation", "ProgressiveSelfDistillation", "progressive_targets(…)"),
    Message("ProgressiveSelfDistillation", "soft_cross_entropy", "logits, targets"),
    Message("soft_cross_entropy", "ProgressiveSelfDistillation", "scalar", answer=True),
    Message("ProgressiveSelfDistillation", "Update", "minimise(parts)"),
    Message("ProgressiveSelfDistillation", "ProgressiveSelfDistillation", "past ← softmax(logits)"),
    Message("ProgressiveSelfDistillation", "fit", "parts, for the history", answer=True),
    Message("fit", "ProgressiveSelfDistillation", "after_step(progress)"),
)
"""One step of PS-KD."""


def layers() -> list[list[str]]:
    """The floors from the top down, each with its folders, as the import contract in pyproject.toml has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    found = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [re.findall(r"\w+", layer) for layer in found]


def floors(rows: Sequence[Sequence[str]]) -> str:
    """A house: a row a floor, a box a folder."""
    left, width, height, gap = 60, 640, 46, 10
    parts = []
    for number, row in enumerate(rows):
        top, wide = number * (height + gap) + 2, (width - gap * (len(row) - 1)) / len(row)
        for place, name in enumerate(row):
            x = left + place * (wide + gap)
            middle = f"{x + wide / 2:g}"
            parts += [
                f'<rect x="{x:g}" y="{top}" width="{wide:g}" height="{height}" rx="5" fill="currentColor" '
                'fill-opacity=".06" stroke="currentColor" stroke-opacity=".45"/>',
                f'<text x="{middle}" y="{top + 20}" font-weight="600" text-anchor="middle">{name}</text>',
                f'<text x="{middle}" y="{top + 36}" font-size="12" fill-opacity=".75" text-anchor="middle">{ABOUT[name]}</text>',
            ]
    bottom = len(rows) * (height + gap) - gap + 4
    parts += [
        f'<path d="M24 6V{bottom - 4}" stroke="currentColor" fill="none" marker-end="url(#floors-head)"/>',
        f'<text transform="rotate(-90)" x="{-bottom / 2:g}" y="44" font-size="12" text-anchor="middle">imports go down</text>',
    ]
    said = "; ".join(" and ".join(f"{name} ({ABOUT[name]})" for name in row) for row in rows)
    return _svg("floors", left + width + 2, bottom, "The floors of the package", f"From the top down: {said}.", parts)


def sequence(name: str, title: str, messages: Sequence[Message]) -> str:
    """Who calls whom in which order: a line down for everybody, an arrow for every message."""
    everybody = list(dict.fromkeys(who for message in messages for who in message[:2]))
    wide = {who: 8 * len(who) + 20 for who in everybody}
    at = {everybody[0]: wide[everybody[0]] / 2 + 2}
    for left, right in pairwise(everybody):  # so far apart that names do not touch and words fit between the lines
        words = max(
            (7 * len(m.text) + 40 for m in messages if m.source == left and m.target in (left, right)), default=0
        )
        at[right] = at[left] + max((wide[left] + wide[right]) / 2 + 16, words)
    first, step = 74, 40
    bottom = first + step * len(messages)
    parts = []
    for who, x in at.items():
        parts += [
            f'<path d="M{x:g} 36V{bottom}" stroke="currentColor" stroke-opacity=".35" fill="none"/>',
            f'<rect x="{x - wide[who] / 2:g}" y="4" width="{wide[who]}" height="32" rx="5" fill="currentColor" '
            'fill-opacity=".06" stroke="currentColor" stroke-opacity=".45"/>',
            f'<text x="{x:g}" y="25" font-weight="600" font-size="13" text-anchor="middle">{who}</text>',
        ]
    said = []
    for number, message in enumerate(messages):
        y, here, there = first + step * number, at[message.source], at[message.target]
        text, dash = escape(message.text), ' stroke-dasharray="5 4"' if message.answer else ""
        if here == there:
            line, x, anchor = f"M{here:g} {y - 8}h22v16h-20", here + 32, "start"
        else:
            near = everybody[everybody.index(message.source) + (1 if there > here else -1)]
            line, x, anchor = (
                f"M{here:g} {y}H{there - 2 if there > here else there + 2:g}",
                (here + at[near]) / 2,
                "middle",
            )
        parts += [
            f'<path d="{line}" stroke="currentColor" fill="none" marker-end="url(#{name}-head)"{dash}/>',
            f'<text x="{x:g}" y="{y + 4 if here == there else y - 6}" font-size="12" text-anchor="{anchor}">{text}</text>',
        ]
        whom = "itself" if here == there else message.target
        said.append(f"{message.source} {'answers' if message.answer else 'to'} {whom}: {message.text}")
    width = at[everybody[-1]] + wide[everybody[-1]] / 2 + 2
    return _svg(name, width, bottom + 4, title, "; ".join(said) + ".", parts)


def _svg(name: str, width: float, height: float, title: str, told: str, parts: Sequence[str]) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc" font-family="system-ui, sans-serif" font-size="14" fill="currentColor">',
        f'<title id="{name}-title">{escape(title)}</title>', f'<desc id="{name}-desc">{escape(told)}</desc>', STYLE,
        f"<defs>{HEAD.format(name=name)}</defs>", *parts, "</svg>",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def pictures() -> dict[str, str]:
    """Every picture by the name of its file."""
    return {
        "floors.svg": floors(layers()),
        "ps-kd-step.svg": sequence("ps-kd-step", "One step of PS-KD", STEP),
    }


if __name__ == "__main__":
    for file, content in pictures().items():
        (IMAGES / file).write_text(content, "utf-8")
