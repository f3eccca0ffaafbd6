"""Level "execute", one text: ask, read the reply, ask once more if it is no answer, write down what came of it.

A chain is run by `service.run_prompts`. Each vote is an answer of its own in the ledger (its `sample` number), so that a run
that is cut off between two votes pays for neither again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tutelage.data.labels import LabelScheme
from tutelage.teachers.llm.base import Choice, Request, TextFault
from tutelage.teachers.llm.data import Message, PromptTemplate
from tutelage.teachers.llm.execute import OutputSpec, Parsed, repair, verify_quote
from tutelage.teachers.llm.logprobs import label_probs
from tutelage.teachers.llm.service import BudgetSpent, Received, Service
from tutelage.teachers.records import Answer


@dataclass(frozen=True)
class Job:
    """A text that wants answers: its fingerprint, the text as the teacher sees it, and the sample numbers wanted."""

    text: str
    content: str
    samples: tuple[int, ...]


@dataclass(frozen=True)
class Chain:
    """How one text gets its answers.

    Args: service: sends requests; template, spec: question and form of the answer; repairs: further requests where a
        reply is no answer; done: called with the answers of a text when it has all of them.
    """

    service: Service
    template: PromptTemplate
    spec: OutputSpec
    repairs: int
    done: Callable[[Job, Sequence[Answer]], None]

    @property
    def scheme(self) -> LabelScheme:
        """The labels that are asked for."""
        return self.spec.scheme

    def request(self, job: Job, *, n: int = 1, sample: int = 0) -> Request:
        """What is asked about a text."""
        messages = tuple(self.template.render(job.content, self.scheme, self.spec))
        return Request(messages, self.spec.schema(), n, logprobs=not self.spec.multi, sample=sample)

    def answer(self, job: Job, sample: int, received: Received) -> Answer:
        """What a reply says about a text, without repair."""
        choice = received.reply.choices[0]
        return self._answer(job, sample, read(choice, self.spec), choice.text, choice, received)

    async def __call__(self, job: Job) -> None:
        answers: list[Answer] = []
        wanted = list(job.samples)
        while wanted:
            together = 1 if self.service.model.capabilities.n is False else len(wanted)
            request = self.request(job, n=together, sample=wanted[0])
            try:
                received = await self.service.ask(job.text, wanted[0], request)
            except TextFault as fault:
                failed = [self._answer(job, sample, Parsed(fault.status, error=str(fault)), "") for sample in wanted]
                self.service.ledger.put(failed)
                answers += failed
                break
            answers += await self._settle(job, wanted[: len(received.reply.choices)], request, received)
            wanted = wanted[len(received.reply.choices) :]
        self.done(job, answers)

    async def _settle(self, job: Job, samples: Sequence[int], request: Request, received: Received) -> list[Answer]:
        """Answers from the choices of one reply; those that cannot be used go to repair."""
        pairs = list(zip(samples, received.reply.choices, strict=False))
        parsed = [read(choice, self.spec) for _, choice in pairs]
        self.service.model.capabilities.note(request, received.reply, strict=all(p.strict for p in parsed))
        good, broken = [], []
        for place, ((sample, choice), result) in enumerate(zip(pairs, parsed, strict=True)):
            answer = self._answer(job, sample, result, choice.text, choice, received if place == 0 else None)
            repairable = result.status in ("invalid_json", "unknown_label") and self.repairs > 0
            (broken if repairable else good).append((answer, choice, result))
        answers = [answer for answer, _, _ in good]
        self.service.finish(received, broken[0][2].status if broken else "ok", answers)
        for answer, choice, result in broken:
            answers.append(await self._repair(job, answer, choice, result))
        return answers

    async def _repair(self, job: Job, answer: Answer, choice: Choice, result: Parsed) -> Answer:
        """Ask again with what was wrong, up to `repairs` times."""
        for turn in range(self.repairs):
            messages = repair(self.request(job).messages, choice.text, result.error or result.status, self.spec)
            request = Request(messages, self.spec.schema(), logprobs=not self.spec.multi, sample=answer.sample)
            try:
                received = await self.service.ask(job.text, answer.sample, request)
            except TextFault as fault:
                answer = self._answer(job, answer.sample, Parsed(fault.status, error=str(fault)), "", before=answer)
                self.service.ledger.put([answer])
                return answer
            except BudgetSpent:  # what was paid for is written down; --retry-failed asks again
                self.service.ledger.put([answer])
                raise
            choice = received.reply.choices[0]
            result = read(choice, self.spec)
            answer = self._answer(job, answer.sample, result, choice.text, choice, received, before=answer)
            last = result.status not in ("invalid_json", "unknown_label") or turn + 1 == self.repairs
            self.service.finish(received, result.status, [answer] if last else [])
            if last:
                break
        return answer

    def _answer(
        self, job: Job, sample: int, result: Parsed, raw: str, choice: Choice | None = None, received: Received | None = None,
        before: Answer | None = None,
    ) -> Answer:  # fmt: skip
        """A row of the ledger; tokens and cost of `before`, an attempt at the same answer, are added."""
        costs = [cost for cost in (before and before.cost, received and received.cost) if cost is not None]
        price = self.service.meter.price
        return Answer(
            self.service.teacher,
            self.service.prompt,
            job.text,
            sample,
            status=result.status,
            label=result.labels,
            probs=probabilities(choice, result, self.spec) if choice else None,
            raw=raw,
            evidence=verify_quote(result.quote, job.content) if self.spec.explain else None,
            tokens_in=(before.tokens_in if before else 0) + (received.tokens_in if received else 0),
            tokens_out=(before.tokens_out if before else 0) + (received.tokens_out if received else 0),
            cost=sum(costs) if costs else None,
            currency=price.currency if price else None,
            latency=received.latency if received else None,
            attempts=(before.attempts if before else 0) + (received.attempts if received else 0),
            error=result.error,
        )


def read(choice: Choice, spec: OutputSpec) -> Parsed:
    """What one choice of a reply says, its refusals and cuts included."""
    if choice.refusal:
        return Parsed("refusal", error=choice.refusal)
    if choice.finish == "content_filter":
        return Parsed("blocked", error="the provider's content filter cut the answer")
    parsed = spec.parse(choice.text)
    if choice.finish == "length" and parsed.status == "invalid_json":
        return Parsed("invalid_json", error="the reply was cut at the limit of its length")
    return parsed


def probabilities(choice: Choice, parsed: Parsed, spec: OutputSpec) -> tuple[float, ...] | None:
    """Label probabilities (K,) where the server gave log-probabilities that tell them."""
    if parsed.status != "ok" or parsed.span is None or not choice.tokens:
        return None
    if "".join(token.text for token in choice.tokens) != choice.text:  # tokens that split a character are not texts
        return None
    return label_probs(choice.tokens, parsed.span, spec.wire_names)


def conversation(messages: Sequence[Message]) -> str:
    """Messages as a person reads them.

    >>> print(conversation([{"role": "user", "content": "Hello"}]))
    [user]
    Hello
    """
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)
