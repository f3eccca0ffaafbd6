"""ScaLearn: transfer to a new task by learning how much each frozen source adapter counts.

Frohmann et al., "ScaLearn: Simple and Highly Parameter-Efficient Task Transfer by Learning to Scale", 2024
(arXiv:2310.01217).

Stage 1 trains one set of bottleneck adapters per source task in a frozen model. Stage 2, for a target task, freezes those too
and trains only how strongly each one's output counts, and a new head. At every place l of the model

    o_l = h_l + Σ_t ω_{t,l} ⊙ u_{t,l}(h_l),        ω ~ Normal(2 / T, 0.001) at first, dropout 0.3 on ω itself

The scales are free: no softmax, no sum to one, so that a sum of sources can amplify or subtract what they know. Four shapes
of ω, from many numbers to few (T sources, L places, width d):

    scalearn     one per source, place and feature      L · T · d
    uniform      one per source and place               L · T
    scalearn++   one per source and feature             T · d
    uniform++    one per source                         T

Since o is linear in the sources' hidden units, the trained scales melt into the weights: `merged` is one ordinary adapter a
place, T times as wide, that says the same.

Shapes: h [B, …, d], u [T, B, …, d], ω [T, d] or [T, 1], logits [B, K], targets [B] (long).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.evaluation.cost import parameters
from tutelage.objectives.divergence import hard_cross_entropy
from tutelage.students.adapter_bank import AdapterBank
from tutelage.students.adapters import AdapterHost, Adapters, BottleneckAdapter, Select, check_base
from tutelage.students.combiners import Combined, ScaleCombiner
from tutelage.training import Batch, Callback, Lesson, Progress, Supervised, decay_groups, fit, linear, logits_of
from tutelage.training.batches import Data

Variant = Literal["scalearn", "uniform", "scalearn++", "uniform++"]

VARIANTS: dict[str, tuple[bool, bool]] = {
    "scalearn": (True, False),
    "uniform": (False, False),
    "scalearn++": (True, True),
    "uniform++": (False, True),
}
"""Variant → (a scale for every feature?, one ω for all places?)."""


def combiner_of(
    variant: str,
    sources: int,
    widths: Sequence[int],
    *,
    init: float = 2.0,
    dropout: float = 0.3,
    normalise: Literal["mean", "softmax"] | None = None,
) -> ScaleCombiner:
    """The scales of a variant, for T sources and places of these widths.

    >>> [sum(p.numel() for p in combiner_of(name, 8, [768] * 12).parameters()) for name in VARIANTS]
    [73728, 96, 6144, 8]

    Raises: InputError: a variant that does not exist.
    """
    if variant not in VARIANTS:
        raise InputError(f"variant is {', '.join(VARIANTS)}; got {variant!r}")
    per_feature, shared = VARIANTS[variant]
    options = {"init": init, "dropout": dropout}
    return ScaleCombiner(sources, widths, per_feature=per_feature, shared=shared, normalise=normalise, **options)


def merge_scales(scales: Tensor, sources: Sequence[BottleneckAdapter]) -> dict[str, Tensor]:
    """Σ_t ω_t ⊙ u_t as the weights of one adapter: down [T m, d] and its bias, up [d, T m] and its bias.

    Args: scales: ω [T, d] or [T, 1]; sources: T adapters of width d.

    >>> sources = [BottleneckAdapter(8, 2), BottleneckAdapter(8, 3)]
    >>> {name: tuple(weight.shape) for name, weight in merge_scales(torch.ones(2, 1), sources).items()}
    {'down.weight': (5, 8), 'down.bias': (5,), 'up.weight': (8, 5), 'up.bias': (8,)}
    """
    scaled = list(zip(scales, sources, strict=True))
    return {
        "down.weight": torch.cat([source.down.weight for source in sources]),
        "down.bias": torch.cat([source.down.bias for source in sources]),
        "up.weight": torch.cat([scale.unsqueeze(-1) * source.up.weight for scale, source in scaled], 1),
        "up.bias": torch.stack([scale * source.up.bias for scale, source in scaled]).sum(0),
    }


class ScaLearn(Lesson):
    """Stage 2: learn the scales of a bank's sources, and a head, for one target task.

    Args:
        base: the model that the sources were trained in: inputs → features [B, d], or a Hugging Face encoder. It is frozen.
        bank: at least two sources. The target's own adapters may be one of them, if no test example trained them.
        head: a new one, features → logits, such as `nn.Linear(d, K)`.
        variant: see `VARIANTS`; the small ones have little to drop, and go well with `dropout=0`.
        init: ω begins at init / T; dropout: of ω; normalise: "mean" and "softmax" are the paper's ablations (worse).
        select: from what the base returns to features (default: a tensor as it is, or the first token's state).

    Train it with a learning rate of about 6e-3, twenty times an adapter's: with 3e-4 the scales hardly move in few steps.
    Scales are not decayed towards zero, which would take the sources away.

    Raises: InputError: fewer than two sources, a base that the sources were not trained in, settings out of range; in
        training, labels that the head has no class for.

    >>> base = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8))
    >>> bank = AdapterBank({name: Adapters.fresh(base, "[02]", reduction=4) for name in ("topic", "tone")})
    >>> lesson = ScaLearn(base, bank, nn.Linear(8, 3), variant="uniform++")
    >>> lesson.student(torch.zeros(5, 4)).shape, lesson.transfer_parameters
    (torch.Size([5, 3]), 2)
    """

    def __init__(
        self,
        base: nn.Module,
        bank: AdapterBank,
        head: nn.Module,
        *,
        variant: Variant = "scalearn",
        init: float = 2.0,
        dropout: float = 0.3,
        normalise: Literal["mean", "softmax"] | None = None,
        select: Select | None = None,
    ) -> None:
        super().__init__()
        if len(bank) < 2:
            raise InputError(f"scales weigh sources against each other: need at least two; the bank holds {len(bank)}")
        check_base(bank.base, base)
        like = next(bank.parameters())
        scales = combiner_of(variant, len(bank), bank.widths, init=init, dropout=dropout, normalise=normalise)
        update = Combined(bank, scales.to(like.device, like.dtype))
        self.student = AdapterHost(base, bank.places, update, head=head, select=select)

    @property
    def bank(self) -> AdapterBank:
        """The sources."""
        return cast(Combined, self.student.update).bank

    @property
    def combiner(self) -> ScaleCombiner:
        """The scales."""
        return cast(ScaleCombiner, cast(Combined, self.student.update).combiner)

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Cross-entropy of the target task."""
        return {"ce": hard_cross_entropy(logits_of(self.student, batch["x"]), batch["y"])}

    def parameter_groups(self) -> dict[str, list[dict[str, object]]]:
        """The head as usual; the scales without weight decay."""
        scales: dict[str, object] = {"params": list(self.combiner.parameters()), "weight_decay": 0.0}
        return {"student": [scales, *decay_groups(self.student.head)]}

    @property
    def transfer_parameters(self) -> int:
        """How many numbers stage 2 learns beside the head."""
        return parameters(self.combiner)

    @torch.no_grad()
    def scales(self) -> dict[str, list[float]]:
        """Source → its mean scale at every place, in the order of `bank.places`: which task helped where."""
        scales = [self._scales(layer).mean(-1).tolist() for layer in range(len(self.bank.places))]
        return {name: [scale[task] for scale in scales] for task, name in enumerate(self.bank.names)}

    @torch.no_grad()
    def merged(self) -> Adapters:
        """The same function as one set of ordinary adapters with T m hidden units: to serve, to save, or as a source again."""
        sources = [self.bank.source(name) for name in self.bank.names]
        layers = range(len(self.bank.places))
        held = [merge_scales(self._scales(layer), [source.at(layer) for source in sources]) for layer in layers]
        hidden = [len(weights["down.bias"]) for weights in held]
        merged = Adapters(self.bank.places, self.bank.widths, hidden, self.bank.base).to(held[0]["up.bias"])
        for layer, weights in enumerate(held):
            merged.at(layer).load_state_dict(weights)
        return merged

    def _scales(self, layer: int) -> Tensor:
        """ω of a place as it is at test time."""
        mode = self.combiner.training
        scales = self.combiner.eval().scales(layer)
        self.combiner.train(mode)
        return scales


def learn_source(
    base: nn.Module,
    places: str | Sequence[str],
    head: nn.Module,
    data: Data,
    *,
    reduction: int = 16,
    select: Select | None = None,
    epochs: int = 30,
    batch_size: int = 32,
    lr: float = 3e-4,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
) -> Adapters:
    """Stage 1: the adapters of one labelled source task, trained in the frozen base with a head that is thrown away.

    Args: places: patterns as in `find_places`; data: as in `fit`; the defaults are the paper's for text encoders. Stop early
        by callbacks: `Validate`, `EarlyStop`, `KeepBest`.

    Raises: InputError: as `Adapters.fresh` and `fit` do.

    >>> base = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8))
    >>> data = (torch.randn(20, 4), torch.arange(20) % 2)
    >>> learn_source(base, "[02]", nn.Linear(8, 2), data, reduction=4, epochs=1).places
    ('0', '2')
    """
    adapters = Adapters.fresh(base, places, reduction)
    lesson = Supervised(AdapterHost(base, adapters.places, adapters, head=head, select=select))
    options = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed}
    fit(lesson, data, schedule=linear(), callbacks=callbacks, **options)  # type: ignore[arg-type]
    return adapters
