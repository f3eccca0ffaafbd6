"""How a workbench is set up, and the folders that it never leaves."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jinja2 import UndefinedError
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tutelage.errors import InputError
from tutelage.serving.doors import LOOPBACK
from tutelage.teachers.llm.trust import origin

_NAME = re.compile(r"[^\W_][\w. +-]{0,79}")


class Settings(BaseModel):
    """A workbench's settings; see `tutelage ui --help`.

    Attributes:
        runs: the folder of runs. texts: the folder that corpora may be taken from. traces: the folder of traces.
        data: the folder of other people's data, where MathDial is looked for.
        key_hosts: addresses that the key in OPENAI_API_KEY may be sent to. scoreboard: a `studies.json` to show.
        token: what the start address holds; a new one every time. most_bytes: of an upload.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: Path = Path("runs")
    texts: Path = Path()
    traces: Path = Path("traces")
    data: Path | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8500, ge=0, le=65535)
    allow_hosts: tuple[str, ...] = ()
    key_hosts: tuple[str, ...] = ()
    scoreboard: Path | None = None
    token: str = Field(default_factory=lambda: secrets.token_urlsafe(24), min_length=16)
    most_bytes: int = Field(default=256 << 20, ge=1_000)
    patience: float = Field(default=60.0, gt=0)

    @field_validator("key_hosts")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(origin, value)))

    @property
    def hosts(self) -> set[str]:
        """Names under which the workbench may be asked for."""
        own = {self.host} if self.host not in ("0.0.0.0", "::") else set()  # noqa: S104
        return {*LOOPBACK, *own, *self.allow_hosts}

    @property
    def address(self) -> str:
        """Where a browser on this machine finds it."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """While figures of a file are read that may have come from elsewhere: surprises in them are one line.

    >>> with foreign("metrics.json"):
    ...     {}["student"]
    Traceback (most recent call last):
    tutelage.errors.InputError: metrics.json is not as this version writes it (KeyError 'student'); make it again
    """
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        raise InputError(
            f"{what} is not as this version writes it ({type(error).__name__} {error}); make it again"
        ) from None


def folder_in(root: Path, name: str) -> Path:
    """The folder `name` right below `root`.

    Raises: InputError: the name is no plain one (a path, "..", a hidden file), or a link leads out of `root`.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"a name has letters, digits, spaces and . _ + - in it, 80 at most; got {name[:80]!r}")
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{name!r} leads out of the folder {root}")
    return path


def file_in(root: Path, asked: str) -> Path:
    """The file or folder at a relative path below `root`.

    Raises: InputError: nothing is there, or the path leads out of `root`, by "..", as an absolute path or through a link.
    """
    path = root
    try:
        path = (root / asked).resolve()
        inside = path.is_relative_to(root.resolve()) and "\0" not in asked
        there = inside and bool(asked.strip()) and path.exists()
    except (OSError, ValueError):
        inside = there = False
    if not inside:
        raise InputError(f"{asked[:200]!r} is not inside the folder of texts; start the workbench with --texts FOLDER")
    if not there:
        raise InputError(f"there is no {asked[:200]!r} in the folder of texts")
    return path
