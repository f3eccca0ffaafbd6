"""Tiny corpora with a clear signal, a teacher by keywords, and ways to call the command line, for the tests of the job."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from tutelage.data.labels import LabelScheme
from tutelage.teachers.base import Pool, Progress, fingerprint
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.records import Answer

WORDS = {
    "sport": ["goal", "match", "striker", "league", "referee", "coach", "keeper", "penalty", "stadium", "derby"],
    "politics": [
        "minister",
        "vote",
        "cabinet",
        "coalition",
        "parliament",
        "senator",
        "ballot",
        "bill",
        "treaty",
        "mandate",
    ],
    "weather": ["rain", "gale", "frost", "sunshine", "forecast", "snow", "thunder", "drizzle", "flood", "breeze"],
}
FILLER = [
    "yesterday",
    "early",
    "local",
    "people",
    "near",
    "town",
    "after",
    "long",
    "week",
    "several",
    "report",
    "again",
    "while",
    "many",
    "quiet",
    "old",
    "bridge",
    "river",
]

SCHEME = LabelScheme.from_dict({
    "name": "desk",
    "labels": [
        {"name": "sport", "definition": "matches, clubs, athletes", "code": "1"},
        {"name": "politics", "definition": "government, elections, parties", "code": "2"},
        {"name": "weather", "definition": "forecasts, storms, rain", "code": "3"},
    ],
    "discard": ["not news"],
})  # fmt: skip
MULTI = LabelScheme.from_dict({"name": "desks", "kind": "multi", "labels": list(SCHEME.names)})

Row = dict[str, str]


def sentence(rng: random.Random, labels: Sequence[str], number: int) -> str:
    """Twelve words or so, four of them telling of each label, and no two sentences alike."""
    words = [word for label in labels for word in rng.sample(WORDS[label], 4)] + rng.sample(FILLER, 7)
    rng.shuffle(words)
    return f"{' '.join(words)} number{number}x"


def rows(n: int = 90, *, seed: int = 0, prefix: str = "t") -> list[Row]:
    """`n` texts in turn of each label: id, text, topic."""
    rng = random.Random(seed)
    names = list(WORDS)
    return [
        {"id": f"{prefix}{i}", "text": sentence(rng, [names[i % 3]], seed * 10_000 + i), "topic": names[i % 3]}
        for i in range(n)
    ]


def jsonl(path: Path, records: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def table(path: Path, records: Sequence[Mapping[str, object]]) -> Path:
    """A CSV file."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return path


def said(text: str) -> list[str]:
    """The labels whose words are in a text."""
    words = set(text.split())
    return [label for label, telling in WORDS.items() if words & set(telling)]


class Keywords:
    """A teacher that counts words, and the texts that it was asked about; `wrong` texts of a hundred get another label."""

    name = "keywords"

    def __init__(self, wrong: int = 0, version: int = 1) -> None:
        self.wrong, self.version = wrong, version
        self.asked: list[str] = []

    @property
    def fingerprint(self) -> str:
        return fingerprint({"kind": "keywords", "version": self.version, "wrong": self.wrong})

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        return fingerprint({"scheme": scheme.fingerprint})

    def annotate(
        self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:  # fmt: skip
        assert ledger is not None
        pool = Pool.of(table)
        teacher, prompt = self.fingerprint, self.prompt_fingerprint(scheme)
        ledger.describe(teacher, "teacher", {"name": self.name})
        ledger.register(pool.ids, pool.fingerprints)
        held = ledger.get(teacher, prompt, pool.fingerprints, sample)
        todo = [(text, key) for text, key in zip(pool.texts, pool.fingerprints, strict=True) if key not in held]
        self.asked += [text for text, _ in todo]
        ledger.put(
            Answer(teacher, prompt, key, sample, label=self._label(text, key, scheme), cost=0.0) for text, key in todo
        )
        return self.answered(table, scheme, ledger, sample=sample)

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        pool = Pool.of(table)
        return ledger.rows(pool.ids, pool.fingerprints, self.fingerprint, self.prompt_fingerprint(scheme), sample)

    def _label(self, text: str, key: str, scheme: LabelScheme) -> tuple[str, ...]:
        labels = [name for name in said(text) if name in scheme.names] or [scheme.names[0]]
        if int(key[:8], 16) % 100 < self.wrong:
            labels = [scheme.names[(scheme.index(labels[0]) + 1) % len(scheme)]]
        return tuple(labels if scheme.multi else labels[:1])


def environment(**more: str) -> dict[str, str]:
    """This process's environment without keys and proxies, with one thread."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_") and not k.lower().endswith("_proxy")}
    return clean | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"} | more


def command(*arguments: object, stdin: str | bytes | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m tutelage ARGUMENTS` in a process of its own."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [sys.executable, "-m", "tutelage", *map(str, arguments)], input=data if data is not None else b"",
        capture_output=True, env=environment(**env), timeout=120, check=False,
    )  # fmt: skip
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
