"""What all pages share: the settings, the templates, and the reading of forms."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup, escape

import tutelage
from tutelage.errors import InputError
from tutelage.evaluation.agreement import reading
from tutelage.pipeline import figures
from tutelage.pipeline.folder import Run
from tutelage.web.jobs import Jobs
from tutelage.web.keys import KeyRing
from tutelage.web.settings import Settings, folder_in

MOST_FORM = 1 << 20
"""Bytes of a form; uploads are no forms."""


class NotHere(InputError):
    """What an address names is not there: status 404."""


class Workbench:
    """The state behind the pages."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.model_copy(
            update={name: getattr(settings, name).resolve() for name in ("runs", "texts", "traces")}
        )
        self.keys = KeyRing(settings.key_hosts)
        self.jobs = Jobs()
        self.trial = threading.Lock()
        """Held while a teacher is asked from a page: one at a time."""
        self.closing = threading.Event()
        """Set when the server is asked to end: event streams close."""

    def run(self, name: str) -> Run:
        """The run of this name. Raises: NotHere: there is none; InputError: the name or its configuration cannot be used."""
        folder = folder_in(self.settings.runs, name)
        if not (folder / "run.yaml").is_file():
            raise NotHere(f"there is no run {name!r}")
        return Run(folder)

    @property
    def trials(self) -> Path:
        """Where trials keep their answers."""
        return self.settings.runs / ".trials"

    def page(self, request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        """A template as an answer; `area` of the context marks the place in the navigation."""
        values = {"area": "", "most": self.settings.most_bytes, **context}
        return HTMLResponse(_templates().get_template(template).render(values), status)

    def fragment(self, template: str, **context: Any) -> str:
        """A template as text, for events."""
        return _templates().get_template(template).render(context)


def bench_of(request: Request) -> Workbench:
    """The workbench that a request is for."""
    return request.app.state.workbench


class Fields:
    """The fields of a form; a field may have several values.

    >>> fields = Fields({"n": ["3"], "name": [" a ", "b"]})
    >>> fields.text("name"), fields.all("name"), fields.number("n", 1, 9), fields.text("other", "none")
    ('a', [' a ', 'b'], 3, 'none')
    """

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        """The first value without spaces around it, or the default where it is missing or empty."""
        return (self._values.get(name) or [""])[0].strip() or default

    def raw(self, name: str) -> str:
        """The first value as it came, with line ends as Unix has them."""
        return (self._values.get(name) or [""])[0].replace("\r\n", "\n")

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return self._values.get(name, [])

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number in [low, high]. Raises: InputError: it is something else."""
        text = self.text(name)
        if not text and default is not None:
            return default
        if not text.isdecimal() or len(text) > 12 or not low <= int(text) <= high:
            raise InputError(f"{name}: expected a whole number from {low} to {high}; got {text[:40]!r}")
        return int(text)


async def fields_of(request: Request) -> Fields:
    """The form in a request's body. Raises: InputError: too large, not text, or not a form."""
    body = await request.body()
    if len(body) > MOST_FORM:
        raise InputError(f"the form is larger than {MOST_FORM:,} bytes")
    try:
        return Fields(parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=5_000, errors="strict"))
    except ValueError:
        raise InputError("the form cannot be read: it is not in the form that browsers send") from None


def is_htmx(request: Request) -> bool:
    """Whether a part of a page is asked for."""
    return request.headers.get("hx-request") == "true"


def going_to(request: Request, address: str) -> Response:
    """The answer to a form that leads to another page; `address` is one of ours, with its names quoted."""
    if is_htmx(request):
        return Response(status_code=204, headers={"hx-redirect": address})
    return RedirectResponse(address, 303)


def _inline(text: str) -> Markup:
    """A docstring's line with its `code` and **strong** marked up; all else is escaped.

    >>> _inline("`a<b` is **not** <b>")
    Markup('<code>a&lt;b</code> is <b>not</b> &lt;b&gt;')
    """
    marked = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*\n]+)\*\*", r"<b>\1</b>", marked))  # noqa: S704  it was escaped


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.PackageLoader("tutelage.web"),
    )  # fmt: skip
    filters: dict[str, Callable[..., str]] = {
        "score": figures.score, "interval": figures.interval, "percent": figures.percent, "count": figures.count,
        "rate": figures.rate, "bytes": figures.size, "duration": figures.seconds, "reading": reading, "inline": _inline,
    }  # fmt: skip
    environment.filters.update(filters)
    environment.globals.update(money=figures.money, version=tutelage.__version__)
    return environment
