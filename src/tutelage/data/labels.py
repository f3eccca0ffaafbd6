"""Label schemes: the names, definitions and codes that a teacher chooses from and a student predicts.

A scheme is a small file that a person writes (YAML, JSON or CSV):

    name: tickets
    kind: single                # or: multi (any number of labels a text)
    labels:
      - name: billing
        definition: invoices, refunds, payment methods, prices
        examples: [I was charged twice this month]
      - name: outage
        definition: the service is down, slow or loses data

The order of the labels is part of the scheme: it is the order of the student's outputs. In a scheme file everything is
text: a label `no` is not a boolean, a code `01000000` not an octal number. A built-in scheme is loaded by name:
`LabelScheme.load("iptc")`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tutelage.data.text import normalise
from tutelage.errors import InputError

BUILT_IN = ("iptc", "ag-news")
"""Schemes that ship with the package; `LabelScheme.load` knows them by name."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Label(BaseModel):
    """One label: its name, what belongs under it, examples, and its code in some outer catalogue."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: str = Field(min_length=1, max_length=200)
    definition: str = ""
    examples: tuple[str, ...] = ()
    counter_examples: tuple[str, ...] = ()
    """Texts that look as if they belonged under the label, and do not."""
    opposite: str | None = None
    """A statement that holds exactly where the label does not apply; a rubric teacher asks it instead (see `teachers.rubric`)."""
    code: str | None = None

    @field_validator("name", "code", mode="before")
    @classmethod
    def _numbers_are_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("name")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if _CONTROL.search(value):
            raise ValueError("must be one line without control characters")
        return value

    @field_validator("code", "opposite")
    @classmethod
    def _nothing_is_none(cls, value: str | None) -> str | None:
        return value or None


class LabelScheme(BaseModel):
    """K labels in a fixed order, and whether a text has one of them or several.

    >>> scheme = LabelScheme.load("ag-news")
    >>> scheme.names
    ('World', 'Sports', 'Business', 'Sci/Tech')
    >>> scheme.index("Business")
    2

    Raises: InputError: fewer than two labels, two labels of the same name (letter case aside), unknown fields; the message
        of `from_file`, `from_dict` and `load` names the file, the entry and the field (the constructor raises pydantic's
        ValidationError, as for every model).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: str = "labels"
    version: str = "1"
    kind: Literal["single", "multi", "ordinal", "binary"] = "single"
    labels: tuple[Label, ...]
    discard: tuple[Label, ...] = ()
    """Codes for texts that a human reviewer throws away, such as "not news"; a teacher never sees them."""

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _names_are_distinct(self) -> LabelScheme:
        if len(self.labels) < 2:
            raise ValueError(f"a scheme needs at least two labels; found {len(self.labels)}")
        seen: dict[str, str] = {}
        entries = [(f"labels, entry {n}", label) for n, label in enumerate(self.labels, 1)]
        entries += [(f"discard, entry {n}", label) for n, label in enumerate(self.discard, 1)]
        for place, label in entries:
            first = seen.setdefault(normalise(label.name), place)
            if first != place:
                raise ValueError(f"field {place}, field name: {label.name!r} is the name of {first} too")
        if self.kind == "binary" and len(self.labels) != 2:
            raise ValueError(f"a binary scheme has exactly two labels; found {len(self.labels)}")
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with some fields replaced; what was derived from the old fields is not carried over."""
        copy = super().model_copy(update=update, deep=deep)
        for derived in ("names", "_positions", "fingerprint"):
            vars(copy).pop(derived, None)
        return copy

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def multi(self) -> bool:
        """Whether a text may carry several labels."""
        return self.kind == "multi"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The K label names, in the order of the student's outputs."""
        return tuple(label.name for label in self.labels)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Position of a label in [0, K). Raises: InputError: the scheme has no such label."""
        try:
            return self._positions[name]
        except KeyError:
            raise InputError(f"scheme {self.name!r} has no label {name!r}; it has {', '.join(self.names)}") from None

    def texts(self) -> list[str]:
        """One string a label for a sentence encoder: "name: definition", or the name alone."""
        return [f"{x.name}: {_line(x.definition)}" if x.definition else x.name for x in self.labels]

    def prompt_block(self, *, ids: bool = False) -> str:
        """The labels as a list for a prompt, one a line; with `ids` each line starts with the integer id."""
        lines = []
        for position, label in enumerate(self.labels):
            line = f"{position}: " if ids else "- "
            line += f"{label.name} - {_line(label.definition)}" if label.definition else label.name
            if label.examples:
                line += " (for example: " + "; ".join(map(_line, label.examples)) + ")"
            if label.counter_examples:
                line += " (but not: " + "; ".join(map(_line, label.counter_examples)) + ")"
            lines.append(line)
        return "\n".join(lines)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over everything that a teacher sees of the scheme: names, definitions, examples, order and kind."""
        seen = {
            "kind": self.kind,
            "labels": [
                label.model_dump(mode="json", include={"name", "definition", "examples"})
                | label.model_dump(mode="json", include={"counter_examples", "opposite"}, exclude_defaults=True)
                for label in self.labels
            ],
        }
        return hashlib.sha256(
            json.dumps(seen, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
        ).hexdigest()

    def warnings(self) -> list[str]:
        """What is legal but likely to cost quality, one line each."""
        return [
            f"label {label.name!r} has no definition; the teacher will guess what belongs under it"
            for label in self.labels
            if not label.definition
        ]

    def diff(self, other: LabelScheme) -> list[str]:
        """What changes from this scheme to `other`, one line each; empty when both have the same labels and kind."""
        mine, theirs = {x.name: x for x in self.labels}, {x.name: x for x in other.labels}
        lines = [f"removed {name!r}" for name in mine if name not in theirs]
        lines += [f"added {name!r}" for name in theirs if name not in mine]
        for name in mine.keys() & theirs.keys():
            lines += [
                f"{field} of {name!r} changed"
                for field in ("definition", "examples", "counter_examples", "opposite", "code")
                if getattr(mine[name], field) != getattr(theirs[name], field)
            ]
        if [name for name in self.names if name in theirs] != [name for name in other.names if name in mine]:
            lines.append("order of the labels changed")
        if self.kind != other.kind:
            lines.append(f"kind changed from {self.kind} to {other.kind}")
        return sorted(lines)

    def to_yaml(self) -> str:
        """The scheme as a YAML document that `from_file` reads back to an equal scheme."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.dump({"name": self.name, **data}, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)

    @classmethod
    def from_dict(cls, data: object, *, where: str = "label scheme") -> LabelScheme:
        """Build a scheme from parsed YAML/JSON: a mapping with `labels`, or a bare list of labels or names."""
        data = _mapping(data)
        if "labels" not in data:
            raise InputError(f"{where}: expected a mapping with `labels:` or a list of labels")
        for field in ("labels", "discard"):
            if isinstance(data.get(field), list | tuple):
                named = [x if isinstance(x, dict | Label | None) else {"name": x} for x in data[field]]
                data[field] = named
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InputError(f"{where}: {_first_problem(error)}") from None

    @classmethod
    def from_file(cls, path: str | Path) -> LabelScheme:
        """Read a scheme from .yaml, .yml, .json or .csv (columns name, definition, examples separated by |, code)."""
        path = Path(path)
        try:
            source = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise InputError(f"label scheme not found: {path} (built in are: {', '.join(BUILT_IN)})") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read label scheme {path}: {error}") from None
        match path.suffix.lower():
            case ".yaml" | ".yml":
                try:
                    data = _yaml(source)
                except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:  # PyYAML lets some pass
                    raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
            case ".json":
                try:
                    data = json.loads(source, parse_int=str, parse_float=str)
                except (ValueError, RecursionError) as error:
                    raise InputError(f"{path}: not valid JSON: {error}") from None
            case ".csv":
                data = {"labels": _labels_from_csv(source, path)}
            case suffix:
                raise InputError(
                    f"{path}: a label scheme is .yaml, .json or .csv, not {suffix or 'a file without ending'}"
                )
        return cls.from_dict({"name": path.stem, **_mapping(data)}, where=str(path))

    @classmethod
    def load(cls, name_or_path: str | Path) -> LabelScheme:
        """A built-in scheme by name ("iptc", "ag-news"), else a file."""
        if str(name_or_path) in BUILT_IN:
            source = resources.files("tutelage.data").joinpath(f"schemes/{name_or_path}.yaml").read_text("utf-8")
            return cls.from_dict(_yaml(source), where=str(name_or_path))
        return cls.from_file(name_or_path)


def _line(text: str) -> str:
    return " ".join(text.split())


class _Dumper(yaml.SafeDumper):
    """Escapes the line ends that YAML would else read back as a plain one."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if re.search("[\x85\u2028\u2029]", text) else None
    ),
)


