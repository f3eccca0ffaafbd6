"""ScoringTeacher: a local language model that says how likely each label is, instead of writing one.

The prompt is the same as a chat model's; its answer is begun for the model (`{"label": "`) and every label is scored as the
way to go on. There is nothing to parse and nothing invalid, and all K probabilities come for free (see `local.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.teachers.base import Pool, Progress, ProgressEvent, fingerprint
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.base import ScoringModel
from tutelage.teachers.llm.data import DEFAULT_BODY, REWORDED_BODY, PromptTemplate, fit_text
from tutelage.teachers.llm.execute import OutputSpec
from tutelage.teachers.llm.local import CONTENT_FREE, choice_scores
from tutelage.teachers.records import Answer

_PREFILL = '{"label": "'
_MARGIN = 64  # tokens kept free for the answer and the fence's own marks


class ScoringTeacher:
    """Labels and probabilities from the likelihood of each label under a local language model.

    Args: model: `LlamaChat` or `HFChat`; template; max_words: what the teacher sees of a text; calibrate: subtract what the
        model would answer to a text that says nothing (contextual calibration).
    """

    def __init__(
        self,
        model: ScoringModel,
        *,
        template: PromptTemplate | None = None,
        max_words: int = 512,
        calibrate: bool = True,
    ) -> None:
        self.model = model
        self.template = template or PromptTemplate()
        self.max_words = max_words
        self.calibrate = calibrate

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def fingerprint(self) -> str:
        return fingerprint({**self.model.description, "scoring": True, "calibrate": self.calibrate})

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        return fingerprint({"template": self.template.fingerprint, "scheme": scheme.fingerprint, "prefill": _PREFILL})

    def annotate(
        self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:  # fmt: skip
        """Annotations of all texts; see `Teacher.annotate`.

        Raises: InputError: the scheme is multi-label, or the instruction alone fills the model's context.
        """
        if scheme.multi:
            raise InputError(f"{self.name} scores one label a text; scheme {scheme.name!r} is multi-label")
        spec = OutputSpec(scheme)
        pool = self._pool(table, scheme, spec)
        prompt = self.prompt_fingerprint(scheme)
        with contextlib.ExitStack() as stack:
            book = ledger or stack.enter_context(Ledger(":memory:"))
            book.describe(self.fingerprint, "teacher", {"name": self.name, **self.model.description})
            book.describe(
                prompt, "prompt", {"template": self.template.body, "scheme": scheme.name, "labels": list(scheme.names)}
            )
            book.register(pool.ids, pool.fingerprints, pool.truncated)
            held = book.get(self.fingerprint, prompt, pool.fingerprints, sample)
            todo = {t: c for t, c in zip(pool.fingerprints, pool.texts, strict=True) if t not in held}
            scorer = self._scorer(scheme, spec) if todo else None
            total, done = len({*pool.fingerprints}), len(held)
            teacher = self.fingerprint
            for text, content in todo.items():
                assert scorer is not None
                probs, tokens = scorer(content)
                best = scheme.names[int(probs.argmax())]
                answer = Answer(
                    teacher,
                    prompt,
                    text,
                    sample,
                    label=(best,),
                    probs=tuple(probs.tolist()),
                    tokens_in=tokens,
                    cost=0.0,
                )
                book.put([answer])
                done += 1
                if progress:
                    progress(ProgressEvent(done, total))
            return book.rows(pool.ids, pool.fingerprints, self.fingerprint, prompt, sample)

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        """What the ledger holds; see `Teacher.answered`."""
        pool = self._pool(table, scheme, OutputSpec(scheme))
        return ledger.rows(pool.ids, pool.fingerprints, self.fingerprint, self.prompt_fingerprint(scheme), sample)

    def reworded(self) -> ScoringTeacher:
        """The same teacher with another prompt: a second opinion of a teacher that never varies."""
        body = REWORDED_BODY if self.template.body == DEFAULT_BODY else DEFAULT_BODY
        return ScoringTeacher(
            self.model, template=replace(self.template, body=body), max_words=self.max_words, calibrate=self.calibrate
        )

    def _pool(self, table: pa.Table, scheme: LabelScheme, spec: OutputSpec) -> Pool:
        """The texts, cut by words and then to what the model's context leaves beside the instruction."""
        pool = Pool.of(table, self.max_words)
        instruction = "".join(message["content"] for message in self.template.render("", scheme, spec))
        longest = max(self.model.count(name) for name in scheme.names)
        room = self.model.context - self.model.count(instruction) - longest - _MARGIN
        cut = [fit_text(text, room, self.model.count) for text in pool.texts]
        if not any(was_cut for _, was_cut in cut):
            return pool
        shorter = Pool.of(pa.table({"id": list(pool.ids), "text": [text for text, _ in cut]}))
        flags = [a or b for a, (_, b) in zip(pool.truncated, cut, strict=True)]
        return Pool(shorter.ids, shorter.texts, shorter.fingerprints, flags)

    def _scorer(self, scheme: LabelScheme, spec: OutputSpec) -> Callable[[str], tuple[np.ndarray, int]]:
        """A function text -> (probabilities (K,), tokens read)."""
        candidates = [name + '"' for name in spec.wire_names]

        def raw(text: str) -> tuple[np.ndarray, int]:
            return self.model.score(self.template.render(text, scheme, spec), _PREFILL, candidates)

        baseline = np.mean([raw(text)[0] for text in CONTENT_FREE], axis=0) if self.calibrate else None

        def score(text: str) -> tuple[np.ndarray, int]:
            scores, tokens = raw(text)
            return choice_scores(scores, baseline), tokens

        return score
