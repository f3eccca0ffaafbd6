"""A text through student and teacher."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from tests.teachers.endpoint import Endpoint
from tests.web.common import Page
from tests.web.runs import FORM, NASTY, oracle
from tutelage.pipeline.folder import Run
from tutelage.students import NgramClassifier
from tutelage.students.explain import Contribution
from tutelage.web.highlight import LEVELS, stretches, strongest
from tutelage.web.students import student_of

pytestmark = pytest.mark.usefixtures("run")


def ask(client: TestClient, text: str, path: str = "", **fields: str):
    headers = {**FORM, "hx-request": "true"}
    return client.post(f"/runs/desk/playground{path}", data={"text": text, **fields}, headers=headers)


def test_students_are_listed_where_there_are_any(client: TestClient, folder: Path, run: Run) -> None:
    assert "/runs/desk/playground" in client.get("/playground").text
    assert run.table("gold")["text"][0].as_py() in Page(client.get("/runs/desk/playground").text).text
    (run.path / "student" / "config.json").unlink()
    assert "No student yet" in client.get("/playground").text
    assert "no student yet" in client.get("/runs/desk/playground").text


def test_label_probabilities_and_what_decided(client: TestClient, run: Run) -> None:
    text = "the keeper saved a penalty in the derby"
    student = student_of(run)
    assert isinstance(student, NgramClassifier)
    page = Page(ask(client, text).text)
    best = float(student.predict_proba([text]).max())
    assert f"{100 * best:.1f}%" in page.text
    assert "Why sport?" in page.text
    assert text in page.text.replace("\n", "")
    marks = [mark["class"] for mark in page.all("mark")]
    assert "for-4" in marks
    assert "Why weather?" in Page(ask(client, text, label="weather").text).text


def test_the_teachers_earlier_answer_is_shown_without_asking_it(client: TestClient, run: Run) -> None:
    rows = {row["id"]: row["label"] for row in run.table("annotations").to_pylist()}
    first = run.table("pool").slice(0, 1).to_pylist()[0]
    page = Page(ask(client, first["text"]).text)
    assert "Said when the run was labelled" in page.text
    assert rows[first["id"]][0] in page.text
    assert "Ask the teacher too" not in page.text


def test_the_teacher_is_asked_once_about_a_text_and_only_when_told_to(client: TestClient, run: Run) -> None:
    with Endpoint(oracle, model="known") as endpoint:
        teacher = run.config.teacher.model_copy(update={"spec": "openai:known", "base_url": endpoint.url})
        run.configure(run.config.model_copy(update={"teacher": teacher}))
        text = "a late goal in the stadium"
        assert "Ask the teacher too" in ask(client, text).text
        assert endpoint.total == 0
        for _ in range(2):
            said = Page(ask(client, text, "/teacher").text)
            assert "sport" in said.text
            assert "tokens" in said.text
        assert endpoint.total == 1


def test_text_is_shown_as_text(client: TestClient) -> None:
    html = ask(client, f"goal {NASTY} goal").text
    assert "<script" not in html
    assert "<img" not in html
    assert NASTY in Page(html).text.replace("\n", "")


@pytest.mark.parametrize("text", ["", "   "])
def test_no_text_is_one_line(client: TestClient, text: str) -> None:
    assert ask(client, text).status_code == 400
    assert "write a text first" in ask(client, text, "/teacher").text


def test_a_label_that_there_is_not_is_one_line(client: TestClient) -> None:
    assert "there is no label" in ask(client, "goal", label="<b>").text
    half = client.post("/runs/desk/playground", content=b"text=%ed%a0%80", headers={**FORM, "hx-request": "true"})
    assert half.status_code == 400
    assert client.post("/runs/none/playground", content=b"text=a", headers=FORM).status_code == 404


def test_a_text_is_cut_as_the_student_knows_it(client: TestClient, run: Run) -> None:
    texts = run.config.texts.model_copy(update={"max_words": 8})
    run.configure(run.config.model_copy(update={"texts": texts}))
    marked = Page(ask(client, " ".join(["goal"] * 8 + ["rain"] * 50)).text).text
    assert "rain" not in marked


PARTS = st.tuples(st.integers(0, 12), st.integers(0, 12), st.floats(-5, 5))


@given(st.text(max_size=12), st.lists(PARTS, max_size=6))
def test_stretches_are_the_text_and_levels_are_bounded(text: str, parts: list[tuple[int, int, float]]) -> None:
    spans = [(min(a, b, len(text)), min(max(a, b), len(text)), w) for a, b, w in parts]
    contributions = [Contribution(a, b, text[a:b], w) for a, b, w in spans]
    found = stretches(text, contributions)
    assert "".join(part.text for part in found) == text
    assert all(abs(part.level) <= LEVELS and part.text for part in found)
    assert all(a.level != b.level for a, b in itertools.pairwise(found))
    assert all(abs(one.share) <= 1 for one in strongest(contributions))
    assert json.dumps([one.weight for one in strongest(contributions)])
