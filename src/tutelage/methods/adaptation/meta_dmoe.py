"""Meta-DMoE: a student that adapts to a new domain by one look at what a mixture of domain experts makes of it.

Zhong et al., "Meta-DMoE: Adapting to Domain Shift by Meta-Distillation from Mixture-of-Experts", 2022
(arXiv:2210.03885).

One expert is trained for each group of source domains. On a batch x of a new domain, without labels, a small transformer A
mixes the experts' features into a target for every example, and the student's features f take a few gradient steps
towards it; the head h stays:

    t = A(E_1(x), …, E_M(x); φ),      θ' = θ − α ∇_θ mean (f(x; θ) − t)²      (`steps` times)

Training rehearses this. Of a source domain come x_S, whose labels nobody reads, and (x_Q, y_Q); the domain's own expert has
to be silent, for a new domain has none; and

    L = CE(h(f(x_Q; θ')), y_Q)      is minimised over θ, h, φ and log α:

the aggregator learns through θ' alone what is worth saying, and the student to be moved by it. Experts are sure of pictures
that they were trained on, so the longer the rehearsal, the less it resembles deployment: choose its length on domains that no
expert has seen.

Shapes: E episodes; x [E, S, …], query [E, Q, …], y [E, Q], group [E] (the source domain); tokens [B, M, d], features [B, d].
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from tutelage.curricula.episodes import EpisodeBatches, EpisodeSampler
from tutelage.data.domains import DomainSet
from tutelage.errors import InputError
from tutelage.feedback.lookahead import inner_step
from tutelage.objectives.divergence import hard_cross_entropy
from tutelage.students.adapted import Features, same_width
from tutelage.students.aggregator import AttentionAggregator, Mixture
from tutelage.teachers.experts import ExpertPool
from tutelage.training import Batch, Lesson, Progress, Supervised, child_seed, fit, one_cycle, seeded
from tutelage.training.callbacks import KeepBest, Validate
from tutelage.training.lesson import decay_groups

Call = Callable[[Mapping[str, Tensor], Tensor], Tensor]
"""(weights, x) → features: rows of weights [R, …] and of inputs [R, B, …] give [R, B, d]."""


def super_domains(domains: int, experts: int, generator: torch.Generator) -> Tensor:
    """The expert of every source domain: the shuffled domains, cut into groups of (nearly) equal size: [domains].

    Raises: InputError: fewer than three domains, or more experts than domains (or fewer than two).

    >>> super_domains(6, 3, torch.Generator().manual_seed(0)).bincount().tolist()
    [2, 2, 2]
    """
    if domains < 3 or not 2 <= experts <= domains:
        raise InputError(f"need three source domains or more, and 2 to that many experts; got {domains} and {experts}")
    expert = torch.empty(domains, dtype=torch.long)
    expert[torch.randperm(domains, generator=generator)] = torch.arange(domains) * experts // domains
    return expert


def follow(
    call: Call,
    weights: Mapping[str, Tensor],
    x: Tensor,
    target: Tensor,
    rate: Tensor | float,
    *,
    steps: int = 1,
    create_graph: bool = False,
) -> dict[str, Tensor]:
    """θ': `steps` gradient steps of every row's features towards its targets [R, B, d]; `rate` is α, or [R] of them.

    Raises: InputError: features and targets of different widths.

    >>> def line(w, x):
    ...     return w["a"].unsqueeze(-1) * x
    >>> start = {"a": torch.tensor([[1.0]], requires_grad=True)}
    >>> follow(line, start, torch.ones(1, 2, 1), torch.zeros(1, 2, 1), 0.25)["a"].item()  # 1 − 0.25 · 2 · 1
    0.5
    """
    moved = dict(weights)
    for _ in range(steps):
        features = call(moved, x)
        if features.shape != target.shape:
            raise InputError(
                f"features {tuple(features.shape)} cannot follow targets {tuple(target.shape)}: student and experts need "
                "features of one width (a linear layer behind the wider ones will do)"
            )
        each = (features - target).square().mean((-2, -1))
        moved = inner_step(moved, each.sum(), rate, create_graph=create_graph)
    return moved


class MetaDMoE(Lesson):
    """Meta-training of student and aggregator on episodes, and `adapt` for what comes after.

    Batches: x [E, S, …], query [E, Q, …], y [E, Q], group [E], as `EpisodeBatches` gives them. All parts stay in evaluation
    mode: dropout is off, running statistics are what they were.

    Args:
        student: has `features` and `head`; experts' features are as wide. Its frozen layers stay as they are.
        pool: the experts, and which domain is whose.
        aggregator: (tokens, keep) → targets.
        rate: α at the start; its logarithm is trained. steps: gradient steps in a rehearsal and in `adapt`; 0 trains plainly.
        leave_own_out: the domain's expert is silent in training, as published.
        second_order: gradients pass through the steps; otherwise the aggregator learns nothing.
        aggregator_lr: the aggregator's learning rate as a multiple of the student's.

    Raises: InputError: widths that differ, a rate that is not positive, nothing to adapt, batches that are not episodes.
    """

    def __init__(
        self,
        student: nn.Module,
        pool: ExpertPool,
        aggregator: nn.Module,
        *,
        rate: float = 0.1,
        steps: int = 1,
        leave_own_out: bool = True,
        second_order: bool = True,
        aggregator_lr: float = 1.0,
    ) -> None:
        super().__init__()
        if rate <= 0 or steps < 0:
            raise InputError(f"need a positive rate and steps >= 0; got {rate} and {steps}")
        self.student, self.pool, self.aggregator = student, pool, aggregator
        self.log_rate = nn.Parameter(torch.tensor(math.log(rate)))
        self.steps, self.leave_own_out, self.second_order = steps, leave_own_out, second_order
        self.aggregator_lr = aggregator_lr
        self.features = [Features(student)]  # in a list: the student's weights are listed once
        if steps and not self.features[0].weights():
            raise InputError("every layer of the student below its head is frozen: there is nothing to adapt")
        self.eval()

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """What the adapted students pay on their queries."""
        if missing := {"query", "y", "group"} - batch.keys():
            raise InputError(f"a batch of episodes has {', '.join(sorted(missing))} too; EpisodeBatches makes them")
        keep = self.pool.keep(batch["group"]) if self.leave_own_out else None
        adapted = self._adapted(batch["x"], keep, create_graph=self.second_order)
        logits = self.student.head(self.features[0].rows(adapted, batch["query"]).flatten(0, 1))  # type: ignore[operator]
        return {"ce": hard_cross_entropy(logits, batch["y"].flatten())}

    def targets(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """What the mixture asks of the features: [B, …] and who may speak [B, M] → [B, d]."""
        return self.aggregator(self.pool.outputs(x, "features"), keep)

    def adapt(self, x: Tensor) -> nn.Module:
        """A student for the domain of x [B, …], which has no labels: a copy in evaluation mode; the lesson's own stays.

        Raises: InputError: an empty batch.
        """
        if not len(x):
            raise InputError("cannot adapt to an empty batch: give the first examples of the new domain")
        with torch.enable_grad():
            adapted = self._adapted(x.unsqueeze(0), None, create_graph=False)
        row = {name: value[0].detach() for name, value in adapted.items()}
        return copy.deepcopy(self.features[0]).with_weights(row).eval()

    def answer(self, x: Tensor, support: int = 32) -> Tensor:
        """The labels of a whole domain [n, …] → [n], after a look at its first `support` examples."""
        student = self.adapt(x[:support])
        with torch.no_grad():
            return student(x).argmax(-1)

    def _adapted(self, x: Tensor, keep: Tensor | None, *, create_graph: bool) -> dict[str, Tensor]:
        episodes, size = x.shape[:2]
        said = None if keep is None else keep.repeat_interleave(size, 0)
        target = self.targets(x.flatten(0, 1), said).unflatten(0, (episodes, size))
        weights = {n: p.expand(episodes, *p.shape) for n, p in self.features[0].weights().items()}
        rate, call = self.log_rate.exp(), self.features[0].rows
        return follow(call, weights, x, target, rate, steps=self.steps, create_graph=create_graph)

    def train(self, mode: bool = True) -> MetaDMoE:
        """Stays in evaluation mode."""
        super().train(False)
        return self

    def parameter_groups(self) -> dict[str, list[dict[str, object]]]:
        """One optimiser; the aggregator has its own learning rate."""
        mixture = decay_groups(self.aggregator, lr_scale=self.aggregator_lr)
        rate: dict[str, object] = {"params": [self.log_rate], "weight_decay": 0.0}
        return {"student": [*decay_groups(self.student), *mixture, rate]}


def meta_dmoe(
    domains: DomainSet,
    student: nn.Module,
    expert: Callable[[], nn.Module],
    *,
    experts: int,
    support: int = 32,
    query: int = 64,
    rate: float = 0.1,
    steps: int = 3,
    pretrain: int = 1000,
    rehearse: int = 1000,
    lr: float = 5e-3,
    rehearsal_lr: float = 3e-2,
    seed: int = 0,
) -> MetaDMoE:
    """All of it: experts, student and aggregator are trained plainly on the source domains, then the adaptation is rehearsed.

    The aggregator learns to speak through the student's head first. Where there are validation domains, the weights with the
    best adapted accuracy there are kept (asked every 50 batches).

    Args:
        student, expert: what is to be deployed, and what makes an untrained expert; features of one width, and a `head`.
        experts: M; support, query: examples of an episode; rate, steps: as in `MetaDMoE`.
        pretrain: steps of plain training of each part; rehearse: batches of three episodes; lr, rehearsal_lr: of the two.

    Raises: InputError: fewer than three source domains, too few examples in one, widths that differ, labels that are no classes.

    >>> from tutelage.students.mlp import mlp
    >>> places = DomainSet({str(i): (torch.randn(8, 4) + i, torch.arange(8) % 2) for i in range(3)})
    >>> short = {"support": 4, "query": 4, "pretrain": 2, "rehearse": 2}
    >>> lesson = meta_dmoe(places, mlp(4, 8, 2), lambda: mlp(4, 16, 8, 2), experts=3, **short)
    >>> lesson.adapt(torch.randn(5, 4))(torch.randn(2, 4)).shape
    torch.Size([2, 2])
    """
    x = torch.cat([torch.as_tensor(domain.x) for domain in domains.source])
    y = torch.cat([torch.as_tensor(domain.classes) for domain in domains.source])
    group = torch.arange(len(domains.source)).repeat_interleave(torch.tensor([len(d) for d in domains.source]))
    sampler = EpisodeSampler(group, support=support, query=query)
    own = super_domains(len(domains.source), experts, torch.Generator().manual_seed(child_seed(seed, "groups")))

    def trained(part: nn.Module, rows: Tensor, labels: Tensor) -> nn.Module:
        fit(Supervised(part), (rows, labels), steps=pretrain, batch_size=64, lr=lr, weight_decay=0.0, seed=seed)
        return part

    def measure(lesson: Lesson) -> dict[str, float]:
        found = domains.score(lambda domain: lesson.answer(torch.as_tensor(domain.x), support), role="val")  # type: ignore[operator]
        return {"adapted": sum(found.values()) / len(found)}

    with seeded(seed, "init"):
        made = [expert() for _ in range(experts)]
        same_width([student, *made], x[:1])
        pool = ExpertPool([trained(one, x[own[group] == e], y[own[group] == e]) for e, one in enumerate(made)], own)
        said = torch.cat([pool.outputs(rows, "features") for rows in x.split(512)])
        mixture = Mixture(AttentionAggregator(said.shape[-1], experts), Features(trained(student, x, y)).model.head)  # type: ignore[arg-type]
        trained(mixture, said, y)
    lesson = MetaDMoE(student, pool, mixture.aggregator, rate=rate, steps=steps)
    batches = EpisodeBatches(x, y, sampler, episodes=3, length=50, seed=child_seed(seed, "episodes"))
    fit(lesson, batches, steps=rehearse, lr=rehearsal_lr, schedule=one_cycle(), weight_decay=0.0, clip=5.0, seed=seed,
        callbacks=[Validate(measure), KeepBest("adapted", mode="max")] if domains.val else [])  # fmt: skip
    return lesson
