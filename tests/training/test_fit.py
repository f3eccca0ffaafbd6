"""What the loop promises: seeds, figures, refusals, games, frozen teachers."""

from __future__ import annotations

import copy
import random

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tutelage.data.indexed import IndexedDataset
from tutelage.errors import InputError
from tutelage.teachers.frozen import frozen
from tutelage.training import Distillation, Lesson, Supervised, cosine, epoch_order, fit, seeded
from tutelage.training.weights import trained_state

X = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


def net(dropout: float = 0.0, seed: int = 0) -> nn.Sequential:
    with seeded(seed, "init"):
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def weights(module: nn.Module) -> Tensor:
    return torch.cat([value.flatten().double() for value in trained_state(module).values()])


def test_it_is_the_bare_loop() -> None:
    """Same order, same optimiser: the same weights to the bit as ten lines of PyTorch."""
    ours, bare = net(), net()
    fit(Supervised(ours), (X, Y), epochs=3, batch_size=16, lr=0.02, schedule=cosine(), clip=0.5, seed=7)
    optimizer = torch.optim.AdamW(bare.parameters(), lr=0.02, weight_decay=0.01, fused=True)
    step = 0
    for epoch in range(3):
        for index in epoch_order(48, 7, epoch).split(16):
            optimizer.param_groups[0]["lr"] = 0.02 * cosine()(step / 9)
            nn.functional.cross_entropy(bare(X[index]), Y[index]).backward()
            nn.utils.clip_grad_norm_(bare.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    assert torch.equal(weights(ours), weights(bare))


def test_a_seed_decides_everything_and_disturbs_nothing() -> None:
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    runs = []
    for seed in (1, 1, 2):
        student = net(dropout=0.5)
        fit(Supervised(student), (X, Y), epochs=2, batch_size=16, seed=seed)
        runs.append(weights(student))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before  # noqa: NPY002


def test_accumulated_batches_are_one_large_batch() -> None:
    large, small = net(), net()
    fit(Supervised(large), (X, Y), epochs=2, batch_size=24, optimizer="sgd", lr=0.1)
    fit(Supervised(small), (X, Y), epochs=2, batch_size=8, accumulate=3, optimizer="sgd", lr=0.1)
    assert torch.allclose(weights(large), weights(small), atol=1e-6)


def test_history_is_an_arrow_table() -> None:
    lesson = Distillation(net(), frozen(net(seed=5)), hard=0.5, soft=0.5)
    history = fit(lesson, (X, Y), epochs=3, batch_size=16)
    table = history.table
    assert isinstance(table, pa.Table)
    assert table.column_names == ["epoch", "step", "lr", "loss", "ce", "kd", "seconds"]
    assert history["step"] == [3, 6, 9]
    for row in history:
        assert row["loss"] == pytest.approx(row["ce"] + row["kd"])


def test_steps_stop_in_the_middle_of_an_epoch() -> None:
    assert fit(Supervised(net()), (X, Y), steps=4, batch_size=16)["step"] == [3, 4]


@pytest.mark.parametrize("shape", ["pairs", "mappings", "data set", "loader", "rows of model inputs"])
def test_data_comes_in_many_shapes(shape: str) -> None:
    data = {
        "pairs": (X, Y),
        "mappings": {"x": X, "y": Y},
        "data set": TensorDataset(X, Y),
        "loader": DataLoader(IndexedDataset(TensorDataset(X, Y)), batch_size=16, shuffle=True),
        "rows of model inputs": [{"input": x, "label": y} for x, y in zip(X, Y, strict=True)],
    }[shape]
    history = fit(Supervised(net()), data, epochs=20, batch_size=16, lr=0.05)
    assert history["loss"][-1] < 0.5 < history["loss"][0]


def test_a_loss_part_that_is_not_finite_is_named() -> None:
    class Broken(Supervised):
        def losses(self, batch, progress):
            return super().losses(batch, progress) | {"prior": torch.tensor(float("inf")) * (progress.step == 2)}

    with pytest.raises(FloatingPointError, match=r"'prior' is (nan|inf)"):
        fit(Broken(net()), (X, Y), epochs=2, batch_size=16)


def test_a_frozen_teacher_is_left_alone() -> None:
    teacher = frozen(nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)))
    before = copy.deepcopy(teacher.state_dict())
    lesson = Distillation(net(), teacher)
    fit(lesson, (X, Y), epochs=1)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not any(name.startswith("teacher") for name in trained_state(lesson))


