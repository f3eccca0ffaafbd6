"""A rubric asks every statement by itself: polarity, examples, what is paid for again, and what is left open."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pytest

from tutelage.data.labels import Label, LabelScheme
from tutelage.errors import InputError
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.base import Request, ScriptedChat
from tutelage.teachers.llm.teacher import LLMTeacher
from tutelage.teachers.make import make_teacher
from tutelage.teachers.rubric import RubricTeacher, question

RUBRIC = LabelScheme.from_dict(
    {
        "name": "feedback",
        "kind": "multi",
        "labels": [
            {"name": "setup", "definition": "It is about board, chalk or sound.", "examples": ["Speak up!"]},
            {"name": "foreign", "definition": "It is not English.", "opposite": "It is written in English."},
        ],
    }
)
TEXTS = pa.table(
    {"id": ["a", "b", "c"], "text": ["The chalk squeaks.", "Danke schön!", "Die Kreide quietscht, chalk."]}
)


def oracle(request: Request) -> str:
    """Knows chalk and English; the rubric's prompts differ in their statement alone."""
    prompt = request.messages[0]["content"]
    text = re.findall(r"<(text-\w+)>\n(.*)\n</\1>", prompt)[0][1]
    true = "chalk" in text if "about board" in prompt else text.startswith("The ")
    return json.dumps({"label": "true" if true else "false"})


def test_statements_are_asked_one_by_one_and_opposites_turned_round():
    model = ScriptedChat(oracle)
    done = RubricTeacher(LLMTeacher(model)).annotate(TEXTS, RUBRIC)
    assert done["label"].to_pylist() == [["setup"], ["foreign"], ["setup", "foreign"]]
    assert len(model.requests) == 6, "one request a cell"
    assert set(done["status"].to_pylist()) == {"ok"}


def test_examples_stand_with_the_answer_that_they_are_examples_of():
    label = Label(
        name="foreign", definition="not English", opposite="English", examples=("hola",), counter_examples=("hi",)
    )
    true, false = question(label).labels
    assert (true.definition, true.examples, false.examples) == ("English", ("hi",), ("hola",))
    plain = question(label.model_copy(update={"opposite": None}))
    assert (plain.labels[0].definition, plain.labels[0].examples) == ("not English", ("hola",))
    assert question(Label(name="bare")).labels[0].definition == "The text belongs under 'bare'."


def test_a_cell_is_paid_for_once_and_a_reworded_category_alone_is_asked_again():
    with Ledger(":memory:") as ledger:
        RubricTeacher(LLMTeacher(ScriptedChat(oracle))).annotate(TEXTS, RUBRIC, ledger=ledger)
        model = ScriptedChat(oracle)
        RubricTeacher(LLMTeacher(model)).annotate(TEXTS, RUBRIC, ledger=ledger)
        assert not model.requests
        setup, foreign = RUBRIC.labels
        reworded = RUBRIC.model_copy(
            update={"labels": (setup.model_copy(update={"definition": "It is about board or chalk."}), foreign)}
        )
        RubricTeacher(LLMTeacher(model)).annotate(TEXTS, reworded, ledger=ledger)
        assert len(model.requests) == 3


def test_a_cell_without_an_answer_leaves_its_text_open_and_the_other_cells_known():
    def mute(request: Request) -> str:
        return (
            "No idea."
            if "Danke" in request.messages[0]["content"] and "board" in str(request.messages)
            else oracle(request)
        )

    teacher = RubricTeacher(LLMTeacher(ScriptedChat(mute), repairs=0))
    with Ledger(":memory:") as ledger:
        done = teacher.annotate(TEXTS, RUBRIC, ledger=ledger)
        codes = teacher.codes(TEXTS, RUBRIC, ledger)
    assert done["status"].to_pylist() == ["ok", "invalid_json", "ok"]
    assert done["label"][1].as_py() == []
    assert np.array_equal(codes, [[1, 0], [np.nan, 1], [1, 1]], equal_nan=True)


def test_only_multi_label_schemes_have_categories():
    with pytest.raises(InputError, match="its scheme is `kind: multi`; 'labels' is 'single'"):
        RubricTeacher(LLMTeacher(ScriptedChat(oracle))).annotate(TEXTS, LabelScheme.from_dict(["a", "b"]))


def test_the_command_line_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    teacher = make_teacher("rubric:openai:some-model", base_url="http://127.0.0.1:9/v1")
    assert teacher.name == "rubric:openai:some-model"
    shown = teacher.dry_run(TEXTS, RUBRIC)  # type: ignore[attr-defined]
    assert "Judge one statement" in shown.prompt
    assert (shown.pending, shown.texts) == (6, 6)
    with pytest.raises(InputError, match="asked of a language model"):
        make_teacher("rubric:zero-shot:use-multilingual")


def test_what_a_rubric_adds_to_a_scheme_changes_no_older_fingerprint():
    plain = LabelScheme.from_dict({"labels": [{"name": "a", "definition": "x"}, "b"]})
    assert plain.fingerprint == "59218a50a55f8d36b074dcbd593aea8c32dabfa29c4da3d6724270598d3fc015"
    more = plain.model_copy(update={"labels": (plain.labels[0].model_copy(update={"opposite": "y"}), plain.labels[1])})
    assert more.fingerprint != plain.fingerprint
    assert plain.diff(more) == ["opposite of 'a' changed"]
    assert LabelScheme.from_dict({"labels": [{"name": "a", "opposite": ""}, "b"]}).labels[0].opposite is None
