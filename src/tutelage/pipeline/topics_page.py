"""The overview of a folder of papers as one self-contained page that opens offline.

Every text is escaped by the template, and a Content-Security-Policy lets only this page's own script run and nothing be
loaded. All of it can be read without JavaScript; with it topics can be picked on the map, answers filtered, and terms
ranked from frequent to exclusive. Every sentence links to the answers that it rests on, and every answer to its passage.
"""

from __future__ import annotations

import math
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from tutelage.pipeline.report import content_security_policy

if TYPE_CHECKING:
    import jinja2

    from tutelage.pipeline.topics import Overview

MAP = 100
"""The map's half width in its own units."""


def render(overview: Overview) -> str:
    """The page as HTML."""
    script = _part("topics.js")
    largest = max(topic.size for topic in overview.topics)
    return (
        _templates()
        .get_template("topics.html.j2")
        .render(
            o=overview,
            css=_part("report.css") + _part("topics.css"),
            script=script,
            policy=content_security_policy(script),
            bubbles=[_bubble(t.x, t.y, t.size / largest) for t in overview.topics],
            largest=largest,
        )
    )


def relevance(frequent: float, exclusive: float, lambda_: float = 0.6) -> float:
    """What terms are ranked by, the same as in the page's script.

    >>> relevance(-2.0, 1.0, 0.5)
    -0.5
    """
    return lambda_ * frequent + (1 - lambda_) * exclusive


def _bubble(x: float, y: float, share: float) -> tuple[str, str, str]:
    """A topic's circle on the map: centre, and a radius that grows with the share of answers and stays large enough to hit."""
    radius = 5 + 15 * math.sqrt(share)
    return f"{x * (MAP - 22):.1f}", f"{-y * (MAP - 22):.1f}", f"{radius:.1f}"


def _part(name: str) -> str:
    return resources.files("tutelage.pipeline").joinpath("templates", name).read_text("utf-8")


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_part),
    )  # fmt: skip
    environment.globals.update(relevance=relevance, exp=math.exp)
    return environment
