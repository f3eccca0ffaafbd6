"""The resolved configuration of a run: what `run.yaml` holds.

Everything that decides the outcome is here and nothing else, so the file repeats the run; a key never is. The command
line and `tutelage.distill` build the same `RunConfig`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError

FORMAT = 1
"""Version of the run folder's layout; a folder of a newer version is refused."""

Tier = Literal["auto", "ngram", "static", "embedding", "encoder"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextsConfig(_Section):
    """Where the texts come from, and what is done before anyone sees them."""

    source: str
    text: str | None = None
    id: str | None = None
    lang: str | None = None
    strict: bool = False
    max_words: int = Field(default=512, ge=8)
    near_duplicates: float = Field(default=0.8, gt=0, le=1)


class GoldConfig(_Section):
    """Human labels, which only the evaluation reads.

    `source` is a column of the texts or a file. Of a column that is filled for every text, `share` is held out, balanced
    over its labels; of a column with gaps all filled rows are. A file is held out whole.
    """

    source: str
    share: float | None = Field(default=None, gt=0, le=1)
    most: int = Field(default=2_000, ge=2)


class TeacherConfig(_Section):
    """Who labels, and how it is asked."""

    spec: str = "zero-shot"
    base_url: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    votes: int = Field(default=1, ge=1, le=101)
    repairs: int = Field(default=1, ge=0, le=3)
    wire: Literal["names", "ids"] = "names"
    explain: bool = False
    price: str | None = None
    rerun: int = Field(default=0, ge=0)
    """Texts that are asked about twice, for the teacher's agreement with itself."""


class StudentConfig(_Section):
    """Who learns. `auto` tries the tiers that fit the machine and takes the best on the teacher-labelled dev split."""

    tier: Tier = "auto"
    encoder: str | None = None
    epochs: int | None = Field(default=None, ge=1)
    target_temperature: float = Field(default=1.0, gt=0, le=100)
    """Of the teacher's probabilities: softer above 1, sharper below."""
    self_distill: float = Field(default=0.0, ge=0, le=0.95)
    """Share of the student's own past in its targets at the end; 0: none. Of `auto` the embedding student has it."""
    shield: bool = False
    roster: str | None = None
    """A file of names, one a line, that the shield protects beside what has a form."""

    @field_validator("self_distill")
    @classmethod
    def _forgets(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("tier") == "ngram":
            raise ValueError(
                "an n-gram student knows its labels by heart, so its own past says nothing new; "
                "take --student static, embedding or encoder"
            )
        return value

    @field_validator("roster")
    @classmethod
    def _used(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not info.data.get("shield"):
            raise ValueError("names are for the shield: add --shield, or leave out --roster")
        return value


class RunConfig(_Section):
    """Everything that decides a run's outcome."""

    format: int = FORMAT
    tutelage: str = ""
    texts: TextsConfig
    labels: LabelScheme
    teacher: TeacherConfig = TeacherConfig()
    student: StudentConfig = StudentConfig()
    gold: GoldConfig | None = None
    dev_share: float = Field(default=0.2, gt=0, lt=0.5)
    seed: int = Field(default=0, ge=0)

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: int) -> int:
        if value > FORMAT:
            raise ValueError(f"the run was written by a newer version of tutelage (format {value}); upgrade tutelage")
        return value

    def to_yaml(self) -> str:
        """The document that `from_yaml` reads back to an equal configuration."""
        data = self.model_dump(mode="json", exclude_none=True)
        data["labels"] = self.labels.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=120)

    @classmethod
    def from_yaml(cls, path: Path) -> RunConfig:
        """Read `run.yaml`. Raises: InputError: missing or invalid, with the field that is wrong."""
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path.parent} is not a run: it has no {path.name}") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from None
        if not isinstance(data, dict):
            raise InputError(f"{path}: expected a mapping")
        labels = LabelScheme.from_dict(data.get("labels"), where=f"{path}, labels")
        try:
            return cls.model_validate({**data, "labels": labels})
        except ValidationError as error:
            raise InputError(f"{path}: {validation_line(error)}") from None


def validation_line(error: ValidationError) -> str:
    """pydantic's first complaint as "teacher.votes: …"."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
