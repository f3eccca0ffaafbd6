"""ERNIE-Tiny: compress a pre-trained transformer by changing teacher, data and loss one at a time.

Su, Chen, Feng, Liu, Liu, Sun, Tian, Wu and Wang, "ERNIE-Tiny: A Progressive Distillation Framework for Pretrained
Transformer Compression", 2021 (arXiv:2106.02241).

A student that jumps from general to task distillation changes three things at once. Four stages change one each:

| stage | teacher     | data                  | loss                                          |
|-------|-------------|-----------------------|-----------------------------------------------|
| gd    | pre-trained | general, no labels    | latent                                        |
| ged   | fine-tuned  | general, no labels    | latent                                        |
| tad   | fine-tuned  | the task's inputs     | latent                                        |
| tsd   | fine-tuned  | the task, with labels | latent + T² KL(z_T / T, z_S / T) + CE(z_S, y) |

so that in `ged` the student sees what fine-tuning changed on far more data than the task owns. Student layer m of M learns
from teacher layer g(m) = m N / M of N, attention scores A before the softmax and hidden states H:

    latent = Σ_{m=1..M} MSE(A^S_m, A^T_g(m)) + Σ_{m=0..M} MSE(H^S_m W_m, H^T_g(m))        (m = 0: the embeddings)

W_m is learned and carried through all stages; the optimiser starts anew, with a warm-up, in each. The paper does not print
its latent loss; this is TinyBERT's form (Jiao et al. 2020, arXiv:1909.10351).

Shapes: H [B, n, d], A [B, h, n, n], logits z [B, K], labels y [B]; means run over real tokens, never over padding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.data.indexed import as_example
from tutelage.errors import InputError
from tutelage.objectives.divergence import distillation_kl
from tutelage.objectives.feature import attention_scores_loss, feature_loss
from tutelage.objectives.projectors import Projector
from tutelage.teachers.frozen import frozen
from tutelage.teachers.inner import Inner, inner_states
from tutelage.training.batches import Data, as_indexed
from tutelage.training.fit import FitOptions
from tutelage.training.history import History
from tutelage.training.lesson import Batch, Lesson, Progress
from tutelage.training.schedules import after, linear
from tutelage.training.seeding import child_seed, seeded
from tutelage.training.stages import Stage, Stages

Name = Literal["gd", "ged", "tad", "tsd"]
STAGES: tuple[Name, ...] = ("gd", "ged", "tad", "tsd")

Teacher = nn.Module | Callable[[Batch], Inner]
"""A transformer, or a function of the batch (stored inner states)."""


def uniform_map(student_layers: int, teacher_layers: int) -> list[int]:
    """g(m) = m N / M for m = 0 … M.

    Raises: InputError: M does not divide N; the message says which numbers of layers do.

    >>> uniform_map(2, 6)
    [0, 3, 6]
    """
    if teacher_layers % student_layers:
        fitting = [m for m in range(1, teacher_layers + 1) if teacher_layers % m == 0]
        raise InputError(f"{student_layers} student layers do not divide the teacher's {teacher_layers}; use {fitting}")
    return [m * teacher_layers // student_layers for m in range(student_layers + 1)]


def latent_loss(student: Inner, teacher: Inner, project: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Sums over layers of the masked means: {attention, hidden}, scalars. `project`: W_0 … W_M.

    >>> s = Inner([torch.zeros(1, 2, 3)] * 2, [torch.zeros(1, 1, 2, 2)])
    >>> t = Inner([torch.ones(1, 2, 3)] * 3, [torch.full((1, 1, 2, 2), 2.0)] * 2)
    >>> latent_loss(s, t, [nn.Identity()] * 2)
    {'attention': tensor(4.), 'hidden': tensor(2.)}
    """
    tokens = [inner.scores[0].shape[-1] for inner in (student, teacher)]
    if tokens[0] != tokens[1]:
        raise InputError(f"token by token they must be the same; the student sees {tokens[0]}, the teacher {tokens[1]}")
    layers = uniform_map(len(student.scores), len(teacher.scores))
    hidden = [
        feature_loss(w(state), teacher.states[g], weight_map=student.mask)
        for w, state, g in zip(project, student.states, layers, strict=True)
    ]
    attention = [
        attention_scores_loss(scores, teacher.scores[g - 1], student.mask)
        for scores, g in zip(student.scores, layers[1:], strict=True)
    ]
    return {"attention": torch.stack(attention).sum(), "hidden": torch.stack(hidden).sum()}


def projectors(
    student: nn.Module, teacher: nn.Module, x: Tensor | Mapping[str, Tensor], seed: int = 0
) -> nn.ModuleList:
    """W_0 … W_M, linear, in the widths that one forward pass of both on `x` shows."""
    with torch.no_grad():
        s, t = inner_states(student, x), inner_states(teacher, x)
    layers = uniform_map(len(s.scores), len(t.scores))
    with seeded(seed, "init", "projectors"):
        maps = [Projector(h.shape[-1], t.states[g].shape[-1]) for h, g in zip(s.states, layers, strict=True)]
    return nn.ModuleList(maps).to(s.states[0])


