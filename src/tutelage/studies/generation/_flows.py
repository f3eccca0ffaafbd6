"""A stage of reflow or distillation for all arms and seeds at once: small velocity nets as the rows of one stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.methods.generation.slimflow import EPS, MIDDLE, annealed_noise, guided_jump
from tutelage.objectives.flow import Velocity, rectified_flow_loss
from tutelage.training import Schedule, Stack, child_seed, cosine, step_order, value_at

Key = tuple[str, int]
"""Arm and seed."""


@dataclass(frozen=True)
class Learning:
    """What all rows share; the rate falls by a cosine to the share `end` of itself (1: it stays)."""

    batch: int = 128
    lr: float = 1e-3
    end: float = 1.0
    decay: float = 0.999
    guidance: float = 1.0
    clip: float = 1.0


@dataclass(frozen=True)
class Row:
    """A run of a stage: its pairs, how much of the noise is somebody else's, and whether it jumps (t = 0)."""

    x0: Tensor
    x1: Tensor
    beta: Schedule | float = 0.0
    jump: bool = False


class Pair(nn.Module):
    """A velocity net that takes x and t as one argument, as a stack passes them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, at: tuple[Tensor, Tensor]) -> Tensor:
        return self.net(*at)


def velocity(stack: Stack) -> Velocity:
    """All rows as one velocity: x [R, B, d], t [R, B] or one time a row [R]."""
    return lambda x, t: stack((x, t.view(len(x), -1).expand(x.shape[:2])))  # type: ignore[arg-type]


def stage(
    nets: Mapping[Key, nn.Module],
    rows: Mapping[Key, Row],
    steps: int,
    s: Learning,
    guides: Mapping[Key, nn.Module] | None = None,
) -> tuple[dict[Key, nn.Module], dict[Key, nn.Module]]:
    """Train all rows at once, each as the method's lesson would; returns the nets and their averages."""
    keys, own = list(rows), list(rows.values())
    stack = Stack([Pair(nets[key]) for key in keys])
    student = velocity(stack)
    guide = None if guides is None else velocity(Stack([Pair(guides[key]) for key in keys]))
    seeds = list(dict.fromkeys(seed for _, seed in keys))
    random = [torch.Generator().manual_seed(child_seed(seed, "method", 0)) for seed in seeds]
    of, each = torch.tensor([seeds.index(seed) for _, seed in keys]), torch.arange(len(keys)).unsqueeze(1)
    x0s, x1s = together([row.x0 for row in own]), together([row.x1 for row in own])
    order = torch.stack([step_order(len(r.x0), s.batch, steps, seed) for r, (_, seed) in zip(own, keys, strict=True)])
    jumps = torch.tensor([[row.jump] for row in own])
    optimizer = torch.optim.Adam([stack.weights], lr=s.lr, fused=True)
    average, fall = stack.weights.detach().clone(), cosine(1.0, s.end)

    def drawn(draw: Callable[..., Tensor], *shape: int) -> Tensor:
        return torch.stack([draw(s.batch, *shape, generator=generator) for generator in random])[of]

    for step in range(steps):
        optimizer.param_groups[0]["lr"] = s.lr * fall(step / steps)
        x0, x1 = x0s[each, order[:, step]], x1s[each, order[:, step]]
        t = torch.zeros(x0.shape[:2])
        if not jumps.all():
            t = (EPS + (1 - EPS) * drawn(torch.rand)).masked_fill(jumps, 0.0)
        beta = torch.tensor([value_at(row.beta, step / steps) for row in own]).view(-1, 1, 1)
        if beta.any():
            x0 = annealed_noise(x0, drawn(torch.randn, x0.shape[-1]), beta)
        loss = rectified_flow_loss(student, x0, x1, t).mean(1)
        if guide is not None:
            middle = MIDDLE[0] + (MIDDLE[1] - MIDDLE[0]) * drawn(torch.rand)
            z = drawn(torch.randn, x0.shape[-1])
            jump = student(z, torch.zeros_like(middle))
            wanted = guided_jump(guide, z, jump.detach(), middle)
            loss = loss + s.guidance * (jump - wanted).square().mean((1, 2))
        (gradient,) = torch.autograd.grad(loss.sum(), stack.weights)
        stack.weights.grad = gradient * (s.clip / (gradient.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1.0)
        optimizer.step()
        average.lerp_(stack.weights.detach(), 1 - min(s.decay, 1 - 1 / (step + 1)))
    last = taken_apart(stack, nets, keys)
    stack.weights.data = average
    return last, taken_apart(stack, nets, keys)


def together(columns: Sequence[Tensor]) -> Tensor:
    """Columns [N_r, d] as one [R, N, d], zeros where a row has fewer; no batch reads them."""
    longest = max(map(len, columns))
    return torch.stack([F.pad(column, (0, 0, 0, longest - len(column))) for column in columns])


def taken_apart(stack: Stack, nets: Mapping[Key, nn.Module], keys: Sequence[Key]) -> dict[Key, nn.Module]:
    """The rows of a stack as nets of their own."""
    return {key: stack.row(row, Pair(nets[key])).get_submodule("net") for row, key in enumerate(keys)}
