"""Teacher, reviewer, student: two memories of one student guide semi-supervised pose estimation.

Yun, Qi, Peng and Ma, "A New Teacher-Reviewer-Student Framework for Semi-supervised 2D Human Pose Estimation", 2025
(arXiv:2501.09565). What the abstract leaves open is a parameter here: update rules, weights, the way of mixing.

The student θ answers with heat-maps at J stages. The teacher φ averages recent students, the reviewer ρ past *teachers*, so
it remembers longer. Both see an easy view of an unlabelled picture, the student a hard one; H_T and H_R are their final maps
in the student's frame, and a joint counts where the map is at least `gate` high:

    L = Σ_j w_j |H_j(x_l) − H*|²                                            labels, all stages; w_J = 1, earlier ones w
      + ramp(u) ( |H_J − H_T|² + levels Σ_{j<J} w |H_j − H_T|² + review |H_J − H_R|² )
    φ ← a φ + (1 − a) θ   every step,            ρ ← b ρ + (1 − b) φ   every M steps; the reviewer speaks after its first

The hard view turns the picture far and then either blanks some joints or mixes them (keypoint-mix): the surroundings of
joint i become λ of their own and 1 − λ of joint j's, while the target stays. Appearance lies, structure must decide.
Equally hard views for teacher and student end in maps of nothing; that is noticed.

Shapes: pictures [B, C, H, W], maps [B, K, h, w], joints y [B, K, 2] as (x, y) in pixels, NaN where unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from tutelage.data.patches import inside, joint_cutout, read_places, surroundings, two_of, write_places
from tutelage.data.views import GeometricView
from tutelage.errors import InputError
from tutelage.objectives.heatmap import gaussian_map, heatmap_mse
from tutelage.students.pose import read_maps
from tutelage.teachers.momentum import MomentumTeacher
from tutelage.training import Batch, Lesson, Progress, Schedule, predict_all
from tutelage.training.consistency import Carry, ConsistencyLesson, TeacherTerm

EMPTY, PATIENCE = 0.05, 50
"""Mean height of the student's maps below which, for so many steps on end, it says nothing any more."""