class LatentDistillation(Lesson):
    """One stage: latent loss, and in the last stage soft and hard labels.

    Args:
        student: a transformer that `inner_states` can read, with a head where labels teach.
        teacher: another one, of a multiple of its layers, over the same tokens; it may be a function of the batch.
        project: W_0 … W_M, from `projectors`; stages share them.
        latent, soft, hard: weights of the losses; soft = hard = 0 needs neither head nor labels.
        temperature: T of the soft labels.

    Raises: InputError: negative weights, all of them 0, or a temperature that is not positive; in training, layers,
        tokens or classes that do not fit, no head or no labels where they are needed.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Teacher,
        project: nn.ModuleList,
        *,
        latent: float = 1.0,
        soft: float = 0.0,
        hard: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if min(latent, soft, hard) < 0 or latent + soft + hard == 0 or temperature <= 0:
            raise InputError(
                f"need weights >= 0, not all 0, and temperature > 0; got {latent}, {soft}, {hard}, {temperature}"
            )
        self.student, self.teacher, self.project = student, teacher, project
        self.latent, self.soft, self.hard, self.temperature = latent, soft, hard, temperature

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        student = inner_states(self.student, batch["x"])
        parts: dict[str, Tensor] = {}
        if self.latent or self.soft:
            teacher = self._said(batch)
            if self.latent:
                latent = latent_loss(student, teacher, list(self.project))
                parts |= {name: self.latent * value for name, value in latent.items()}
            if self.soft:
                parts["soft"] = self.soft * distillation_kl(_logits(student), _logits(teacher), self.temperature)
        if self.hard:
            if "y" not in batch:
                raise InputError("this stage learns from labels, and the batch has none (`y`)")
            parts["hard"] = self.hard * F.cross_entropy(_logits(student), batch["y"])
        return parts

    def _said(self, batch: Batch) -> Inner:
        with torch.no_grad():
            return (
                inner_states(self.teacher, batch["x"]) if isinstance(self.teacher, nn.Module) else self.teacher(batch)
            )


class ErnieTiny:
    """The four stages on one student.

    Args:
        student: trained in place; pretrained, finetuned: its teachers, one architecture, which are frozen.
        soft, hard, temperature: of the last stage.

    Raises: InputError: teachers that differ in layers or widths, models with vocabularies of different sizes.
    """

    def __init__(
        self,
        student: nn.Module,
        pretrained: nn.Module,
        finetuned: nn.Module,
        *,
        soft: float = 1.0,
        hard: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        sizes = {getattr(getattr(model, "config", None), "vocab_size", 0) for model in (student, pretrained, finetuned)}
        if len(sizes) > 1:
            raise InputError(
                f"student and teachers must share one tokenizer; their vocabularies have {sorted(sizes)} tokens"
            )
        self.student, self.pretrained, self.finetuned = student, frozen(pretrained), frozen(finetuned)
        self.labels = {"soft": soft, "hard": hard, "temperature": temperature}

    def fit(
        self,
        general: Data,
        task: Data,
        plan: Mapping[Name, FitOptions],
        *,
        measure: Callable[[Stage], Mapping[str, float]] | None = None,
        seed: int = 0,
    ) -> History:
        """Run the stages that `plan` names, in the paper's order; returns one history with a column `stage`.

        Args:
            general: inputs; task: inputs and labels. None of the task's test examples may be in either.
            plan: stage → options of `training.fit`, such as {"gd": {"steps": 600, "lr": 1e-3}, …}. A stage that is not
                named is left out. The schedule is by default a warm-up over 10 % and a linear decay.
            measure: figures for the last row of each stage; before `tsd` the student's head is untrained.

        Raises: InputError: an unknown stage, no stage, teachers or data that do not fit.
        """
        if unknown := set(plan) - set(STAGES):
            raise InputError(f"no stage called {sorted(unknown)}; the stages are {', '.join(STAGES)}")
        x = _first(general if {"gd", "ged"} & set(plan) else task)
        self._check_pair(x)
        project = projectors(self.student, self.finetuned, x, seed)
        stages = []
        for name in STAGES:
            if name in plan:
                teacher = self.pretrained if name == "gd" else self.finetuned
                lesson = LatentDistillation(self.student, teacher, project, **(self.labels if name == "tsd" else {}))
                defaults: FitOptions = {"schedule": after(0.1, linear()), "seed": child_seed(seed, name)}
                data = general if name in ("gd", "ged") else task
                stages.append(Stage(name, lesson, data, defaults | plan[name]))
        return Stages(stages).run(measure=measure)

    def _check_pair(self, x: Tensor | Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            shapes = [
                [state.shape for state in (*read.states, *read.scores)]
                for read in (inner_states(teacher, x) for teacher in (self.pretrained, self.finetuned))
            ]
        if shapes[0] != shapes[1]:
            raise InputError(
                "the fine-tuned teacher must be the pre-trained one, tuned: layers, widths or heads differ"
            )


def _first(data: Data) -> Tensor | Mapping[str, Tensor]:
    """The inputs of one example, as a batch."""
    indexed = as_indexed(data)
    return (as_example(next(iter(data))) if indexed is None else indexed.batch(torch.tensor([0])))["x"]  # type: ignore[arg-type]


def _logits(inner: Inner) -> Tensor:
    if inner.logits is None:
        raise InputError("labels teach through logits, and this model has no head: give it a classification head")
    return inner.logits
