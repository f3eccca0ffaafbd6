"""The shield: what a student is told about texts with private tokens, and what planted secrets it keeps all the same.

What `tutelage.data.privacy` finds is taken out of the text that a student learns from, and the target of such a text is
softer and noisier the more private it is, for where one secret is found another may be missed: the targets are those of
swing distillation (Li et al., "Swing Distillation: A Privacy-Preserving Knowledge Distillation Framework", 2022,
arXiv:2212.08349). The teacher reads the texts as they are.

How much that helps is measured on two more students, one with and one without the shield, which learn from the same texts
and from canaries beside them, and are thrown away. Half of the canaries are secrets that the rules find, half are words that
they cannot know, in a text of which they find another part. An attacker ranks what each secret could be in two ways, by the
label that its text was taught with, and by how oddly the student answers; the figure is the better one's.

This is no formal privacy guarantee: another attack may find more, and what nobody finds in the texts is not protected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.data.privacy import find_pii, without_spans
from tutelage.errors import InputError
from tutelage.evaluation.privacy import (
    CHANCE,
    Canary,
    Score,
    canary_exposure,
    label_score,
    make_canaries,
    number_secrets,
    oddity,
)
from tutelage.pipeline.choose import Fold, judge
from tutelage.pipeline.config import StudentConfig
from tutelage.pipeline.labelled import Labelled
from tutelage.pipeline.learn import Recipe, Vectors, fit

if TYPE_CHECKING:
    from tutelage.data.labels import LabelScheme
    from tutelage.students.base import Student

GUARANTEE = "no formal privacy guarantee"

NAMES = ("astrid", "benoit", "cosima", "dragan", "eulalia", "fabrice", "gudrun", "hamid", "ilaria")
REPEATS = (1, 4, 16)
"""How often canary i is among the texts: REPEATS[i mod 3] times."""

SPACE = 10_000
_SLOW_SAMPLE = 100  # secrets that a student is asked about which reads some hundred texts a second

_FOUND = "the access code of {name} is "
_MISSED = "account 730112 of {name} has the password "


def shielded(data: Labelled, config: StudentConfig) -> Labelled:
    """The labels with how private each text is, and the texts without what is private; as they are without `--shield`."""
    if not config.shield:
        return data
    names = read_roster(config.roster) if config.roster else None
    found = [find_pii(text, names) for text in data.texts]
    bare = [without_spans(text, spans) for text, spans in zip(data.texts, found, strict=True)]
    degree = [max((span.degree for span in spans), default=0.0) for spans in found]
    return replace(data, degree=np.array(degree), bare=np.array(bare, object))


def read_roster(path: str | Path) -> list[str]:
    """Names, one a line. Raises: InputError: no such file, no name in it."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the names in {path}: {' '.join(str(error).split())}") from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise InputError(f"{path} has no names: one a line is expected")
    return names


def audit(
    data: Labelled,
    recipe: Recipe,
    folds: Sequence[Fold],
    scheme: LabelScheme,
    config: StudentConfig,
    vectors: Vectors | None,
) -> dict[str, Any]:
    """What the shield covers, what it costs against the teacher on dev, and the exposure of canaries with and without it."""
    names = read_roster(config.roster) if config.roster else None
    kinds = Counter(span.kind for text in data.texts for span in find_pii(text, names))
    secrets = {"found": number_secrets(4, ""), "missed": _words(recipe.seed)}
    canaries = {
        "found": make_canaries(NAMES, secrets["found"], template=_FOUND, seed=recipe.seed),
        "missed": make_canaries(NAMES, secrets["missed"], template=_MISSED, seed=recipe.seed),
    }
    planted, label_of = plant(data, [canary for kind in canaries for canary in canaries[kind]], recipe.seed)
    exposure: dict[str, dict[str, float]] = {kind: {} for kind in canaries}
    for name, texts in (("shield", shielded(planted, config)), ("plain", planted)):
        student = fit(recipe, texts, scheme, vectors=vectors)
        attacks = _attacks(student, label_of, multi=scheme.multi)
        for kind in canaries:
            sample = _sample(secrets[kind], recipe)
            bits = [canary_exposure(attack, canaries[kind], sample, space=SPACE).mean for attack in attacks]
            exposure[kind][name] = max(bits)
    plain = [Fold(_unshielded(fold.train), fold.dev) for fold in folds]
    return {
        "texts": int((data.texts != data.read).sum()), "of": len(data), "kinds": dict(kinds.most_common()),
        "roster": None if names is None else len(names), "exposure": exposure, "chance": CHANCE, "most": float(np.log2(SPACE)),
        "canaries": 2 * len(NAMES), "guarantee": GUARANTEE,
        "dev_macro_f1": {
            "shield": judge(recipe, folds, scheme, vectors).macro_f1, "plain": judge(recipe, plain, scheme, vectors).macro_f1,
        },
    }  # fmt: skip


def plant(data: Labelled, canaries: Sequence[Canary], seed: int) -> tuple[Labelled, dict[str, int]]:
    """The texts, without a shield, and the canaries, each with what the teacher said about some text.

    Nobody is asked about a canary, and none is written anywhere (an encoder's cache holds vectors by checksum of the text).

    Returns: the labelled texts, and for the prefix of each canary the label that it is taught with.
    """
    rng = np.random.default_rng(seed)
    like = rng.integers(len(data), size=len(canaries))
    rows = np.repeat(np.arange(len(canaries)), [REPEATS[i % len(REPEATS)] for i in range(len(canaries))])
    together = np.concatenate([np.arange(len(data)), like[rows]])
    both = _unshielded(data).rows(together)
    texts, ids = both.texts.copy(), both.ids.copy()
    texts[len(data) :] = [canaries[row].text for row in rows.tolist()]
    ids[len(data) :] = [f"canary {number}" for number in range(len(rows))]
    labels = data.soft[like].argmax(axis=1)
    label_of = {canary.prefix: int(label) for canary, label in zip(canaries, labels, strict=True)}
    return replace(both, ids=ids, texts=texts), label_of


def _unshielded(data: Labelled) -> Labelled:
    return replace(data, degree=None, bare=None)


def _words(seed: int) -> list[str]:
    """As many words as there are numbers, which nobody has a rule for: "balero"."""
    words = ["".join(letters) for letters in product(*("bdfgklmnprstvz", "aeiou") * 3)]
    return np.random.default_rng(seed).choice(words, size=SPACE, replace=False).tolist()


def _sample(secrets: list[str], recipe: Recipe) -> list[str]:
    if recipe.tier in {"ngram", "static"}:
        return secrets
    return np.random.default_rng(recipe.seed).choice(secrets, size=_SLOW_SAMPLE, replace=False).tolist()


def _attacks(student: Student, label_of: dict[str, int], *, multi: bool) -> tuple[Score, Score]:
    """By the label, and by oddity; the student is asked once for both."""
    ask = label_score(student.predict_proba, label_of.__getitem__, multi=multi)
    known: dict[str, np.ndarray] = {}

    def remembered(prefix: str, secrets: Sequence[str]) -> np.ndarray:
        if prefix not in known:
            known[prefix] = ask(prefix, secrets)
        return known[prefix]

    return remembered, oddity(remembered)
