"""A workbench in this process, a client that has opened its start address, and a scoreboard to show."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from tutelage.web.app import create_app
from tutelage.web.settings import Settings

TOKEN = "a-token-of-the-tests-0123456789"
HOME = "http://127.0.0.1:8500"


def settings(folder: Path, **more: Any) -> Settings:
    """Settings whose folders lie in `folder`."""
    (folder / "texts").mkdir(exist_ok=True)
    places = {"runs": folder / "runs", "texts": folder / "texts", "traces": folder / "traces"}
    return Settings(**{**places, "token": TOKEN, **more})


def stranger(settings: Settings, **more: Any) -> TestClient:
    """A client that has no cookie."""
    return TestClient(create_app(settings), base_url=HOME, follow_redirects=False, **more)


def opened(settings: Settings) -> TestClient:
    """A client that has opened the start address."""
    client = TestClient(create_app(settings), base_url=HOME)
    assert client.get(f"/?token={TOKEN}").status_code == 200
    return client


def scoreboard(path: Path) -> Path:
    """A `studies.json` with a study that holds and one that does not."""

    def arm(name: str, role: str, figures: dict[str, list[float]]) -> dict[str, Any]:
        return {"part": "", "name": name, "role": role, "seeds": [100, 101], "figures": figures, "seconds": 1.5}

    def study(slug: str, verdict: str, outcome: str, effect: float) -> dict[str, Any]:
        return {
            "slug": slug, "family": "distillation", "claim": f"the claim of {slug}", "verdict": verdict, "reason": "",
            "paper": {"title": f"The paper of {slug}", "authors": "Somebody et al.", "year": 2022, "arxiv": "2212.00001"},
            "arms": [
                arm("kd", "baseline", {"exposure": [6.0, 7.0], "accuracy": [0.9, 0.92]}),
                arm(slug, "method", {"exposure": [1.0, 2.0], "accuracy": [0.91, 0.9]}),
            ],
            "bars": [{
                "part": "", "text": f"{slug} < kd", "gated": True, "outcome": outcome, "effect": effect, "low": effect - 1,
                "high": effect + 1, "p": 0.01, "paper": "−80 %", "note": "",
            }],
            "sentences": {"": "A sentence by a rule."}, "versions": {"torch": "2.4"},
        }  # fmt: skip

    studies = [study("swing", "holds", "holds", -5.0), study("hard", "does not hold", "fails", 0.2)]
    path.write_text(json.dumps({"format": 1, "command": "x", "created": "y", "studies": studies}), "utf-8")
    return path


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and the text without them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]
