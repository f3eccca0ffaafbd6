"""Files of label schemes: YAML, JSON and CSV. Byte 0 is the form, the rest the file, or changes of a good one."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz.edits import edited, written
from tests.fuzz.promise import Target, one_line
from tutelage.data.labels import LabelScheme
from tutelage.data.text import normalise
from tutelage.teachers.llm.execute import OutputSpec

FORMS = (".yaml", ".json", ".csv", "changes")
SCHEME: dict[str, Any] = {
    "name": "tickets", "version": 2, "kind": "multi",
    "labels": [
        {"name": "billing", "definition": "invoices", "examples": ["charged twice"], "code": "01"},
        {"name": "outage", "counter_examples": ["slow"], "opposite": "all is well"},
    ],
    "discard": ["not a ticket"],
}  # fmt: skip


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="tutelage-fuzz-"))


def run(data: bytes) -> None:
    """See `TARGET`."""
    form = FORMS[data[0] % len(FORMS) if data else 0]
    path = _folder() / f"scheme{'.json' if form == 'changes' else form}"
    path.write_bytes(written(edited(SCHEME, data[1:])) if form == "changes" else data[1:])
    with one_line():
        scheme = LabelScheme.from_file(path)
        assert len(scheme) >= 2
        assert len({normalise(name) for name in scheme.names}) == len(scheme)
        assert all(name and len(name.splitlines()) == 1 for name in scheme.names)
        assert [scheme.index(name) for name in scheme.names] == list(range(len(scheme)))
        assert len(scheme.prompt_block(ids=True).split("\n")) == len(scheme)
        assert len(scheme.fingerprint) == 64
        again = _folder() / "again.yaml"
        again.write_text(scheme.to_yaml(), encoding="utf-8")
        assert LabelScheme.from_file(again) == scheme
        spec = OutputSpec(scheme)
        for name in scheme.names[:5]:
            assert spec.parse(spec.encode([name])).labels == (name,)


def seeds() -> list[bytes]:
    """One scheme in all forms, and the shortest ones."""
    files = [
        (".yaml", LabelScheme.from_dict(SCHEME).to_yaml()),
        (".yaml", "- a\n- &x 'b'\n- {name: no, examples: [*x]}\n"),
        (".yaml", '%YAML 1.2\n---\nlabels: ["\\u00e9", "\\U0001F600"]\nkind: ordinal\n'),
        (".json", json.dumps(SCHEME)),
        (".json", '["a", 1, 2.5, {"name": "c"}]'),
        ("changes", "\0\5\0\3"),
        (".csv", 'name,definition,examples,code\na,"one, two",x|y,01\nb,,,\n'),
    ]
    return [bytes([FORMS.index(form)]) + content.encode() for form, content in files]


TARGET = Target(
    "Any file gives a scheme of distinct labels, one line each, that is written and read back as it is, or an error of one line.",
    run,
    seeds,
    words=(b"labels", b"name", b"kind", b"\\U00110000", b"\\ud800", b"&a ", b"*a", b"<<: ", b"!!python/object", b"\xc2\x85",
           b"- ", b"? ", b"|\n", b"null", b"1e999", b"9" * 30),
)  # fmt: skip
