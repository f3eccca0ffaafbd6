"""A review as files of Label Studio and Argilla."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.web.runs import copy_of_run
from tutelage.errors import InputError
from tutelage.pipeline import review_files
from tutelage.pipeline.folder import Run
from tutelage.pipeline.reviewing import Review, Said


@pytest.fixture
def run(folder: Path) -> Run:
    return Run(copy_of_run(folder / "runs"))


@pytest.mark.parametrize("tool", ["label_studio", "argilla"])
def test_answers_survive_the_way_to_another_tool_and_back(run: Run, folder: Path, tool: str) -> None:
    Review.begin(run, "ada", per_label=3)
    review = Review.begin(run, "ben")
    review.give("ada", review.items[0].id, ["sport"])
    review.give("ben", review.items[0].id, ["weather"])
    review.give("ada", review.items[1].id, discard="not news")
    content = json.dumps(getattr(review_files, f"to_{tool}")(review)).encode()
    other = Run(copy_of_run(folder / "elsewhere"))
    Review.begin(other, "ada", per_label=3)
    there = Review.begin(other, "ben")
    assert [item.id for item in there.items] == [item.id for item in review.items]
    assert there.take_in(review_files.read_answers(content, there)) == {"taken": 3, "kept": 0, "unknown": 0}
    plain = lambda one: {
        who: {k: (s.labels, s.discard) for k, s in given.items()} for who, given in one.everybody().items()
    }
    assert plain(there) == plain(review)
    assert there.take_in(review_files.read_answers(content, there))["kept"] == 3


def test_exports_do_not_hold_the_teachers_answers(run: Run) -> None:
    review = Review.begin(run, "ada", per_label=3)
    tasks, records = review_files.to_label_studio(review), review_files.to_argilla(review)
    assert all(not task["annotations"] and set(task["data"]) == {"id", "text"} for task in tasks)
    assert all(not record["responses"] and not record["suggestions"] for record in records)


def test_files_that_the_tools_wrote_are_read(run: Run) -> None:
    review = Review.begin(run, "ada", per_label=3)
    a, b = review.items[:2]
    result = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["sport"]}}
    tasks = [
        {"id": 7, "data": {"text": a.text}, "annotations": [{"completed_by": {"email": "cy@x.org"}, "result": [result]}]},
        {"id": 8, "data": {"id": b.id, "text": b.text}, "annotations": [{"was_cancelled": True, "result": [result]}]},
        {"id": 9, "data": {"id": "elsewhere", "text": "?"}, "annotations": [{"completed_by": 4, "result": [result]}]},
    ]  # fmt: skip
    answers = review_files.read_answers(json.dumps(tasks).encode(), review)
    assert answers == [
        ("label-studio-cy@x.org", a.text, Said(("sport",))), ("label-studio-4", "elsewhere", Said(("sport",))),
    ]  # fmt: skip
    assert review.take_in(answers) == {"taken": 1, "kept": 0, "unknown": 1}
    assert review.people == ["ada", "label-studio-cy@x.org"]
    records = [{"id": b.id, "status": "completed", "fields": {"text": b.text}, "responses": {"label": [
        {"value": "weather", "user_id": "0123456789ab"}, {"value": "sport", "status": "discarded"}]}}]  # fmt: skip
    assert review_files.read_answers(json.dumps(records).encode(), review) == [
        ("argilla-01234567", b.id, Said(("weather",)))
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff", "not JSON"),
        (b"{}", "expected a list"),
        (b"[1]", "expected a list"),
        (b"[{}]", "entry 1 of the file: it has neither"),
        (b'[{"data": 3}]', "entry 1 of the file"),
        (b'[{"fields": {"text": "a"}, "responses": {"label": [{"value": "astrology"}]}}]', "is not a label"),
    ],
)
def test_a_file_that_is_neither_is_one_line(run: Run, content: bytes, why: str) -> None:
    review = Review.begin(run, "ada", per_label=2)
    with pytest.raises(InputError, match=re.escape(why)):
        review_files.read_answers(content, review)


def test_the_interface_for_label_studio_is_xml_with_every_choice(run: Run) -> None:
    scheme = run.config.labels
    first = scheme.labels[0].model_copy(update={"name": 'a "b" <c> & d'})
    scheme = scheme.model_copy(update={"labels": (first, *scheme.labels[1:])})
    tree = ET.fromstring(review_files.label_studio_config(scheme))
    assert [choice.get("value") for choice in tree.iter("Choice")] == [*scheme.names, "not news"]
    choices = tree.find("Choices")
    assert choices is not None
    assert choices.get("choice") == "single"
