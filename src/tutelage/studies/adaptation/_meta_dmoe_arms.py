"""The arms of the study of Meta-DMoE: what it is compared with, and all of them on all seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage.feedback.lookahead import inner_step
from tutelage.methods.adaptation.meta_dmoe import super_domains
from tutelage.objectives.entropy import prediction_entropy
from tutelage.students.mlp import mlp
from tutelage.studies.adaptation._meta_dmoe_rows import (
    Answers,
    Best,
    Learner,
    Places,
    Rehearsal,
    call,
    column,
    episodes,
    mixer_of,
    network,
    plain,
    train,
)
from tutelage.teachers.experts import ExpertPool
from tutelage.training import Stack, child_seed, step_order

METHOD = "meta-dmoe"
CLASSES, WIDTH = 10, 16
RATES = (0.003, 0.01, 0.03)
"""Step sizes among which validation chooses, where nothing learns them."""
LEARNING_RATES = (5e-3, 1.5e-2, 3e-2)
"""Learning rates of plain students, among which validation chooses."""


@dataclass(frozen=True)
class Angles:
    """Sizes, lengths, and the settings of the rehearsal."""

    world: str = "rotated"
    pictures: tuple[int, int, int] = (1200, 200, 397)
    domains: int = 12
    experts: int = 6
    hidden: int = 96
    pretrain: int = 1000
    teach: int = 600
    rehearse: int = 1000
    every: int = 50
    batch: int = 64
    support: int = 32
    query: int = 64
    episodes: int = 3
    steps: int = 3
    rate: float = 0.1
    lr: float = 5e-3
    rehearsal_lr: float = 3e-2

    @property
    def longer(self) -> int:
        """Steps of the baseline: the student's own and those of the rehearsal."""
        return self.pretrain + self.rehearse

    @property
    def examples(self) -> int:
        """Examples that the baseline and the method's student see; the baseline sees the labels of all of them."""
        return self.pretrain * self.batch + self.rehearse * self.episodes * (self.support + self.query)


class ContextStudent(nn.Module):
    """A student that reads the mean of what a small network makes of the batch (ARM-CML; Zhang et al. 2021).

    The inputs are episodes, one after another, of `size` pictures, of which the first `support` make the context.
    """

    def __init__(self, support: int, size: int) -> None:
        super().__init__()
        self.support, self.size = support, size
        self.context, self.main = mlp(64, 8, 4), mlp(68, 10, 10, 10)

    def forward(self, x: Tensor) -> Tensor:
        episodes = x.unflatten(0, (-1, self.size))
        context = self.context(episodes[:, : self.support].flatten(0, 1)).unflatten(0, (len(episodes), -1)).mean(1)
        return self.main(torch.cat([episodes, context.unsqueeze(1).expand(-1, self.size, -1)], -1).flatten(0, 1))


def context(support: int) -> Answers:
    """What context students say about whole domains, whose first `support` pictures make the context."""

    def ask(stack: Stack, x: Tensor) -> Tensor:
        model = ContextStudent(support, x.shape[2])
        return call(model, stack.rows(), x.flatten(1, 2)).detach().unflatten(1, x.shape[1:3])

    return ask


def tent(model: nn.Module, support: int, rate: float, steps: int = 5) -> Answers:
    """Entropy minimisation of a domain's first `support` pictures (Wang et al. 2021), the head left alone.

    Args: model: one that rows are weights of.
    """

    def ask(stack: Stack, x: Tensor) -> Tensor:
        count, flat = x.shape[1], x.flatten(0, 1)
        rows = {n: w.detach().repeat_interleave(count, 0).requires_grad_() for n, w in stack.rows().items()}
        with torch.enable_grad():
            for _ in range(steps):
                entropy = prediction_entropy(call(model, rows, flat[:, :support])).mean(1).sum()
                rows |= inner_step({n: w for n, w in rows.items() if not n.startswith("head.")}, entropy, rate)
        return call(model, rows, flat).detach().unflatten(0, (-1, count))

    return ask


def centred(support: int) -> Answers:
    """Plain answers on pictures less the mean of the domain's first `support`."""

    def ask(stack: Stack, x: Tensor) -> Tensor:
        return plain(stack, x - x[:, :, :support].mean(2, keepdim=True))

    return ask


def chosen(
    stack: Stack, options: Sequence[tuple[Answers, Answers]], val: tuple[Tensor, Tensor], target: Tensor
) -> Tensor:
    """What each row's best option on validation (x, y) says about the targets: [R, D, n, K].

    Args: options: the same way of asking, for validation and for target domains.
    """
    x, y = val
    heights = torch.stack([(on_val(stack, x).argmax(-1) == y).float().mean((1, 2)) for on_val, _ in options])
    said = torch.stack([on_target(stack, target) for _, on_target in options])
    return said[heights.argmax(0), torch.arange(len(stack))]


