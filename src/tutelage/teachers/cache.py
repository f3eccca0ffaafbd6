"""A teacher asked once: its outputs on disk, by example.

Running a large teacher in every epoch costs more than training the student. `TeacherCache` keeps what it said about
example i in row i of memory-mapped arrays: reading a batch is an index, filling can be interrupted and goes on, and a
cache of another teacher, data set or view is refused. Outputs are stored small: logits centred (a softmax does not
see their mean) in half precision, or the top k of many classes with the mass of the rest; features in half precision
with a scale for each row.

A cache is only true for the view that the teacher saw. With random augmentation either key the view by (example,
epoch mod R), with R stored views, or run the teacher live. With `writable=True` rows may be overwritten at any time:
the student's own past.

Layout: `meta.json`; `<signal>.<part>.npy` [N, …]; `<signal>.done.npy` [N] (bool).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from tutelage.data.indexed import IndexedDataset
from tutelage.errors import InputError
from tutelage.training.callbacks import watching
from tutelage.training.lesson import Batch, logits_of

FORMAT = 1
Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Dense:
    """Rows of a fixed shape. `center`: take the mean over the last axis away; `scaled`: divide each row by its largest magnitude.

    Half precision holds logits of |t| < 30 to 0.02, and scaled features to one part in a thousand of the row's largest.
    """

    shape: tuple[int, ...]
    dtype: str = "float16"
    center: bool = False
    scaled: bool = False

    def layout(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Part → shape of a row and type."""
        parts = {"values": (tuple(self.shape), self.dtype)}
        return parts | ({"scale": ((), "float32")} if self.scaled else {})

    def encode(self, value: Tensor) -> Parts:
        """[B, *shape] → parts."""
        value = value.float()
        if self.center:
            value = value - value.mean(-1, keepdim=True)
        if not self.scaled:
            return {"values": value}
        scale = value.flatten(1).abs().amax(1).clamp(min=1e-12)
        return {"values": value / scale.view(-1, *(1,) * len(self.shape)), "scale": scale}

    def decode(self, parts: Parts) -> Tensor:
        """Parts → [B, *shape] float32."""
        value = parts["values"].float()
        return value * parts["scale"].view(-1, *(1,) * len(self.shape)) if self.scaled else value


