"""`tutelage topics`: questions to a folder of papers, and an overview of the answers."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from tutelage.cli import options as o
from tutelage.cli.ui import Screen

if TYPE_CHECKING:
    from tutelage.teachers.llm.asking import Asking

_READ, _ASK = "Reading", "Asking a language model"


def topics(
    folder: Annotated[Path, Argument(help="Papers as PDF, text, Markdown or HTML.", show_default=False)],
    question: Annotated[
        list[str] | None,
        Option("--ask", "-a", help="What to ask of every paper (repeatable).", show_default=False),
    ] = None,
    teacher: Annotated[
        str, Option(help="Who reads: zero-shot[:ENCODER], openai:MODEL, llama:FILE.gguf.")
    ] = "zero-shot",
    out: Annotated[Path | None, Option(help="Where to. [default: runs/NAME-topics]", show_default=False)] = None,
    number: Annotated[
        int | None, Option("--topics", help="How many topics. [default: the most coherent]", min=2, show_default=False)
    ] = None,
    encoder: Annotated[
        str | None,
        Option(help="Sentence encoder of the topics. [default: the reader's, or minilm]", show_default=False),
    ] = None,
    threshold: Annotated[
        float, Option(help="zero-shot: how near a passage must come to a question (cosine).", rich_help_panel=_READ)
    ] = 0.3,
    passage: Annotated[
        int | None, Option(help="Most characters read at once.", rich_help_panel=_READ, show_default=False)
    ] = None,
    keyword_rules: Annotated[
        bool,
        Option("--keyword-rules", help="Passages and quotes must hold a word of the question.", rich_help_panel=_READ),
    ] = False,
    gate: Annotated[
        bool, Option("--gate", help="Skip passages that hardly ever answer: fewer requests.", rich_help_panel=_READ)
    ] = False,
    base_url: o.BaseUrl = None,
    budget: o.Budget = None,
    price: o.Price = None,
    concurrency: o.Concurrency = 8,
    rpm: o.Rpm = None,
    tpm: o.Tpm = None,
    retry_failed: o.RetryFailed = False,
    seed: o.Seed = 0,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Ask a folder of papers, keep the answers that a literal quote supports, and lay their topics out on a page.

    Works offline by default. With a language model, interrupt and repeat it at will: what was answered is not asked again.
    """
    from tutelage.errors import InputError
    from tutelage.pipeline.topics import DEFAULT_QUESTIONS, TopicsConfig, make_overview

    screen = Screen(quiet=quiet, json=json)
    kind, _, name = teacher.partition(":")
    asking = None
    if kind != "zero-shot":
        asking = _asking(teacher, base_url, budget, price, concurrency, rpm, tpm, retry_failed)
    elif budget or price:
        raise InputError("a budget is for teachers that cost money; zero-shot costs nothing")
    known = (name if kind == "zero-shot" else "") or encoder
    config = TopicsConfig(
        tuple(question or DEFAULT_QUESTIONS), known, passage, threshold, number, keyword_rules, gate, seed
    )
    stem = re.sub(r"[^\w-]+", "-", folder.resolve().stem).strip("-") or "papers"
    target = out or Path("runs") / f"{stem}-topics"
    with screen.progress("reading") as progress:
        overview = make_overview(folder, target, config, asking=asking, progress=progress, log=screen.note)
    facts = {
        "papers": len(overview.sources), "unread": len(overview.unread), "passages": overview.passages,
        "skipped": overview.skipped, "answers": len(overview.answers), "rejected": overview.rejected,
        "topics": [{"title": topic.title, "answers": topic.size} for topic in overview.topics],
        "page": str(target / "topics.html"),
    }  # fmt: skip
    lines = [f"{topic.size:5,}  {topic.title}" for topic in overview.topics]
    counts = f"{len(overview.answers):,} answers from {len(overview.sources)} papers in {len(overview.topics)} topics"
    screen.result(facts, "\n".join([counts, *lines, f"Page: {target / 'topics.html'}"]))


def _asking(
    spec: str, base_url: str | None, budget: str | None, price: str | None, concurrency: int, rpm: int | None,
    tpm: int | None, retry_failed: bool,
) -> Asking:  # fmt: skip
    from tutelage.teachers.llm.asking import Asking, chat_model
    from tutelage.teachers.llm.budget import Budget, Price
    from tutelage.teachers.llm.service import Limits

    if base_url and os.environ.get("OPENAI_API_KEY"):
        from tutelage.teachers.llm.trust import trust

        trust(base_url)  # who names an address on the command line means it
    limit = Budget.parse(budget) if budget else None
    currency = limit.unit if limit and limit.unit != "tok" else "usd"
    known = Price.parse(price, currency) if price else None
    model = chat_model(spec, base_url=base_url)
    return Asking(model, Limits(concurrency=concurrency, rpm=rpm, tpm=tpm), limit, known, retry_failed)