def keypoint_mix(
    x: Tensor, joints: Tensor, sure: Tensor, *, patch: int, share: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Mix the surroundings of random joints, patch_i ← λ patch_i + (1 − λ) patch_j, `count` times, read from x as it was.

    Args: sure: [B, K] (bool), joints that may be taken; pictures with fewer than two stay as they are; share: λ [B]; patch:
        side of the square, cut where either of the two leaves the picture.

    >>> x = torch.zeros(1, 1, 3, 6); x[..., 1] = 1.0
    >>> joints, sure = torch.tensor([[[1.0, 1.0], [4.0, 1.0]]]), torch.ones(1, 2).bool()
    >>> mixed = keypoint_mix(x, joints, sure, patch=3, share=torch.tensor([0.5]), count=9, generator=torch.Generator())
    >>> mixed[0, 0, 1].tolist()
    [0.0, 0.5, 0.0, 0.0, 0.5, 0.0]
    """
    mixed, able, blend = x, (sure.sum(1) >= 2).unsqueeze(1), share.view(-1, 1, 1)
    for _ in range(count):
        first, second = two_of(sure, generator)
        here, there = surroundings(joints, first, patch), surroundings(joints, second, patch)
        value = blend * read_places(x, here) + (1 - blend) * read_places(x, there)
        mixed = write_places(mixed, here, value, inside(there, x) & able)
    return mixed


class TeacherReviewerStudent(Lesson):
    """Semi-supervised pose estimation with a teacher, a reviewer with a longer memory, and mixed joints.

    Batches hold pictures `x`, joints `y` and pictures `unlabelled` (`SemiSupervisedBatches`).

    Args:
        student: pictures → list of stage maps (`HeatmapNet`); a quarter or half of the picture's side, say.
        swap_pairs: indices (left, right) of paired joints, which change places where a view mirrors.
        decay: a of the teacher; reviewer_decay, every: b and M of the reviewer (M about an epoch).
        review, levels, stage: weights of the reviewer, of earlier stages on unlabelled pictures, and w. With review, levels
            and mix at 0 it is a plain mean teacher.
        reviewer_of: "teacher", or "student": a second mean teacher with decay b, moved every step.
        mix: share of pictures that are mixed; in the others joints are blanked.
        gate: height of a map from which its joint counts; sigma: of the hills, in cells.
        rotate: degrees of the easy and of the hard view; scale: their factors are 1 ± scale; flip: probability.
        patch: side of a joint's surroundings, in pixels; burn_in, ramp: as in `ConsistencyLesson`.

    Attributes: peak: mean height of the student's final maps in the last step.

    Raises: InputError: settings out of range; RuntimeError: the maps have become empty.

    >>> from tutelage.students.pose import HeatmapNet
    >>> from tutelage.training import fit
    >>> lesson = TeacherReviewerStudent(HeatmapNet(9), every=2, burn_in=1)
    >>> x, y = torch.rand(6, 1, 48, 48), 48 * torch.rand(6, 9, 2)
    >>> history = fit(lesson, {"x": x, "y": y, "unlabelled": x}, epochs=3, batch_size=3)
    >>> history.names[4:7], lesson.predict(x)[0].shape
    (['supervised', 'teacher', 'reviewer'], torch.Size([6, 9, 2]))
    """

    peak: Tensor
    empty: Tensor

    def __init__(
        self,
        student: nn.Module,
        *,
        swap_pairs: Sequence[tuple[int, int]] = (),
        decay: float = 0.999,
        reviewer_decay: float = 0.9,
        every: int = 200,
        review: float = 0.5,
        levels: float = 0.5,
        stage: float = 0.5,
        reviewer_of: Literal["teacher", "student"] = "teacher",
        mix: float = 0.5,
        gate: float = 0.3,
        sigma: float = 1.2,
        rotate: tuple[float, float] = (30.0, 60.0),
        scale: float = 0.25,
        flip: float = 0.0,
        patch: int = 7,
        burn_in: int = 0,
        ramp: Schedule | float = 1.0,
    ) -> None:
        super().__init__()
        if min(review, levels, stage, scale, *rotate) < 0 or not 0 <= mix <= 1 or min(every, patch) < 1 or sigma <= 0:
            raise InputError("need weights, angles and scale >= 0, mix in [0, 1], every and patch >= 1, and sigma > 0")
        if reviewer_of not in {"teacher", "student"} or not 0 < gate < 1:
            raise InputError(
                f"reviewer_of is 'teacher' or 'student' and gate in (0, 1); got {reviewer_of!r} and {gate}"
            )
        self.swap_pairs, self.every = tuple(swap_pairs), every
        self.review, self.levels, self.stage = review, levels, stage
        self.mix, self.gate, self.sigma, self.rotate, self.scale, self.flip = mix, gate, sigma, rotate, scale, flip
        self.patch, self.reviewer_of = patch, reviewer_of
        teacher, reviewer = MomentumTeacher(student, decay), MomentumTeacher(student, reviewer_decay)
        terms = {"teacher": TeacherTerm(teacher, self._from_teacher)}
        if review:
            terms["reviewer"] = TeacherTerm(reviewer, _final, self._review)
        self.lesson = ConsistencyLesson(
            student, terms, weak=self._easy, strong=self._hard, gate=self._sure, read=lambda stages: stages[-1],
            supervised=self._supervised, burn_in=burn_in, ramp=ramp,
        )  # fmt: skip
        self.register_buffer("peak", torch.ones(()))
        self.register_buffer("empty", torch.zeros((), dtype=torch.long))

    @property
    def student(self) -> nn.Module:
        """The student."""
        return self.lesson.student

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The parts: `supervised`, and after burn-in `teacher` and `reviewer`."""
        if batch["y"].shape[-1] != 2 or batch["y"].ndim != 3:
            raise InputError(f"joints are [B, K, 2] as (x, y) in pixels; got {tuple(batch['y'].shape)}")
        return self.lesson.losses(batch, progress)

    def after_step(self, progress: Progress) -> None:
        """The teacher follows the student, the reviewer the teacher; empty maps end the run."""
        done = progress.step + 1 - self.lesson.burn_in
        if done >= 0:
            teacher, *reviewers = (term.teacher for term in self.lesson.terms.values())
            teacher.update(self.student)
            for reviewer in reviewers:
                if self.reviewer_of == "student":
                    reviewer.update(self.student)
                elif done % self.every == 0 or not int(reviewer.updates):  # type: ignore[attr-defined]
                    reviewer.update(teacher.module)  # type: ignore[attr-defined]
        self.empty.copy_((self.empty + 1) * (self.peak < EMPTY) * (done > 0))
        if int(self.empty) >= PATIENCE:
            raise RuntimeError(
                f"the student's maps are below {EMPTY} for {PATIENCE} steps: self-training has emptied them; burn in longer"
            )

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Joints [B, K, 2] in pixels of the pictures [B, C, H, W], and how sure the student is of each [B, K]."""
        maps = predict_all(self.student, x, function=lambda student, batch: student(batch["x"])[-1])
        return read_maps(maps, stride=x.shape[-1] / maps.shape[-1])

    def _view(self, x: Tensor, generator: torch.Generator, degrees: float) -> GeometricView:
        size, widths = (x.shape[-2], x.shape[-1]), {"rotate": degrees, "scale": self.scale, "flip": self.flip}
        view = GeometricView.draw(len(x), size, generator, pairs=self.swap_pairs, **widths)
        return replace(view, matrix=view.matrix.to(x.dtype))

    def _easy(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Carry]:
        view = self._view(x, generator, self.rotate[0])
        return view.apply_image(x), lambda maps: view.inverse().at(_size(maps)).apply_map(maps)

    def _hard(self, x: Tensor, generator: torch.Generator, said: Tensor, batch: Batch) -> tuple[Tensor, Carry]:
        view = self._view(x, generator, self.rotate[1])
        turned, maps = view.apply_image(x), view.at(_size(said)).apply_map(said)
        joints, heights = read_maps(maps, stride=x.shape[-1] / maps.shape[-1])
        sure = heights >= self.gate
        draw = torch.rand(2, len(x), generator=generator, device=x.device)
        count, patch = int(torch.randint(2, 5, (), generator=generator, device=x.device)), self.patch
        hard = joint_cutout(turned, joints, sure, patch=patch, count=count, generator=generator)
        if self.mix:
            share = 0.3 + 0.4 * draw[0]
            mixed = keypoint_mix(turned, joints, sure, patch=patch, share=share, count=count, generator=generator)
            hard = torch.where((draw[1] < self.mix).view(-1, 1, 1, 1), mixed, hard)
        return hard, lambda answer: view.at(_size(answer)).apply_map(answer)

    def _supervised(self, student: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """All stages against the labels, in an easy view; joints that are unknown or outside do not count."""
        x = batch["x"]
        view = self._view(x, generator, self.rotate[0])
        joints, stages = view.apply_points(batch["y"].to(x.dtype)), student(view.apply_image(x))
        stride = x.shape[-1] / stages[-1].shape[-1]
        weight = inside(joints, x).to(x.dtype)
        target = gaussian_map((joints.nan_to_num() + 0.5) / stride - 0.5, _size(stages[-1]), self.sigma)
        self.peak.copy_(stages[-1].detach().flatten(2).amax(2).mean())
        return heatmap_mse(stages[-1], target, weight) + self.stage * _sum(stages[:-1], target, weight)

    def _from_teacher(self, stages: list[Tensor], target: Tensor, weight: Tensor) -> Tensor:
        final = heatmap_mse(stages[-1], target, weight)
        return final + self.levels * self.stage * _sum(stages[:-1], target, weight) if self.levels else final

    def _sure(self, maps: Tensor) -> Tensor:
        return (maps.flatten(2).amax(2) >= self.gate).to(maps.dtype)

    def _review(self, u: float) -> float:
        """The reviewer's weight: none before its first own update."""
        return self.review if int(self.lesson.teachers["reviewer"].updates) > 1 else 0.0  # type: ignore[arg-type]


def _final(stages: list[Tensor], target: Tensor, weight: Tensor) -> Tensor:
    return heatmap_mse(stages[-1], target, weight)


def _sum(stages: list[Tensor], target: Tensor, weight: Tensor) -> Tensor:
    """The cost of earlier stages together, 0 where there is none."""
    return sum((heatmap_mse(stage, target, weight) for stage in stages), target.new_zeros(()))


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]
