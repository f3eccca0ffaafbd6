"""Near duplicates against brute force: nothing dropped that is none, (almost) nothing missed, the first one kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.dedup import near_duplicates
from tutelage.data.text import normalise


def shingles(text: str, n: int) -> set[tuple[str, ...]]:
    words = normalise(text).split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b) if a and b else 0.0


def brute_force(texts: list[str], threshold: float, n: int, held_out: list[str]) -> list[int]:
    """The row kept instead of each row (N + j for held-out texts), or −1."""
    kept = [(len(texts) + j, text) for j, text in enumerate(held_out)]
    of = []
    for row, text in enumerate(texts):
        same = next((place for place, other in kept if normalise(other) == normalise(text)), None)
        if same is None:
            mine = shingles(text, n)
            same = next((place for place, other in kept if jaccard(mine, shingles(other, n)) >= threshold), -1)
        of.append(same)
        if same < 0:
            kept.append((row, text))
    return of


words = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=9).map(" ".join)


@settings(max_examples=120, deadline=None, derandomize=True)  # MinHash may miss one pair in ten thousand
@given(
    st.lists(words, max_size=8),
    st.lists(words, max_size=3),
    st.sampled_from([0.3, 0.5, 0.8, 1.0]),
    st.integers(1, 3),
)
def test_small_corpora_agree_with_brute_force(texts: list[str], held: list[str], threshold: float, n: int) -> None:
    found = near_duplicates(texts, threshold=threshold, n=n, held_out=held)
    assert found.of.tolist() == brute_force(texts, threshold, n, held)
    assert found.drop.tolist() == [place >= 0 for place in found.of]
    assert found.exact + found.near == found.drop.sum()


@settings(max_examples=40, deadline=None)
@given(st.lists(words, max_size=10))
def test_every_dropped_row_has_a_kept_one_that_is_like_it(texts: list[str]) -> None:
    found = near_duplicates(texts, threshold=0.5, n=2)
    for row, place in enumerate(found.of.tolist()):
        if place >= 0:
            assert place < row
            assert found.of[place] == -1
            alike = jaccard(shingles(texts[row], 2), shingles(texts[place], 2)) >= 0.5
            assert alike or normalise(texts[row]) in map(normalise, texts[:row])


def edited(rng: np.random.Generator, words: list[str], count: int) -> list[str]:
    changed = list(words)
    for place in rng.choice(len(words), count, replace=False):
        changed[place] = f"new{rng.integers(10**9)}"
    return changed


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_pairs_at_the_threshold_are_found_and_pairs_below_are_not(threshold: float) -> None:
    rng = np.random.default_rng(3)
    originals = [[f"w{rng.integers(5000)}" for _ in range(200)] for _ in range(300)]
    copies = [edited(rng, words, int(rng.integers(1, 28))) for words in originals]
    texts = [" ".join(words) for words in originals + copies]
    similar = [jaccard(shingles(texts[i], 5), shingles(texts[300 + i], 5)) for i in range(300)]
    assert min(similar) < threshold < max(similar)
    found = near_duplicates(texts, threshold=threshold)
    expected = np.array([False] * 300 + [s >= threshold for s in similar])
    assert not (found.drop & ~expected).any()
    assert (expected & ~found.drop).sum() <= 1  # MinHash may miss one in ten thousand
    assert found.near == found.drop.sum()


def test_case_and_white_space_make_no_difference_and_short_texts_match_exactly_only() -> None:
    found = near_duplicates(["Rain in  Bergen", "rain in bergen ", "rain in bergen now", "", ""])
    assert found.of.tolist() == [-1, 0, -1, -1, 3]
    assert (found.exact, found.near) == (2, 0)


def test_punctuation_makes_a_near_duplicate_not_an_exact_one() -> None:
    found = near_duplicates(["one two three four five", "one, two: three (four) five!"])
    assert (found.of.tolist(), found.exact, found.near) == ([-1, 0], 0, 1)


def test_a_character_counts_as_a_word_where_words_are_not_spaced() -> None:
    one = "東京は日本の首都であり、世界最大の都市の一つです。人口は千四百万人です。"
    assert near_duplicates([one, one.replace("首都", "中心")], threshold=0.5).of.tolist() == [-1, 0]
    assert near_duplicates([one, "大阪は西日本の中心です。食べ物がおいしいことで知られています。"]).near == 0


def test_held_out_texts_are_kept_whatever_they_repeat() -> None:
    text = "one two three four five six"
    found = near_duplicates([text + " seven", "else"], held_out=["x", text, text], threshold=0.6)
    assert found.of.tolist() == [2 + 1, -1]
    assert near_duplicates([], held_out=[text]).of.shape == (0,)


def test_the_result_depends_on_the_texts_alone() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{rng.integers(3)}" for _ in range(12)) for _ in range(300)]
    first, second = near_duplicates(texts, threshold=0.3, n=2), near_duplicates(texts, threshold=0.3, n=2)
    assert first.of.tolist() == second.of.tolist()
    assert first.near > 0


@pytest.mark.parametrize(("threshold", "n"), [(0.0, 5), (1.1, 5), (-1, 5), (0.8, 0)])
def test_impossible_settings_are_refused(threshold: float, n: int) -> None:
    with pytest.raises(ValueError, match="threshold"):
        near_duplicates(["a"], threshold=threshold, n=n)
