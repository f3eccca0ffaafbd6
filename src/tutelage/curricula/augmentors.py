"""Augmentors that can be learned: inputs are changed by draws from a family whose widths are parameters.

The draw u is fixed noise and the width w its own factor, so that gradients reach the width (reparameterisation):

    w = sigmoid(φ) · bound,        x~ = change(x, u · w)

The bound is what keeps x~ where somebody still knows the answer; φ decides how much of it is used. A fixed φ is
ordinary random augmentation.

Benton et al., "Learning Invariances in Neural Networks" (Augerino), 2020 (arXiv:2010.11882).

Shapes: inputs [B, …] → inputs of the same shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tutelage.data.views import warp
from tutelage.errors import InputError

AFFINE = ("shift_x", "shift_y", "rotate", "scale_x", "scale_y", "shear")


class Augmentor(nn.Module):
    """A family of changes, one width for each way of changing.

    Args: bound: [W] or a number, the widest allowed; start: the share of the bound in use at first, in (0, 1).

    Raises: InputError: a bound below 0, a start outside (0, 1).
    """

    bound: Tensor

    def __init__(self, bound: Tensor | float, start: float = 0.05) -> None:
        super().__init__()
        held = torch.as_tensor(bound, dtype=torch.float32)
        if not 0 < start < 1 or bool((held < 0).any()):
            raise InputError(f"an augmentor needs bounds >= 0 and a start in (0, 1); got {held.tolist()} and {start}")
        self.register_buffer("bound", held)
        self.phi = nn.Parameter(torch.full_like(held, math.log(start / (1 - start))))

    @property
    def widths(self) -> Tensor:
        """What is in use of the bound: [W]."""
        return self.phi.sigmoid() * self.bound

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A changed copy of every example."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it changes an input: write forward()")

    def describe(self) -> dict[str, float]:
        """The widths by name, as a history or a report prints them."""
        return {"width": self.widths.mean().item()}


def affine_matrices(amounts: Tensor) -> Tensor:
    """exp(Σ aᵢ Gᵢ) of shift x, shift y, rotation, scale x, scale y, shear: [..., 6] → [..., 2, 3].

    Coordinates in [−1, 1]; an amount and its negative undo one another.

    >>> affine_matrices(torch.tensor([0.5, 0.0, 0.0, math.log(2.0), 0.0, 0.0])).round(decimals=3)[0].tolist()
    [2.0, 0.0, 0.7210000157356262]
    """
    dx, dy, turn, sx, sy, shear = amounts.unbind(-1)
    zero = torch.zeros_like(dx)
    rows = [[sx, shear - turn, dx], [shear + turn, sy, dy], [zero, zero, zero]]
    algebra = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return torch.linalg.matrix_exp(algebra)[..., :2, :]


class AffineAugmentor(Augmentor):
    """Uniform affine changes of pictures [B, C, H, W], or shifts and stretches of signals [B, C, L].

    Args: shift: half-width as a share of the side; rotate: in degrees; scale, shear: as the exponent, so 0.1 is about
        10 %.

    >>> augmentor = AffineAugmentor(shift=0.25, rotate=15, start=0.5)
    >>> augmentor(torch.rand(4, 1, 8, 8), torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 8, 8])
    >>> round(augmentor.describe()["rotate"], 2)
    7.5
    """

    def __init__(
        self, *, shift: float = 0.2, rotate: float = 0.0, scale: float = 0.0, shear: float = 0.0, start: float = 0.05
    ) -> None:
        super().__init__(torch.tensor([2 * shift, 2 * shift, math.radians(rotate), scale, scale, shear]), start)

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if x.ndim not in (3, 4):
            raise InputError(f"affine changes need signals [B, C, L] or pictures [B, C, H, W]; got {tuple(x.shape)}")
        amounts = _uniform(generator, len(x), 6) * self.widths
        if x.ndim == 3:
            along = amounts * amounts.new_tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
            return warp(x.unsqueeze(2), affine_matrices(along).to(x.dtype)).squeeze(2)
        return warp(x, affine_matrices(amounts).to(x.dtype))

    def describe(self) -> dict[str, float]:
        """Half-widths: shifts as shares of the side, the rotation in degrees."""
        widths = dict(zip(AFFINE, self.widths.tolist(), strict=True))
        widths |= {name: widths[name] / 2 for name in AFFINE[:2]}
        return widths | {"rotate": math.degrees(widths["rotate"])}


class NoiseAugmentor(Augmentor):
    """Gaussian noise with a standard deviation for each feature, for vectors of any origin: x~ = x + ε · w.

    Args: bound: a number, or [d] (the features' own standard deviations are a good one).

    >>> NoiseAugmentor(torch.ones(3))(torch.zeros(2, 3), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(x.shape, generator=generator, device=generator.device)
        return x + (noise * self.widths).to(x.dtype)


class MixAugmentor(Augmentor):
    """Another example mixed in, x~ = (1 − m) x_i + m x_j with m = u · w and u uniform in [0, 1].

    Args: bound: a number, or one for each place of an input (a learned mask); at most 1.

    >>> MixAugmentor(0.5)(torch.ones(2, 3), torch.Generator().manual_seed(0)).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        other = x[torch.randperm(len(x), generator=generator, device=generator.device)]
        share = torch.rand(len(x), *(1,) * (x.ndim - 1), generator=generator, device=generator.device)
        return torch.lerp(x, other, (share * self.widths).to(x.dtype).expand_as(x))


class LatentAugmentor(Augmentor):
    """Noise in the latent space of a trained autoencoder: x~ = decode(encode(x) + ε · w).

    Args: encoder: x → z [B, d]; decoder: z → x; both already frozen; bound: a number or [d].

    >>> turn = nn.Linear(2, 2).requires_grad_(False)
    >>> LatentAugmentor(turn, turn, 1.0)(torch.zeros(3, 2), torch.Generator().manual_seed(0)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, bound: Tensor | float = 1.0, start: float = 0.05
    ) -> None:
        super().__init__(bound, start)
        if any(p.requires_grad for part in (encoder, decoder) for p in part.parameters()):
            raise InputError("the autoencoder must be frozen: its weights are not what is learned here")
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        latent = self.encoder(x)
        noise = torch.randn(latent.shape, generator=generator, device=generator.device)
        return self.decoder(latent + (noise * self.widths).to(latent.dtype))


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return 2 * torch.rand(shape, generator=generator, device=generator.device) - 1