def _yaml(source: str) -> object:
    """A YAML document in which every scalar is a string; like the safe loader this one builds no objects."""
    return yaml.load(source, Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader knows strings, lists and mappings only


def _mapping(data: object) -> dict[str, Any]:
    return {"labels": data} if isinstance(data, list) else dict(data) if isinstance(data, dict) else {}


def _labels_from_csv(source: str, path: Path) -> list[dict[str, object]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(source)) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{path}: not valid CSV: {error}") from None
    fields = [field.strip().lower() for field in rows[0]] if rows else []
    if (
        "name" not in fields
        or set(fields) - {"name", "definition", "examples", "code"}
        or len(set(fields)) < len(fields)
    ):
        found = _line(", ".join(fields)) or "nothing"
        raise InputError(f"{path}: the columns of a label scheme are name, definition, examples, code; found {found}")
    labels: list[dict[str, object]] = []
    for number, row in enumerate(rows[1:], 1):
        if len(row) > len(fields):
            raise InputError(
                f"{path}: entry {number} has {len(row)} fields for {len(fields)} columns; quote cells that hold commas"
            )
        entry: dict[str, object] = dict(zip(fields, row, strict=False))
        if "examples" in entry:
            entry["examples"] = [text.strip() for text in str(entry["examples"]).split("|") if text.strip()]
        labels.append(entry)
    return labels


def _first_problem(error: ValidationError) -> str:
    """pydantic's first complaint as "field labels, entry 3, field name: …"."""
    problem = error.errors()[0]
    place = [f"entry {part + 1}" if isinstance(part, int) else f"field {part}" for part in problem["loc"]]
    message = _MESSAGES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    return _line(f"{', '.join(place)}: {message}" if place else message)


_MESSAGES = {
    "extra_forbidden": "there is no such field",
    "missing": "is missing",
    "string_type": "must be a text; put quotation marks around it",
    "string_too_short": "must not be empty",
    "tuple_type": "must be a list",
    "model_type": "must be a name or a mapping with `name:`",
}
