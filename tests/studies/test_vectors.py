"""Vectors are made once for all who need them, and a measurement of speed does not read them from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tutelage.studies.vectors import VECTORS, encode_once, encoder, uncached

NAME = "use-multilingual"


def test_vectors_are_kept_and_do_not_depend_on_the_order_of_the_work(tmp_path: Path):
    texts = ["rain", "snow in May", "rain"]
    first = encode_once(NAME, texts, tmp_path)
    assert (tmp_path / VECTORS).exists()
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(encode_once(NAME, texts[::-1], tmp_path), first[::-1])


def test_the_encoder_without_a_cache_is_the_same_model_and_leaves_the_other_alone(tmp_path: Path):
    kept = encode_once(NAME, ["rain"], tmp_path)
    bare = uncached(NAME, tmp_path)
    assert bare.cache is None
    assert encoder(NAME, tmp_path).cache == tmp_path / VECTORS
    assert bare._backend is encoder(NAME, tmp_path)._backend
    np.testing.assert_allclose(bare.encode(["rain"]), kept, atol=1e-6)
