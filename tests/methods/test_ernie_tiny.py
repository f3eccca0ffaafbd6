"""ERNIE-Tiny: the latent loss by hand, the stages and what they carry, and Hugging Face models read without eager attention."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.methods.common import Case, MethodContract
from tests.methods.hub import write_checkpoint
from tutelage.errors import InputError
from tutelage.methods.distillation.ernie_tiny import (
    ErnieTiny,
    LatentDistillation,
    latent_loss,
    projectors,
    uniform_map,
)
from tutelage.objectives.divergence import distillation_kl
from tutelage.students.text_tower import token_rows
from tutelage.students.transformer import TransformerClassifier, TransformerEncoder
from tutelage.teachers.frozen import frozen
from tutelage.teachers.inner import Inner, inner_states
from tutelage.training import FitOptions, Lesson, Progress, Supervised, fit, seeded
from tutelage.training.weights import weights_fingerprint

PROGRESS = Progress(0, 1)


def network(inputs: int, width: int, depth: int, classes: int, seed: int, dtype: torch.dtype = torch.float32):
    with seeded(seed, "init"):
        encoder = TransformerEncoder(width, depth=depth, heads=2, length=5, hidden=2 * width, dropout=0.1)
        return TransformerClassifier(nn.Linear(inputs, width), encoder, classes).to(dtype)


def sequences(shape=(4, 6), classes=3, dtype=torch.float32, depth: int = 4) -> Case:
    x = torch.randn(12, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    student, teacher = network(shape[1], 4, 2, classes, 0, dtype), network(shape[1], 8, depth, classes, 1, dtype)
    return Case(student, frozen(teacher), {"x": x, "y": torch.arange(12) % classes}, classes)


class TestLatentDistillation(MethodContract):
    settings = (((4, 6), 3, torch.float32), ((5, 3), 4, torch.float64))

    def case(self, shape=(4, 6), classes=3, dtype=torch.float32):
        return sequences(shape, classes, dtype)

    def lesson(self, case: Case, **weights: float) -> Lesson:
        weights = weights or {"soft": 1.0, "hard": 1.0}
        return LatentDistillation(
            case.student, case.teacher, projectors(case.student, case.teacher, case.data["x"][:1]), **weights
        )

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return self.lesson(case, latent=0.0, soft=0.0, hard=1.0), Supervised(case.student)

    def mismatched(self, case: Case) -> Lesson:
        lesson = self.lesson(case)
        assert isinstance(lesson, LatentDistillation)
        lesson.teacher = frozen(network(6, 8, 4, case.classes + 1, 1))
        return lesson


def test_layers_are_mapped_evenly_or_refused() -> None:
    assert uniform_map(4, 12) == [0, 3, 6, 9, 12]
    assert uniform_map(3, 3) == [0, 1, 2, 3]
    with pytest.raises(InputError, match=r"4 student layers do not divide the teacher's 6; use \[1, 2, 3, 6\]"):
        uniform_map(4, 6)


def test_the_latent_loss_by_hand_with_padding() -> None:
    """Two tokens, the second is padding; teacher layers 0 and 2 of 2 are read, layer 1 is not."""
    s = Inner(
        [torch.tensor([[[1.0], [99.0]]]), torch.tensor([[[2.0], [99.0]]])],
        [torch.tensor([[[[1.0, 99.0], [99.0, 99.0]]]])],
        mask=torch.tensor([[1, 0]]),
    )
    t = Inner(
        [torch.tensor([[[4.0], [0.0]]]), torch.full((1, 2, 1), 7.0), torch.tensor([[[5.0], [0.0]]])],
        [torch.full((1, 1, 2, 2), 7.0), torch.tensor([[[[3.0, 0.0], [0.0, 0.0]]]])],
    )
    double = nn.Linear(1, 1, bias=False)
    nn.init.constant_(double.weight, 2.0)
    parts = latent_loss(s, t, [double, nn.Identity()])
    assert parts["hidden"].item() == pytest.approx((2 * 1 - 4) ** 2 + (2 - 5) ** 2)
    assert parts["attention"].item() == pytest.approx((1 - 3) ** 2)


def test_a_student_that_is_its_teacher_pays_nothing_latent_and_only_the_labels() -> None:
    case = sequences()
    model = case.teacher
    project = nn.ModuleList(nn.Identity() for _ in range(5))
    batch = {"x": case.data["x"], "y": case.data["y"]}
    parts = LatentDistillation(model, model, project, soft=1.0, hard=2.0).losses(batch, PROGRESS)
    assert parts["attention"] == 0
    assert parts["hidden"] == 0
    assert parts["soft"].item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(parts["hard"], 2 * F.cross_entropy(model(batch["x"]), batch["y"]))


def test_the_parts_of_the_last_stage_are_the_shared_objectives() -> None:
    case = sequences()
    student, teacher = case.student.eval(), case.teacher
    x, y = case.data["x"], case.data["y"]
    project = projectors(student, teacher, x[:1])
    parts = LatentDistillation(student, teacher, project, soft=1.0, hard=1.0, temperature=2.0).losses(
        {"x": x, "y": y}, PROGRESS
    )
    torch.testing.assert_close(parts["soft"], distillation_kl(student(x), teacher(x), 2.0))
    by_function = LatentDistillation(student, lambda batch: inner_states(teacher, batch["x"]), project)
    torch.testing.assert_close(by_function.losses({"x": x}, PROGRESS)["hidden"], parts["hidden"])


def test_stages_carry_student_and_projectors_and_run_in_the_paper_s_order() -> None:
    case = sequences()
    tuned = copy.deepcopy(case.teacher).requires_grad_(True)
    general, task = (case.data["x"],), (case.data["x"], case.data["y"])
    before = weights_fingerprint(case.teacher)
    seen: list[str] = []

    def measure(stage) -> dict[str, float]:
        seen.append(weights_fingerprint(stage.lesson.project))
        return {"classes": stage.lesson.student(case.data["x"]).shape[1]}

    short = FitOptions(steps=2, batch_size=4, lr=0.01)
    ernie = ErnieTiny(case.student, case.teacher, tuned)
    history = ernie.fit(general, task, {"tsd": short, "gd": short, "tad": short, "ged": short}, measure=measure)
    assert history["stage"] == ["gd", "ged", "tad", "tsd"]
    assert history["classes"] == [3] * 4
    assert len(set(seen)) == 4, "every stage goes on with the projectors of the one before"
    assert ["hard" in row for row in history.rows] == [False, False, False, True]
    assert weights_fingerprint(case.teacher) == before
    assert not any(parameter.requires_grad for parameter in tuned.parameters())


def test_a_stage_that_the_plan_does_not_name_is_left_out_and_a_seed_decides_the_rest() -> None:
    def run(seed: int) -> str:
        case = sequences()
        plan = {"ged": FitOptions(steps=2, batch_size=4, lr=0.01)}
        history = ErnieTiny(case.student, case.teacher, copy.deepcopy(case.teacher)).fit(
            (case.data["x"],), (case.data["x"], case.data["y"]), plan, seed=seed
        )
        assert history["stage"] == ["ged"]
        return weights_fingerprint(case.student)

    assert run(0) == run(0) != run(1)


def test_refusals() -> None:
    case = sequences()
    project = projectors(case.student, case.teacher, case.data["x"][:1])
    batch = {"x": case.data["x"]}
    with pytest.raises(InputError, match="not all 0"):
        LatentDistillation(case.student, case.teacher, project, latent=0.0)
    with pytest.raises(InputError, match="the batch has none"):
        LatentDistillation(case.student, case.teacher, project, hard=1.0).losses(batch, PROGRESS)
    ernie = ErnieTiny(case.student, case.teacher, case.teacher)
    with pytest.raises(InputError, match=r"no stage called \['gde'\]"):
        ernie.fit((case.data["x"],), (case.data["x"],), {"gde": FitOptions(steps=1)})
    wider = ErnieTiny(case.student, case.teacher, network(6, 12, 4, 3, 5))
    with pytest.raises(InputError, match="must be the pre-trained one, tuned"):
        wider.fit((case.data["x"],), (case.data["x"],), {"gd": FitOptions(steps=1)})
    with pytest.raises(InputError, match="do not divide"):
        projectors(case.student, network(6, 8, 3, 3, 1), case.data["x"][:1])
    with pytest.raises(InputError, match="give it a method inner"):
        inner_states(nn.Linear(6, 3), case.data["x"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("teacher"), ["red green blue bread"], layers=4, classes=3)


def test_scores_of_a_hugging_face_model_are_those_before_its_softmax(folder: Path) -> None:
    """Whatever kernel runs: their softmax over real tokens is the attention that the eager kernel returns."""
    from transformers import AutoModel, AutoTokenizer

    tokens = dict(AutoTokenizer.from_pretrained(folder)(["red", "red green blue"], padding=True, return_tensors="pt"))
    eager = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    expected = eager(**tokens, output_attentions=True).attentions
    read = inner_states(AutoModel.from_pretrained(folder, attn_implementation="sdpa").eval(), tokens)
    assert len(read.states) == 5
    assert read.logits is None
    kept = tokens["attention_mask"].bool()[:, None, None, :]
    for scores, attention in zip(read.scores, expected, strict=True):
        torch.testing.assert_close(scores.masked_fill(~kept, -math.inf).softmax(-1), attention, atol=1e-5, rtol=1e-4)


def test_padding_does_not_change_the_loss_of_a_hugging_face_pair(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    student, teacher = (
        AutoModelForSequenceClassification.from_pretrained(path).eval()
        for path in (write_checkpoint(tmp_path, ["red"], layers=2, width=4, classes=3), folder)
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    losses = []
    for length in (4, 9):
        (row,) = token_rows(tokenizer, ["red green"], max_length=length)
        x = {name: value.unsqueeze(0) for name, value in row.items()}
        lesson = LatentDistillation(student, teacher, projectors(student, teacher, x), soft=1.0)
        losses.append({name: value.item() for name, value in lesson.losses({"x": x}, PROGRESS).items()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_page_s_example_with_texts_runs_on_checkpoint_folders(tmp_path: Path, monkeypatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "methods" / "ernie-tiny.md"
    (example,) = re.findall(r"```py\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len(example.splitlines()) <= 16
    texts = ["red green", "blue bread", "green bread red", "blue blue"]
    for name, seed in (("pretrained", 0), ("finetuned", 1)):
        write_checkpoint(tmp_path / name, texts, layers=4, classes=3, seed=seed)
    write_checkpoint(tmp_path / "student", texts, layers=2, width=4, classes=3, seed=2)
    monkeypatch.chdir(tmp_path)
    example = re.sub(r'"steps": \d+', '"steps": 2', example)
    names = {"__name__": "example", "corpus": texts, "texts": texts, "labels": [0, 1, 0, 2]}
    exec(compile(example, str(page), "exec"), names)
    assert list(dict.fromkeys(names["history"]["stage"])) == ["gd", "ged", "tad", "tsd"]
    assert (tmp_path / "small" / "model.safetensors").is_file()


def test_models_with_other_vocabularies_are_refused(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    teacher = AutoModel.from_pretrained(folder)
    student = AutoModel.from_pretrained(write_checkpoint(tmp_path, ["red"], words=20))
    with pytest.raises(InputError, match=r"one tokenizer; their vocabularies have \[20, 40\] tokens"):
        ErnieTiny(student, teacher, teacher)
    headless = LatentDistillation(student, teacher, nn.ModuleList(), latent=0.0, hard=1.0)
    with pytest.raises(InputError, match="no head"):
        headless.losses({"x": {"input_ids": torch.ones(1, 3).long()}, "y": torch.tensor([0])}, PROGRESS)


def test_token_rows_are_a_data_set_of_fit(folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    rows = token_rows(AutoTokenizer.from_pretrained(folder), ["red", "blue bread"], [0, 2], max_length=5)
    assert rows[1]["labels"] == 2
    assert rows[0]["attention_mask"].tolist() == [1, 1, 1, 0, 0]
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert len(fit(Supervised(model), rows, epochs=2, batch_size=2)["loss"]) == 2
    with pytest.raises(InputError, match="one label for each"):
        token_rows(AutoTokenizer.from_pretrained(folder), ["red"], [0, 1])
