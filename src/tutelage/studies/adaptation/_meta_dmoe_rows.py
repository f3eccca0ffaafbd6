"""The rows of the study of Meta-DMoE: seeds × arms of one architecture as one stack."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tutelage.curricula.episodes import EpisodeSampler
from tutelage.data.domains import Domain, DomainSet
from tutelage.methods.adaptation.meta_dmoe import follow
from tutelage.students.adapted import Features
from tutelage.students.aggregator import AttentionAggregator, Mixture
from tutelage.training import Batch, Progress, Stack, StackedFit, child_seed, one_cycle, seeded

Answers = Callable[[Stack, Tensor], Tensor]
"""(stack, x [R, D, n, 64]) → logits [R, D, n, K]."""


@dataclass(frozen=True)
class Places:
    """The domains of a seed as tensors: x [D, n, 64], y [D, n]; labels of target domains stay where they are."""

    domains: DomainSet
    x: Tensor
    y: Tensor
    val_x: Tensor
    val_y: Tensor
    target_x: Tensor

    @classmethod
    def of(cls, domains: DomainSet) -> Places:
        """Stack the domains of each role; they are of one size."""

        def column(held: Sequence[Domain], name: str) -> Tensor:
            return torch.stack([getattr(domain, name) for domain in held])

        source, val, target = domains.source, domains.val, domains.target
        labelled = (column(source, "x"), column(source, "y"), column(val, "x"), column(val, "y"))
        return cls(domains, *labelled, column(target, "x"))

    def figures(self, answers: Tensor) -> dict[str, float | list[float]]:
        """Answers [D, n] on the target domains → accuracy of each, and of the worst."""
        said = {domain.name: row for domain, row in zip(self.domains.target, answers, strict=True)}
        each = list(self.domains.score(lambda domain: said[domain.name]).values())
        return {"accuracy": each, "worst domain": min(each)}


def column(places: Sequence[Places], name: str) -> Tensor:
    """One tensor of all rows: [R, D, n, …]."""
    return torch.stack([getattr(one, name) for one in places])


class Learner(nn.Module):
    """What meta-training trains: student, aggregator and the logarithm of the step size."""

    def __init__(self, student: nn.Module, aggregator: nn.Module, rate: float) -> None:
        super().__init__()
        self.student, self.aggregator = student, aggregator
        self.log_rate = nn.Parameter(torch.tensor([math.log(rate)]))

    def forward(self, x: Tensor) -> Tensor:
        return self.student(x)


def plain(stack: Stack, x: Tensor) -> Tensor:
    """What the rows say as they are: [R, D, n, …] → logits [R, D, n, K]."""
    with torch.no_grad():
        return stack(x.flatten(1, 2)).unflatten(1, x.shape[1:3])


class Best:
    """The weights of every row at its best validation accuracy so far."""

    def __init__(self, stack: Stack, answers: Answers, x: Tensor, y: Tensor, every: int) -> None:
        self.stack, self.answers, self.x, self.y, self.every = stack, answers, x, y, every
        self.weights = stack.weights.detach().clone()
        self.height = torch.full((len(stack),), -1.0)
        self.step = torch.zeros(len(stack))

    def look(self, step: int) -> None:
        """Ask now, every `every` steps."""
        if step % self.every:
            return
        self.stack.eval()
        now = (self.answers(self.stack, self.x).argmax(-1) == self.y).float().mean((1, 2))
        better = now > self.height
        self.weights = torch.where(better.unsqueeze(1), self.stack.weights.detach(), self.weights)
        self.step, self.height = torch.where(better, float(step), self.step), torch.maximum(now, self.height)
        self.stack.train()

    def back(self) -> Stack:
        """The stack with these weights."""
        self.stack.weights.data = self.weights.clone()
        return self.stack.eval()


def episodes(places: Places, seed: int, steps: int, *, count: int, support: int, query: int) -> Tensor:
    """Rows of the source pool (domain · n + picture) of every step: [steps, count · (support + query)]."""
    domains, size = places.y.shape
    sampler = EpisodeSampler(torch.arange(domains).repeat_interleave(size), support=support, query=query)
    generator = torch.Generator().manual_seed(child_seed(seed, "episodes"))
    drawn = [sampler.draw(count, generator) for _ in range(steps)]
    return torch.stack([torch.cat([one.support, one.query], 1).flatten() for one in drawn])


class Rehearsal:
    """Meta-training of R learners, each on the episodes of its own seed; `adapted` deploys them.

    Args: keep: [R, D, M], who may speak where; tokens: [R, D · n, M, d], what the experts say about the source.
    """

    def __init__(self, learners: Sequence[Learner], keep: Tensor, *, support: int, query: int, steps: int) -> None:
        self.features, self.mixer = Features(learners[0].student), learners[0].aggregator.eval()
        self.head = learners[0].student.get_submodule("head")
        self.learners, self.keep = learners, keep
        self.support, self.size, self.steps = support, support + query, steps

    def fit(
        self, columns: Mapping[str, Tensor], order: Tensor, *, domain: int, best: Callable[[Stack], Best],
        lr: float, second_order: bool,
    ) -> Best:  # fmt: skip
        """Train all rows; returns their best weights. `domain`: examples of a source domain."""

        def losses(outputs: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
            shape = (len(self.learners), -1, self.size)
            x, y, tokens, index = (batch[name].unflatten(1, shape[1:]) for name in ("x", "y", "tokens", "index"))
            keep = torch.stack([rows[i] for rows, i in zip(self.keep, index[:, :, 0] // domain, strict=True)])
            support = slice(None, self.support)
            logits = self.adapted(
                runs.stack, x[:, :, support], tokens[:, :, support], x[:, :, self.support :], keep, graph=second_order
            )
            flat = logits.flatten(0, 2), y[:, :, self.support :].flatten()
            return {"ce": F.cross_entropy(*flat, reduction="none").view(len(y), -1).mean(1)}

        runs = StackedFit(self.learners, losses, lr=lr, weight_decay=0.0, clip=5.0, schedule=one_cycle())
        found = best(runs.stack)
        found.look(0)
        runs.fit({}, order, own=columns, after_step=lambda o, b, progress: found.look(progress.step + 1))
        return found

    def adapted(
        self, stack: Stack, x: Tensor, tokens: Tensor, query: Tensor, keep: Tensor | None = None, *,
        rate: float | None = None, graph: bool = False,
    ) -> Tensor:  # fmt: skip
        """Adapt every row on every x [R, E, S, 64], answer its query [R, E, Q, 64]: logits [R, E, Q, K]."""
        count, size = x.shape[1:3]
        rows = {name: value.repeat_interleave(count, 0) for name, value in stack.rows().items()}
        if keep is None:
            keep = torch.ones(*x.shape[:2], tokens.shape[3], dtype=torch.bool)
        spoken = keep.flatten(0, 1).unsqueeze(1).expand(-1, size, -1)
        target = call(self.mixer, under(rows, "aggregator."), tokens.flatten(0, 1), spoken)
        weights = {f"model.{n}": w for n, w in under(rows, "student.").items() if not n.startswith("head.")}
        alpha = rows["log_rate"].squeeze(1).exp() if rate is None else rate
        moved = follow(
            self.features.rows, weights, x.flatten(0, 1), target, alpha, steps=self.steps, create_graph=graph
        )
        logits = call(self.head, under(rows, "student.head."), self.features.rows(moved, query.flatten(0, 1)))
        return logits.unflatten(0, (-1, count))

    def answers(self, tokens: Tensor, rate: float | None = None) -> Answers:
        """Deployment: the first `support` pictures of a domain, then all of it; tokens [R, D, n, M, d]."""

        def ask(stack: Stack, x: Tensor) -> Tensor:
            first = slice(None, self.support)
            with torch.enable_grad():
                return self.adapted(stack, x[:, :, first], tokens[:, :, first], x, rate=rate).detach()

        return ask


def under(rows: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in rows.items() if name.startswith(prefix)}


def call(module: nn.Module, weights: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
    return torch.vmap(lambda one, *each: functional_call(module, one, each))(dict(weights), *inputs)


def train(
    modules: Sequence[nn.Module],
    x: Tensor,
    y: Tensor,
    order: Tensor,
    *,
    lr: float | Sequence[float],
    judged: tuple[Answers, Tensor, Tensor, int] | None = None,
) -> Stack:
    """Plain training of all rows on x [R, N, …], y [R, N]; with `judged`, each row's best weights on validation."""

    def losses(outputs: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        each = F.cross_entropy(outputs.flatten(0, 1), batch["y"].flatten(), reduction="none")
        return {"ce": each.view(len(outputs), -1).mean(1)}

    runs = StackedFit(modules, losses, lr=lr, weight_decay=0.0, schedule=one_cycle())
    best = None if judged is None else Best(runs.stack, *judged)
    look = None if best is None else (lambda outputs, batch, progress: best.look(progress.step + 1))
    runs.fit({}, order, own={"x": x, "y": y}, after_step=look)
    return runs.stack.eval() if best is None else best.back()


def network(make: Callable[[], nn.Module], seed: int, which: str = "student") -> nn.Module:
    """The network of a seed."""
    with seeded(seed, "init", which):
        return make()


def mixer_of(seed: int, width: int, experts: int, head: nn.Module) -> Mixture:
    """An untrained aggregator in front of a head."""
    with seeded(seed, "init", "aggregator"):
        return Mixture(AttentionAggregator(width, experts), head)
