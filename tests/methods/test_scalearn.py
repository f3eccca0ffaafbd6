"""ScaLearn: scales of frozen adapters, on a user's own network and in a Hugging Face encoder."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.methods.common import Case, MethodContract, network
from tests.methods.hub import write_checkpoint
from tutelage.errors import InputError
from tutelage.evaluation.classification import macro_f1
from tutelage.methods.adaptation.scalearn import VARIANTS, ScaLearn, combiner_of, learn_source
from tutelage.students.adapter_bank import AdapterBank
from tutelage.students.adapters import AdapterHost, Adapters
from tutelage.studies import Trial
from tutelage.studies.adaptation._scalearn_packages import (
    PLACES,
    SOURCES,
    TARGETS,
    WIDTH,
    Block,
    Few,
    Foundation,
    Packages,
    drawn,
    few,
)
from tutelage.studies.adaptation.scalearn import CLASSES, one_arm
from tutelage.teachers.frozen import frozen
from tutelage.training import Lesson, Supervised, fit, linear, seeded, weights_fingerprint


def base_of(width: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> nn.Sequential:
    with seeded(seed, "init"):
        return nn.Sequential(nn.Flatten(), nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 8)).to(dtype)


def bank_of(base: nn.Module, sources: int = 3, places: str = "[13]", std: float = 0.5) -> AdapterBank:
    """Adapters as training might have left them; with std 0 they say nothing."""
    held = {}
    for number in range(sources):
        with seeded(number, "init"):
            held[f"task {number}"] = adapters = Adapters.fresh(base, places, reduction=4)
            for weight in adapters.parameters():
                nn.init.normal_(weight, std=std)
    return AdapterBank(held)


class TestScaLearn(MethodContract):
    """The student of a case is the head: it and the scales are all that is trained. The teacher is the base."""

    def case(self, shape=(6,), classes=3, dtype=torch.float32):
        width = math.prod(shape)
        x = torch.randn(12, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        with seeded(0, "init"):
            head = nn.Linear(8, classes).to(dtype)
        return Case(head, base_of(width, dtype), {"x": x, "y": torch.arange(12) % classes}, classes)

    def lesson(self, case: Case) -> Lesson:
        with seeded(0, "init"):
            return ScaLearn(case.teacher, bank_of(case.teacher), case.student)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        silent = bank_of(case.teacher, std=0.0)
        return ScaLearn(case.teacher, silent, case.student), Supervised(
            nn.Sequential(frozen(case.teacher), case.student)
        )

    def mismatched(self, case: Case) -> Lesson:
        bank = bank_of(case.teacher)
        return ScaLearn(network((6,), 5, 3, seed=7), bank, case.student)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns_its_scales_and_leaves_the_sources_alone(variant: str):
    base = base_of(6)
    bank = bank_of(base)
    lesson = ScaLearn(base, bank, nn.Linear(8, 2), variant=variant)  # type: ignore[arg-type]
    before, sources = [omega.detach().clone() for omega in lesson.combiner.omega], weights_fingerprint(bank)
    x = torch.randn(40, 6)
    fit(lesson, (x, (x[:, 0] > 0).long()), steps=3, batch_size=20, lr=0.05)
    assert all(not torch.allclose(old, new, atol=0.01) for old, new in zip(before, lesson.combiner.omega, strict=True))
    assert weights_fingerprint(bank) == sources
    learnt = {name.rpartition(".")[0] for name, weight in lesson.named_parameters() if weight.requires_grad}
    assert learnt == {"student.update.combiner.omega", "student.head"}


def test_the_numbers_of_the_paper_s_largest_setting():
    sizes = {name: sum(p.numel() for p in combiner_of(name, 8, [768] * 12).parameters()) for name in VARIANTS}
    assert sizes == {"scalearn": 73728, "uniform": 96, "scalearn++": 6144, "uniform++": 8}


def test_the_source_that_solves_the_target_gets_the_largest_scale():
    base = nn.Sequential(nn.Linear(2, 3))
    with torch.no_grad():
        base[0].weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]]))
        base[0].bias.zero_()
    sources = {name: Adapters.fresh(base, "0", reduction=3) for name in ("noise", "fitting", "more noise")}
    with torch.no_grad():
        for number, adapters in enumerate(sources.values()):  # each passes on one feature, if it is positive
            adapter = adapters.at(0)
            adapter.down.weight.copy_(torch.eye(3)[number : number + 1])
            adapter.down.bias.zero_()
            adapter.up.weight.copy_(torch.eye(3)[:, number : number + 1])
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    head = nn.Linear(3, 2, bias=False).requires_grad_(False)
    head.weight.copy_(torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]))
    lesson = ScaLearn(base, AdapterBank(sources), head, variant="uniform", dropout=0.0)
    fit(lesson, (x, (x[:, 0] > 0).long()), epochs=10, batch_size=50, lr=0.05)
    scales = {name: scale for name, (scale,) in lesson.scales().items()}
    assert scales["fitting"] > 2 / 3 > max(scales["noise"], scales["more noise"])


def test_scales_are_not_pulled_to_zero():
    base = base_of(6)
    lesson = ScaLearn(base, bank_of(base, std=0.0), nn.Linear(8, 2))
    before = lesson.combiner.omega[0].detach().clone()
    fit(lesson, (torch.randn(20, 6), torch.arange(20) % 2), epochs=5, lr=0.1, weight_decay=0.5)
    assert torch.equal(lesson.combiner.omega[0], before), "silent sources give no gradient, and decay does not reach ω"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("normalise", [None, "softmax"])
def test_merged_adapters_say_the_same(variant: str, normalise, tmp_path: Path):
    base = base_of(6)
    lesson = ScaLearn(base, bank_of(base), nn.Linear(8, 2), variant=variant, normalise=normalise)  # type: ignore[arg-type]
    for omega in lesson.combiner.parameters():
        nn.init.normal_(omega)
    merged = lesson.train().merged()
    assert lesson.combiner.training
    assert merged.hidden == (6, 6)
    merged.save(tmp_path / "merged.safetensors")
    merged = Adapters.load(tmp_path / "merged.safetensors")
    x = torch.randn(5, 6)
    host = AdapterHost(base, merged.places, merged, head=lesson.student.head)
    assert torch.allclose(host(x), lesson.eval().student(x), atol=1e-4)


def test_scales_are_told_by_source_and_place():
    base = base_of(6)
    lesson = ScaLearn(base, bank_of(base, sources=2), nn.Linear(8, 2))
    with torch.no_grad():
        lesson.combiner.omega[1][0] = torch.tensor([1.0, 3.0] * 4)
    scales = lesson.scales()
    assert list(scales) == ["task 0", "task 1"]
    assert scales["task 0"][1] == pytest.approx(2.0)
    assert scales["task 1"] == pytest.approx([1.0, 1.0], abs=0.01)


def test_stage_one_learns_in_a_model_that_stays_as_it_is():
    base = base_of(2)
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    y = (x.prod(1) > 0).long()
    before = weights_fingerprint(base)
    head = nn.Linear(8, 2)
    adapters = learn_source(base, "[13]", head, (x, y), reduction=1, epochs=30, lr=1e-2)
    assert weights_fingerprint(base) == before
    right = AdapterHost(base, adapters.places, adapters, head=head)(x).argmax(-1) == y
    assert right.float().mean() > 0.9


def test_it_learns_in_a_hugging_face_encoder(tmp_path: Path):
    from transformers import AutoModel

    write_checkpoint(tmp_path, ["one two three four"], layers=2, width=8)
    base = AutoModel.from_pretrained(tmp_path)
    before = weights_fingerprint(base)
    tokens = {"input_ids": torch.randint(4, 8, (6, 5)), "attention_mask": torch.ones(6, 5, dtype=torch.long)}
    batches = DataLoader([{"x": tokens, "y": torch.arange(6) % 2}], batch_size=None)  # type: ignore[arg-type]
    places = "encoder.layer.*.output.dense"
    bank = AdapterBank(
        {f"task {n}": learn_source(base, places, nn.Linear(8, 2), batches, reduction=4, epochs=2) for n in range(2)}
    )
    lesson = ScaLearn(base, bank, nn.Linear(8, 2))
    history = fit(lesson, batches, steps=2, lr=6e-3)
    assert all(math.isfinite(loss) for loss in history["loss"])
    assert lesson.student(**tokens).shape == (6, 2)
    assert lesson.transfer_parameters == 2 * 2 * 8
    assert weights_fingerprint(base) == before
    assert all(weight.grad is None for weight in [*base.parameters(), *bank.parameters()])


def test_what_it_refuses():
    base = base_of(6)
    with pytest.raises(InputError, match="need at least two; the bank holds 1"):
        ScaLearn(base, bank_of(base, sources=1), nn.Linear(8, 2))
    with pytest.raises(InputError, match="trained in another model"):
        ScaLearn(base_of(6, seed=5), bank_of(base), nn.Linear(8, 2))
    with pytest.raises(InputError, match=r"variant is scalearn, uniform, .*; got 'uniform\+'"):
        ScaLearn(base, bank_of(base), nn.Linear(8, 2), variant="uniform+")  # type: ignore[arg-type]
    lesson = ScaLearn(base, bank_of(base), nn.Linear(8, 2))
    with pytest.raises(InputError, match=r"labels must be in \[0, 2\); found 2 in row"):
        fit(lesson, (torch.randn(2, 6), torch.tensor([0, 2])), steps=1, batch_size=2, lr=1e-3)
    with pytest.raises(InputError, match="no part of the model fits 'layers'"):
        learn_source(base, "layers", nn.Linear(8, 2), (torch.randn(2, 6), torch.tensor([0, 1])))


def test_the_stacked_arm_of_the_study_is_the_lesson(tmp_path: Path):
    with seeded(0, "init"):
        base = nn.Sequential(*(Block(WIDTH) for _ in range(2)))
    bank = bank_of(base, places=PLACES, std=0.1)
    generator = torch.Generator().manual_seed(0)
    parts = {name: [(torch.randn(40, WIDTH, generator=generator), torch.arange(40) % 3)] * 3 for name in TARGETS}
    held = Foundation(base, bank, {})
    labels = {name: Few(*part) for name, part in parts.items()}
    settings = Packages(train=40, validation=40, steps=8, batch=10, check_every=8)
    trials = [Trial(seed, settings, tmp_path, arm="uniform", choice={"lr": 0.02}) for seed in (3, 4)]
    figures = one_arm([(held, labels)] * 2, trials)
    with seeded(4, "init", "use"):
        scales, head = combiner_of("uniform", 3, bank.widths, dropout=0.0), nn.Linear(WIDTH, CLASSES)
    lesson = ScaLearn(base, bank, head, variant="uniform", dropout=0.0)
    lesson.combiner.load_state_dict(scales.state_dict())
    x, y = labels["use"].train
    options = {"batch_size": 10, "lr": 0.02, "schedule": linear(), "weight_decay": 0.0, "seed": 4}
    fit(lesson, (x, y), epochs=2, **options)
    with torch.no_grad():
        said = lesson.student(x).argmax(-1)
    assert figures[1]["macro-F1"][0] == pytest.approx(macro_f1(y.numpy(), said.numpy()))
    assert figures[1]["transfer parameters"] == lesson.transfer_parameters == 6
    assert trials[1].budget.examples == 80


def test_targets_share_no_source_package_with_what_was_trained_before():
    rng = np.random.default_rng(0)
    size = 3000
    facets = {**SOURCES, **TARGETS}
    columns = {name: [classes[n] for n in rng.integers(len(classes), size=size)] for name, classes in facets.items()}
    for name in TARGETS:  # most packages have none of these
        columns[name] = [value if rng.random() < 0.1 else None for value in columns[name]]
    family = np.array([f"s{n}" for n in rng.integers(1200, size=size)])
    targets, sources, rest = drawn(
        pa.table({"source": family, **columns}), Packages(per_source=120, per_class=30, trunk=50)
    )
    tested = family[np.concatenate([rows for rows, _ in targets.values()])]
    taught = np.concatenate([rest, *(rows for rows, _ in sources.values())])
    assert not set(tested) & set(family[taught])
    assert not set(rest) & {row for rows, _ in sources.values() for row in rows}
    assert len(rest) == 50
    for name, (rows, y) in {**targets, **sources}.items():
        assert [facets[name][label] for label in y] == [columns[name][row] for row in rows]
        assert np.bincount(y.numpy()).max() <= 30
    assert all(len(set(family[rows])) == len(rows) for rows, _ in targets.values()), "one package of a source"


def test_labels_are_drawn_apart():
    x, y = torch.arange(60.0).unsqueeze(1), torch.arange(60) % 3
    drawn_of = [few(x, y, Packages(train=12, validation=18, test=100), seed) for seed in (0, 0, 1)]
    parts = [drawn_of[0].train, drawn_of[0].validation, drawn_of[0].test]
    assert [len(part[0]) for part in parts] == [12, 18, 30], "what is left is the test"
    assert sorted(torch.cat([part[0] for part in parts]).flatten().tolist()) == list(range(60))
    assert drawn_of[0].train[1].bincount().tolist() == [4, 4, 4]
    assert torch.equal(drawn_of[0].train[0], drawn_of[1].train[0])
    assert not torch.equal(drawn_of[0].train[0], drawn_of[2].train[0])
