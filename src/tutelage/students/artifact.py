"""A student on disk: a folder of plain files whose loading checks everything and runs nothing.

| file | what |
|---|---|
| config.json | format, tier, classes, parameters, numbers that the tier needs |
| model.safetensors | the arrays |
| scheme.json | the label scheme, where one was given |
| provenance.json | the teacher, prompt and data that it was distilled from, where they were given |
| drift.safetensors | what the texts looked like, where it was measured (see `tutelage.evaluation.drift`) |
| manifest.json | name, size and sha256 of every other file, written last |

Checksums find damage, not malice: whoever can change a file can change the manifest. So nothing that is read is trusted
either way: sizes are bounded, arrays are safetensors (no pickle), and each tier checks the shape and range of what it gets.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np

from tutelage.errors import InputError

FORMAT = "tutelage-student"
VERSION = 1
MANIFEST = "manifest.json"
REFERENCE = "drift.safetensors"
MAX_JSON = 16 << 20
"""Largest JSON file that is parsed, in bytes."""
MAX_HEADER = 4 << 20
"""Largest safetensors header that is parsed, in bytes."""

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def write(
    folder: str | Path,
    config: Mapping[str, object],
    arrays: Mapping[str, np.ndarray],
    *,
    scheme: Mapping[str, object] | None = None,
    provenance: Mapping[str, object] | None = None,
    reference: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write a student's files and the manifest over all files of the folder (also those a tier has put there before).

    Raises: InputError: the folder cannot be written.
    """
    from safetensors.numpy import save_file

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        write_json(folder / "config.json", {"format": FORMAT, "version": VERSION, **config})
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "model.safetensors")
        (folder / REFERENCE).unlink(missing_ok=True)
        if reference is not None:
            save_file({name: np.ascontiguousarray(array) for name, array in reference.items()}, folder / REFERENCE)
        for name, content in (("scheme.json", scheme), ("provenance.json", provenance)):
            (folder / name).unlink(missing_ok=True)
            if content is not None:
                write_json(folder / name, content)
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        entries = {p.relative_to(folder).as_posix(): {"size": p.stat().st_size, "sha256": _sha256(p)} for p in files}
        write_json(folder / MANIFEST, {"format": FORMAT, "files": entries})
    except OSError as error:
        raise InputError(f"cannot write the student to {folder}: {error.strerror or error}") from None
    return folder


def check(folder: str | Path) -> Path:
    """Verify a folder against its manifest and return it.

    Raises: InputError: no such folder, no manifest, a file missing or changed. Files that it does not list are not read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no student at {folder}: the folder does not exist")
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} is not a student: it has no {MANIFEST} (was writing it interrupted?)")
    files = read_json(folder / MANIFEST).get("files")
    if not isinstance(files, dict) or not {"config.json", "model.safetensors"} <= set(files):
        raise InputError(f"{folder / MANIFEST}: `files` must list config.json and model.safetensors")
    for name, entry in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not isinstance(entry, dict):
            raise InputError(f"{folder / MANIFEST}: bad entry {name!r}")
        file = folder / path
        if not os.path.isfile(file):  # noqa: PTH113 - False also for a name that no file can have
            raise InputError(f"{folder} is damaged: {name!r} is missing")
        if file.stat().st_size != entry.get("size") or _sha256(file) != entry.get("sha256"):
            raise InputError(f"{folder} is damaged: {name!r} is not the file that was saved (checksum differs)")
    return folder


def read_config(folder: Path, tier: str | None = None) -> dict[str, Json]:
    """The checked folder's config.json. Raises: InputError: another format, a newer version, another tier."""
    config = read_json(folder / "config.json")
    if config.get("format") != FORMAT:
        raise InputError(f"{folder / 'config.json'}: not a student (format is {config.get('format')!r})")
    if config.get("version") != VERSION:
        raise InputError(
            f"{folder}: written in version {config.get('version')!r} of the format; this reads version {VERSION}"
        )
    if tier is not None and config.get("tier") != tier:
        raise InputError(f"{folder} holds a student of tier {config.get('tier')!r}, not {tier!r}: use load_student")
    return config


def read_arrays(folder: Path, name: str = "model.safetensors") -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, after a look at the header's size.

    Raises: InputError: not a safetensors file, a header over `MAX_HEADER`, a number that is not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / name
    with path.open("rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    if not 2 <= header <= min(MAX_HEADER, path.stat().st_size - 8):
        raise InputError(f"{path}: not a safetensors file (header of {header} bytes)")
    try:
        arrays = load_file(path)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not a safetensors file ({' '.join(str(error).split())[:200]})") from None
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{path}: array {name!r} holds numbers that are not finite")
    return arrays


def require(
    arrays: Mapping[str, np.ndarray],
    name: str,
    dtype: str | tuple[str, ...],
    shape: tuple[int | None, ...],
    where: Path,
) -> np.ndarray:
    """One array of the wanted dtype and shape (None = any length). Raises: InputError: it is not so."""
    array = arrays.get(name)
    kinds = (dtype,) if isinstance(dtype, str) else dtype
    fits = (
        array is not None
        and array.dtype.name in kinds
        and array.ndim == len(shape)
        and all(want is None or want == have for want, have in zip(shape, array.shape, strict=True))
    )
    if array is None or not fits:
        found = "nothing" if array is None else f"{array.dtype} {array.shape}"
        raise InputError(f"{where}: array {name!r} must be {'/'.join(kinds)} {shape}; found {found}")
    return array


def number(config: Mapping[str, Json], name: str, low: float, high: float, where: Path) -> float:
    """A finite number of the config in [low, high]. Raises: InputError: it is not so."""
    value = config.get(name)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise InputError(f"{where / 'config.json'}: {name} must be a number in [{low}, {high}]; found {value!r}")
    return value


def read_json(path: Path) -> dict[str, Json]:
    """A JSON object. Raises: InputError: too large, not JSON, not an object."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise InputError(f"{path} is larger than {MAX_JSON >> 20} MiB")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not valid JSON ({str(error).splitlines()[0]})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON object")
    return data


def write_json(path: Path, data: Mapping[str, object]) -> None:
    """JSON with sorted keys and no NaN, so that equal contents are equal files."""
    path.write_text(
        json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def plain(value: object) -> Json:
    """numpy and tuples as JSON has them."""
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"a parameter of type {type(value).__name__} cannot be saved")