class School:
    """All rows of the seeds: data, experts, episodes; `logits` collects what each arm says about the targets [S, D, n, K]."""

    def __init__(self, data: Sequence[Places], seeds: Sequence[int], s: Angles) -> None:
        self.data, self.seeds, self.s = data, seeds, s
        x = column(data, "x")
        self.x, self.y = x.flatten(1, 2), column(data, "y").flatten(1)
        self.centred = (x - x.mean(2, keepdim=True)).flatten(1, 2)
        self.val, self.target = (column(data, "val_x"), column(data, "val_y")), column(data, "target_x")
        self.judged = (*self.val, s.every)
        self.logits: dict[str, Tensor] = {}
        drawn = [
            episodes(one, seed, s.rehearse, count=s.episodes, support=s.support, query=s.query)
            for seed, one in zip(seeds, data, strict=True)
        ]
        self.drawn = torch.stack(drawn)

    def order(self, size: int, steps: int, batch: int, repeats: int = 1) -> Tensor:
        """The batches of every seed, each seed `repeats` rows."""
        return torch.stack([step_order(size, batch, steps, seed) for seed in self.seeds for _ in range(repeats)])

    def made(self, make: Callable[[], nn.Module]) -> list[nn.Module]:
        """The first weights of every seed."""
        return [network(make, seed) for seed in self.seeds]

    def plain_arms(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """Students without experts; returns those with which the method begins, and those of the baseline."""
        s, make, size = self.s, lambda: mlp(64, WIDTH, WIDTH, CLASSES), self.x.shape[1]
        short, long = self.order(size, s.pretrain, s.batch), self.order(size, s.longer, s.examples // s.longer)
        start, erm, model = self.tuned(make, short), self.tuned(make, long), network(make, 0)
        wide = [network(lambda: mlp(64, s.hidden, WIDTH, CLASSES), seed) for seed in self.seeds]
        large = train(wide, self.x, self.y, short, lr=s.lr, judged=(plain, *self.judged))
        mean = centred(s.support)
        centre = train(self.made(make), self.centred, self.y, long, lr=LEARNING_RATES[1], judged=(mean, *self.judged))
        for name, stack, ask in (
            ("erm", start, plain), ("erm, as long", erm, plain), ("erm, wide", large, plain), ("centred inputs", centre, mean)
        ):  # fmt: skip
            self.logits[name] = ask(stack, self.target)
        options = [(ask, ask) for ask in (tent(model, s.support, rate) for rate in RATES)]
        again = self.drawn[:, torch.arange(s.longer) % s.rehearse]
        aware = [network(lambda: ContextStudent(s.support, s.support + s.query), seed) for seed in self.seeds]
        aware = train(aware, self.x, self.y, again, lr=LEARNING_RATES[1], judged=(context(s.support), *self.judged))
        self.logits["context"] = context(s.support)(aware, self.target)
        self.logits["tent"] = chosen(erm, options, self.val, self.target)
        rows = range(len(self.seeds))
        return [start.row(row, model) for row in rows], [erm.row(row, model) for row in rows]

    def tuned(self, make: Callable[[], nn.Module], order: Tensor) -> Stack:
        """Plain students as in `train`, each seed's at the learning rate that validation prefers."""
        count = len(LEARNING_RATES)
        made = [network(make, seed) for seed in self.seeds for _ in LEARNING_RATES]
        each = [column.repeat_interleave(count, 0) for column in (self.x, self.y, order, *self.val)]
        asked = (plain, each[3], each[4], self.s.every)
        stack = train(made, *each[:3], lr=[*LEARNING_RATES] * len(self.seeds), judged=asked)
        heights = (plain(stack, each[3]).argmax(-1) == each[4]).float().mean((1, 2)).view(-1, count)
        return Stack([stack.row(seed * count + int(best), made[0]) for seed, best in enumerate(heights.argmax(1))])

    def experts(self) -> list[ExpertPool]:
        """The pools of all seeds."""
        s, turned = self.s, self.s.world == "rotated"
        pools, each = [], []
        for seed, one in zip(self.seeds, self.data, strict=True):
            groups = torch.Generator().manual_seed(child_seed(seed, "groups"))
            own = torch.arange(s.domains) * s.experts // s.domains
            own = own if turned else super_domains(s.domains, s.experts, groups)
            pools.append(own)
            each += [(one.x[own == e].flatten(0, 1), one.y[own == e].flatten()) for e in range(s.experts)]
        x, y = (torch.stack(columns) for columns in zip(*each, strict=True))
        make = lambda: mlp(64, s.hidden, WIDTH, CLASSES)
        made = [network(make, seed, f"expert {e}") for seed in self.seeds for e in range(s.experts)]
        stack = train(made, x, y, self.order(x.shape[1], s.teach, s.batch, s.experts), lr=s.lr)
        rows = [stack.row(row, made[0]) for row in range(len(made))]
        return [ExpertPool(rows[i * s.experts : (i + 1) * s.experts], own) for i, own in enumerate(pools)]

    def expert_arms(self, students: Sequence[nn.Module], longer: Sequence[nn.Module]) -> None:
        """Experts, aggregators before and after the rehearsal, and all students that learn from them.

        Without rehearsal an aggregator teaches the baseline's students, which have been trained as long as the method's.
        """
        s, pools = self.s, self.experts()
        tokens = {name: self.ask(pools, name) for name in ("x", "val_x", "target_x")}
        flat = self.target.flatten(1, 2)
        mean = [pool.mean(x).unflatten(0, self.target.shape[1:3]) for pool, x in zip(pools, flat, strict=True)]
        self.logits["mean of experts"] = torch.stack(mean)
        learners, said = self.prepared(students, tokens["x"])
        self.logits["aggregator"] = plain(said, tokens["target_x"])
        known = torch.stack([pool.keep(torch.arange(s.domains)) for pool in pools])
        rehearsal = Rehearsal(learners, known, support=s.support, query=s.query, steps=s.steps)
        untaught = Stack(self.prepared(longer, tokens["x"])[0])
        asked = tokens["val_x"], tokens["target_x"]
        options = [(rehearsal.answers(asked[0], rate), rehearsal.answers(asked[1], rate)) for rate in RATES]
        self.logits["no rehearsal"] = chosen(untaught, options, self.val, self.target)
        for names, second_order in (((METHOD, "expert never silent"), True), (("first order",), False)):
            keep = torch.cat([known | (name == "expert never silent") for name in names])
            repeat = lambda column, times=len(names): column.repeat(times, *(1,) * (column.ndim - 1))
            rows = [copy.deepcopy(learner) for _ in names for learner in learners]
            rehearsal = Rehearsal(rows, keep, support=s.support, query=s.query, steps=s.steps)
            val, target = (rehearsal.answers(repeat(tokens[name])) for name in ("val_x", "target_x"))
            asked = (val, repeat(self.val[0]), repeat(self.val[1]), s.every)
            best = rehearsal.fit(
                {"x": repeat(self.x), "y": repeat(self.y), "tokens": repeat(tokens["x"].flatten(1, 2))},
                repeat(self.drawn),
                domain=self.x.shape[1] // s.domains,
                best=lambda stack, asked=asked: Best(stack, *asked),
                lr=s.rehearsal_lr,
                second_order=second_order,
            )
            stack, inputs = best.back(), repeat(self.target)
            self.logits |= dict(zip(names, target(stack, inputs).split(len(students)), strict=True))
            if METHOD in names:
                self.logits["not adapted"] = plain(stack, inputs)[: len(students)]
                self.best_step = best.step[: len(students)]

    def prepared(self, students: Sequence[nn.Module], tokens: Tensor) -> tuple[list[Learner], Stack]:
        """Aggregators that have learned to speak through the students' heads: with the students, and as classifiers."""
        s, order = self.s, self.order(self.x.shape[1], self.s.teach, self.s.batch)
        made = [
            mixer_of(seed, WIDTH, s.experts, student.get_submodule("head"))
            for seed, student in zip(self.seeds, students, strict=True)
        ]
        stack = train(made, tokens.flatten(1, 2), self.y, order, lr=s.lr)
        aggregators = [stack.row(row, made[0]).get_submodule("aggregator") for row in range(len(students))]
        pairs = zip(students, aggregators, strict=True)
        return [Learner(copy.deepcopy(student), aggregator, s.rate) for student, aggregator in pairs], stack

    def ask(self, pools: Sequence[ExpertPool], name: str) -> Tensor:
        """What the experts say: tokens [S, D, n, M, WIDTH]."""
        inputs = [getattr(one, name) for one in self.data]
        said = [pool.outputs(x.flatten(0, 1), "features") for pool, x in zip(pools, inputs, strict=True)]
        return torch.stack([one.unflatten(0, x.shape[:2]) for one, x in zip(said, inputs, strict=True)])
