"""Corpora that a run may be started from: uploads, and files below the folder of texts. Nothing else is ever opened."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tutelage.data.columns import columns_of
from tutelage.data.corpus import read_texts
from tutelage.errors import InputError
from tutelage.web.settings import Settings, file_in

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".feather", ".txt", ".gz")
GOLD = ("gold", "label", "labels", "topic", "class", "category")
SHOWN = 3
"""Texts of the preview."""
_UPLOAD, _TEXTS = "upload", "texts"


@dataclass(frozen=True)
class Corpus:
    """A file as the form shows it: `ref` names it in the form, `names` are its columns, `sample` its first texts."""

    ref: str
    path: Path
    names: tuple[str, ...]
    text: str | None
    guessed_gold: str | None
    language: str | None
    sample: tuple[str, ...]
    fault: str = ""


def uploads(settings: Settings) -> Path:
    """Where uploads are kept: hidden, beside the runs."""
    return settings.runs / ".uploads"


def keep_upload(settings: Settings, name: str, body: bytes) -> str:
    """Write an upload under a plain name of its own, readable by the owner alone: -> its reference.

    Raises: InputError: an empty file, an ending that no corpus has, a full or read-only disk.
    """
    stem = re.sub(r"[^\w.-]+", "-", Path(name.replace("\\", "/")).name).lstrip(".-")[-80:]
    if not stem.lower().endswith(ENDINGS):
        raise InputError(f"{name[:80]!r}: a corpus ends in {', '.join(ENDINGS)}")
    if not body:
        raise InputError(f"{name[:80]!r} is empty")
    folder = uploads(settings)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, target = 1, folder / stem
        while True:
            try:
                handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                break
            except FileExistsError:
                number += 1
                target = folder / f"{number}-{stem}"
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(body)
        except OSError:
            target.unlink()
            raise
    except OSError as error:
        raise InputError(f"cannot keep the upload: {error.strerror or error}") from None
    return f"{_UPLOAD}/{target.name}"


def path_of(settings: Settings, ref: str) -> Path:
    """The file that a reference names. Raises: InputError: none, or outside of the two folders."""
    kind, _, name = ref.partition("/")
    if kind not in (_UPLOAD, _TEXTS) or not name:
        raise InputError("choose the texts first: upload a file, or name one of the folder of texts")
    return file_in(uploads(settings) if kind == _UPLOAD else settings.texts, name)


def ref_of(settings: Settings, asked: str) -> str:
    """The reference of a path in the folder of texts. Raises: InputError: see `file_in`; an ending that no corpus has."""
    path = file_in(settings.texts, asked)
    if path.is_file() and not path.name.lower().endswith(ENDINGS):
        raise InputError(f"{asked[:80]!r}: a corpus ends in {', '.join(ENDINGS)}, or is a folder of .txt files")
    return f"{_TEXTS}/{path.relative_to(settings.texts.resolve())}"


def look_at(settings: Settings, ref: str) -> Corpus:
    """Columns and first texts of a corpus. Raises: InputError: it cannot be read at all."""
    path = path_of(settings, ref)
    columns = columns_of(path)
    text = columns.text()
    try:
        sample = read_texts(path, limit=SHOWN)["text"].to_pylist()
        fault = ""
    except InputError as error:  # which column is the text is for the person to say
        sample, fault = [], str(error)
    return Corpus(
        ref, path, columns.names, text, columns.find(*GOLD), columns.find("lang", "language"),
        tuple(one[:280] for one in sample), fault,
    )  # fmt: skip


def some_texts(source: str, *, text: str | None, id: str | None, n: int) -> tuple[pa.Table, int]:
    """`n` texts spread evenly over a corpus, and how many it has: table of id and text."""
    table = read_texts(source, text=text, id=id)
    rows = sorted({round(k * (len(table) - 1) / max(n - 1, 1)) for k in range(min(n, len(table)))})
    return table.take(pa.array(rows, pa.int64())), len(table)
