"""Students on disk. Byte 0 is tier and file, the rest is that file; the manifest is then made to fit, as an attacker would.

Bytes at random seldom get past a parser. So there is a second form of every file, in which the rest are changes of its JSON
(of the header, where it holds arrays).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from tests.fuzz.edits import edited, written
from tests.fuzz.promise import Target, one_line
from tutelage.data.labels import LabelScheme
from tutelage.evaluation.drift import Reference
from tutelage.students.base import Student
from tutelage.students.ngram import NgramClassifier
from tutelage.students.static import StaticClassifier

TEXTS = ["the cup final", "the vote today", "a goal and a cup", "minister and vote", "", "ELECTION é 東京"]
_FILES = ("config.json", "model.safetensors", "scheme.json", "drift.safetensors", "provenance.json", "manifest.json")
FORMS = tuple(
    (tier, name, how) for how in (False, True) for tier in (NgramClassifier, StaticClassifier) for name in _FILES
)
"""Tier, file, and whether bytes are changes of the JSON in it."""


@cache
def _saved(tier: type[Student]) -> Path:
    """A sound student of few words."""
    labels = ["sport", "politics", "sport", "politics"]
    names = ["sport", "politics"]
    if tier is NgramClassifier:
        student: Student = NgramClassifier(C=1.0, bits=10, classes=names, threads=1)
    else:
        student = StaticClassifier(encoder=_letters, C=1.0, dims=4, classes=names, threads=1)
    student.fit(TEXTS[:4], labels)
    probs = student.predict_proba(TEXTS[:4])
    student.reference_ = Reference.learn(TEXTS[:2], TEXTS[2:4], probs[2:], probs[2:] > 0.5, window=2)
    folder = Path(tempfile.mkdtemp(prefix="tutelage-fuzz-"))
    return student.save(folder, LabelScheme.from_dict(names), {"teacher": "none"})


def _letters(texts: list[str]) -> np.ndarray:
    """A stand-in for a sentence encoder: how often each letter occurs."""
    return np.array([[text.lower().count(letter) + 0.01 for letter in "aeiostrnlu"] for text in texts], np.float32)


@contextmanager
def _changed(tier: type[Student], name: str, content: bytes) -> Iterator[Path]:
    """The folder of a student with another file in it; the manifest fits, unless it is that file."""
    folder = _saved(tier)
    before = {each: (folder / each).read_bytes() for each in (name, "manifest.json")}
    (folder / name).write_bytes(content)
    if name != "manifest.json":
        manifest = json.loads(before["manifest.json"])
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    try:
        yield folder
    finally:
        for each, original in before.items():
            (folder / each).write_bytes(original)


def run(data: bytes) -> None:
    """See `TARGET`."""
    tier, name, edits = FORMS[data[0] % len(FORMS)] if data else FORMS[0]
    content = _edited((_saved(tier) / name).read_bytes(), data[1:]) if edits else data[1:]
    with _changed(tier, name, content) as folder, one_line():
        student = tier.load(folder)
        probs = student.predict_proba(TEXTS)
        assert probs.shape == (len(TEXTS), len(student.classes_))
        assert np.isfinite(probs).all()
        assert ((probs >= 0) & (probs <= 1)).all()
        if not student.multi:
            assert np.allclose(probs.sum(1), 1, atol=1e-4)
            assert {*student.predict(TEXTS).tolist()} <= {*student.classes_.tolist()}
        if student.reference_ is not None:
            given = np.eye(len(student.classes_), dtype=bool)[probs.argmax(1)]
            assert np.isfinite([*student.reference_.measure(TEXTS, probs, given).values.values()]).all()


def _edited(content: bytes, script: bytes) -> bytes:
    """Changes of a JSON file, or of the header of a safetensors file."""
    if content.startswith(b"{"):
        return written(edited(json.loads(content), script))
    end = 8 + int.from_bytes(content[:8], "little")
    header = written(edited(json.loads(content[8:end]), script))
    return len(header).to_bytes(8, "little") + header + content[end:]


def seeds() -> list[bytes]:
    """Every file of a sound student of both tiers, and a change of each."""
    return [
        bytes([place]) + (bytes([0, 5, 0, 3]) if edits else (_saved(tier) / name).read_bytes())
        for place, (tier, name, edits) in enumerate(FORMS)
    ]


TARGET = Target(
    "Any change of any file of a student, checksums made to fit, gives probabilities over its classes or an error of one line.",
    run,
    seeds,
    words=(b'"C"', b'"chars"', b"null", b"1e999", b"-1", b"9" * 40, b"[", b"{", b'"int8"', b'"F16"', b'"BF16"', b'"F64"', b"NaN",
           b'"data_offsets"', b'"shape"', b"true", b"\\ud800", b"\\u0000", b'"classes"', b'"multi"', b'"thresholds"'),
)  # fmt: skip
