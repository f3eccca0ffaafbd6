"""Do the four levels of a prompting framework make a reliable annotator of an unreliable generator?

A, fault injection. A perfect oracle sits behind a faulty wire: of its replies 10 % are malformed and 5 % name a label that
does not exist, 5 % of the calls time out and 5 % are turned away (429); it refuses prompts over its limit, and 10 % of the
texts are that long, with the evidence at their end; 1 % of the texts order it to answer "World", which it does unless the
order stands inside a fence. Each run is killed (SIGKILL) at a random call and started again. Arms add one level at a time.

B, a real small model: SmolLM2-135M-Instruct writes freely, writes under a JSON grammar, or has the closed set of labels
scored; then everything is asked again, from the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from tutelage.data.labels import LabelScheme
from tutelage.studies import (
    Arm,
    Bar,
    Finding,
    Metric,
    Paper,
    Part,
    Results,
    Role,
    Study,
    Trial,
    at_least,
    at_most,
    beats,
    exactly,
)  # fmt: skip
from tutelage.studies.labelling._oracle import SCHEME, Endpoint, Faults, Items, items, strict
from tutelage.studies.labelling._prompting_frameworks_small import SMALL
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.base import Request, TextFault, Transient
from tutelage.teachers.llm.data import AnswerForm, Message, PromptTemplate
from tutelage.teachers.llm.service import Clock, Limits, Service, run_prompts
from tutelage.teachers.llm.teacher import LLMTeacher
from tutelage.teachers.windows import annotate_in_windows

Labelled = dict[str, str | None]
"""Labels by id in the order in which they came back; None where there is no usable one."""


def naive(text: str) -> tuple[Message, ...]:
    """The prompt of a first script, with the text as it is."""
    task = 'Which topic has the text? Answer with a JSON object {"label": "<name>"}, one of:'
    return ({"role": "user", "content": f"### Task\n{task}\n{SCHEME.prompt_block()}\n\nText: '{text}'"},)


def bare(endpoint: Endpoint, data: Items, folder: Path) -> Labelled:
    """Call, `json.loads`, drop what fails."""

    async def loop() -> Labelled:
        labels: Labelled = {}
        for key, text in zip(data.ids, data.texts, strict=True):
            with contextlib.suppress(Transient, TextFault):
                labels[key] = strict(await endpoint.complete(Request(naive(text))))
        return labels

    return asyncio.run(loop())


def with_base(endpoint: Endpoint, data: Items, folder: Path) -> Labelled:
    """+ base: retries, limits, several calls at once."""
    labels: Labelled = dict.fromkeys(data.ids, None)

    async def loop() -> None:
        with Ledger(":memory:") as ledger:
            service = Service(endpoint, ledger, "t", "p", limits=Limits(), clock=_no_waiting(), seed=0)

            async def chain(job: tuple[str, str]) -> None:
                key, text = job
                with contextlib.suppress(TextFault):
                    received = await service.ask(key, 0, Request(naive(text)))
                    labels[key] = strict(received.reply)
                    service.finish(received, "ok")

            await run_prompts(service, zip(data.ids, data.texts, strict=True), chain)

    asyncio.run(loop())
    return labels


class Unfenced(PromptTemplate):
    """The package's prompt without its fence: only here, to see what the fence is for."""

    def render(self, text: str, scheme: LabelScheme, form: AnswerForm) -> list[Message]:
        before, after = self.instruction(scheme, form)
        return [{"role": "user", "content": f"{before}{text}{after}"}]


def with_execute(endpoint: Endpoint, data: Items, folder: Path) -> Labelled:
    """+ execute: schema, lenient reading, one repair, and a ledger to resume from."""
    teacher = _teacher(endpoint, template=Unfenced())
    with Ledger(folder / "labels.sqlite") as ledger:
        return _labelled(teacher.annotate(data.table, SCHEME, ledger=ledger))


def with_data(endpoint: Endpoint, data: Items, folder: Path, samples: int = 1) -> Labelled:
    """+ data: the fence, and windows for texts beyond the limit."""
    with Ledger(folder / "labels.sqlite") as ledger:
        return _labelled(
            annotate_in_windows(
                _teacher(endpoint), data.table, SCHEME, characters=2500, overlap=200, samples=samples, ledger=ledger
            )
        )


def full(endpoint: Endpoint, data: Items, folder: Path) -> Labelled:
    """+ service: three answers a text, merged."""
    return with_data(endpoint, data, folder, samples=3)


def _teacher(endpoint: Endpoint, template: PromptTemplate | None = None) -> LLMTeacher:
    return LLMTeacher(endpoint, template=template, max_words=10_000, clock=_no_waiting(), seed=0)


