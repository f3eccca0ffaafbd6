"""Reading replies: what is an answer is read, what is ambiguous or outside of the scheme is not guessed at."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.labels import LabelScheme
from tutelage.teachers.llm.base import Choice
from tutelage.teachers.llm.chain import read
from tutelage.teachers.llm.execute import OutputSpec, repair, verify_quote, vote

NAMES = ("World", "World politics", "Sci/Tech", 'The "Times"', "Économie")
SINGLE = LabelScheme.from_dict(list(NAMES))
MULTI = LabelScheme.from_dict({"kind": "multi", "labels": list(NAMES)})
forms = st.builds(OutputSpec, st.sampled_from([SINGLE, MULTI]), st.sampled_from(["names", "ids"]), st.booleans())
prose = st.text(st.characters(exclude_characters="{}[]<>", exclude_categories=["Cs"]), max_size=30)


@given(forms, st.data())
def test_what_is_encoded_is_parsed(spec: OutputSpec, data: st.DataObject) -> None:
    labels = data.draw(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=len(NAMES) if spec.multi else 1, unique=True)
    )
    parsed = spec.parse(spec.encode(labels, "a quote"))
    assert parsed.status == "ok"
    assert parsed.strict
    assert parsed.labels == tuple(sorted(labels, key=NAMES.index))
    assert parsed.quote == ("a quote" if spec.explain else None)
    if not spec.multi:
        start, end = parsed.span  # type: ignore[misc]
        assert spec.encode(labels, "a quote")[start:end] == spec.wire_names[NAMES.index(labels[0])]


@given(forms, st.sampled_from(NAMES), prose, prose)
def test_an_answer_in_prose_or_a_code_block_is_found(spec: OutputSpec, name: str, before: str, after: str) -> None:
    answer = spec.encode([name])
    for wrapped in (f"{before}\n```json\n{answer}\n```\n{after}", f"<think>{before} {{</think>{answer}"):
        assert spec.parse(wrapped).labels == (name,)


keys = st.sampled_from(["label", "labels", "quote", "x"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
    | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
)


@given(forms, st.text(max_size=200) | values.map(json.dumps))
def test_any_reply_gives_labels_of_the_scheme_or_a_reason(spec: OutputSpec, reply: str) -> None:
    parsed = spec.parse(reply)
    assert parsed.status in ("ok", "invalid_json", "unknown_label", "refusal")
    assert set(parsed.labels) <= set(NAMES)
    assert (parsed.error is None) == (parsed.status == "ok")
    if parsed.status == "ok" and not spec.multi:
        assert len(parsed.labels) == 1
    if parsed.status != "ok":
        assert parsed.labels == ()


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ('{"label": "world"}', "World"),
        ('{"label":  "  WORLD   politics "}', "World politics"),
        ('{"label": ["Sci/Tech"]}', "Sci/Tech"),
        ('{"label": "World - events abroad"}', "World"),
        ('{"label": "World politics: parties"}', "World politics"),
        ("{'label': 'World'}", "World"),
        ('{"label": "World",}', "World"),
        ('{"label": "World"', "World"),
        ('{"labels": ["World"]}', "World"),
        ("World", "World"),
        ('"World politics".', "World politics"),
        ("Label: World", "World"),
        ("The label is World.", "World"),
        ("**Sci/Tech**", "Sci/Tech"),
        ('{"label": "World"} {"label": "World"}', "World"),
    ],
)
def test_lenient_readings(reply: str, label: str) -> None:
    assert OutputSpec(SINGLE).parse(reply).labels == (label,)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("", "invalid_json"),
        ("   ", "invalid_json"),
        ("I think World or Sci/Tech", "invalid_json"),
        ("It is not about World.", "invalid_json"),
        ('{"label": "World"} or {"label": "Sci/Tech"}', "invalid_json"),
        ('{"topic": "World"}', "invalid_json"),
        ('{"label": "Worlds"}', "unknown_label"),
        ('{"label": ""}', "unknown_label"),
        ('{"label": null}', "unknown_label"),
        ('{"label": 0}', "unknown_label"),
        ('{"label": ["World", "Sci/Tech"]}', "unknown_label"),
        ('{"label": {"name": "World"}}', "unknown_label"),
        ("[" * 5000, "invalid_json"),
        ("{" * 5000, "invalid_json"),
        ("I'm sorry, but I cannot help with that.", "refusal"),
    ],
)
def test_what_is_no_answer_is_no_answer(reply: str, status: str) -> None:
    assert OutputSpec(SINGLE).parse(reply).status == status


@pytest.mark.parametrize(
    ("reply", "labels"),
    [('{"label": 1}', (1,)), ('{"label": "2"}', (2,)), ('{"label": 1.0}', (1,)), ("3", (3,)), ('{"label": "World"}', (0,)),
     ('{"label": 5}', ()), ('{"label": -1}', ()), ('{"label": true}', ()), ('{"label": 1.5}', ())],
)  # fmt: skip
def test_integer_ids(reply: str, labels: tuple[int, ...]) -> None:
    assert OutputSpec(SINGLE, wire="ids").parse(reply).labels == tuple(NAMES[k] for k in labels)


def test_no_label_at_all_is_an_answer_where_several_are_possible() -> None:
    parsed = OutputSpec(MULTI).parse('{"labels": []}')
    assert (parsed.status, parsed.labels) == ("ok", ())
    assert OutputSpec(MULTI).parse('{"labels": ["World", "nonsense"]}').status == "unknown_label"


def test_refusals_filters_and_cuts_are_told_apart() -> None:
    spec = OutputSpec(SINGLE)
    assert read(Choice("", refusal="No."), spec).status == "refusal"
    assert read(Choice("", finish="content_filter"), spec).status == "blocked"
    assert "cut" in str(read(Choice('{"lab', finish="length"), spec).error)
    assert read(Choice('{"label": "World"}', finish="length"), spec).status == "ok"


def test_a_repair_carries_the_reply_and_the_reason() -> None:
    messages = repair([{"role": "user", "content": "question"}], "nonsense", "it is not JSON", OutputSpec(SINGLE))
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert "it is not JSON" in messages[2]["content"]
    assert '{"label"' in messages[2]["content"]


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("won the cup", "won the\ncup"),
        ('"Won the cup."', "won the\ncup"),
        ("they “won”", 'They "won"'),
        ("lost", None),
        ("", None),
        (None, None),
        ("(a+b)*", "(a+b)*"),
    ],
)
def test_a_quote_stands_in_the_text_word_for_word(quote: str | None, found: str | None) -> None:
    text = 'They "won" and won the\ncup. (a+b)* is an expression'
    assert verify_quote(quote, text) == found


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=9))
def test_votes_are_shares_and_ties_go_to_the_first_of_the_scheme(votes: list[str]) -> None:
    (winner,), shares = vote([[name] for name in votes], SINGLE)
    assert sum(shares) == pytest.approx(1)
    most = max(map(votes.count, NAMES))
    assert winner == next(name for name in NAMES if votes.count(name) == most)


def test_in_a_multi_label_scheme_half_of_the_votes_give_a_label() -> None:
    labels, shares = vote([["World"], ["World", "Sci/Tech"], []], MULTI)
    assert labels == ("World",)
    assert shares[:3] == pytest.approx((2 / 3, 0, 1 / 3))
