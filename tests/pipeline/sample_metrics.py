"""A realistic `metrics.json`: what evaluating the embedded corpus looks like, made up from a seed.

`python tests/pipeline/sample_metrics.py FOLDER` writes a run folder with it, to look at the report by eye.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.data.labels import LabelScheme
from tutelage.evaluation import calibration, classification, curves
from tutelage.evaluation.agreement import alpha, alpha_per_label

Metrics = dict[str, Any]
LANGUAGES = ("en", "de", "es", "fr", "pl")

TEXTS = (
    "The city council approved a budget on Tuesday that raises teacher salaries by four percent while closing two of the "
    "district's oldest primary schools, a trade-off that parents called cruel and the mayor called unavoidable.",
    "Nach dem dritten Warnstreik in Folge haben sich die Gewerkschaft und die Betreiber der Fähren auf neue Dienstpläne "
    "geeinigt; die Passagiere, sagt ein Sprecher, würden davon im Herbst kaum etwas merken.",
    "Los médicos del hospital comarcal aseguran que la nueva vacuna reduce los ingresos a la mitad, aunque el ensayo, "
    "financiado por el propio fabricante, todavía no ha sido revisado por investigadores independientes.",
    "La rivière a débordé dans la nuit, coupant la route nationale et privant d'électricité trois villages dont les "
    "habitants dénoncent depuis des années l'état des digues.",
    "Klub ogłosił, że trener odchodzi po ośmiu kolejkach bez zwycięstwa; kibice protestowali pod stadionem, a policja "
    "zatrzymała czternaście osób.",
)


def sample_metrics(*, n: int = 238, pool: int = 952, seed: int = 0) -> Metrics:
    """Every key that the evaluation may write, for 17 labels and five languages."""
    rng = np.random.default_rng(seed)
    names = LabelScheme.load("iptc").names
    k = len(names)
    gold = rng.permutation(np.arange(n) % k)
    lang = np.array(LANGUAGES)[np.searchsorted(np.cumsum([0.42, 0.15, 0.15, 0.14]), rng.random(n))]
    teacher, teacher_probs = _guess(rng, gold, k, skill=0.76, temperature=0.6)
    student, student_probs = _guess(rng, gold, k, skill=0.88, temperature=1.1, like=teacher)
    upper, _ = _guess(rng, gold, k, skill=0.93, temperature=1.0)
    second = np.where(rng.random(n) < 0.8, gold, rng.integers(k, size=n))
    second[rng.random(n) < 0.6] = -1  # only part of the gold was reviewed twice
    minus = classification.macro_f1_difference(gold, student, teacher, resamples=500)
    sizes = (60, 119, 238, 476, 952)
    law = curves.PowerLaw(0.83, 3.6, 0.62)
    runs = tuple(tuple(float(law(size) + rng.normal(0, 0.012)) for _ in range(5)) for size in sizes)
    curve = curves.LearningCurve(sizes, runs)
    fit = curve.fit()
    assert fit is not None
    student_scores = _scores(gold, student, student_probs, names, lang)
    by_label = rng.multinomial(pool, rng.dirichlet(np.full(k, 9)))
    return {
        "format": 1,
        "tutelage": "0.1.0",
        "created": "2026-03-14T09:26:53+00:00",
        "run": "demo",
        "scheme": {"name": "iptc", "kind": "single", "names": list(names)},
        "pool": {
            "read": 1196,
            "rejected": {"empty": 3, "invalid_utf8": 1},
            "duplicates": {"exact": 0, "near": 2},
            "truncated": 4,
            "texts": pool,
            "languages": {"en": 408, "de": 136, "es": 136, "fr": 136, "pl": 136},
        },
        "labels": {
            "answered": pool - 3,
            "failed": {"refusal": 1, "unknown_label": 2},
            "pending": 0,
            "by_label": {name: int(count) for name, count in zip(names, by_label, strict=True)},
            "few": [],
        },
        "teacher": {
            "name": "zero-shot:use-multilingual",
            "texts_per_second": 118.4,
            "cost_per_million": {"amount": 7868.0, "currency": "eur"},
            **_scores(gold, teacher, teacher_probs, names, lang),
        },
        "student": {
            "name": "embedding (use-multilingual, soft labels)",
            "tier": "embedding",
            "bytes": 35_872,
            "texts_per_second": 342.7,
            **student_scores,
            "coverage": [vars(p) for p in calibration.coverage_curve(student_probs, gold, points=60)],
            "thresholds": {str(p): vars(calibration.threshold_for(student_probs, gold, p)) for p in (0.8, 0.9, 0.95)},
        },
        "students": [
            {
                "tier": "embedding", "form": "soft", "dev_macro_f1": 0.842, "chosen": True, "seconds_to_train": 1.9,
                "texts_per_second": 342.7, "bytes": 35_872,
                **{key: student_scores[key] for key in ("macro_f1", "micro_f1", "macro_f1_ci")},
            },
            {
                "tier": "ngram", "form": "soft", "dev_macro_f1": 0.611, "chosen": False, "seconds_to_train": 0.8,
                "texts_per_second": 412_300.0, "bytes": 1_204_224,
                "macro_f1": 0.598, "micro_f1": 0.605, "macro_f1_ci": [0.536, 0.659],
            },
        ],
        "gold_student": {"name": "learned from 952 human labels of the pool", **_short(gold, upper, names)},
        "dummy": {
            "name": "drawn from the teacher's label shares",
            **_short(gold, rng.integers(k, size=n), names),
            "most_frequent": _short(gold, np.full(n, 5), names),
        },
        "student_minus_teacher": {"macro_f1": minus.value, "ci": list(minus.interval), "p": minus.p},
        "gold": {
            "n": n,
            "labels_present": list(names),
            "discarded": {"not news": 2},
            "confusion": classification.confusion(gold, student, k).tolist(),
            "caveat": "The gold sample is balanced over the labels, which is not how texts arrive.",
        },
        "agreement": {
            "human_human": _agreement([gold, second], names),
            "teacher_human": _agreement([gold, teacher], names),
            "teacher_teacher": {"alpha": 0.934, "ci": [0.907, 0.958], "n": 200},
            "student_human": _agreement([gold, student], names),
            "student_teacher": _agreement([teacher, student], names),
        },
        "transfer": {
            "languages": list(LANGUAGES),
            "macro_f1": np.clip(rng.normal(0.77, 0.02, (5, 5)) + 0.03 * np.eye(5), 0, 1).round(4).tolist(),
            "ratios": {language: float(rng.uniform(0.93, 1.0)) for language in LANGUAGES},
        },
        "learning_curve": {
            "sizes": list(sizes),
            "macro_f1": [list(s) for s in runs],
            "against": "gold",
            "fit": vars(fit),
            "advice": curve.advice(),
            "flat": curve.flat(),
        },
        "acceptance": {
            "outcome": "accepted",
            "rule": "mean teacher–human alpha ≥ human–human alpha − 0.05, or ≥ 0.667 with one annotator",
            "sentence": "The teacher agrees with people (alpha 0.71) about as well as people agree with each other (0.70).",
        },
        "disagreements": [_disagreement(rng, names, number) for number in range(100)],
        "cost": {
            "teacher": {
                "requests": 1190, "tokens_in": 812_440, "tokens_out": 9_520, "amount": 7.49, "currency": "eur",
                "per_million_texts": 7868.0,
            },
            "student": {"per_million_texts_core_hours": 0.81},
        },
        "seconds": {"annotate": 11.2, "train": 6.1, "evaluate": 14.8},
        "warnings": ["label 'society' has 9 training texts; its figures are unsure"],
    }  # fmt: skip


def unchecked_metrics() -> Metrics:
    """What is known without any human label."""
    full = sample_metrics()
    keep = ("format", "tutelage", "created", "run", "scheme", "pool", "labels", "disagreements", "seconds")
    metrics = {key: full[key] for key in keep}
    empty = {"macro_f1": None, "micro_f1": None, "macro_f1_ci": None}
    return metrics | {
        "teacher": {"name": "openai:some-model", "texts_per_second": 3.1, **empty},
        "student": {"name": "ngram", "tier": "ngram", "bytes": 1_204_224, "texts_per_second": 412_300.0, **empty},
        "agreement": {"student_teacher": {"alpha": 0.79, "ci": [0.72, 0.85], "n": 95}},
        "learning_curve": {**full["learning_curve"], "against": "dev"},
        "acceptance": {
            "outcome": "unchecked",
            "rule": "mean teacher–human alpha ≥ 0.667",
            "sentence": "Nobody has checked the teacher's labels.",
            "command": "tutelage evaluate runs/demo --sample to_review.csv",
        },
        "warnings": ["no human labels: figures show agreement with the teacher, not quality"],
    }


def write_run(folder: Path, metrics: Metrics) -> Path:
    """A folder with what the report reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics, ensure_ascii=False), encoding="utf-8")
    (folder / "run.yaml").write_text(
        "format: 1\ntutelage: 0.1.0\ntexts:\n  source: demo\n  max_words: 512\nteacher:\n  spec: zero-shot\n"
        "student:\n  tier: auto\nseed: 0\n",
        encoding="utf-8",
    )
    return folder