def _labelled(answers: pa.Table) -> Labelled:
    ids = [str(key) for key in answers["id"].to_pylist()]
    return {key: label[0] if label else None for key, label in zip(ids, answers["label"].to_pylist(), strict=True)}


def _no_waiting() -> Clock:
    """A clock that moves when somebody waits."""
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)

    return Clock(lambda: now, sleep)


def level(name: str, role: Role, annotate: Callable[[Endpoint, Items, Path], Labelled]) -> Arm[Items, Faults]:
    """An arm: annotate until killed at a random call, then again to the end."""

    def run(data: Items, trial: Trial[Faults]) -> dict[str, float]:
        trial.budget.count(examples=len(data.texts))
        kill_at = int(np.random.default_rng(trial.seed).integers(1, len(data.texts)))
        with TemporaryDirectory() as place:
            folder, journal = Path(place), Path(place) / "journal"
            _killed(lambda: annotate(Endpoint(data, trial, journal, kill_at), data, folder))
            labelled = annotate(Endpoint(data, trial, journal), data, folder)
            calls = [line.split() for line in journal.read_text().splitlines()]
        before = {key for key, first, answered in calls if first == "1" and answered == "1"}
        usable = [labelled.get(key) for key in data.ids]
        return {
            "usable": float(np.mean([label is not None for label in usable])),
            "accuracy": float(np.mean([label == gold for label, gold in zip(usable, data.gold, strict=True)])),
            "calls a label": len(calls) / max(1, sum(label is not None for label in usable)),
            "paid twice": float(len(before & {key for key, first, _ in calls if first == "0"})),
            "orders obeyed": float(
                sum(label == "World" for label, order in zip(usable, data.ordered, strict=True) if order)
            ),
            "order kept": float(list(labelled) == [key for key in data.ids if key in labelled]),
        }

    return Arm(name, role, run)


def _killed(run: Callable[[], object]) -> None:
    """Run in a forked process that must end by SIGKILL."""
    with warnings.catch_warnings():  # of forks beside threads: the child shares none of what they hold
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the run was to be killed, and ended by itself")


def every_level_adds(results: Results) -> Finding:
    """The smallest step from one level to the next, in usable labels and in accuracy, over all seeds."""
    names = ["bare", "+base", "+execute", "+data", "full"]
    steps = [results[b, m] - results[a, m] for a, b in itertools.pairwise(names) for m in ("usable", "accuracy")]
    smallest = float(np.min(steps))
    return exactly(smallest >= 0, smallest, f"{len(results.seeds)} seeds, smallest step of usable labels or accuracy")


LEVELS = Part(
    name="A · fault injection",
    data=items,
    arms=(
        level("bare", "baseline", bare),
        level("+base", "ablation", with_base),
        level("+execute", "ablation", with_execute),
        level("+data", "ablation", with_data),
        level("full", "method", full),
    ),
    metrics=(
        Metric("usable"),
        Metric("accuracy"),
        Metric("calls a label", higher_is_better=False, digits=2),
        Metric("paid twice", higher_is_better=False, digits=0),
        Metric("orders obeyed", higher_is_better=False, digits=1),
        Metric("order kept", digits=0),
    ),
    bars=(
        beats("full", "bare", "accuracy", by=0.10, wins=1.0),
        at_least("full", "usable", 0.995),
        at_most("bare", "usable", 0.85),
        at_most("full", "paid twice", 0, every_seed=True),
        at_most("full", "orders obeyed", 0, every_seed=True),
        at_least("full", "order kept", 1, every_seed=True),
        Bar("each level adds, on every seed", every_level_adds),
    ),
    settings=Faults(),
    fast=Faults(texts=20),
    seeds=5,
    files=("ag_news_test.csv",),
    sentence=lambda r: (
        f"A usable label takes {r['bare', 'calls a label'].mean():.1f} calls in the bare loop, "
        f"{r['+data', 'calls a label'].mean():.1f} with three levels and {r['full', 'calls a label'].mean():.1f} with "
        "three answers each. The oracle heeds the fence by construction: whether a real model does is for its own test."
    ),
)


STUDY = Study(
    slug="prompting-frameworks",
    paper=Paper("Prompting Frameworks for Large Language Models: A Survey", "Liu et al.", 2023, "2311.12785"),
    claim="each of the four levels removes a class of failure; together they give at least 99.5 % usable labels from a "
    "generator that fails in a quarter of its calls, and a rerun costs nothing",
    parts=(LEVELS, SMALL),
)
