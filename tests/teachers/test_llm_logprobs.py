"""Label probabilities from log-probabilities, against cases worked by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from tutelage.teachers.llm.base import Token
from tutelage.teachers.llm.local import choice_scores, split_candidates
from tutelage.teachers.llm.logprobs import label_probs

log = math.log


def token(text: str, **top: float) -> Token:
    return listed(text, top)


def listed(text: str, top: Mapping[str, float]) -> Token:
    return Token(text, log(top.get(text, 1.0)), tuple((t, log(p)) for t, p in top.items()))


def certain(text: str) -> Token:
    return Token(text, 0.0, ((text, 0.0),))


def probs(tokens: list[Token], label: str, names: list[str]) -> list[float] | None:
    raw = "".join(t.text for t in tokens)
    start = raw.index(label)
    found = label_probs(tokens, (start, start + len(label)), names)
    return None if found is None else [round(p, 4) for p in found]


def test_labels_that_differ_in_their_first_token() -> None:
    tokens = [certain('{"label": "'), token("sport", sport=0.6, politics=0.3, weather=0.1), certain('"}')]
    assert probs(tokens, "sport", ["weather", "sport", "politics"]) == [0.1, 0.6, 0.3]


def test_mass_outside_of_the_labels_is_shared_out_in_proportion() -> None:
    tokens = [certain('{"label": "'), token("sport", sport=0.4, politics=0.1, The=0.5), certain('"}')]
    assert probs(tokens, "sport", ["sport", "politics"]) == [0.8, 0.2]


def test_a_label_that_begins_another_one_is_told_by_what_follows() -> None:
    end = listed('"', {'"': 0.25, " politics": 0.75})
    tokens = [certain('{"label": "'), token("World", World=0.8, Sport=0.2), end, certain("}")]
    assert probs(tokens, "World", ["World", "World politics", "Sport"]) == [0.2, 0.6, 0.2]


def test_labels_that_share_tokens_multiply_along_the_way() -> None:
    tokens = [
        certain('{"label": "'),
        token("en", en=0.9, sport=0.1),
        token("viron", viron=0.7, ergy=0.3),
        certain("ment"),
        certain('"}'),
    ]
    # the token that tells environment from energy decides; "ment" is no choice any more
    assert probs(tokens, "environment", ["environment", "energy", "sport"]) == [0.63, 0.27, 0.1]


def test_a_token_may_begin_before_the_label_and_run_past_it() -> None:
    tokens = [certain('{"label":'), listed(' "yes"}', {' "yes"}': 0.9, ' "no"}': 0.1})]
    assert probs(tokens, "yes", ["no", "yes"]) == [0.1, 0.9]


def test_pieces_of_one_label_add_up() -> None:
    tokens = [certain('"'), token("sport", sport=0.5, sp=0.1, s=0.1, politics=0.3), certain('"')]
    assert probs(tokens, "sport", ["sport", "politics"]) == [0.7, 0.3]


def test_an_alternative_that_fits_several_labels_is_not_guessed_at() -> None:
    tokens = [certain('"'), token("sport", sport=0.6, en=0.4), certain('"')]
    assert probs(tokens, "sport", ["sport", "environment", "energy"]) is None
    almost = [certain('"'), token("sport", sport=0.97, en=0.02, environment=0.01), certain('"')]
    assert probs(almost, "sport", ["sport", "environment", "energy"]) == [0.9898, 0.0102, 0.0]


def test_a_label_below_the_end_of_the_list_is_bounded() -> None:
    sure = [certain('"'), token("a", a=0.98, b=0.01), certain('"')]
    assert probs(sure, "a", ["a", "b", "c"]) == [0.9899, 0.0101, 0.0]
    unsure = [certain('"'), token("a", a=0.5, b=0.2), certain('"')]  # c may have up to 0.2
    assert probs(unsure, "a", ["a", "b", "c"]) is None


def test_integer_ids_end_where_the_number_ends() -> None:
    tokens = [certain('{"label": '), listed("1", {"1": 0.8, "2": 0.2}), listed("}", {"}": 0.5, "2": 0.5})]
    assert probs(tokens, "1", ["0", "1", "2", "12"]) == [0.0, 0.4, 0.2, 0.4], "the list is complete, so 0 has nothing"


def test_without_alternatives_there_are_no_probabilities() -> None:
    tokens = [Token('"', 0.0), Token("sport", -0.1), Token('"', 0.0)]
    assert label_probs(tokens, (1, 6), ["sport", "politics"]) is None
    assert label_probs([], (0, 1), ["a", "b"]) is None


def test_choice_scores_are_a_softmax_and_calibration_divides_by_the_prior() -> None:
    import numpy as np

    assert choice_scores(np.array([log(1), log(3)])) == pytest.approx([0.25, 0.75])
    assert choice_scores(np.array([log(0.2), log(0.6)]), np.array([log(0.2), log(0.6)])) == pytest.approx([0.5, 0.5])
    assert choice_scores(np.array([-1e4, -1e4 - 50.0])).sum() == pytest.approx(1)


def test_candidates_share_what_they_share_and_keep_one_token_each() -> None:
    tokenise = lambda text: [ord(c) for c in text]
    shared, rests = split_candidates(tokenise, "ab", ["cd", "cde", "cf"])
    assert shared == [ord(c) for c in "abc"]
    assert rests == [[ord("d")], [ord("d"), ord("e")], [ord("f")]]
    shared, rests = split_candidates(tokenise, "ab", ["c", "cd"])
    assert (shared, rests) == ([97, 98], [[99], [99, 100]])
