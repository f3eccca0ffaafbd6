"""Zero-shot calibration, ensembles, people, teachers by name, and the hosts that a key may go to."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.teachers.helpers import SCHEME, pool
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.teachers import EnsembleTeacher, HumanTeacher, Ledger, LLMTeacher, ZeroShotTeacher, make_teacher
from tutelage.teachers.base import Pool, Teacher
from tutelage.teachers.human import blind_sample
from tutelage.teachers.llm import trust
from tutelage.teachers.llm.base import ScriptedChat
from tutelage.teachers.llm.budget import Price
from tutelage.teachers.zero_shot import fit_temperature, softmax

MULTI = LabelScheme.from_dict({"kind": "multi", "labels": ["sport", "politics", "weather"]})


def scripted(label: str, name: str) -> LLMTeacher:
    return LLMTeacher(ScriptedChat(lambda _: f'{{"label": "{label}"}}', name=name))


# zero-shot


def test_zero_shot_knows_weather_from_politics_and_resumes() -> None:
    teacher = ZeroShotTeacher("use-multilingual")
    texts = pa.table(
        {"id": ["a", "b"], "text": ["Starker Regen und Sturm am Abend", "The parliament voted on the election law"]}
    )
    with Ledger(":memory:") as ledger:
        result = teacher.annotate(texts, SCHEME, ledger=ledger)
        assert result["label"].to_pylist() == [["weather"], ["politics"]]
        assert [sum(p) for p in result["probs"].to_pylist()] == pytest.approx([1, 1])
        assert teacher.answered(texts, SCHEME, ledger).equals(result)
        assert teacher.annotate(texts, SCHEME, ledger=ledger).equals(result)
        assert ledger.summary()["requests"] == 0


def test_zero_shot_gives_several_labels_where_the_scheme_has_them() -> None:
    result = ZeroShotTeacher("use-multilingual", threshold=-1.0).annotate(pool(1), MULTI)
    assert result["label"].to_pylist() == [list(MULTI.names)]
    assert min(result["probs"][0].as_py()) > 0.5


def test_the_temperature_that_made_the_labels_is_found_again() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4000, 4))
    labels = np.array([rng.choice(4, p=p) for p in softmax(scores / 0.3)])
    assert fit_temperature(scores, labels) == pytest.approx(0.3, rel=0.1)
    assert fit_temperature(scores + rng.normal(size=(4000, 1)), labels) == pytest.approx(0.3, rel=0.1)
    labels[::2] = -1
    assert fit_temperature(scores, labels) == pytest.approx(0.3, rel=0.15)
    with pytest.raises(InputError):
        fit_temperature(scores, np.full(4000, -1))


def test_calibration_gives_another_teacher_and_keeps_the_order_of_labels() -> None:
    rng = np.random.default_rng(1)
    cosines = rng.normal(scale=0.1, size=(2000, 3))
    labels = np.array([rng.choice(3, p=p) for p in softmax(cosines / 0.02)])
    teacher = ZeroShotTeacher("use-multilingual")
    fitted = teacher.calibrate(teacher.probabilities(cosines, SCHEME), labels)
    assert fitted.temperature == pytest.approx(0.02, rel=0.15)
    assert fitted.fingerprint != teacher.fingerprint
    assert (fitted.probabilities(cosines, SCHEME).argmax(1) == teacher.probabilities(cosines, SCHEME).argmax(1)).all()


def test_multi_label_calibration_finds_temperature_and_threshold() -> None:
    rng = np.random.default_rng(2)
    cosines = rng.normal(loc=0.2, scale=0.15, size=(4000, 3))
    labels = (rng.random((4000, 3)) < 1 / (1 + np.exp(-(cosines - 0.3) / 0.05))).astype(int)
    teacher = ZeroShotTeacher("use-multilingual")
    fitted = teacher.calibrate(teacher.probabilities(cosines, MULTI), labels)
    assert (fitted.temperature, fitted.threshold) == pytest.approx((0.05, 0.3), rel=0.15)


def test_impossible_zero_shot_teachers_are_refused() -> None:
    for wrong in ({"temperature": 0.0}, {"template": "no slot"}):
        with pytest.raises(InputError):
            ZeroShotTeacher("use-multilingual", **wrong)  # type: ignore[arg-type]


# ensemble


def test_an_ensemble_is_the_mean_and_says_how_many_disagree() -> None:
    members = [scripted("sport", "a"), scripted("sport", "b"), scripted("politics", "c")]
    teacher = EnsembleTeacher(members)
    with Ledger(":memory:") as ledger:
        result = teacher.annotate(pool(3), SCHEME, ledger=ledger)
        assert result["label"].to_pylist() == [["sport"]] * 3
        assert result["probs"][0].as_py() == pytest.approx([2 / 3, 1 / 3, 0])
        assert result["disagreement"].to_pylist() == pytest.approx([1 / 3] * 3)
        assert ledger.summary()["requests"] == 9
        rows = ledger.rows(*_keys(3), teacher.fingerprint, teacher.prompt_fingerprint(SCHEME))
        assert rows["label"].to_pylist() == [["sport"]] * 3
        assert teacher.answered(pool(3), SCHEME, ledger).equals(result)


def _keys(n: int) -> tuple[list[str], list[str]]:
    texts = Pool.of(pool(n))
    return list(texts.ids), list(texts.fingerprints)


def test_a_member_that_failed_does_not_count() -> None:
    teacher = EnsembleTeacher([scripted("astrology", "a"), scripted("weather", "b")])
    result = teacher.annotate(pool(1), SCHEME)
    assert result.select(["label", "status", "disagreement"]).to_pylist() == [
        {"label": ["weather"], "status": "ok", "disagreement": 0.0}
    ]
    nobody = EnsembleTeacher([scripted("x", "a"), scripted("y", "b")]).annotate(pool(1), SCHEME)
    assert nobody["status"].to_pylist() == ["unknown_label"]
    assert nobody["disagreement"].to_pylist() == [None]


def test_an_ensemble_of_one_or_of_twins_is_refused() -> None:
    with pytest.raises(InputError, match="at least two"):
        EnsembleTeacher([scripted("sport", "a")])
    with pytest.raises(InputError, match="same teacher"):
        EnsembleTeacher([scripted("sport", "a"), scripted("politics", "a")])


# people


def reviews(tmp_path: Path, content: str, name: str = "reviewed.csv") -> Path:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


def test_each_annotator_is_a_sample_and_empty_cells_are_not_reviewed(tmp_path: Path) -> None:
    path = reviews(tmp_path, "id,annotator,label\nt0,zoe,sport\nt1,zoe,\nt0,abe,Politics\nt1,abe,weather\n")
    teacher = HumanTeacher(path)
    assert teacher.annotators == ("abe", "zoe")
    with Ledger(":memory:") as ledger:
        table = teacher.annotate_all(pool(3), SCHEME, ledger=ledger)
        assert teacher.answered(pool(3), SCHEME, ledger, sample=1)["label"].to_pylist() == [["sport"]]
    assert table.select(["id", "sample", "label"]).to_pylist() == [
        {"id": "t0", "sample": 0, "label": ["politics"]},
        {"id": "t1", "sample": 0, "label": ["weather"]},
        {"id": "t0", "sample": 1, "label": ["sport"]},
    ]


def test_labels_of_other_programs_are_matched_by_text_where_there_is_no_id(tmp_path: Path) -> None:
    texts = pool(2)
    rows = [{"text": text, "label": "sport"} for text in texts["text"].to_pylist()]
    path = reviews(tmp_path, "\n".join(map(json.dumps, rows)), "theirs.jsonl")
    result = HumanTeacher(path, kind="import").annotate(texts, SCHEME)
    assert result["id"].to_pylist() == ["t0", "t1"]


def test_one_column_a_label_is_a_multi_label_file(tmp_path: Path) -> None:
    path = reviews(tmp_path, "comment_id,sport,politics\nt0,1.0,1.0\nt1,0.0,0.0\nt2,,\n")
    result = HumanTeacher(path, id="comment_id").annotate(pool(3), MULTI)
    assert result["label"].to_pylist() == [["sport", "politics"], []]


def test_several_labels_in_one_cell() -> None:
    table = pa.table({"id": ["t0", "t1"], "label": ["weather | sport", '["politics"]']})
    assert HumanTeacher(table).annotate(pool(2), MULTI)["label"].to_pylist() == [["sport", "weather"], ["politics"]]


def test_discard_codes_throw_a_text_away(tmp_path: Path) -> None:
    scheme = LabelScheme.from_dict({"labels": ["sport", "politics"], "discard": ["not news"]})
    path = reviews(tmp_path, "id,label\nt0,Not news\nt1,sport\n")
    result = HumanTeacher(path).annotate(pool(2), scheme)
    assert result.select(["label", "status"]).to_pylist() == [
        {"label": [], "status": "discarded"},
        {"label": ["sport"], "status": "ok"},
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("id,label\nt0,sprot\n", "row 2: label 'sprot' is not in scheme 'desk'"),
        ("id,label\nt0,sport\nt0,weather\n", "rows 2 and 3 give two different labels"),
        ("id,topic\nt0,sport\n", "no column 'label'"),
        ("id,label\nother,sport\n", "none of its 1 texts"),
        ("id,label\n,sport\n", "row 2: neither 'id' nor 'text'"),
    ],
)
def test_files_of_labels_that_cannot_be_used(tmp_path: Path, content: str, complaint: str) -> None:
    with pytest.raises(InputError) as error:
        HumanTeacher(reviews(tmp_path, content)).annotate(pool(2), SCHEME)
    assert complaint in str(error.value)
    assert "reviewed.csv" in str(error.value)


def test_a_blind_sample_is_balanced_shuffled_and_says_nothing_of_the_teacher() -> None:
    texts = pool(90)
    labels = ["sport"] * 60 + ["politics"] * 25 + ["weather"] * 5
    given = HumanTeacher(pa.table({"id": texts["id"], "label": labels})).annotate(texts, SCHEME)
    sample = blind_sample(texts, given, SCHEME, per_label=10, seed=1)
    truth = dict(zip(texts["id"].to_pylist(), labels, strict=True))
    taken = [truth[key] for key in sample["id"].to_pylist()]
    assert {name: taken.count(name) for name in SCHEME.names} == {"sport": 10, "politics": 10, "weather": 5}
    assert sample.column_names == ["id", "text", "label"]
    assert set(sample["label"].to_pylist()) == {""}
    assert taken != sorted(taken)
    assert sample.equals(blind_sample(texts, given, SCHEME, per_label=10, seed=1))
    with pytest.raises(InputError, match="no labelled text"):
        blind_sample(texts, given.slice(0, 0), SCHEME)


# by name


def test_teachers_by_name(tmp_path: Path) -> None:
    path = reviews(tmp_path, "id,label\nt0,sport\n")
    url = "http://127.0.0.1:1/v1"
    names = {
        "zero-shot:use-multilingual": "zero-shot:use-multilingual",
        "openai:org/model:free": "openai:org/model:free",
        f"human:{path}": "human:reviewed.csv",
        "ensemble:zero-shot:use-multilingual + openai:m": "ensemble:zero-shot:use-multilingual+openai:m",
    }
    for spec, name in names.items():
        teacher = make_teacher(spec, base_url=url)
        assert teacher.name == name
        assert isinstance(teacher, Teacher)


@pytest.mark.parametrize(
    ("spec", "options", "complaint"),
    [
        ("oracle", {}, "unknown teacher"),
        ("openai", {}, "unknown teacher"),
        ("openai:", {}, "unknown teacher"),
        ("ensemble:zero-shot:use-multilingual", {}, "at least two"),
        ("ensemble:openai:m+ensemble:a+b", {}, "cannot hold another"),
        ("openai:m", {"budget": "5"}, "has a unit"),
        ("openai:m", {"budget": "5usd"}, "no price is known for openai:m: give it as --price IN/OUT in usd"),
        ("zero-shot:use-multilingual", {"budget": "5usd"}, "costs nothing"),
        ("openai:m", {"votes": 3, "temperature": 0.0}, "votes at temperature 0"),
        ("openai:m", {"votes": 0}, "at least 1"),
        ("openai:m", {"prompt": "absent.txt"}, "cannot read the prompt template"),
        ("llama:absent.gguf", {}, "model file not found"),
        ("human:absent.csv", {}, "no such file"),
    ],
)
def test_teachers_that_cannot_be_made(spec: str, options: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as error:
        make_teacher(spec, base_url="http://127.0.0.1:1/v1", **options)
    assert "\n" not in str(error.value)


def test_money_needs_a_price_and_the_price_takes_the_currency_of_the_budget() -> None:
    teacher = make_teacher("openai:m", budget="5eur", price="1/2")
    assert isinstance(teacher, LLMTeacher)
    assert teacher.price == Price(1, 2, "eur")
    with pytest.raises(InputError, match="no price is known"):
        make_teacher("openai:gpt-4o-mini", budget="5usd")


# trust


def test_a_host_is_trusted_after_the_user_said_so_and_only_that_host() -> None:
    assert trust.is_trusted("https://api.openai.com/v1")
    assert not trust.is_trusted("http://api.openai.com/v1"), "not without encryption"
    assert not trust.is_trusted("https://api.openai.com.evil.example/v1")
    assert not trust.is_trusted("https://models.example/v1")
    trust.trust("https://models.example/v1")
    trust.trust("https://MODELS.example:443/other")
    assert trust.is_trusted("https://models.example/v2")
    assert not trust.is_trusted("http://models.example/v1")
    assert not trust.is_trusted("https://models.example:8443/v1")
    assert json.loads(trust.hosts_file().read_text()) == ["https://models.example:443"]
    assert stat.S_IMODE(trust.hosts_file().stat().st_mode) == 0o600


def test_a_file_of_hosts_that_others_can_write_or_that_is_damaged_counts_for_nothing() -> None:
    trust.trust("https://models.example/v1")
    trust.hosts_file().chmod(0o666)
    assert not trust.is_trusted("https://models.example/v1")
    trust.hosts_file().chmod(0o600)
    trust.hosts_file().write_text("{not json")
    assert not trust.is_trusted("https://models.example/v1")
    with pytest.raises(InputError, match="not an http"):
        trust.origin("models.example")


def test_a_table_without_ids_or_texts_is_refused() -> None:
    with pytest.raises(InputError, match="no column 'text'"):
        Pool.of(pa.table({"id": ["1"]}))
    with pytest.raises(InputError, match="row 1 of the table has no text"):
        Pool.of(pa.table({"id": ["1", "2"], "text": ["a", None]}))


def test_ids_and_texts_of_any_type_are_strings() -> None:
    texts = pa.chunked_array([pa.array([b"caf\xc3\xa9", b"\xff"])])
    assert Pool.of(pa.table({"id": [1, 2], "text": texts})).texts == ["café", "\ufffd"]
    named = pa.table({"id": pa.array([b"a", b"b"]), "text": pa.array(["x", "x"]).dictionary_encode()})
    assert (Pool.of(named).ids, Pool.of(named).texts) == (["a", "b"], ["x", "x"])
