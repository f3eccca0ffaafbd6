"""HARD: augment where teacher and student disagree, and let the teacher answer there.

Nix, Burg and Sinz, "HARD: Hard Augmentations for Robust Distillation", 2023 (arXiv:2305.14890).

Distillation copies a teacher where there is data; what it knows beyond (that a shifted digit is the same digit) never
reaches a student that sees no shifted digit. An augmentor with parameters φ is trained *against* the student, the
student on what it makes; the teacher labels everything, so an augmentation need not keep the class. In the symbols of
the code, with s = student, t = teacher, x~ = augmentor(x) and d(s, t) = T² KL(softmax t/T ‖ softmax s/T) or MSE:

    student     min over θ   d(s(x), t(x)) + augmented · d(s(x~), t(x~)) + labels · CE(s(x), y)       x~ without a graph
    augmentor   max over φ   L_a = d(s(x~), t(x~))                                       through both networks, θ fixed

The augmentor may run ahead of what the student can follow. `Alternation` holds it back: it climbs until L_a passes
l_max × the student's loss on clean inputs and waits until the student has brought it below l_min ×. It stops where the
teacher itself no longer knows (entropy on x~ above 80 % of log K). What a family of changes may do at most is its bound:
`widest_range` measures how far the teacher holds.

Shapes: x [B, …], logits [B, K], y [B] (long).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.curricula.augmentors import Augmentor
from tutelage.errors import InputError
from tutelage.feedback.alternation import Alternation
from tutelage.feedback.disagreement import Kind, disagreement
from tutelage.objectives.entropy import prediction_entropy
from tutelage.teachers.frozen import frozen
from tutelage.training import Batch, Lesson, Minimiser, Progress, decay_groups, logits_of, predict_all


class HARD(Lesson):
    """Distil on inputs that an augmentor learns to make hard for the student.

    Args:
        student, teacher: x → logits with the same K classes; the teacher is frozen here, and must let gradients through.
        augmentor: its learning rate is `pace` times that of the run. A frozen one (`requires_grad_(False)`) is plain
            random augmentation, labelled by the teacher.
        alternation: whose turn it is; by default one augmentor step for one student step.
        temperature, kind: of the disagreement d, "kl" or "mse".
        augmented: weight of augmented inputs; 0 is plain distillation.
        labels: weight of cross-entropy on clean inputs.

    Raises: InputError: a teacher without gradients (a cache, an API), settings out of range, batches without `y` where
        labels count.

    >>> from tutelage.curricula.augmentors import AffineAugmentor
    >>> from tutelage.training import fit
    >>> cnn, mlp = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> lesson = HARD(mlp, cnn, AffineAugmentor(shift=0.2, rotate=15))
    >>> history = fit(lesson, (torch.rand(32, 1, 8, 8),), epochs=2, lr=3e-3)
    >>> sorted(lesson.report())[:5]
    ['augmented', 'augmentor_steps', 'clean', 'rotate', 'scale_x']
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        augmentor: Augmentor,
        *,
        alternation: Alternation | None = None,
        temperature: float = 1.0,
        kind: Literal["kl", "mse"] = "kl",
        augmented: float = 1.0,
        labels: float = 0.0,
        pace: float = 16.0,
    ) -> None:
        super().__init__()
        if not isinstance(teacher, nn.Module):
            raise InputError("HARD needs gradients through the teacher: give the model itself, not its cached answers")
        if min(augmented, labels) < 0 or pace <= 0 or temperature <= 0 or kind not in {"kl", "mse"}:
            raise InputError(
                "need augmented, labels >= 0, pace and temperature > 0 and kind 'kl' or 'mse'; "
                f"got {augmented}, {labels}, {pace}, {temperature}, {kind!r}"
            )
        self.student, self.teacher, self.augmentor = student, frozen(teacher), augmentor
        self.alternation = alternation or Alternation()
        self.kind: Kind = kind
        self.temperature, self.augmented, self.labels = temperature, augmented, labels
        self.pace = pace

    @property
    def learns_to_augment(self) -> bool:
        """Whether there is an augmentor to train."""
        return self.augmented > 0 and any(p.requires_grad for p in self.augmentor.parameters())

    def parameter_groups(self) -> dict[str, list[dict[str, object]]]:
        """The student, and the augmentor where it learns: never decayed, for a width of 0 is not its neutral value."""
        groups = {"student": decay_groups(self.student)}
        if self.learns_to_augment:
            held = decay_groups(self.augmentor, lr_scale=self.pace)
            groups["augmentor"] = [{**group, "weight_decay": 0.0} for group in held]
        return groups

    def gap(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """d for every example [B], with a graph through both networks, and the teacher's logits [B, K]."""
        said = logits_of(self.teacher, x)
        each = disagreement(logits_of(self.student, x), said, kind=self.kind, temperature=self.temperature)
        return each, said

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """What the student pays on clean inputs and on a fresh draw of augmented ones."""
        x = batch["x"]
        logits = logits_of(self.student, x)
        parts = {"clean": self._distance(logits, x)}
        if self.labels:
            if "y" not in batch:
                raise InputError("this batch has no labels `y`; distil without them by labels=0")
            parts["ce"] = self.labels * F.cross_entropy(logits, batch["y"])
        if self.augmented:
            with torch.no_grad():
                harder = self.augmentor(x, progress.generator)
            parts["augmented"] = self.augmented * self._distance(logits_of(self.student, harder), harder)
        return parts

    def train_step(self, batch: Batch, optimizers: Mapping[str, Minimiser], progress: Progress) -> dict[str, Tensor]:
        """Up to `most` steps of the augmentor where it is its turn, then one of the student."""
        if "augmentor" in optimizers:
            for _ in range(self.alternation.most):
                if not self.alternation.climbs:
                    break
                self.climb(batch, optimizers["augmentor"], progress)
        parts = super().train_step(batch, optimizers, progress)
        if "augmentor" in optimizers:
            self.alternation.see(clean=parts["clean"], augmented=parts["augmented"] / self.augmented)
        return parts

    def climb(self, batch: Batch, optimizer: Minimiser, progress: Progress) -> None:
        """One step of φ towards disagreement. The student is in evaluation mode: its batch norm sees no input twice."""
        with _evaluating(self.student):
            each, said = self.gap(self.augmentor(batch["x"], progress.generator))
        if not said.requires_grad:
            raise InputError(
                "no gradient passes through the teacher: HARD needs a differentiable model without no_grad"
            )
        optimizer.minimise({"ascent": -each.mean()})
        unsure = prediction_entropy(said.detach()).mean() / math.log(said.shape[-1])
        self.alternation.see(augmented=each.mean(), entropy=unsure)
        self.alternation.steps += 1

    def report(self) -> dict[str, float]:
        """Running means of both losses and of the teacher's entropy, steps of the augmentor, and its widths by name."""
        names = ("clean", "augmented", "teacher_entropy")
        figures = dict(zip(names, self.alternation.averages.tolist(), strict=True))
        return figures | {"augmentor_steps": float(self.alternation.steps)} | self.augmentor.describe()

    @torch.no_grad()
    def hardest(self, x: Tensor, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """The draws from x on which the two differ most, [count, …], and how much, [count]: what is being transferred."""
        harder = self.augmentor(x, torch.Generator(x.device).manual_seed(seed))
        with _evaluating(self.student):
            top = self.gap(harder)[0].topk(min(count, len(x)))
        return harder[top.indices], top.values

    def _distance(self, logits: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            said = logits_of(self.teacher, x)
        return disagreement(logits, said, kind=self.kind, temperature=self.temperature).mean()


def widest_range(
    teacher: nn.Module,
    make: Callable[[float], Augmentor],
    x: Tensor,
    y: Tensor,
    *,
    multiples: Iterable[float] = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0),
    within: float = 0.05,
    seed: int = 0,
) -> float:
    """The largest multiple at which the teacher loses at most `within` accuracy on held-out x [N, …], y [N].

    Args: make: multiple → an augmentor that uses all of its bound (`start=0.999`).

    Raises: InputError: the teacher holds at none of them.

    >>> from tutelage.curricula.augmentors import NoiseAugmentor
    >>> x = torch.tensor([[-1.0], [1.0]]).repeat(200, 1); says = lambda x: torch.cat([-x, x], 1)
    >>> class Sign(nn.Module):
    ...     def forward(self, x): return torch.cat([-x, x], 1)
    >>> widest_range(Sign(), lambda m: NoiseAugmentor(m, start=0.999), x, (x[:, 0] > 0).long())
    0.5
    """
    clean = _accuracy(teacher, x, y)
    held = []
    for multiple in multiples:
        with torch.no_grad():
            changed = make(multiple)(x, torch.Generator(x.device).manual_seed(seed))
        if _accuracy(teacher, changed, y) >= clean - within:
            held.append(multiple)
    if not held:
        raise InputError(
            f"the teacher loses more than {within:.0%} accuracy at every range: it does not know this change"
        )
    return max(held)


def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return (predict_all(model, x).argmax(-1) == y.cpu()).float().mean().item()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
