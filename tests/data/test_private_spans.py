"""Private tokens: what each rule finds and leaves alone, masking that can be undone, and targets that say less."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.privacy import find_pii, mask_pii, shield_targets, token_degrees, unmask_pii, without_spans
from tutelage.errors import InputError


def kinds(text: str, **options: object) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in find_pii(text, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mail ada.b+c@mail.example.org.", [("email", "ada.b+c@mail.example.org")]),
        ("pay to DE89 3704 0044 0532 0130 00 now", [("iban", "DE89 3704 0044 0532 0130 00")]),
        ("pay to GB82WEST12345698765432", [("iban", "GB82WEST12345698765432")]),
        ("card 4111 1111 1111 1111 please", [("card", "4111 1111 1111 1111")]),
        ("card 4111-1111-1111-1111", [("card", "4111-1111-1111-1111")]),
        ("ring +49 (30) 901820 today", [("phone", "+49 (30) 901820")]),
        ("ring 0171-555-0123", [("phone", "0171-555-0123")]),
        ("host 192.168.0.12 is down", [("ip", "192.168.0.12")]),
        ("key a1b2c3d4e5 leaked", [("key", "a1b2c3d4e5")]),
        ("id 123e4567-e89b-12d3-a456-426614174000", [("key", "123e4567-e89b-12d3-a456-426614174000")]),
        ("ask @ada_l about it", [("handle", "@ada_l")]),
        ("on 2024-03-01 and 1/3/2024", [("date", "2024-03-01"), ("date", "1/3/2024")]),
        ("since 1984 it rained", [("date", "1984")]),
        ("pin 4815", [("number", "4815")]),
        ("the code of ada is 4 8 1 5", [("number", "4 8 1 5")]),
        ("it costs 12,500 in all", [("number", "12,500")]),
    ],
)
def test_each_rule_finds_its_kind(text: str, found: list[tuple[str, str]]):
    assert kinds(text) == found


@pytest.mark.parametrize(
    "text",
    ["", "nothing here", "room 12", "3.5 percent of 40", "a@b", "word-word", "internationalisation", "7 3 4", "@"],
)
def test_ordinary_text_is_left_alone(text: str):
    assert find_pii(text) == []


def test_checksums_tell_accounts_and_cards_from_numbers():
    assert kinds("DE88 3704 0044 0532 0130 00")[0][0] != "iban", "one digit off"
    assert kinds("4111 1111 1111 1112") == [("number", "4111 1111 1111 1112")]
    assert kinds("999.999.999.999")[0][0] != "ip"


def test_rosters_match_whole_words_in_any_case_and_the_longest_first():
    roster = ["Ada", "Ada Lovelace", "o'neil"]
    assert kinds("ADA LOVELACE met Adam and ada", roster=roster) == [("name", "ADA LOVELACE"), ("name", "ada")]
    assert kinds("O'Neil said so", roster=roster) == [("name", "O'Neil")]
    assert kinds("Ada\n Lovelace", roster=roster) == [("name", "Ada\n Lovelace")]
    assert kinds("a.b", roster=["a.b"]) == [("name", "a.b")]
    assert kinds("axb", roster=["a.b"]) == [], "a name is no pattern"


def test_a_name_in_an_address_does_not_split_it():
    assert kinds("ada@x.org", roster=["ada"]) == [("email", "ada@x.org")]


def test_what_an_earlier_rule_left_is_still_looked_at():
    assert kinds("2024-03-01 4815") == [("date", "2024-03-01"), ("number", "4815")]
    assert kinds("x.org ltd: ada@x.org", roster=["x.org ltd", "ada"]) == [("name", "x.org ltd"), ("email", "ada@x.org")]
    assert kinds("4815 ada 1623", roster=["ada"]) == [("number", "4815"), ("name", "ada"), ("number", "1623")]


def test_kinds_choose_and_unknown_ones_are_refused():
    assert kinds("ada@x.org 4815", kinds={"number"}) == [("number", "4815")]
    with pytest.raises(InputError, match="unknown kind 'mail'"):
        find_pii("", kinds=["mail"])
    with pytest.raises(InputError, match="empty name"):
        find_pii("text", roster=["ada", " "])


TEXTS = st.text("a1 4.@-+/[]()_EMAILx8", max_size=80) | st.text(max_size=60)


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_spans_are_ordered_disjoint_and_inside(text: str):
    spans = find_pii(text, roster=["aa", "x"])
    assert all(0 <= span.start < span.end <= len(text) and 0 < span.degree <= 1 for span in spans)
    assert all(first.end <= second.start for first, second in pairwise(spans))


@given(TEXTS | st.just("[EMAIL_1] wrote to a@b.org, [NUMBER_2] 4815"))
@settings(max_examples=300, deadline=None)
def test_masking_can_be_undone(text: str):
    masked = mask_pii(text, roster=["aa"])
    assert unmask_pii(*masked) == text
    assert len(set(masked.originals.values())) == len(masked.originals)


def test_masked_text_shows_nothing_private_and_numbers_go_on():
    first = mask_pii("ada@x.org has pin 4815", ["ada"])
    assert first.text == "[EMAIL_1] has pin [NUMBER_1]"
    second = mask_pii("pin 1623, not 4815", originals=first.originals)
    assert second.text == "pin [NUMBER_2], not [NUMBER_1]"
    assert unmask_pii(second.text, second.originals) == "pin 1623, not 4815"
    assert first.originals == {"[EMAIL_1]": "ada@x.org", "[NUMBER_1]": "4815"}, "the earlier map is left as it was"


def test_every_piece_of_a_span_gets_its_degree():
    text = "ada: 4815"
    degrees = token_degrees([(0, 3), (3, 4), (5, 7), (7, 9), (9, 9)], find_pii(text, ["ada"]))
    assert degrees == [1.0, 0.0, 0.9, 0.9, 0.0]


@pytest.mark.parametrize(
    "piece", ["12 34 56 78 ", "1", "a1", "12345-", "a.b@c.", "AB12 ", "((12)", "+1 2", "1.1.1.1", "aa "]
)
def test_long_texts_take_no_time(piece: str):
    text = piece * (200_000 // len(piece))
    started = time.process_time()
    mask_pii(text, roster=["aa", "bb"])
    assert time.process_time() - started < 5


def test_what_is_private_can_be_taken_out():
    text = "ada@x.org has pin 4815, ada"
    assert without_spans(text, find_pii(text, ["ada"])) == "  has pin  ,  "
    assert without_spans(text, []) == text


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_nothing_private_is_left_after_taking_it_out(text: str):
    spans = find_pii(text, roster=["aa"])
    left = without_spans(text, spans)
    assert len(left) == len(text) - sum(span.end - span.start - 1 for span in spans)
    assert "aa" not in left.split()


def test_a_shield_leaves_public_rows_and_flattens_private_ones():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.0, 1.0]])
    soft = shield_targets(p, [0.0, 1.0, 1.0], tau_max=1e6, noise=0.0)
    assert np.allclose(soft, [[0.9, 0.1], [0.5, 0.5], [0.5, 0.5]], atol=1e-4)
    odds = 9 ** (1 / 10.5)  # τ = 1 + 19 / 2
    assert shield_targets(p[:1], [0.5], noise=0.0)[0, 0] == pytest.approx(odds / (1 + odds), rel=1e-5)
    assert soft.dtype == np.float32


def test_a_hard_label_is_only_so_sure():
    hard = shield_targets(np.array([[1.0, 0.0]]), [1.0], tau_max=2.0, noise=0.0)
    odds = (0.999 / 0.001) ** 0.5
    assert hard[0, 0] == pytest.approx(odds / (1 + odds), rel=1e-5)
    assert shield_targets(np.array([[1.0, 0.0]]), [0.0])[0].tolist() == [1.0, 0.0], "a public one is as it was"


def test_several_labels_are_shielded_one_by_one():
    p = np.array([[0.9, 0.5, 0.0], [0.9, 0.5, 0.0]])
    soft = shield_targets(p, [0.0, 1.0], tau_max=2.0, noise=0.0, multi=True)
    assert soft[0].tolist() == pytest.approx([0.9, 0.5, 0.0])
    sure = 999**0.5
    assert soft[1].tolist() == pytest.approx([3 / 4, 0.5, 1 / (1 + sure)], rel=1e-5)
    noisy = shield_targets(np.full((2000, 1), 0.5), np.ones(2000), tau_max=1.0, multi=True)
    assert np.abs(np.log(noisy / (1 - noisy))).mean() == pytest.approx(1.0, abs=0.1), "E|Laplace(0, 1)| = 1"


def test_noise_falls_on_private_rows_only_and_a_seed_decides_it():
    p = np.full((2, 3), 1 / 3)
    first, again, other = (shield_targets(p, [0.0, 1.0], tau_max=1.0, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.allclose(first[0], 1 / 3)
    assert not np.allclose(first[1], 1 / 3)
    assert np.allclose(first.sum(1), 1)


@pytest.mark.parametrize(
    ("degree", "options"),
    [
        ([0.0], {}),
        ([0.0, 1.2], {}),
        ([0.0, -0.1], {}),
        ([0.0, 1.0], {"tau_max": 0.5}),
        ([0.0, 1.0], {"noise": -1.0}),
        ([0.0, 1.0], {"floor": 0.0}),
    ],
)
def test_a_shield_refuses_what_does_not_fit(degree: list[float], options: dict[str, float]):
    with pytest.raises(InputError, match="degrees"):
        shield_targets(np.full((2, 2), 0.5), degree, **options)
