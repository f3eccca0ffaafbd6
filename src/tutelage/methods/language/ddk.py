"""DDK: distil a language model where it lags behind its teacher, domain by domain.

Liu et al., "DDK: Distilling Domain Knowledge for Efficient Large Language Models", 2024 (arXiv:2407.16154).

Text sampled in the corpus' own proportions polishes domains where the student is close and starves those where it lags. So
after every interval of K steps the perplexities l of student and teacher on a few held-out texts of each of N domains decide
what the next interval is made of:

    ρ_i = min(l_S[i] / l_T[i], clip)                                      gap
    r⁰_i = exp ρ_i / Σ_j exp ρ_j                                          before training
    ψ_i = r^{t−1}_i exp ρ_i,   r^t_i = α ψ_i / Σ_j ψ_j + (1 − α) / N      after interval t

The first interval keeps the corpus' proportions. The history in ψ and the even part (1 − α) / N keep the mixture from
jumping: no domain falls below (1 − α) / N; with α = 1 one domain may take everything. The loss is ordinary,

    L = mean_i CE(s_i, x_{i+1}) + γ T² mean_i KL(softmax z_i/T ‖ softmax s_i/T)

Clip, `max_weight` and the forms for teachers without logits are ours; the paper prints the KL with the student first.

Shapes: x [B, n] ids (or a mapping of model inputs with `input_ids`), y [B, n] labels with −100 where nothing counts, logits
s, z [B, n, V] (position i predicts token i + 1).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Unpack, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast
from torch import Tensor, nn

from tutelage.curricula.mixture import MixtureSampler, MixtureState
from tutelage.data.indexed import IndexedDataset
from tutelage.errors import InputError
from tutelage.feedback.groups import group_perplexity, stalled
from tutelage.training import Callback, FitOptions, History, Run, Signal, fit
from tutelage.training.causal import CausalDistillation
from tutelage.training.checkpoint import Tree
from tutelage.training.history import Row
from tutelage.training.mixture import MixtureBatches, Source, hold_out


def first_factors(gap: np.ndarray) -> np.ndarray:
    """r⁰: softmax of the gaps, (N,) → (N,).

    >>> first_factors(np.array([1.0, 1.0, 1.0 + np.log(2)]))
    array([0.25, 0.25, 0.5 ])
    """
    powers = np.exp(gap - gap.max())
    return powers / powers.sum()


def next_factors(gap: np.ndarray, before: np.ndarray, *, alpha: float = 0.5, max_weight: float = 1.0) -> np.ndarray:
    """r^t from the gaps and r^{t−1}: (N,), (N,) → (N,), sum 1.

    What a domain would have above `max_weight` goes to the others, in proportion.

    >>> next_factors(np.array([1.0, 1.0 + np.log(3)]), np.array([0.5, 0.5]), alpha=0.5)  # ψ ∝ (1, 3)
    array([0.375, 0.625])
    """
    smoothed = alpha * first_factors(gap + np.log(np.maximum(before, 1e-300))) + (1 - alpha) / len(gap)
    full = np.zeros(len(gap), bool)
    while (over := (smoothed > max_weight + 1e-12) & ~full).any():
        full |= over
        smoothed[full] = max_weight
        rest = 1 - max_weight * full.sum()
        smoothed[~full] *= rest / smoothed[~full].sum()
    return smoothed


class DDK:
    """Distil with a mixture of domains that follows the gap between student and teacher.

    Args:
        student, teacher: as in `CausalDistillation`; Hugging Face causal models will do.
        alpha: share of the history, in (0, 1]. gamma, temperature: of the loss. interval: steps K between measurements.
        clip: largest gap that counts. max_weight: largest share of a domain, at least 1 / N.

    Attributes:
        factors: domain → r, as they stand; target: domain → l_T.

    Raises: InputError: settings out of range.

    >>> from tutelage.students.lm import GruLM
    >>> ddk = DDK(GruLM(9, width=4), GruLM(9, width=8), interval=2)
    >>> domains = {name: {"x": torch.arange(30).view(6, 5) % top} for name, top in (("law", 9), ("code", 2))}
    >>> history = ddk.fit(domains, validation=2, steps=4, batch_size=2)
    >>> history["step"], round(sum(ddk.factors.values()), 6), "gap law" in history.names
    ([2, 4], 1.0, True)
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Signal | None,
        *,
        alpha: float = 0.5,
        gamma: float = 0.2,
        temperature: float = 1.0,
        interval: int = 1000,
        clip: float = 20.0,
        max_weight: float = 1.0,
    ) -> None:
        if not 0 < alpha <= 1 or interval < 1 or clip <= 1 or not 0 < max_weight <= 1:
            raise InputError(
                "need alpha and max_weight in (0, 1], interval >= 1 and clip > 1; "
                f"got {alpha}, {max_weight}, {interval} and {clip}"
            )
        self.lesson = CausalDistillation(student, teacher, gamma=gamma, temperature=temperature)
        self.alpha, self.interval, self.clip, self.max_weight = alpha, interval, clip, max_weight
        self.factors, self.target = dict[str, float](), dict[str, float]()

    def fit(
        self,
        domains: Mapping[str, Source],
        *,
        validation: int | Mapping[str, Source] = 500,
        target: Mapping[str, float] | None = None,
        **options: Unpack[FitOptions],
    ) -> History:
        """Train the student.

        Args:
            domains: name → rows with `x` and perhaps `y`. validation: how many of each domain's first rows are held out to
                measure perplexity, or other rows. target: the teacher's perplexities, where it is no model that can be asked.
            options: of `tutelage.training.fit`; `steps` is one of them.

        Returns: one row an interval: beside `fit`'s columns the `share D` of the interval and the `gap D` at its end for each
            domain D.

        Warns where a teacher that cannot be asked is taken to be perfect (perplexity 1), and of domains that stalled.
        Raises: InputError: fewer than two domains, a domain without rows to train on or to measure, max_weight below 1 / N,
            a target below 1.
        """
        if len(domains) < 2 or self.max_weight * len(domains) < 1 or options.get("steps") is None:
            raise InputError(
                f"need two domains, max_weight >= 1/N and a number of steps; got {', '.join(domains)}, {self.max_weight}, "
                f"{options.get('steps')}"
            )
        train, held = (
            hold_out(domains, validation) if isinstance(validation, int) else (dict(domains), dict(validation))
        )
        # The first perplexities are measured before `fit` begins, on the device and by the processes that it will use.
        AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
        place = Accelerator(cpu=options.get("device") == "cpu")
        self.lesson.to(place.device)
        batch_size = options.get("batch_size", 32)
        self.target = self._targets(
            {name: held[name] for name in train if name in held}, list(train), target, batch_size
        )
        sizes = {name: len(IndexedDataset(rows)) for name, rows in train.items()}
        sampler = MixtureSampler(sizes, seed=options.get("seed", 0))
        steps = self.interval * options.get("accumulate", 1)
        shares = {"process": place.process_index, "processes": place.num_processes}
        batches = MixtureBatches(train, sampler, batch_size, steps, **shares)
        steering = _Steering(self, sampler, {name: held[name] for name in train}, batch_size)
        options["callbacks"] = [steering, *options.get("callbacks", ())]
        history = fit(self.lesson, batches, **options)
        if slow := stalled([{name: float(row[f"gap {name}"] or 0) for name in train} for row in history]):
            warnings.warn(f"the gap no longer falls in {', '.join(slow)}: is the student too small?", stacklevel=2)
        return history

    def _targets(
        self, held: Mapping[str, Source], names: Sequence[str], given: Mapping[str, float] | None, batch_size: int
    ) -> dict[str, float]:
        if missing := [name for name in names if name not in held or name not in (given or held)]:
            raise InputError(f"no validation rows, or no target, of {', '.join(missing)}")
        if given is not None:
            if not min(given[name] for name in names) >= 1:
                raise InputError(f"a perplexity is at least 1; the targets are {dict(given)}")
            return {name: given[name] for name in names}
        if isinstance(self.lesson.teacher, nn.Module):
            return group_perplexity(self.lesson.teacher, held, batch_size=batch_size)
        warnings.warn(
            "the teacher cannot be asked for perplexities, so it counts as perfect; or give `target`", stacklevel=3
        )
        return dict.fromkeys(names, 1.0)