def _guess(
    rng: np.random.Generator,
    gold: np.ndarray,
    k: int,
    *,
    skill: float,
    temperature: float,
    like: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Codes and probabilities of a labeller that is right in about `skill` of cases and knows roughly when."""
    n = len(gold)
    sure = rng.beta(5, 2, n) * skill / (5 / 7)
    logits = rng.normal(0, 1.0, (n, k))
    target = np.where(rng.random(n) < np.clip(sure, 0, 1), gold, (gold + rng.integers(1, 4, n)) % k)
    if like is not None:
        target = np.where(rng.random(n) < 0.2, like, target)
    logits[np.arange(n), target] += 2.2 + 3.0 * sure
    p = np.exp(logits / temperature)
    p /= p.sum(axis=1, keepdims=True)
    return p.argmax(axis=1), p


def _short(gold: np.ndarray, codes: np.ndarray, names: tuple[str, ...]) -> Metrics:
    s = classification.scores(gold, codes, names, resamples=300)
    return {"macro_f1": s.macro_f1, "micro_f1": s.micro_f1, "macro_f1_ci": list(s.macro_f1_ci)}


def _scores(
    gold: np.ndarray, codes: np.ndarray, probs: np.ndarray, names: tuple[str, ...], lang: np.ndarray
) -> Metrics:
    return {
        **_short(gold, codes, names),
        "n": len(gold),
        "per_label": {name: vars(one) for name, one in classification.per_label(gold, codes, names).items()},
        "per_language": {
            one: {
                "macro_f1": classification.macro_f1(gold[lang == one], codes[lang == one]),
                "micro_f1": classification.micro_f1(gold[lang == one], codes[lang == one]),
                "n": int((lang == one).sum()),
            }
            for one in LANGUAGES
        },
        "calibration": {
            "ece": calibration.ece(probs, gold),
            "brier": calibration.brier(probs, gold),
            "nll": calibration.nll(probs, gold),
            "bins": [vars(b) for b in calibration.reliability(probs, gold) if b.n],
        },
    }


def _agreement(raters: list[np.ndarray], names: tuple[str, ...]) -> Metrics:
    found = alpha(raters, missing=-1, resamples=300)
    each = alpha_per_label(raters, range(len(names)), missing=-1, resamples=10)
    return {
        "alpha": found.value,
        "ci": list(found.interval),
        "n": found.n,
        "per_label": {names[int(code)]: None if one.reason else one.value for code, one in each.items()},
    }


def _disagreement(rng: np.random.Generator, names: tuple[str, ...], number: int) -> Metrics:
    teacher, student = rng.choice(len(names), 2, replace=False)
    row: Metrics = {
        "id": f"news-{rng.integers(10_000):04d}",
        "text": TEXTS[number % len(TEXTS)],
        "teacher": names[teacher],
        "student": names[student],
        "teacher_confidence": float(0.99 - number * 0.004),
        "student_confidence": float(0.98 - number * 0.005),
        "because": TEXTS[number % len(TEXTS)].split()[:2],
    }
    return row | ({"gold": names[rng.choice([teacher, student])]} if number % 3 == 0 else {})


if __name__ == "__main__":
    write_run(Path(sys.argv[1]), unchecked_metrics() if "--unchecked" in sys.argv else sample_metrics())
