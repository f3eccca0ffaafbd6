"""Mastery maps, and the tutoring dialogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.web.common import Page, opened, settings
from tests.web.runs import FORM, NASTY
from tutelage.data.dialogue import MOVES, Dialogue, Turn
from tutelage.errors import InputError
from tutelage.methods.education.mathdial import says, simulate
from tutelage.pipeline.trace import TraceOptions, trace
from tutelage.students.learners import Learners
from tutelage.web import jobs, tutoring


def post(client: TestClient, path: str, **fields: str):
    return client.post(path, data=fields, headers={**FORM, "hx-request": "true"})


# maps


def log_of(learners: int = 40) -> bytes:
    log = Learners(learners=learners, concepts=3, answers=12).log(seed=1)
    rows = zip(log.sequence.tolist(), log.concept.tolist(), log.correct.tolist(), strict=True)
    lines = [f"{log.learners[who]},{log.concepts[what]},{int(right)}" for who, what, right in rows]
    return "\n".join(["learner,skill,correct", *lines]).encode()


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return trace(
        Learners(learners=40, concepts=3, answers=12).log(seed=1), tmp_path_factory.mktemp("trace"), TraceOptions("pfa")
    )


def test_a_map_shows_learners_skills_and_how_far_to_trust_it(
    client: TestClient, folder: Path, facts: dict[str, Any]
) -> None:
    place = folder / "traces" / "class"
    place.mkdir(parents=True)
    (place / "trace.json").write_text(json.dumps(facts))
    assert "40 learners" in Page(client.get("/classroom").text).text
    html = client.get("/classroom/traces/class").text
    page = Page(html)
    first = facts["grid"]["rows"][0]
    assert first["learner"] in page.text
    assert f"{100 * first['cells'][0]['mastery']:.0f}" in page.text
    assert "as the model pfa sees it" in " ".join(page.text.split())
    assert len([svg for svg in page.all("svg") if svg.get("class") == "marks"]) == 2
    assert len(page.all("td")) >= 3 * len(facts["grid"]["rows"])


def test_names_of_learners_are_shown_as_text(client: TestClient, folder: Path, facts: dict[str, Any]) -> None:
    place = folder / "traces" / "class"
    place.mkdir(parents=True)
    changed = json.loads(json.dumps(facts))
    changed["grid"]["rows"][0]["learner"] = changed["grid"]["skills"][0] = changed["remarks"] = NASTY
    (place / "trace.json").write_text(json.dumps(changed))
    html = client.get("/classroom/traces/class").text
    assert "<script>alert" not in html
    assert NASTY in Page(html).text


@pytest.mark.parametrize(
    ("name", "status"), [("nothing", 404), ("..", 400), (".hidden", 400), ("broken", 400), ("old", 400)]
)
def test_a_map_that_is_none_is_one_line(client: TestClient, folder: Path, name: str, status: int) -> None:
    for folder_name, content in (("broken", "{"), ("old", "[]")):
        (folder / "traces" / folder_name).mkdir(parents=True)
        (folder / "traces" / folder_name / "trace.json").write_text(content)
    reply = client.get(f"/classroom/traces/{name}")
    assert reply.status_code == status or reply.url.path == "/classroom"


def test_a_map_is_made_from_an_uploaded_log(client: TestClient, folder: Path) -> None:
    shown = client.put("/classroom/logs/class.csv", content=log_of())
    assert "480 answers of 40 learners about 3 skills" in " ".join(Page(shown.text).text.split())
    made = post(client, "/classroom/traces", source="upload/class.csv", name="class", tracer="pfa")
    assert made.headers["hx-redirect"] == "/classroom/traces/class"
    job = client.app.state.workbench.jobs.of(folder / "traces" / "class")  # type: ignore[attr-defined]
    assert "being made" in client.get("/classroom/traces/class").text
    assert job.process.wait(120) == 0
    assert "How far to trust this map" in client.get("/classroom/traces/class").text
    assert "already" in post(client, "/classroom/traces", source="upload/class.csv", name="class").text


def test_a_log_or_a_form_that_cannot_be_used_is_one_line(client: TestClient, folder: Path) -> None:
    assert client.put("/classroom/logs/a.csv", content=b"a,b\n1,2\n").status_code == 400
    assert not list((folder / "runs" / ".uploads").iterdir())
    client.put("/classroom/logs/class.csv", content=log_of(3))
    for fields in (
        {"source": "upload/class.csv", "name": "../x"}, {"source": "/etc/passwd", "name": "x"},
        {"source": "upload/class.csv", "name": "x", "tracer": "oracle"}, {"name": "x"},
    ):  # fmt: skip
        assert post(client, "/classroom/traces", **fields).status_code == 400
    post(client, "/classroom/traces", source="upload/class.csv", name="few", tracer="pfa")
    job = client.app.state.workbench.jobs.of(folder / "traces" / "few")  # type: ignore[attr-defined]
    assert job.process.wait(120) == 2
    assert "at least 20 are needed" in client.get("/classroom/traces/few").text


def test_a_map_has_a_name_in_any_script_and_leaves_nothing_where_it_cannot_start(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put("/classroom/logs/class.csv", content=log_of(3))
    monkeypatch.setattr(jobs, "MOST", 0)
    full = post(client, "/classroom/traces", source="upload/class.csv", name="класс 7", tracer="pfa")
    assert "0 runs are going; wait for one of them" in full.text
    assert not (folder / "traces").exists()
    monkeypatch.undo()
    (folder / "traces").write_text("a file where the folder should be")
    none = post(client, "/classroom/traces", source="upload/class.csv", name="x")
    assert "cannot make the map" in none.text
    (folder / "traces").unlink()
    made = post(client, "/classroom/traces", source="upload/class.csv", name="класс 7", tracer="pfa")
    assert client.get(made.headers["hx-redirect"]).status_code == 200


# tutoring


def talk(client: TestClient, problem: str, side: str = "teach", after: str = "", **fields: str) -> str:
    """Begin a dialogue, or with `after`, a page of it, go on there: -> the next page."""
    fields |= {"turns": hidden(after, "turns")} if after else {}
    return post(client, "/classroom/tutoring", problem=problem, side=side, **fields).text


def hidden(html: str, name: str) -> str:
    return next(tag["value"] or "" for tag in Page(html).all("input") if tag.get("name") == name)


def turns_of(html: str) -> tuple[Turn, ...]:
    return tutoring.turns_from(hidden(html, "turns"))


def test_every_problem_has_one_answer_that_its_wrong_solution_does_not_say() -> None:
    models = tutoring.materials(None)
    for problem in models.problems.values():
        assert says(problem.solution, problem)
        assert not says(problem.wrong, problem)


def test_teaching_a_simulated_pupil(client: TestClient) -> None:
    begun = talk(client, "bakery")
    page = Page(begun)
    assert "93 rolls" in page.text
    assert "14 + 9 = 23 bags" in page.text  # the solution, for the tutor alone
    said = talk(client, "bakery", after=begun, say="What does the number 9 stand for?")
    assert [turn.role for turn in turns_of(said)] == ["pupil", "teacher", "pupil"]
    assert turns_of(said)[1].move == "probing"
    assert turns_of(talk(client, "bakery", after=said, say="Go on.", move="focus"))[3].move == "focus"


def test_who_says_the_answer_has_told(client: TestClient) -> None:
    said = talk(client, "garden", after=talk(client, "garden"), say="It is 36 metres.")
    assert "The tutor has said the answer" in Page(said).text


def test_an_offline_tutor_does_not_give_the_answer_away() -> None:
    models = tutoring.materials(None)
    dialogues, failed = simulate(
        tutoring.offline_tutor(models), models.pupils, list(models.problems.values()), rounds=6
    )
    assert failed == 0
    for dialogue in dialogues:
        assert tutoring.outcome(dialogue) in ("", "solved")
        assert not any(says(turn.text, dialogue.problem) for turn in dialogue.of("teacher"))


def test_learning_from_the_offline_tutor(client: TestClient) -> None:
    begun = talk(client, "library", "learn")
    assert "150 pages by Saturday" not in begun  # the solution is not the pupil's to see
    said = talk(client, "library", "learn", begun, say=f"{NASTY} so 50")
    assert "The pupil has found the answer" in Page(said).text
    assert NASTY not in said
    assert turns_of(said)[-1].move in MOVES


def test_an_endpoint_plays_the_other_side_and_no_key_goes_to_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.teachers.endpoint import Endpoint

    class Talking(Endpoint):
        async def _complete(self, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
            self.bodies.append(body)
            return 200, {}, json.dumps(self._reply(body, "I counted the bags.")).encode()

    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    with Talking(lambda text, rest: "") as endpoint, opened(settings(folder)) as client:
        begun = talk(client, "bakery")
        said = talk(client, "bakery", after=begun, say="How?", model="known", base_url=endpoint.url)
        assert "I counted the bags." in Page(said).text
        assert "You play a pupil" in json.dumps(endpoint.bodies[0])
        assert not [key for key in endpoint.keys if "sk-of" in key]
        assert "--key-host" in talk(client, "bakery", after=begun, say="How?", model="m")


@pytest.mark.parametrize(
    "fields",
    [
        {"problem": "nothing"},
        {"problem": "bakery", "turns": "[]", "say": "a"},
        {"problem": "bakery", "turns": "{", "say": "a"},
        {"problem": "bakery", "turns": '[{"role": "god", "text": "a", "move": null}]', "say": "a"},
        {"problem": "bakery", "turns": '[{"role": "pupil", "text": "a", "move": "jump"}]', "say": "a"},
        {"problem": "bakery", "turns": '[{"role": "pupil", "text": "a", "move": null}]', "say": ""},
        {"problem": "bakery", "turns": '[{"role": "pupil", "text": "\\ud800", "move": null}]', "say": "a"},
        {"problem": "bakery", "turns": '[{"role": "pupil", "text": "a", "move": null}]', "say": "a" * 3000},
    ],
)
def test_a_dialogue_that_is_none_is_one_line(client: TestClient, fields: dict[str, str]) -> None:
    reply = post(client, "/classroom/tutoring", **fields)
    assert reply.status_code == 400
    assert Page(reply.text).all("p") == [{"class": "fault"}]


def test_outcomes_by_hand() -> None:
    problem = tutoring.materials(None).problems["bakery"]
    pupil, tutor = Turn("pupil", "It is 138."), Turn("teacher", "So it is 138.", "telling")
    start = tutoring.started(problem, True)
    assert [tutoring.outcome(Dialogue(problem, (*start.turns, *more))) for more in ((), (pupil,), (tutor, pupil))] == [
        "", "solved", "told",
    ]  # fmt: skip
    with pytest.raises(InputError):
        tutoring.turns_from(tutoring.turns_to([pupil] * 61))
