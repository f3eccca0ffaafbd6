"""Batches from several sources: shares, intervals, processes, and rows of every kind."""

from __future__ import annotations

import pytest
import torch

from tutelage.curricula.mixture import MixtureSampler
from tutelage.errors import InputError
from tutelage.training.mixture import MixtureBatches, hold_out


def sources(a: int = 5, b: int = 9) -> dict:
    return {"a": {"x": torch.arange(a).view(-1, 1)}, "b": {"x": 100 + torch.arange(b).view(-1, 1)}}


def sampler(a: int = 5, b: int = 9, **options) -> MixtureSampler:
    return MixtureSampler({"a": a, "b": b}, seed=4, **options)


def test_an_epoch_is_an_interval_and_what_stops_inside_begins_again():
    mix = sampler()
    batches = MixtureBatches(sources(), mix, batch_size=4, steps=3)
    inside = next(iter(batches))
    assert mix.draws == 0
    whole = list(batches)
    assert torch.equal(whole[0]["x"], inside["x"])
    assert len(whole) == len(batches) == 3
    assert mix.draws == 1
    assert not torch.equal(next(iter(batches))["x"], inside["x"])


def test_rows_are_those_that_the_sampler_deals():
    dealt = sampler().plan(12)
    batches = list(MixtureBatches(sources(), sampler(), batch_size=4, steps=3))
    expected = [100 * source + row for source, row in zip(*dealt, strict=True)]
    for number, batch in enumerate(batches):
        assert sorted(batch["x"].flatten().tolist()) == sorted(expected[4 * number : 4 * number + 4])
        assert ((batch["x"][:, 0] >= 100) == (batch["source"] == 1)).all()
        assert (batch["x"][:, 0] % 100 == batch["index"]).all()


def test_processes_share_every_batch():
    alone = list(MixtureBatches(sources(), sampler(), 4, 2))
    shares = [list(MixtureBatches(sources(), sampler(), 4, 2, process=p, processes=2)) for p in range(2)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert [len(part["x"]) for part in parts] == [2, 2]
        together = torch.cat([part["x"] for part in parts]).flatten()
        assert together.sort().values.tolist() == whole["x"].flatten().sort().values.tolist()


class Rows(torch.utils.data.Dataset):
    """As a Hugging Face data set gives them."""

    def __init__(self, first: int, size: int) -> None:
        self.first, self.size = first, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        ids = torch.tensor([self.first, i])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}


def test_model_inputs_by_name_stay_together():
    data = {"a": Rows(1, 5), "b": Rows(2, 9)}
    rest, held = hold_out(data, 2)
    assert (len(rest["a"]), len(held["b"])) == (3, 2)  # type: ignore[arg-type]
    mix = MixtureSampler({"a": 3, "b": 7}, [1, 1])
    for batch in MixtureBatches(rest, mix, 6, 2):
        x = batch["x"]
        assert sorted(x) == ["attention_mask", "input_ids"]
        assert torch.equal(x["input_ids"], batch["y"])  # type: ignore[call-overload]
        assert (batch["y"][:, 0] == batch["source"] + 1).all()
        assert (batch["y"][:, 1] >= 2).all(), "the first rows are held out"


def test_held_out_rows_are_the_first_and_the_rest_has_none_of_them():
    rest, held = hold_out(sources(), 3)
    assert held["a"]["x"].flatten().tolist() == [0, 1, 2]  # type: ignore[index, call-overload]
    assert rest["a"]["x"].flatten().tolist() == [3, 4]  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MixtureBatches({"b": sources()["b"]}, sampler(), 4, 1), "the sampler deals a, b; there are b"),
        (lambda: MixtureBatches(sources(), sampler(), 3, 1, processes=2), "2 processes can share"),
        (lambda: MixtureBatches(sources(), sampler(), 4, 0), "steps >= 1"),
        (lambda: hold_out(sources(), 5), "cannot hold out 5 of the 5 rows of 'a'"),
        (lambda: hold_out(sources(), 0), "cannot hold out 0"),
        (
            lambda: next(iter(MixtureBatches({**sources(), "b": {"x": torch.zeros(9, 2).long()}}, sampler(), 8, 1))),
            "rows of a, b do not fit into one batch: pad them",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, words: str):
    with pytest.raises(InputError, match=words):
        call()
