"""Margin-MSE: gaps teach, offsets do not; live and stored teachers agree; texts through a Hugging Face encoder."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from tests.methods.common import MethodContract
from tests.methods.hub import write_checkpoint
from tutelage.errors import InputError
from tutelage.methods.distillation.margin_mse import MarginMSE, ScoredTriples, huber_margin, scores_of
from tutelage.objectives.ranking import margin_mse
from tutelage.students.text_tower import TextTower
from tutelage.students.two_tower import TwoTower
from tutelage.teachers.frozen import frozen
from tutelage.teachers.scores import IDS, SCORES, read_scores
from tutelage.training import Progress, seeded
from tutelage.training.batches import Batches

PROGRESS = Progress(0, 1)


def table(rows: int, queries: int = 4, passages: int = 6) -> pa.Table:
    """`rows` triples with scores that a formula gives."""
    number = np.arange(rows)
    ids = (
        [f"q{n}" for n in number % queries],
        [f"p{n}" for n in number % passages],
        [f"p{n}" for n in (number + 1) % passages],
    )
    return pa.table([np.cos(number), np.sin(number), *ids], names=[*SCORES, *IDS])


def towers(width: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> TwoTower:
    with seeded(seed, "init"):
        sides = [nn.Sequential(nn.Linear(width, 5), nn.Tanh(), nn.Dropout(0.1), nn.Linear(5, 3)) for _ in range(2)]
    return TwoTower(*sides).to(dtype)


def vectors(width: int, queries: int = 4, passages: int = 6, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(0)
    return (
        {f"q{n}": torch.randn(width, generator=generator).to(dtype) for n in range(queries)},
        {f"p{n}": torch.randn(width, generator=generator).to(dtype) for n in range(passages)},
    )


@dataclass
class RankingCase:
    """What the common suite asks of a case, with triples for data."""

    student: TwoTower
    teacher: nn.Module
    data: ScoredTriples
    classes: int


class TestMarginMSE(MethodContract):
    def case(self, shape=(6,), classes=3, dtype=torch.float32):
        width = math.prod(shape)
        data = ScoredTriples(table(12), *vectors(width, dtype=dtype))
        return RankingCase(towers(width, dtype=dtype), frozen(towers(width, 1, dtype)), data, classes)

    def lesson(self, case):
        return MarginMSE(case.student, case.teacher)

    def mismatched(self, case):
        case.teacher = frozen(TwoTower(nn.Linear(6, 3), nn.Linear(6, 4)))
        return self.lesson(case)


def batch(scores: torch.Tensor, width: int = 3) -> dict:
    generator = torch.Generator().manual_seed(1)
    x = {name: torch.randn(len(scores), width, generator=generator) for name in IDS}
    return {"x": x, "scores": scores}


def dot() -> TwoTower:
    return TwoTower(nn.Identity(), nn.Identity())


def test_the_loss_is_the_squared_difference_of_gaps() -> None:
    x = {"query": torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "positive": torch.tensor([[2.0, 0.0], [0.0, 3.0]]),
         "negative": torch.tensor([[1.0, 9.0], [9.0, 4.0]])}  # fmt: skip
    held = {"x": x, "scores": torch.tensor([[9.0, 6.0], [0.5, 2.0]])}
    assert scores_of(dot(), x).tolist() == [[2.0, 1.0], [3.0, 4.0]]
    assert MarginMSE(dot()).losses(held, PROGRESS)["margin"].item() == pytest.approx(
        (4 + 0.25) / 2
    )  # ((1−3)² + (−1+1.5)²)/2


def test_what_is_constant_within_a_query_teaches_nothing() -> None:
    held = batch(torch.randn(5, 2, generator=torch.Generator().manual_seed(2)))
    moved = {**held, "scores": held["scores"] + 100 * torch.randn(5, 1, generator=torch.Generator().manual_seed(3))}
    one, other = (MarginMSE(dot()).losses(b, PROGRESS)["margin"] for b in (held, moved))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_student_that_scores_like_its_teacher_pays_nothing() -> None:
    held = batch(torch.zeros(4, 2))
    teacher = dot()
    assert MarginMSE(dot(), teacher).losses(held, PROGRESS)["margin"] == 0
    stored = {**held, "scores": scores_of(teacher, held["x"]) + 7}
    assert MarginMSE(dot()).losses(stored, PROGRESS)["margin"].item() == pytest.approx(0, abs=1e-10)


def test_huber_is_margin_mse_where_it_never_bends_and_linear_beyond() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(6, 2, generator=generator) for _ in range(2))
    torch.testing.assert_close(huber_margin(student, teacher, 1e3), margin_mse(*student.T, *teacher.T))
    far = torch.tensor([[100.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(huber_margin(far, torch.zeros(1, 2), 1.0), far)
    assert gradient.tolist() == [[2.0, -2.0]]
    lesson = MarginMSE(dot(), huber=1e3)
    assert (
        lesson.losses(batch(teacher), PROGRESS)["margin"] == MarginMSE(dot()).losses(batch(teacher), PROGRESS)["margin"]
    )


def test_a_list_teaches_by_all_its_pairs_and_padding_by_none() -> None:
    x = {"query": torch.ones(1, 1), "passages": torch.tensor([[[2.0], [1.0], [5.0]]])}
    held = {"x": x, "scores": torch.tensor([[9.0, 6.0, -50.0]]), "mask": torch.tensor([[True, True, False]])}
    assert MarginMSE(dot()).losses(held, PROGRESS)["margin"].item() == pytest.approx(2.0)  # (0 + 4 + 4 + 0) / 4


def test_gradients_reach_the_student_and_not_the_teacher() -> None:
    student, teacher = towers(3), towers(3, 1)
    MarginMSE(student, teacher).losses(batch(torch.zeros(4, 2)), PROGRESS)["margin"].backward()
    assert all(p.grad is not None for p in student.parameters())
    assert all(p.grad is None for p in teacher.parameters())


def test_triples_give_texts_or_tensors_row_by_row() -> None:
    texts = ScoredTriples(
        table(5), {f"q{n}": f"query {n}" for n in range(4)}, {f"p{n}": f"passage {n}" for n in range(6)}
    )
    assert texts.batch(torch.tensor([4, 1]))["x"] == {
        "query": ["query 0", "query 1"], "positive": ["passage 4", "passage 1"], "negative": ["passage 5", "passage 2"],
    }  # fmt: skip
    queries, passages = vectors(3)
    data = ScoredTriples(table(5), queries, passages)
    held = data[4]
    assert torch.equal(held["x"]["query"], queries["q0"])
    assert torch.equal(held["x"]["negative"], passages["p5"])
    assert held["scores"].tolist() == pytest.approx([math.cos(4), math.sin(4)])
    assert data[-1]["index"] == 4
    loader = torch.utils.data.DataLoader(texts, batch_size=2)
    assert next(iter(loader))["x"]["query"] == ["query 0", "query 1"]
    assert [b["index"].tolist() for b in Batches(data, 3, shuffle=False).epoch(0)] == [[0, 1, 2], [3, 4]]
    with pytest.raises(IndexError):
        data[5]


def test_refusals() -> None:
    queries, passages = vectors(3)
    with pytest.raises(InputError, match=r"1 ids are not among the query texts: q3"):
        ScoredTriples(table(5), {name: v for name, v in queries.items() if name != "q3"}, passages)
    with pytest.raises(InputError, match="unit=False"):
        MarginMSE(TwoTower(nn.Identity(), nn.Identity(), unit=True))
    with pytest.raises(InputError, match="huber must be positive"):
        MarginMSE(dot(), huber=0.0)
    with pytest.raises(InputError, match="no `scores`"):
        MarginMSE(dot()).losses({"x": batch(torch.zeros(2, 2))["x"]}, PROGRESS)
    with pytest.raises(InputError, match=r"the teacher \(2, 3\)"):
        MarginMSE(dot()).losses(batch(torch.zeros(2, 3)), PROGRESS)


PAGE = Path(__file__).parents[2] / "docs" / "methods" / "margin-mse.md"


def test_the_page_s_example_with_texts_runs_on_a_checkpoint_folder(tmp_path, monkeypatch) -> None:
    """A cross-encoder's scores in a file, a two-tower student from a folder; the loss falls, the folder is saved."""
    (example,) = re.findall(r"```py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(example.splitlines()) <= 14
    queries = {"q1": "bread without yeast", "q2": "tax return"}
    passages = {"p1": "how to bake flat bread", "p2": "filing a tax form", "p3": "a bread form"}
    triples = [("q1", "p1", "p2"), ("q1", "p1", "p3"), ("q2", "p2", "p1"), ("q2", "p2", "p3")]
    write_checkpoint(tmp_path / "student", [*queries.values(), *passages.values()])
    monkeypatch.chdir(tmp_path)

    class CrossEncoder:
        def __init__(self, folder: str) -> None:
            pass

        def predict(self, pairs: list[tuple[str, str]]) -> list[float]:
            return [10.0 * len(set(query.split()) & set(passage.split())) for query, passage in pairs]

    monkeypatch.setattr("sentence_transformers.CrossEncoder", CrossEncoder)
    names = {"__name__": "example", "queries": queries, "passages": passages, "triples": triples}
    example = example.replace("epochs=3", "epochs=20").replace("lr=7e-6", "lr=1e-2")  # a random model has far to go
    exec(compile(example, str(PAGE), "exec"), names)
    history = names["history"]
    assert history["loss"][-1] < history["loss"][0] / 2
    assert read_scores("scores.tsv").equals(names["scored"])
    again = TextTower.from_pretrained("ranker")
    tower = names["student"].query.eval()
    assert torch.equal(again(["tax form"]), tower(["tax form"]))


def test_towers_that_share_a_model_train_it_once_and_read_texts_of_any_length(tmp_path) -> None:
    tower = TextTower.from_pretrained(write_checkpoint(tmp_path, ["a b c d"]), pool="mean")
    short = TextTower(tower.model, tower.tokenizer, pool="mean", max_length=3)
    lesson = MarginMSE(TwoTower(short, tower))
    counted = sum(len(group["params"]) for group in lesson.parameter_groups()["student"])
    assert counted == len(list(tower.model.parameters()))
    one, padded = tower(["a b"]), tower(["a b", "a b c d"])[:1]
    torch.testing.assert_close(one, padded, atol=1e-5, rtol=1e-4)  # padding moves nothing
    assert short.tokens(["a b c d"])["input_ids"].shape == (1, 3)
    with pytest.raises(InputError, match="cannot load the encoder"):
        TextTower.from_pretrained(tmp_path / "nowhere")
