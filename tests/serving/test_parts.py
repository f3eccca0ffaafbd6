"""Batches and the watched student: order under load, a bounded queue, and a replacement that is checked first."""

from __future__ import annotations

import asyncio
import shutil
import threading

import numpy as np
import pytest

from tests.serving.common import SPORT, save_student
from tutelage.errors import InputError
from tutelage.serving.batching import Batcher, Overloaded
from tutelage.serving.model import Model, Watched
from tutelage.serving.watch import DriftWatch


class Echo:
    """Stands for a model: a text "7" has the probability row [7]. Waits for `gate` before its first batch."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.sizes: list[int] = []

    def probabilities(self, texts) -> np.ndarray:
        self.gate.wait(10)
        self.sizes.append(len(texts))
        if "bad" in texts:
            raise ValueError("bad")
        return np.array([[float(text)] for text in texts], np.float32)


async def values(batcher: Batcher, texts: list[str]) -> list[float]:
    return (await batcher.predict(texts)).probs[:, 0].tolist()


def test_requests_that_wait_share_a_batch_and_get_their_own_answers():
    model = Echo()

    async def main():
        batcher = Batcher(lambda: model, most=8)
        asked = [asyncio.create_task(values(batcher, [str(2 * i), str(2 * i + 1)])) for i in range(9)]
        await asyncio.sleep(0)
        model.gate.set()
        answers = await asyncio.gather(*asked)
        await batcher.close()
        return answers

    assert asyncio.run(main()) == [[2 * i, 2 * i + 1] for i in range(9)]
    assert sum(model.sizes) == 18
    assert max(model.sizes) == 8


def test_a_full_queue_refuses_and_a_large_request_alone_is_taken():
    model = Echo()

    async def main():
        batcher = Batcher(lambda: model, queue=3)
        first = asyncio.create_task(values(batcher, ["1"] * 5))
        await asyncio.sleep(0)  # it is in the queue
        while batcher.waiting:  # until the student has taken it
            await asyncio.sleep(0)
        second = asyncio.create_task(values(batcher, ["2", "2"]))
        while not batcher.waiting:
            await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await batcher.predict(["3", "3"])
        model.gate.set()
        return await first, await second

    assert asyncio.run(main()) == ([1] * 5, [2, 2])


def test_a_fault_reaches_those_it_concerns_and_no_other():
    model = Echo()
    model.gate.set()

    async def main():
        batcher = Batcher(lambda: model, most=1)
        results = await asyncio.gather(values(batcher, ["bad"]), values(batcher, ["4"]), return_exceptions=True)
        return results, await values(batcher, ["5"])

    (fault, four), five = asyncio.run(main())
    assert isinstance(fault, ValueError)
    assert (four, five) == ([4], [5])


def test_closing_answers_what_was_taken():
    model = Echo()

    async def main():
        batcher = Batcher(lambda: model, most=1)
        asked = [asyncio.create_task(values(batcher, [str(i)])) for i in range(4)]
        await asyncio.sleep(0)
        model.gate.set()
        await batcher.close()
        return [task.result() for task in asked]

    assert asyncio.run(main()) == [[0], [1], [2], [3]]


def replace(folder, **options) -> None:
    save_student(folder.with_name("new"), **options)
    shutil.rmtree(folder)
    folder.with_name("new").rename(folder)


def test_a_newer_student_takes_over(tmp_path):
    folder = save_student(tmp_path / "s")
    watched = Watched(folder)
    first = watched.model
    assert not watched.refresh()
    replace(folder, flip=True)
    assert watched.refresh()
    assert watched.reloads == 1
    assert watched.model.version != first.version
    assert watched.model.probabilities(SPORT).argmax(1).tolist() != first.probabilities(SPORT).argmax(1).tolist()


def test_a_damaged_or_missing_one_leaves_the_old_in_place(tmp_path):
    folder = save_student(tmp_path / "s")
    watched = Watched(folder)
    replace(folder, flip=True)
    (folder / "model.safetensors").write_bytes(b"junk")
    assert not watched.refresh()
    assert "checksum differs" in str(watched.fault)
    shutil.rmtree(folder)
    assert not watched.refresh()
    assert watched.model.probabilities(SPORT).argmax(1).tolist() == [1, 1, 1, 1]


def test_a_fault_is_over_when_the_folder_is_as_it_was(tmp_path):
    folder = save_student(tmp_path / "s")
    watched = Watched(folder)
    folder.rename(tmp_path / "away")
    assert not watched.refresh()
    assert "no student at" in str(watched.fault)
    (tmp_path / "away").rename(folder)
    assert not watched.refresh()
    assert watched.fault is None


def test_whatever_is_wrong_with_a_newer_student_the_watch_goes_on(tmp_path, monkeypatch):
    folder = save_student(tmp_path / "s")
    watched = Watched(folder)
    replace(folder, flip=True)

    def breaks(path):
        raise MemoryError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(Model, "open", breaks)
        assert not watched.refresh()
    assert watched.fault == "the newer student cannot be loaded: MemoryError no room"
    assert watched.refresh()


def test_a_sample_that_does_not_fit_leaves_no_texts_behind(tmp_path, monkeypatch):
    student = Model.open(save_student(tmp_path / "s")).student
    watch = DriftWatch(student.reference_, tmp_path / "drift")

    def full(path, *_):
        path.write_bytes(b"half of a te")
        raise OSError("No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    watch._write(tmp_path / "drift", ["words"], ["a text"])
    assert watch.written == 0
    assert list((tmp_path / "drift").iterdir()) == []


def test_other_labels_need_a_restart(tmp_path):
    folder = save_student(tmp_path / "s")
    watched = Watched(folder)
    replace(folder, names=["finance", "games"])
    assert not watched.refresh()
    assert "restart" in str(watched.fault)
    assert watched.model.labels == ["market", "sport"]


def test_texts_are_cut_as_they_were_in_training(tmp_path):
    model = Model.open(save_student(tmp_path / "s"))
    long = "goal match cup " * 22 + "oil shares bank profit " * 500  # the first 64 words are about sport
    assert model.probabilities([long]).argmax(1).tolist() == [1]


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="no student at"):
        Model.open(tmp_path / "nowhere")