def test_a_teacher_that_changes_is_found_out() -> None:
    class Careless(Distillation):
        def after_step(self, progress):
            with torch.no_grad():
                self.teacher[3].bias.add_(1.0)

    with pytest.raises(RuntimeError, match="'teacher' was frozen"):
        fit(Careless(net(), frozen(net(seed=5))), (X, Y), epochs=1)


class Game(Lesson):
    """A student that minimises and an adversary that maximises the same number."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Parameter(torch.tensor([2.0]))
        self.adversary = nn.Parameter(torch.tensor([1.0]))

    def parameter_groups(self):
        return {"student": [{"params": [self.student]}], "adversary": [{"params": [self.adversary]}]}

    def train_step(self, batch, optimizers, progress):
        value = (self.student * self.adversary).sum()
        optimizers["student"].minimise(value)
        assert self.adversary.grad is None
        optimizers["adversary"].minimise({"ascent": -(self.student * self.adversary).sum()})
        return {"value": value}


def test_players_of_a_game_step_for_themselves() -> None:
    game = Game()
    fit(game, (X,), steps=1, lr={"student": 0.5, "adversary": 0.25}, optimizer=lambda groups: torch.optim.SGD(groups))
    assert game.student.item() == pytest.approx(2.0 - 0.5 * 1.0, abs=0.02)
    assert game.adversary.item() == pytest.approx(1.0 + 0.25 * game.student.item(), abs=0.02)


def test_normalisation_layers_are_not_decayed_and_scales_apply() -> None:
    class Scaled(Supervised):
        def parameter_groups(self):
            groups = super().parameter_groups()["student"]
            return {"student": [{**group, "lr_scale": 0.5} for group in groups]}

    student = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 3))
    seen = []

    def spy(groups):
        seen.extend((len(group["params"]), group["weight_decay"], group["lr"]) for group in groups)
        return torch.optim.SGD(groups)

    fit(Scaled(student), (X, Y), steps=1, lr=0.2, weight_decay=0.3, optimizer=spy)
    assert seen == [(2, 0.3, 0.1), (2, 0.0, 0.1)]


def test_bfloat16_keeps_weights_in_float32() -> None:
    student = net()
    history = fit(Supervised(student), (X, Y), epochs=20, batch_size=16, lr=0.05, precision="bf16")
    assert student[0].weight.dtype == torch.float32
    assert history["loss"][-1] < 0.5


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"epochs": 1, "steps": 1},
        {"epochs": 0},
        {"epochs": 1, "accumulate": 0},
        {"epochs": 1, "batch_size": 0},
        {"epochs": 1, "batch_size": 100, "drop_last": True},
        {"epochs": 1, "lr": 0.0},
        {"epochs": 1, "lr": {"nobody": 0.1}},
        {"epochs": 1, "optimizer": "magic"},
        {"epochs": 1, "precision": "fp4"},
        {"epochs": 1, "device": "tpu"},
        {"epochs": 1, "seed": -1},
    ],
)
def test_options_that_make_no_sense_are_refused(options) -> None:
    with pytest.raises(InputError):
        fit(Supervised(net()), (X, Y), **options)


def test_a_lesson_without_weights_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to train"):
        fit(Supervised(frozen(net())), (X, Y), epochs=1)
    with pytest.raises(InputError, match="the data set is empty"):
        fit(Supervised(net()), (X[:0], Y[:0]), epochs=1)


def test_a_hugging_face_model_is_a_student() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 20,
    }
    with seeded(0):
        config = transformers.BertConfig(**sizes, num_labels=2, max_position_embeddings=8)
        student, teacher = (transformers.BertForSequenceClassification(config) for _ in range(2))
    ids = torch.randint(0, 20, (12, 6), generator=torch.Generator().manual_seed(0))
    rows = [{"input_ids": row, "attention_mask": torch.ones(6).long(), "labels": row[0] % 2} for row in ids]
    history = fit(Distillation(student, frozen(teacher)), rows, epochs=2, batch_size=4)
    assert len(history) == 2
    assert not student.training
