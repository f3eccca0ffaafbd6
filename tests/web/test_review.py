"""Review: a blind sample, answers in the ledger, undo, a second person, agreement, and other tools' files."""

from __future__ import annotations

import json
import re

import pytest
from fastapi.testclient import TestClient

from tests.pipeline.corpora import said
from tests.web.common import Page
from tests.web.runs import FORM, NASTY
from tutelage.errors import InputError
from tutelage.pipeline import review_files
from tutelage.pipeline.folder import Run
from tutelage.pipeline.reviewing import Review
from tutelage.teachers.ledger import Ledger

pytestmark = pytest.mark.usefixtures("run")


def post(client: TestClient, path: str, **fields: str):
    headers = {**FORM, "hx-request": "true"}
    return client.post(f"/runs/desk/review{path}", data=fields, headers=headers)


def hidden(html: str, name: str) -> str:
    return next(tag["value"] or "" for tag in Page(html).all("input") if tag.get("name") == name)


# what the pipeline's part promises


def test_the_sample_is_balanced_and_stays_what_it_was(run: Run) -> None:
    review = Review.begin(run, "ada", per_label=5)
    labels = [item.teacher[0] for item in review.items if item.teacher]
    assert sorted(labels.count(name) for name in review.scheme.names) == [5, 5, 5]
    again = Review.begin(run, "ben", per_label=9)
    assert [item.id for item in again.items] == [item.id for item in review.items]
    assert again.people == ["ada", "ben"]
    assert Review.begin(run, "ada").people == ["ada", "ben"]


def test_answers_are_rows_of_the_teacher_human_numbered_by_person(run: Run) -> None:
    review = Review.begin(run, "ada", per_label=2)
    Review.begin(run, "ben")
    review = Review.of(run)
    assert review is not None
    first, second = review.items[:2]
    review.give("ada", first.id, ["sport"])
    review.give("ben", first.id, ["weather"])
    review.give("ada", second.id, discard="not news")
    assert review.said("ada")[first.id].labels == ("sport",)
    assert review.said("ada")[second.id].discard == "not news"
    assert review.said("ben")[first.id].labels == ("weather",)
    with Ledger(run.path / "labels.sqlite", readonly=True) as ledger:
        assert not ledger.verify()
        names = ledger._read("SELECT description FROM sources WHERE kind = 'teacher'")
        rows = ledger._read("SELECT sample, status FROM answers WHERE tokens_in = 0 AND cost = 0.0 AND raw IS NOT NULL")
    assert any(json.loads(row[0])["name"] == "human" for row in names)
    assert rows == [(0, "discarded")]


def test_undo_takes_back_one_answer_after_the_other_and_an_answer_can_be_replaced(run: Run) -> None:
    review = Review.begin(run, "ada", per_label=2)
    ids = [item.id for item in review.items[:3]]
    for id in ids:
        review.give("ada", id, ["sport"])
    assert review.undo("ada") == ids[2]
    assert review.undo("ada") == ids[1]
    review.give("ada", ids[1], ["weather"])
    assert {id: said.labels for id, said in review.said("ada").items()} == {ids[0]: ("sport",), ids[1]: ("weather",)}
    review.give("ada", ids[0], ["politics"])
    assert review.said("ada")[ids[0]].labels == ("politics",)
    assert [review.undo("ada"), review.undo("ada")] in ([ids[0], ids[1]], [ids[1], ids[0]])
    assert review.undo("ada") is None


