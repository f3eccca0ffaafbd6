"""Does a student that only ever sees centred digits learn from its teacher that a shifted digit is the same digit?

Real digits in the middle of 12 × 12 pixels. The teacher is a convolutional network that has seen shifted, turned, stretched
and sheared digits; the student is a perceptron, to which a shifted digit is another input altogether. What an augmentor may
do at most is not chosen by hand: it is the widest range at which the teacher loses at most five points on 200 digits that
it was not trained on. HARD starts at a twentieth of that range.

The test that decides shows every test digit at all 25 places up to two pixels away; turned digits are reported. All arms
of a seed share pictures, first weights, steps, learning rate and the number of inputs that the student sees: arms without
augmentation see twice as many clean ones. The augmentor's own steps cost time, and are printed.

Unlike what one would do with tiny networks, arms are not stacked: the time goes into the teacher's convolutions, which
stacking does not save, and this way the study runs the very lesson that users run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage.curricula.augmentors import AffineAugmentor, Augmentor, NoiseAugmentor
from tutelage.data.digits import digits
from tutelage.data.views import GeometricView
from tutelage.feedback.alternation import Alternation
from tutelage.methods.distillation.hard import HARD, widest_range
from tutelage.students.cnn import SmallCnn
from tutelage.students.mlp import mlp
from tutelage.studies import Arm, Metric, Paper, Part, Results, Role, Setup, Study, Trial, at_least, beats, not_worse
from tutelage.teachers.frozen import frozen
from tutelage.training import Distillation, Lesson, Supervised, child_seed, fit, one_cycle, predict_all, seeded

OPEN = 0.999
"""The start of an augmentor that uses its whole bound."""


@dataclass(frozen=True)
class Settings:
    """Sizes, and how long teacher and student learn; views: how many changed copies of a digit the teacher sees."""

    train: int = 1000
    held_out: int = 200
    test: int = 797
    views: int = 20
    teacher_steps: int = 600
    teacher_lr: float = 1e-2
    steps: int = 500
    batch: int = 64
    lr: float = 3e-3


@dataclass(frozen=True)
class Digits:
    """What the arms of a seed share: pictures [N, 1, 12, 12], labels, the frozen teacher, what it says about shifted digits,
    and the range that it holds.
    """

    x: Tensor
    y: Tensor
    tests: dict[str, tuple[Tensor, Tensor]]
    teacher: nn.Module
    says: Tensor
    range: float


def affine(multiple: float, start: float = OPEN) -> AffineAugmentor:
    """Shifts by 0.2 of the side, turns by 17 degrees, stretches and shears of 15 %, times the multiple."""
    return AffineAugmentor(
        shift=0.2 * multiple, rotate=17 * multiple, scale=0.15 * multiple, shear=0.15 * multiple, start=start
    )


def every_shift(pictures: Tensor, most: int) -> Tensor:
    """The pictures at all places up to `most` pixels away, place by place: [N, …] → [(2 most + 1)² N, …]."""
    places = range(-most, most + 1)
    return torch.cat([pictures.roll((dy, dx), (2, 3)) for dy in places for dx in places])


def prepared(setup: Setup[Settings]) -> Digits:
    """Digits, tests and teacher of a seed."""
    s = setup.settings
    train, test = digits(setup.seed, s.train, s.test, flat=False, size=12)
    known = s.train - s.held_out
    generator = torch.Generator().manual_seed(child_seed(setup.seed, "views"))
    with torch.no_grad():
        views = torch.cat([affine(1.0)(train.x[:known], generator) for _ in range(s.views)])
    with seeded(setup.seed, "teacher"):
        teacher = SmallCnn((1, 16, 32, 64), 10, strides=(1, 2, 2), norm="batch")
    labels = train.y[:known].repeat(s.views)
    options = {"steps": s.teacher_steps, "batch_size": s.batch, "lr": s.teacher_lr, "seed": setup.seed}
    fit(Supervised(teacher), (views, labels), schedule=one_cycle(), **options)  # type: ignore[arg-type]
    turned = GeometricView.draw(len(test.x), (12, 12), generator, rotate=20.0).apply_image(test.x)
    tests = {
        "shifted": (every_shift(test.x, 2), test.y.repeat(25)),
        "centred": (test.x, test.y),
        "turned": (turned, test.y),
    }
    width = widest_range(frozen(teacher), affine, train.x[known:], train.y[known:])
    says = predict_all(teacher, tests["shifted"][0], batch_size=4096).argmax(-1)
    return Digits(train.x, train.y, tests, teacher, says, width)


def judged(data: Digits, model: nn.Module) -> dict[str, float]:
    """Accuracy on every test, and how often the model says what the teacher says about shifted digits."""
    said = {name: predict_all(model, x, batch_size=4096).argmax(-1) for name, (x, _) in data.tests.items()}
    figures = {name: (said[name] == y).float().mean().item() for name, (_, y) in data.tests.items()}
    return figures | {"agreement": (said["shifted"] == data.says).float().mean().item()}


def arm(name: str, role: Role, make: Callable[[nn.Module, Digits], Lesson]) -> Arm[Digits, Settings]:
    """A student taught by the lesson that `make` gives."""

    def run(data: Digits, trial: Trial[Settings]) -> dict[str, float]:
        s = trial.settings
        with seeded(trial.seed, "init"):
            student = mlp(144, 64, 64, 10)
        lesson = make(student, data)
        batch = s.batch if isinstance(lesson, HARD) else 2 * s.batch
        fit(lesson, (data.x, data.y), steps=s.steps, batch_size=batch, drop_last=True, lr=s.lr, seed=trial.seed)
        trial.budget.count(steps=s.steps, examples=2 * s.batch * s.steps)
        figures = judged(data, student)
        if isinstance(lesson, HARD):
            found = lesson.report()
            figures["augmentor steps"] = found["augmentor_steps"]
            if isinstance(lesson.augmentor, AffineAugmentor):
                figures["share of the range"] = (lesson.augmentor.widths / lesson.augmentor.bound).mean().item()
        return figures

    return Arm(name, role, run)


def fixed(augmentor: Augmentor) -> Augmentor:
    """Random augmentation: widths that nobody learns."""
    return augmentor.requires_grad_(False)


def teacher(data: Digits, trial: Trial[Settings]) -> dict[str, float]:
    """What there is to transfer."""
    return judged(data, data.teacher) | {"range": data.range}


def beside(r: Results) -> str:
    """HARD against somebody who knows the range, and what the thresholds do, by the figures."""
    gap = r.gain("hard", "random 100 %", "shifted")
    share, waits = r["hard", "share of the range"].mean(), r["waits", "shifted"].mean()
    return (
        f"From a twentieth of the range HARD finds {share:.0%} of it by itself; random views over the whole of it, for somebody "
        f"who knows it, are {'better' if sum(gap) < 0 else 'worse'} by {abs(sum(gap) / len(gap)):.3f} on shifted digits. With "
        f"the two thresholds (the augmentor waits for the student) it reaches {waits:.3f}."
    ).replace("%", " %")


STUDY = Study(
    slug="hard",
    paper=Paper("HARD: Hard Augmentations for Robust Distillation", "Nix, Burg & Sinz", 2023, "2305.14890"),
    claim="augmentations that are learned to make teacher and student differ carry shift equivariance to a student that plain "
    "distillation leaves without it",
    parts=(
        Part(
            data=prepared,
            arms=(
                Arm("teacher", "reference", teacher),
                arm("ce", "baseline", lambda s, d: Supervised(s)),
                arm("kd", "baseline", lambda s, d: Distillation(s, d.teacher, temperature=1.0, hard=0.0, soft=1.0)),
                arm("noise", "baseline", lambda s, d: HARD(s, d.teacher, fixed(NoiseAugmentor(0.2, OPEN)))),
                arm("random 25 %", "baseline", lambda s, d: HARD(s, d.teacher, fixed(affine(d.range, 0.25)))),
                arm("random 100 %", "baseline", lambda s, d: HARD(s, d.teacher, fixed(affine(d.range)))),
                arm("hard", "method", lambda s, d: HARD(s, d.teacher, affine(d.range, 0.05))),
                arm("not learned", "ablation", lambda s, d: HARD(s, d.teacher, fixed(affine(d.range, 0.05)))),
                arm(
                    "waits",
                    "ablation",
                    lambda s, d: HARD(s, d.teacher, affine(d.range, 0.05), alternation=Alternation(2.0, 1.1, most=5)),
                ),
            ),
            metrics=(
                Metric("shifted"),
                Metric("centred"),
                Metric("turned"),
                Metric("agreement"),
                Metric("share of the range", digits=2),
                Metric("augmentor steps", digits=0),
            ),
            bars=(
                beats("hard", "kd", "shifted", by=0.2, wins=1.0),
                not_worse("hard", "kd", "centred", within=0.02),
                beats("hard", "random 25 %", "shifted", wins=1.0),
                not_worse("hard", "random 100 %", "shifted", within=0.06),
                at_least("teacher", "shifted", 0.95),
                not_worse("hard", "random 100 %", "shifted", within=0.0, gated=False),
            ),
            settings=Settings(),
            fast=Settings(train=60, held_out=20, test=20, views=2, teacher_steps=3, steps=2, batch=8),
            seeds=5,
            sentence=beside,
        ),
    ),
)