@dataclass(frozen=True)
class TopK:
    """Logits of many classes: the k largest log-probabilities, and the mass of the rest, spread evenly when read back."""

    classes: int
    k: int = 32

    def layout(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Part → shape of a row and type."""
        return {"ids": ((self.k,), "int32"), "log_p": ((self.k,), "float16"), "rest": ((), "float32")}

    def encode(self, value: Tensor) -> Parts:
        """[B, classes] → parts."""
        log_p, ids = value.float().log_softmax(-1).topk(self.k)
        rest = (1 - log_p.exp().sum(-1)).clamp(min=1e-8)
        return {"ids": ids, "log_p": log_p.clamp(min=-6e4), "rest": rest}

    def decode(self, parts: Parts) -> Tensor:
        """Parts → [B, classes] log-probabilities."""
        ids, log_p, rest = parts["ids"], parts["log_p"], parts["rest"]
        floor = (rest.log() - math.log(max(self.classes - self.k, 1))).unsqueeze(1).expand(-1, self.classes)
        return floor.scatter(1, ids.long(), log_p.float())


Signal = Dense | TopK


def logits_signal(classes: int) -> Signal:
    """How logits are stored: centred float16, or the top 32 when there are more than 1000 classes."""
    return TopK(classes) if classes > 1000 else Dense((classes,), center=True)


class TeacherCache:
    """Rows of a teacher's outputs by example index.

    Args:
        folder: where; made when it does not exist, opened (and checked) when it does.
        size: examples N.
        signals: name → how it is stored.
        key: what the rows are true for, for instance `{"teacher": weights_fingerprint(model), "data": …, "view":
            "none"}`.
        writable: rows may be written again.

    Raises: InputError: an existing cache of another size, key or signals.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> cache = TeacherCache(folder.name, size=4, signals={"logits": logits_signal(3)}, key={"teacher": "t"})
    >>> cache.fill(nn.Linear(2, 3), (torch.randn(4, 2),))
    >>> cache({"index": torch.tensor([3, 0])}).shape
    torch.Size([2, 3])
    >>> folder.cleanup()
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        size: int,
        signals: Mapping[str, Signal],
        key: Mapping[str, str],
        writable: bool = False,
    ) -> None:
        if size < 1 or not signals:
            raise InputError("a cache needs at least one example and one signal")
        self.folder, self.size, self.signals, self.writable = Path(folder), size, dict(signals), writable
        meta = {
            "format": FORMAT,
            "size": size,
            "key": dict(key),
            "signals": {name: {"kind": type(s).__name__, **asdict(s)} for name, s in signals.items()},
        }
        path = self.folder / "meta.json"
        fresh = not path.exists()
        if fresh:
            self.folder.mkdir(parents=True, exist_ok=True)
        else:
            self._check(json.loads(path.read_text("utf-8")), json.loads(json.dumps(meta)))
        self._maps: list[np.memmap] = []
        self._parts: dict[str, Parts] = {}
        self._done: dict[str, Tensor] = {}
        for name, signal in self.signals.items():
            layout = signal.layout().items()
            self._parts[name] = {
                part: self._map(f"{name}.{part}", shape, kind, fresh) for part, (shape, kind) in layout
            }
            self._done[name] = self._map(f"{name}.done", (), "bool", fresh)
        self._whole = {name: bool(done.all()) for name, done in self._done.items()}
        if fresh:
            path.write_text(json.dumps(meta, indent=1), "utf-8")

    def __call__(self, batch: Batch) -> Tensor:
        """The only signal (or "logits") of a batch's examples: a `TeacherCache` can stand where a teacher is asked."""
        name = "logits" if "logits" in self.signals else next(iter(self.signals))
        if "index" not in batch:
            raise InputError("a cached teacher needs `index` in the batch; wrap the data set in IndexedDataset")
        return self.rows(name, batch["index"])

    def rows(self, name: str, index: Tensor) -> Tensor:
        """Rows [B, …] (float32, on the device of `index`) of examples `index` [B].

        Raises: InputError: an unknown signal, an index outside [0, N), rows that nobody has filled.
        """
        self._known(name)
        at = index.cpu()
        try:
            if not self._whole[name] and not bool((done := self._done[name].index_select(0, at)).all()):
                raise InputError(f"signal '{name}' has no row for example {int(at[~done][0])}; fill the cache first")
            parts = {part: held.index_select(0, at) for part, held in self._parts[name].items()}
        except IndexError:
            raise InputError(f"examples are numbered 0 to {self.size - 1}; asked for {at.tolist()}") from None
        return self.signals[name].decode(parts).to(index.device)

    def write(self, name: str, index: Tensor, value: Tensor) -> None:
        """Store rows. What is done stays done, unless the cache is writable.

        Raises: InputError: rows that exist already in a cache that is not writable; values of another shape or not
            finite.
        """
        self._known(name)
        at, value = index.cpu(), value.detach().cpu()
        if len(at) and not 0 <= int(at.min()) <= int(at.max()) < self.size:
            raise InputError(f"examples are numbered 0 to {self.size - 1}; asked for {at.tolist()}")
        if not self.writable and bool(self._done[name][at].any()):
            raise InputError(f"signal '{name}' has these rows already; with writable=True they can be replaced")
        if len(value) != len(at) or not bool(torch.isfinite(value).all()):
            raise InputError(f"signal '{name}': need {len(at)} finite rows; got shape {tuple(value.shape)}")
        for part, new in self.signals[name].encode(value).items():
            held = self._parts[name][part]
            if new.shape[1:] != held.shape[1:]:
                raise InputError(f"signal '{name}' has rows {tuple(held.shape[1:])}; got {tuple(new.shape[1:])}")
            held[at] = new.to(held.dtype)
        self._done[name][at] = True
        self._whole[name] = bool(self._done[name].all())

    def fill(
        self,
        teacher: nn.Module | Callable[[Batch], Tensor | Mapping[str, Tensor]],
        data: IndexedDataset | Dataset | Mapping[str, Tensor] | tuple[Tensor, ...],
        *,
        batch_size: int = 256,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Ask the teacher about every example that has no row yet; an interrupted fill goes on where it stopped.

        Args: teacher: a model (asked for logits, in evaluation mode), or a function of the batch to one tensor or to
            {signal: tensor}; data: as long as the cache; progress: called with the number of rows done.
        """
        data = data if isinstance(data, IndexedDataset) else IndexedDataset(data)
        if len(data) != self.size:
            raise InputError(f"the cache is for {self.size} examples, the data has {len(data)}")
        missing = (~torch.stack(list(self._done.values())).all(0)).nonzero().flatten()
        with watching(teacher) if isinstance(teacher, nn.Module) else torch.no_grad():
            for index in missing.split(batch_size):
                batch = data.batch(index)
                said = logits_of(teacher, batch["x"]) if isinstance(teacher, nn.Module) else teacher(batch)
                for name, value in (said if isinstance(said, Mapping) else {next(iter(self.signals)): said}).items():
                    self._known(name)
                    new = ~self._done[name][index]
                    self.write(name, index[new], value.cpu()[new])
                self.flush()
                if progress is not None:
                    progress(len(index))

    @property
    def complete(self) -> bool:
        """Whether every signal has every row."""
        return all(self._whole.values())

    def flush(self) -> None:
        """Rows to disk first, then the marks that say they are there."""
        for held in self._maps:
            held.flush()

    def _known(self, name: str) -> None:
        if name not in self.signals:
            raise InputError(f"no signal '{name}' in this cache; there are {sorted(self.signals)}")

    def _map(self, name: str, shape: tuple[int, ...], dtype: str, fresh: bool) -> Tensor:
        path = self.folder / f"{name}.npy"
        if fresh:
            held = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=(self.size, *shape))
        else:
            try:
                held = np.lib.format.open_memmap(path, mode="r+")
            except (OSError, ValueError) as error:
                raise InputError(f"cannot read {path}: {error}; delete the folder and fill it again") from error
        self._maps.append(held)
        return torch.from_numpy(held)

    def _check(self, found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
        for name, value in wanted.items():
            if found.get(name) != value:
                raise InputError(
                    f"{self.folder} is a cache of another {name}: it has {found.get(name)}, asked for {value}; "
                    "use another folder"
                )