class _Steering(Callback):
    """After every interval: measure, and set the next mixture."""

    def __init__(self, ddk: DDK, sampler: MixtureSampler, held: Mapping[str, Source], batch_size: int) -> None:
        self.ddk, self.sampler, self.held, self.batch_size = ddk, sampler, held, batch_size
        ddk.factors = dict(zip(held, first_factors(self.gaps()).tolist(), strict=True))

    def gaps(self) -> np.ndarray:
        """ρ of every domain, the same in all processes: (N,)."""
        place = PartialState()
        said = group_perplexity(self.ddk.lesson.student, self.held, batch_size=self.batch_size)
        ratio = torch.tensor([said[name] / self.ddk.target[name] for name in self.held], device=place.device)
        if place.num_processes > 1:
            ratio = cast(Tensor, broadcast(ratio))
        return ratio.clamp(max=self.ddk.clip).double().cpu().numpy()

    def after_epoch(self, run: Run, row: Row) -> None:
        ddk, names, gaps = self.ddk, self.sampler.names, self.gaps()
        for name, share, gap in zip(names, self.sampler.shares.tolist(), gaps.tolist(), strict=True):
            row |= {f"share {name}": share, f"gap {name}": gap}
        before = np.array([ddk.factors[name] for name in names])
        factors = next_factors(gaps, before, alpha=ddk.alpha, max_weight=ddk.max_weight)
        self.sampler.weights = factors
        ddk.factors = dict(zip(names, factors.tolist(), strict=True))

    def state(self) -> Tree:
        return {"factors": dict(self.ddk.factors), "sampler": cast(Tree, self.sampler.state())}

    def load_state(self, state: Tree) -> None:
        held = cast("dict[str, dict[str, float]]", state)
        self.ddk.factors = held["factors"]
        self.sampler.load_state(cast(MixtureState, held["sampler"]))
