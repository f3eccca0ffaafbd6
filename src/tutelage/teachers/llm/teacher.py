"""LLMTeacher: a chat model that labels texts, zero-shot or few-shot, through the four levels of the layer.

The protocol of Kuzman and Ljubešić, "LLM Teacher-Student Framework for Text Classification With No Manually Annotated
Data", 2024 (arXiv:2411.19638): one prompt a text with the definitions of all labels, temperature 0, an answer in JSON.
Ours adds what the paper's scripts lack: fencing, validation with one repair, a ledger, limits, and a budget.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError, Paused
from tutelage.teachers.base import Pool, Progress, ProgressEvent, fingerprint
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.base import ChatModel
from tutelage.teachers.llm.budget import Budget, Meter, Price
from tutelage.teachers.llm.chain import Chain, Job, conversation
from tutelage.teachers.llm.data import PromptTemplate
from tutelage.teachers.llm.endpoint import OpenAIChat
from tutelage.teachers.llm.execute import OutputSpec, Wire, vote
from tutelage.teachers.llm.service import Clock, Limits, Service, run_async, run_prompts
from tutelage.teachers.records import Answer


@dataclass(frozen=True)
class DryRun:
    """What an annotation would ask and cost, without asking: one full prompt, texts still to be asked, tokens, cost.

    `cost` is None where no price is known; tokens are estimates (a third of a token a byte, 32 tokens an answer).
    """

    prompt: str
    texts: int
    pending: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    currency: str | None

    def __str__(self) -> str:
        unknown = "price not known (give it as --price IN/OUT)"
        cost = unknown if self.cost is None else f"about {self.cost:.4g} {self.currency}"
        return (
            f"{self.prompt}\n\n{self.pending} of {self.texts} texts to ask · about {self.tokens_in:,} tokens in, "
            f"{self.tokens_out:,} out · {cost}"
        )


class LLMTeacher:
    """Labels from a chat model.

    Args:
        model: the chat model (`OpenAIChat`, or `ScriptedChat` in tests).
        template: the prompt; default the package's.
        votes: answers asked for each text; the label is the most frequent one and `probs` are the shares. Each vote is a
            row of the ledger under the model's fingerprint (sample `sample * votes + i`), their result a row under this
            teacher's. More than one needs a temperature above zero to make sense.
        repairs: further requests where a reply is no valid answer. wire: labels as "names" or as "ids".
        explain: ask for a literal quote, kept as `evidence` if it stands in the text.
        max_words: what the teacher sees of a text; no more than the student will see.
        budget, price: how much may be spent in all on this ledger; a price is needed for a budget in money.
        concurrency, rpm, tpm: requests in flight, requests and tokens a minute.
        retry_failed: ask again where the ledger holds a failed answer.
        batch: use the provider's batch interface; poll: seconds between two looks at it.
        clock, seed: time and the randomness of waits, for tests.

    >>> from tutelage.teachers.llm.base import ScriptedChat
    >>> teacher = LLMTeacher(ScriptedChat(lambda request: '{"label": "sport"}'))
    >>> pool = pa.table({"id": ["1"], "text": ["They won the cup."]})
    >>> teacher.annotate(pool, LabelScheme.from_dict(["politics", "sport"]))["label"].to_pylist()
    [['sport']]

    Raises: InputError: the budget is in money and no price is known, or an argument is out of range.
    """

    def __init__(
        self, model: ChatModel, *, template: PromptTemplate | None = None, votes: int = 1, repairs: int = 1,
        wire: Wire = "names", explain: bool = False, max_words: int = 512, budget: Budget | None = None,
        price: Price | None = None, concurrency: int = 8, rpm: float | None = None, tpm: float | None = None,
        retry_failed: bool = False, batch: bool = False, poll: float = 30.0, clock: Clock | None = None, seed: int | None = None,
    ) -> None:  # fmt: skip
        if votes < 1 or repairs < 0 or max_words < 1:
            raise InputError(
                f"votes and max_words must be at least 1, repairs at least 0; got {votes}, {max_words}, {repairs}"
            )
        if batch and not isinstance(model, OpenAIChat):
            raise InputError(f"{model.name} has no batch interface")
        if budget:
            budget.check(price, model.name)
        self.model = model
        self.template = template or PromptTemplate()
        self.votes, self.repairs = votes, repairs
        self.wire: Wire = wire
        self.explain = explain
        self.max_words = max_words
        self.budget, self.price = budget, price
        self.limits = Limits(concurrency=concurrency, rpm=rpm, tpm=tpm)
        self.retry_failed = retry_failed
        self.batch, self.poll = batch, poll
        self._clock, self._seed = clock, seed

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def fingerprint(self) -> str:
        return fingerprint({"voter": self._voter, "votes": self.votes}) if self.votes > 1 else self._voter

    @property
    def _voter(self) -> str:
        """Fingerprint of the model, which the single answers are filed under."""
        return fingerprint(self.model.description)

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        return fingerprint(
            {
                "template": self.template.fingerprint,
                "scheme": scheme.fingerprint,
                "wire": self.wire,
                "explain": self.explain,
            }
        )

    def annotate(
        self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:  # fmt: skip
        """Annotations of all texts; see `Teacher.annotate`.

        Raises: Paused: budget, circuit breaker, quota, or texts without an answer after all attempts (`answered` gives what
            is there); InputError: the server refuses key, model or request.
        """
        with contextlib.ExitStack() as stack:
            book = ledger or stack.enter_context(Ledger(":memory:"))
            pool = Pool.of(table, self.max_words)
            self._describe(book, pool, scheme)
            try:
                unanswered = run_async(self._run(book, pool, scheme, sample, progress))
            finally:
                if self.votes > 1:
                    self._count_votes(book, pool, scheme, sample)
            if unanswered:
                raise Paused(
                    f"{len(unanswered)} of {len(table)} texts got no answer from {self.name} in several attempts; "
                    "all answers are kept, the same command asks for the rest"
                )
            return self.answered(table, scheme, book, sample=sample)

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        """What the ledger holds; see `Teacher.answered`."""
        pool = Pool.of(table, self.max_words)
        return ledger.rows(pool.ids, pool.fingerprints, self.fingerprint, self.prompt_fingerprint(scheme), sample)

    def dry_run(self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0) -> DryRun:
        """One full prompt and the estimated cost of what is still to be asked; sends nothing."""
        pool = Pool.of(table, self.max_words)
        jobs = self._jobs(ledger, pool, scheme, sample)
        spec = OutputSpec(scheme, self.wire, self.explain)
        meter = Meter(price=self.price)
        tokens_in = tokens_out = 0
        for job in jobs:
            estimate = meter.estimate(self.template.render(job.content, scheme, spec), len(job.samples))
            tokens_in, tokens_out = tokens_in + estimate.tokens_in, tokens_out + estimate.tokens_out
        shown = jobs[0].content if jobs else (pool.texts[0] if pool.texts else "")
        return DryRun(
            prompt=conversation(self.template.render(shown, scheme, spec)),
            texts=len(table),
            pending=len(jobs),
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost=meter.cost(tokens_in, tokens_out),
            currency=self.price.currency if self.price else None,
        )

    def _samples(self, sample: int) -> range:
        return range(sample * self.votes, (sample + 1) * self.votes)

    def _describe(self, ledger: Ledger, pool: Pool, scheme: LabelScheme) -> None:
        base_url = getattr(self.model, "base_url", None)
        described = {"name": self.name, **self.model.description, "base_url": base_url}
        ledger.describe(self._voter, "teacher", described)
        ledger.describe(self.fingerprint, "teacher", {**described, "votes": self.votes})
        ledger.describe(
            self.prompt_fingerprint(scheme),
            "prompt",
            {
                "template": self.template.body, "scheme": scheme.name, "version": scheme.version, "labels": list(scheme.names),
                "wire": self.wire, "explain": self.explain,
            },
        )  # fmt: skip
        ledger.register(pool.ids, pool.fingerprints, pool.truncated)

    def _jobs(self, ledger: Ledger | None, pool: Pool, scheme: LabelScheme, sample: int) -> list[Job]:
        """Texts that lack an answer, once each, in the order of the pool."""
        held: dict[str, set[int]] = {}
        if ledger is not None:
            prompt = self.prompt_fingerprint(scheme)
            for number in self._samples(sample):
                for text, answer in ledger.get(self._voter, prompt, pool.fingerprints, number).items():
                    if answer.status == "ok" or not self.retry_failed:
                        held.setdefault(text, set()).add(number)
        jobs = []
        for text, content in dict(zip(pool.fingerprints, pool.texts, strict=True)).items():
            wanted = tuple(number for number in self._samples(sample) if number not in held.get(text, ()))
            if wanted:
                jobs.append(Job(text, content, wanted))
        return jobs

    async def _run(
        self, ledger: Ledger, pool: Pool, scheme: LabelScheme, sample: int, progress: Progress | None
    ) -> Sequence[Job]:
        prompt = self.prompt_fingerprint(scheme)
        jobs = self._jobs(ledger, pool, scheme, sample)
        unit = self.budget.unit if self.budget else None
        meter = Meter(self.budget, self.price, ledger.spent(unit) if unit else 0.0)
        service = Service(
            self.model, ledger, self._voter, prompt, meter=meter, limits=self.limits, clock=self._clock, seed=self._seed
        )
        report = _Report(self, ledger, pool, jobs, progress)
        chain = Chain(service, self.template, OutputSpec(scheme, self.wire, self.explain), self.repairs, report.done)
        try:
            if self.batch:
                from tutelage.teachers.llm.batch import run_batch

                return await run_batch(chain, jobs, poll=self.poll)
            return await run_prompts(service, jobs, chain)
        finally:
            await self.model.aclose()

    def _count_votes(self, ledger: Ledger, pool: Pool, scheme: LabelScheme, sample: int) -> None:
        """File the result of every text that has all its votes."""
        prompt = self.prompt_fingerprint(scheme)
        found = [ledger.get(self._voter, prompt, pool.fingerprints, number) for number in self._samples(sample)]
        complete = [text for text in dict.fromkeys(pool.fingerprints) if all(text in votes for votes in found)]
        merged = [_merge([votes[text] for votes in found], scheme) for text in complete]
        ledger.put((replace(answer, teacher=self.fingerprint, sample=sample) for answer in merged), derived=True)


def _merge(votes: Sequence[Answer], scheme: LabelScheme) -> Answer:
    """One answer from the votes on a text: shares of the valid ones; failed only if none is valid."""
    valid = [answer for answer in votes if answer.status == "ok"]
    first = valid[0] if valid else votes[0]
    labels, shares = vote([answer.label for answer in valid], scheme) if valid else ((), None)
    costs = [answer.cost for answer in votes if answer.cost is not None]
    return Answer(
        first.teacher, first.prompt, first.text, status=first.status, label=labels, probs=shares,
        evidence=next((a.evidence for a in valid if a.evidence and a.label == labels), None),
        tokens_in=sum(a.tokens_in for a in votes), tokens_out=sum(a.tokens_out for a in votes),
        cost=sum(costs) if costs else None, currency=first.currency, error=first.error,
    )  # fmt: skip


class _Report:
    """Turns finished texts into progress events."""

    def __init__(
        self, teacher: LLMTeacher, ledger: Ledger, pool: Pool, jobs: Sequence[Job], progress: Progress | None
    ) -> None:
        self._progress = progress
        self._rows = Counter(pool.fingerprints)
        self._total = len(pool.ids)
        self._done = self._total - sum(self._rows[job.text] for job in jobs)
        self._failed = 0
        self._currency = teacher.price.currency if teacher.price else None
        self._cost = ledger.spent(self._currency) if self._currency else 0.0
        self._emit()

    def done(self, job: Job, answers: Sequence[Answer]) -> None:
        """A text has all its answers."""
        self._done += self._rows[job.text]
        self._failed += self._rows[job.text] * all(answer.status != "ok" for answer in answers)
        self._cost += sum(answer.cost or 0.0 for answer in answers)
        self._emit()

    def _emit(self) -> None:
        if self._progress:
            self._progress(ProgressEvent(self._done, self._total, self._failed, self._cost, self._currency))