@pytest.mark.parametrize(
    ("person", "id", "labels", "discard", "why"),
    [
        ("eve", None, ["sport"], None, "nobody called 'eve'"),
        ("ada", "t9999", ["sport"], None, "not in the sample"),
        ("ada", None, ["astrology"], None, "is not a label"),
        ("ada", None, [], None, "a text has one label; got 0"),
        ("ada", None, ["sport", "weather"], None, "a text has one label; got 2"),
        ("ada", None, [], "boring", "no code"),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_is_refused(
    run: Run, person: str, id: str | None, labels: list[str], discard: str | None, why: str
) -> None:
    review = Review.begin(run, "ada", per_label=2)
    with pytest.raises(InputError, match=re.escape(why)):
        review.give(person, id or review.items[0].id, labels, discard)
    assert review.said("ada") == {}


@pytest.mark.parametrize("name", ["", "<b>", "a" * 50, " x", "a\nb"])
def test_a_reviewers_name_is_a_plain_one(run: Run, name: str) -> None:
    with pytest.raises(InputError, match="a reviewer's name"):
        Review.begin(run, name)


def test_agreement_is_alpha_of_teacher_and_people_on_shared_texts(run: Run) -> None:
    Review.begin(run, "ada", per_label=4)
    review = Review.begin(run, "ben")
    for item in review.items:
        assert item.teacher
        review.give("ada", item.id, item.teacher)
    for item in review.items[:6]:
        review.give("ben", item.id, ["sport"])
    rows, verdict = review.agreement()
    found = {(row["first"], row["second"]): row for row in rows}
    assert found["teacher", "ada"]["alpha"] == 1.0
    assert (found["teacher", "ada"]["same"], found["teacher", "ada"]["n"]) == (12, 12)
    assert found["ada", "ben"]["n"] == found["teacher", "ben"]["n"] == 6
    assert found["ada", "ben"]["same"] == sum(item.teacher == ("sport",) for item in review.items[:6])
    assert verdict.outcome in ("accepted", "refused")


def test_the_gold_file_has_a_column_a_person_and_keeps_formulas_harmless(run: Run) -> None:
    Review.begin(run, "ada", per_label=2)
    review = Review.begin(run, "ben")
    with pytest.raises(InputError, match="nobody has labelled"):
        review.write_gold()
    review.give("ada", review.items[0].id, ["sport"])
    review.give("ben", review.items[0].id, ["weather"])
    review.give("ben", review.items[1].id, discard="not news")
    lines = review.write_gold().read_text().splitlines()
    assert lines[0] == "id,text,label,label_2"
    assert lines[1].endswith(",sport,weather")
    assert lines[2].endswith(",,not news")
    assert len(lines) == 3


# what the pages promise


def test_the_teachers_answer_is_hidden_until_the_person_has_answered(client: TestClient, run: Run) -> None:
    begun = post(client, "/begin", who="ada", per_label="4")
    assert begun.headers["hx-redirect"] == "/runs/desk/review?who=ada"
    html = client.get("/runs/desk/review?who=ada").text
    review = Review.of(run)
    assert review is not None
    item = review.items[0]
    assert item.text in Page(html).text
    assert "The teacher said" not in html
    assert "teacher:" not in html
    wrong = next(name for name in review.scheme.names if name not in (item.teacher or ()))
    desk = post(client, "/answer", who="ada", id=item.id, at="0", do=f"label:{wrong}").text
    assert f"teacher: {(item.teacher or ('',))[0]}" in desk
    assert review.items[1].text in Page(desk).text
    assert "1 of 12" in Page(desk).text
    opened_desk = client.get("/runs/desk/review?who=ada&open=true").text
    assert "The teacher said" in opened_desk


def test_keys_undo_skip_and_discard(client: TestClient, run: Run) -> None:
    post(client, "/begin", who="ada", per_label="2")
    html = client.get("/runs/desk/review?who=ada").text
    keys = {tag.get("data-key"): tag["value"] for tag in Page(html).all("button") if "data-key" in tag}
    assert keys == {
        "1": "label:sport", "2": "label:politics", "3": "label:weather", "x": "discard:not news", "u": "undo", "s": "skip",
    }  # fmt: skip
    review = Review.of(run)
    assert review is not None
    ids = [item.id for item in review.items]
    at = lambda reply: hidden(reply.text, "id")
    assert at(post(client, "/answer", who="ada", id=ids[0], at="0", do="discard:not news")) == ids[1]
    assert at(post(client, "/answer", who="ada", id=ids[1], at="1", do="skip")) == ids[2]
    assert at(post(client, "/answer", who="ada", id=ids[2], at="2", do="label:sport")) == ids[3]
    assert at(post(client, "/answer", who="ada", id=ids[3], at="3", do="undo")) == ids[2]
    reply = None
    for n in range(2, 6):
        reply = post(client, "/answer", who="ada", id=ids[n], at=str(n), do="label:sport")
    assert reply is not None
    assert at(reply) == ids[1]  # what was skipped comes back
    done = post(client, "/answer", who="ada", id=ids[1], at="1", do="label:sport")
    assert "All 6 texts are reviewed" in done.text


def test_a_second_annotator_does_not_see_the_first_ones_answers(client: TestClient, run: Run) -> None:
    post(client, "/begin", who="ada", per_label="2")
    review = Review.of(run)
    assert review is not None
    for item in review.items:
        post(client, "/answer", who="ada", id=item.id, at="0", do=f"label:{said(item.text)[0]}")
    post(client, "/begin", who="ben")
    page = Page(client.get("/runs/desk/review?who=ben").text)
    assert "0 of 6" in page.text
    assert "Your latest answers" not in page.text
    desk = post(
        client, "/answer", who="ben", id=review.items[0].id, at="0", do=f"label:{said(review.items[0].text)[0]}"
    )
    assert "ada and ben" in Page(desk.text).text
    assert "teacher and ada" in Page(desk.text).text


def test_texts_and_labels_are_shown_as_text(client: TestClient, run: Run) -> None:
    import pyarrow as pa

    pool = run.table("pool")
    run.put_table("pool", pool.set_column(1, "text", pa.array([NASTY + text for text in pool["text"].to_pylist()])))
    post(client, "/begin", who="ada", per_label="2")
    html = client.get("/runs/desk/review?who=ada").text
    assert NASTY in Page(html).text
    assert NASTY not in html


def test_exports_and_imports_over_http(client: TestClient, run: Run) -> None:
    assert client.get("/runs/desk/review/argilla.json").status_code == 400  # no review yet
    post(client, "/begin", who="ada", per_label="2")
    for file in ("label-studio.json", "argilla.json", "label-studio.xml"):
        reply = client.get(f"/runs/desk/review/{file}")
        assert reply.status_code == 200
        assert f'filename="{file}"' in reply.headers["content-disposition"]
    assert client.get("/runs/desk/review/..%2f..%2frun.yaml").status_code == 404
    records = client.get("/runs/desk/review/argilla.json").json()
    records[0]["responses"] = {"label": [{"value": "sport", "user_id": review_files.user_id("ada")}]}
    taken = client.put("/runs/desk/review/import/a.json", content=json.dumps(records), headers={"hx-request": "true"})
    assert "1 answers taken in" in Page(taken.text).text
    assert "not JSON" in client.put("/runs/desk/review/import/a.json", content=b"{").text


def test_an_address_of_a_review_that_nobody_has_begun_leads_to_its_beginning(client: TestClient) -> None:
    assert "Draw the sample" in client.get("/runs/desk/review?who=ada").text


def test_bad_requests_are_one_line(client: TestClient, run: Run) -> None:
    for path, fields in (
        ("/answer", {"who": "ada", "do": "undo"}), ("/begin", {"who": "<script>"}), ("/begin", {"who": "a", "per_label": "0"}),
        ("/gold", {}),
    ):  # fmt: skip
        reply = post(client, path, **fields)
        assert reply.status_code == 400, path
        assert "<script>" not in reply.text
    assert client.get("/runs/nothing/review").status_code == 404


def test_answers_become_gold_and_the_figures_are_made_again(client: TestClient, run: Run) -> None:
    post(client, "/begin", who="ada", per_label="6")
    review = Review.of(run)
    assert review is not None
    for item in review.items:
        review.give("ada", item.id, [said(item.text)[0]])
    reply = post(client, "/gold")
    assert reply.headers["hx-redirect"] == "/runs/desk"
    job = client.app.state.workbench.jobs.of(run.path)  # type: ignore[attr-defined]
    assert job.process.args[3:5] == ["evaluate", str(run.path)]
    assert (run.path / "reviewed.csv").exists()
    assert "is going" in Page(post(client, "/gold").text).text
