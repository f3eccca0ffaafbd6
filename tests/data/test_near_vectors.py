"""Near duplicates of vectors: the brute-force rule, which copy is kept, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data import near_vectors
from tutelage.data.near_vectors import near_duplicate_vectors
from tutelage.errors import InputError


def test_held_out_rows_win_over_earlier_ones():
    found = near_duplicate_vectors([[1.0, 0.0], [1.0, 0.0], [0.0, 3.0]], held_out=[[0.0, 1.0], [1.0, 0.0]])
    assert found.of.tolist() == [4, 4, 3]
    assert (found.exact, found.near) == (2, 1)


def test_without_a_threshold_only_identical_rows_count():
    found = near_duplicate_vectors([[1.0, 0.0], [2.0, 0.0], [1.0, -0.0]], threshold=None)
    assert found.of.tolist() == [-1, -1, 0]


def test_rows_of_zeros_have_no_direction():
    assert near_duplicate_vectors([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]).of.tolist() == [-1, -1, 0]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), block=st.sampled_from([1, 3, 100]))
def test_what_is_kept_is_far_apart_and_what_is_dropped_is_near_something_kept(seed: int, block: int):
    rng = np.random.default_rng(seed)
    rows, held_out = rng.normal(size=(12, 2)), rng.normal(size=(2, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_vectors, "_BLOCK", block)
        found = near_duplicate_vectors(rows, threshold=0.9, held_out=held_out)
    everything = np.concatenate([rows, held_out])
    unit = everything / np.linalg.norm(everything, axis=1, keepdims=True)
    cosine = unit @ unit.T
    kept = [*np.flatnonzero(~found.drop), 12, 13]
    for row in range(12):
        if found.drop[row]:
            assert found.of[row] in kept
            assert cosine[row, found.of[row]] >= 0.9 - 1e-6
        else:
            assert all(
                cosine[row, other] < 0.9 + 1e-6 for other in kept if other != row and (other < row or other > 11)
            )


@pytest.mark.parametrize(
    ("features", "options"),
    [
        ([[1.0]], {"threshold": 0.0}),
        ([[1.0]], {"held_out": [[1.0, 2.0]]}),
        ([1.0], {}),
        ([[np.nan]], {}),
    ],
)
def test_refuses_what_cannot_be_compared(features: list, options: dict):
    with pytest.raises(InputError):
        near_duplicate_vectors(features, **options)
