"""Sentence vectors for studies, made once: processes that need the same ones share the work."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tutelage.data.encoder import SentenceEncoder

VECTORS = "vectors.sqlite"
"""Name of the cache in the scratch folder."""

_CHUNK = 64


@cache
def encoder(name: str, scratch: Path) -> SentenceEncoder:
    """The encoder of this process, with its cache in the scratch folder; loaded once, on one thread."""
    from tutelage.data.encoder import SentenceEncoder

    return SentenceEncoder(name, cache=scratch / VECTORS, threads=1)


def uncached(name: str, scratch: Path) -> SentenceEncoder:
    """The same encoder, which need not be loaded again, without its cache: for whoever measures how fast it is."""
    bare = copy.copy(encoder(name, scratch))
    bare.cache = None
    return bare


def encode_once(name: str, texts: Sequence[str], scratch: Path) -> np.ndarray:
    """Unit vectors (N, d) float32 of a `SentenceEncoder`, kept in the scratch folder.

    Every process walks through the texts in an order of its own and skips what another one has already made, so two
    processes take half the time of one, and a second run takes none. The vectors do not depend on any of this.
    """
    by_length = sorted(set(texts), key=len)  # texts of one length share a batch without padding
    chunks = [by_length[start : start + _CHUNK] for start in range(0, len(by_length), _CHUNK)]
    random.Random(os.getpid()).shuffle(chunks)
    for chunk in chunks:
        encoder(name, scratch).encode(chunk)
    return encoder(name, scratch).encode(texts)
