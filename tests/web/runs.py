"""A finished run to look at, made once, and the fields of the form that starts one."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlencode

from fastapi.testclient import TestClient

from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows, said
from tests.teachers.endpoint import Endpoint
from tests.web.common import Page
from tutelage.pipeline.distill import distill

FORM = {"content-type": "application/x-www-form-urlencoded"}
NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@cache
def finished() -> Path:
    """A run of 150 texts with people's labels and an n-gram student; some of the teacher's labels are wrong."""
    folder = Path(mkdtemp(prefix="tutelage-web-"))
    texts = jsonl(folder / "texts.jsonl", rows(150))
    distill(texts, SCHEME, out=folder / "desk", teacher=Keywords(wrong=10), student="ngram", gold="topic", force=True)
    return folder / "desk"


def copy_of_run(runs: Path, name: str = "desk") -> Path:
    """The finished run in a folder of runs."""
    return Path(shutil.copytree(finished(), runs / name))


def oracle(text: str, _: str) -> str:
    """What the endpoint of the tests answers."""
    return json.dumps({"label": (said(text) or ["sport"])[0]})


def form(source: str, **more: str) -> str:
    """The form of a new run about `source`, ready to be sent."""
    fields: list[tuple[str, str]] = [("source", source), ("scheme_name", "desk")]
    for label in SCHEME.labels:
        fields += [("label_name", label.name), ("label_definition", label.definition), ("label_examples", "")]
        fields.append(("label_code", ""))
    defaults = {"teacher": "zero-shot", "student": "ngram", "name": "tickets", "kind": "single"}
    return urlencode([*fields, *{**defaults, **more}.items()])


def remote(endpoint: Endpoint, **more: str) -> dict[str, str]:
    """The fields of the form that name an endpoint as the teacher."""
    return {"teacher": "openai", "model": "known", "base_url": endpoint.url, "price": "2/8usd", **more}


def post(client: TestClient, path: str, body: str = "", **headers: str) -> Any:
    """Send a form."""
    return client.post(path, content=body, headers={**FORM, **headers})


def faults(reply: Any) -> str:
    """The text of an answer that refuses what was sent."""
    assert reply.status_code == 400, reply.text
    page = Page(reply.text)
    assert {"class": "fault"} in page.all("p")
    return page.text
