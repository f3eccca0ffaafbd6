"""The service in process: what it answers, what it refuses, what it counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("prometheus_client", reason="needs the extra `serve`")

from fastapi.testclient import TestClient

from tests.serving.common import MARKET, SPORT, save_student
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.serving.app import create_app
from tutelage.serving.settings import TOKEN, Settings
from tutelage.teachers.llm.data import PromptTemplate
from tutelage.teachers.llm.execute import OutputSpec


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_student(tmp_path_factory.mktemp("student") / "s")


def client_of(folder: Path, **settings) -> TestClient:
    app = create_app(Settings(path=str(folder), **settings))
    return TestClient(app, base_url="http://localhost:8400", client=("10.0.0.1", 1000))


@pytest.fixture(scope="module")
def client(folder):
    with client_of(folder) as client:
        yield client


def test_one_text_and_several_get_the_students_labels(client):
    one = client.post("/predict", json={"text": SPORT[0]}).json()
    many = client.post("/predict", json={"texts": [MARKET[0], SPORT[1]], "probabilities": True}).json()
    assert one["predictions"][0]["label"] == "sport"
    assert [row["label"] for row in many["predictions"]] == ["market", "sport"]
    for row in many["predictions"]:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["confidence"] == max(row["probabilities"].values())
    assert one["student"] == many["student"] == client.get("/health").json()["student"]


def test_below_the_threshold_there_is_no_label(client):
    row = client.post("/predict", json={"text": "", "threshold": 0.999}).json()["predictions"][0]
    assert row["label"] is None
    assert 0 < row["confidence"] < 0.999


def test_no_texts_no_predictions(client):
    assert client.post("/predict", json={"texts": []}).json()["predictions"] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"text":', "JSON decode error"),
        (b"[]", "valid dictionary"),
        (b"{}", "either `text` or `texts`"),
        (b'{"text": "a", "texts": ["b"]}', "either `text` or `texts`"),
        (b'{"text": 3}', "text: "),
        (b'{"texts": ["a", null]}', "texts.1: "),
        (b'{"text": "a", "treshold": 0.5}', "treshold: Extra inputs"),
        (b'{"text": "a", "threshold": 2}', "threshold: "),
        (b'{"text": "\\ud800"}', "text 0 is not valid Unicode"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(client, body, said):
    reply = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 422
    assert said in reply.json()["error"]


def test_too_many_texts(folder):
    with client_of(folder, most_texts=2) as client:
        reply = client.post("/predict", json={"texts": ["a"] * 3})
    assert reply.status_code == 422
    assert reply.json()["error"] == "3 texts in one request; 2 are allowed"


def test_the_labels_and_the_page(client):
    assert [row["label"] for row in client.get("/labels").json()["labels"]] == ["market", "sport"]
    page = client.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "://" not in page.text.replace("http://www.w3.org", ""), "nothing is loaded from elsewhere"
    assert {"/predict", "/health", "/v1/chat/completions"} <= set(client.get("/openapi.json").json()["paths"])


class TestChatCompletions:
    def ask(self, client, content, **more):
        body = {
            "model": "gpt",
            "temperature": 0,
            "messages": [{"role": "system", "content": "You label."}, {"role": "user", "content": content}],
        }
        return client.post("/v1/chat/completions", json={**body, **more})

    def test_a_bare_question_gets_the_bare_label(self, client):
        reply = self.ask(client, SPORT[1]).json()
        assert reply["choices"][0]["message"] == {"role": "assistant", "content": "sport", "refusal": None}
        assert reply["object"] == "chat.completion"

    def test_content_in_parts(self, client):
        reply = self.ask(client, [{"type": "text", "text": MARKET[0]}]).json()
        assert reply["choices"][0]["message"]["content"] == "market"

    @pytest.mark.parametrize("wire", ["names", "ids"])
    def test_the_prompt_of_our_own_teacher_is_understood_to_the_letter(self, client, wire):
        scheme = LabelScheme.from_dict(["market", "sport"])
        spec = OutputSpec(scheme, wire=wire)
        messages = PromptTemplate().render(SPORT[0], scheme, spec)
        reply = client.post("/v1/chat/completions", json={
            "model": "student", "messages": messages,
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": spec.schema()}},
        })  # fmt: skip
        assert spec.parse(reply.json()["choices"][0]["message"]["content"]).labels == ("sport",)
        without = client.post("/v1/chat/completions", json={"messages": messages}).json()
        assert json.loads(without["choices"][0]["message"]["content"]) == {"label": "sport"}

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"stream": True}, "does not stream"),
            ({"n": 2}, "n: "),
            ({"response_format": {"type": "xml"}}, "unknown response_format 'xml'"),
            (
                {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"a": {}}}}}},
                "market, sport",
            ),
            (
                {
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"schema": {"properties": {"a": {"enum": [[1], {}]}}}},
                    }
                },
                "market, sport",
            ),
            ({"messages": [{"role": "system", "content": "x"}]}, "role user"),
            ({"messages": []}, "messages: "),
        ],
    )
    def test_what_a_student_cannot_do_is_refused(self, client, more, said):
        reply = self.ask(client, "x", **more)
        assert reply.status_code == 422
        assert said in reply.json()["error"]

    def test_a_marker_says_where_the_text_begins(self, folder):
        with client_of(folder, marker="Text:") as client:
            reply = self.ask(client, f"Is it about shares, profit and bonds?\nText: {SPORT[0]}")
            assert reply.json()["choices"][0]["message"]["content"] == "sport"
            assert "'Text:'" in self.ask(client, "no such thing").json()["error"]

    def test_the_one_model(self, client):
        assert client.get("/v1/models").json()["data"][0]["object"] == "model"


def test_hugging_faces_text_classification(client):
    rows = client.post("/models/any/name", json={"inputs": [SPORT[0], MARKET[0]], "parameters": {"top_k": 1}}).json()
    assert [[row["label"] for row in text] for text in rows] == [["sport"], ["market"]]
    one = client.post("/models/x", json={"inputs": SPORT[0]}).json()
    assert [row["label"] for row in one[0]] == ["sport", "market"]
    assert one[0][0]["score"] > one[0][1]["score"]


class TestDoors:
    @pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:8400", ""])
    def test_another_name_is_refused(self, client, host):
        assert client.get("/health", headers={"host": host}).status_code == 421

    @pytest.mark.parametrize("host", ["localhost", "localhost:8400", "127.0.0.1:1", "[::1]:8400", "LOCALHOST"])
    def test_our_own_names_are_served(self, client, host):
        assert client.get("/health", headers={"host": host}).status_code == 200

    def test_a_page_of_another_site_is_refused(self, client):
        headers = {"origin": "https://evil.example"}
        assert client.post("/predict", json={"text": "a"}, headers=headers).status_code == 403
        own = {"origin": "http://localhost:8400"}
        assert client.post("/predict", json={"text": "a"}, headers=own).status_code == 200

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_what_a_form_can_send_unasked_is_refused(self, client, kind):
        assert client.post("/predict", content=b'{"text":"a"}', headers={"content-type": kind}).status_code == 415

    def test_the_case_of_a_content_type_does_not_matter(self, client):
        headers = {"content-type": "Application/JSON; Charset=UTF-8"}
        assert client.post("/predict", content=b'{"text":"a"}', headers=headers).status_code == 200

    def test_a_body_over_the_limit(self, folder):
        with client_of(folder, most_bytes=1_000) as client:
            announced = client.post("/predict", json={"text": "a" * 2_000})
            in_pieces = client.post(
                "/predict", content=iter([b"a" * 600] * 3), headers={"content-type": "application/json"}
            )
        assert announced.status_code == in_pieces.status_code == 413
        assert "1,000 bytes" in announced.json()["error"]

    def test_the_token(self, folder, monkeypatch):
        monkeypatch.setenv(TOKEN, "a-long-enough-secret")
        with client_of(folder) as client:
            assert client.get("/labels").status_code == 401
            assert client.get("/labels", headers={"authorization": "Bearer wrong"}).status_code == 401
            assert client.get("/labels", headers={"authorization": "Bearer a-long-enough-secret"}).status_code == 200
            assert client.get("/health").status_code == 200, "a load balancer has no token"

    def test_other_machines_need_a_token(self, folder, monkeypatch):
        monkeypatch.delenv(TOKEN, raising=False)
        with pytest.raises(InputError, match=TOKEN):
            create_app(Settings(path=str(folder), host="0.0.0.0"))
        monkeypatch.setenv(TOKEN, "short")
        with pytest.raises(InputError, match="16"):
            create_app(Settings(path=str(folder), host="0.0.0.0"))

    def test_a_client_that_asks_too_often(self, folder):
        with client_of(folder, rate=0.001) as client:
            codes = [client.get("/labels").status_code for _ in range(3)]
            assert codes == [200, 429, 429]
            assert int(client.get("/labels").headers["retry-after"]) > 1
            assert client.get("/health").status_code == 200


def test_metrics_count_requests_texts_and_labels(folder):
    with client_of(folder) as client:
        client.post("/predict", json={"texts": [SPORT[0], SPORT[1], MARKET[0]]})
        client.get("/made/up")
        text = client.get("/metrics").text
    assert 'tutelage_requests_total{path="/predict",status="200"} 1.0' in text
    assert 'tutelage_requests_total{path="other",status="404"} 1.0' in text
    assert "tutelage_texts_total 3.0" in text
    assert 'tutelage_labels_total{label="sport"} 2.0' in text
    assert "/made/up" not in text


def test_drift_raises_the_alarm_and_leaves_a_sample(folder, tmp_path):
    with client_of(folder, samples=str(tmp_path / "drift")) as client:
        client.app.state.service.drift._clock = iter(range(10_000)).__next__
        for _ in range(3):
            client.post("/predict", json={"texts": ["zug bahn fahrplan gleis"] * 20})
        state = client.get("/health").json()["drift"]
        assert "words" in state["alarm"]
        assert "tutelage_drift_alarm 1.0" in client.get("/metrics").text
    files = sorted((tmp_path / "drift").glob("*.jsonl"))
    assert len(files) == state["samples_written"] == 2
    assert files[0].stat().st_mode & 0o077 == 0, "texts are private"
    assert json.loads(files[0].read_text().splitlines()[0]) == {"text": "zug bahn fahrplan gleis"}


def test_no_texts_means_none_on_disk(folder, tmp_path):
    with client_of(folder, samples=str(tmp_path / "drift"), keep_texts=False) as client:
        client.app.state.service.drift._clock = iter(range(10_000)).__next__
        for _ in range(3):
            client.post("/predict", json={"texts": ["zug bahn fahrplan gleis"] * 20})
        assert client.get("/health").json()["drift"]["alarm"]
    assert not (tmp_path / "drift").exists()
