"""Photometric views of pictures: light, colour, a little blur and noise, a small movement.

What a picture shows stays what it is, so a model should say the same of all of them. A view has one draw for the whole batch, as
if the camera changed and not the scenes: batch norm with the statistics of the batch then sees one light, not a mixture.
`gentle_view` is the chain with which test-time adaptation asks a teacher several times: Wang et al., "Continual Test-Time
Domain Adaptation", 2022 (arXiv:2203.13591).

Shapes: pictures [B, C, H, W]; C = 3 has colour, any other C has none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.data.views import GeometricView
from tutelage.errors import InputError

_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def gaussian_blur(pictures: Tensor, sigma: float) -> Tensor:
    """Blurred by a Gaussian of `sigma` pixels, edges repeated: [B, C, H, W] → same.

    Raises: InputError: a sigma that is not positive.

    >>> x = torch.zeros(1, 1, 3, 3); x[0, 0, 1, 1] = 1.0
    >>> [round(value, 2) for value in gaussian_blur(x, 0.5)[0, 0, 1].tolist()]
    [0.08, 0.62, 0.08]
    """
    if sigma <= 0:
        raise InputError(f"a blur needs a positive sigma; got {sigma}")
    reach = math.ceil(3 * sigma)
    place = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    kernel = torch.exp(-0.5 * (place / sigma).square())
    kernel = kernel / kernel.sum()
    rows = pictures.flatten(0, 1).unsqueeze(1)
    rows = F.conv2d(F.pad(rows, (reach, reach, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    rows = F.conv2d(F.pad(rows, (0, 0, reach, reach), mode="replicate"), kernel.view(1, 1, -1, 1))
    return rows.view_as(pictures)


def photometric(
    pictures: Tensor,
    generator: torch.Generator,
    *,
    brightness: float = 0.4,
    contrast: float = 0.3,
    saturation: float = 0.5,
    hue: float = 0.06,
    gamma: float = 0.3,
) -> Tensor:
    """Light and colour: factors in 1 ± each amount, hue in ± turns; kept in [0, 1]: [B, C, H, W] → same.

    >>> x = torch.rand(2, 1, 4, 4)
    >>> torch.equal(photometric(x, torch.Generator(), brightness=0, contrast=0, gamma=0), x)
    True
    """
    light, spread, colour, turn, power = _uniform(generator, 5)
    x = pictures.clamp(0, 1) * (1 + brightness * light)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (1 + contrast * spread) + mean
    if pictures.shape[1] == 3:
        x = _recoloured(x, 1 + saturation * colour, 2 * math.pi * hue * turn)
    return x.clamp(0, 1) ** (1 + gamma * power)


def gentle_view(
    pictures: Tensor,
    generator: torch.Generator,
    *,
    rotate: float = 15.0,
    shift: float = 1 / 16,
    scale: float = 0.1,
    flip: float = 0.5,
    blur: float = 0.5,
    noise: float = 0.005,
) -> Tensor:
    """Light and colour, a small movement over repeated edges, blur, noise, kept in [0, 1]: [B, C, H, W] → same.

    Args: rotate, shift, scale, flip: as in `GeometricView.draw` (flip=0 where left and right differ); blur: largest sigma in
        pixels; noise: standard deviation.

    Raises: InputError: what is not [B, C, H, W].

    >>> gentle_view(torch.rand(2, 3, 8, 8), torch.Generator()).shape
    torch.Size([2, 3, 8, 8])
    """
    check_pictures(pictures)
    x = photometric(pictures, generator)
    height, width = pictures.shape[-2:]
    edge = math.ceil(max(height, width) / 4)
    size = (height + 2 * edge, width + 2 * edge)
    shift = shift * max(height, width) / max(size)
    one = GeometricView.draw(1, size, generator, rotate=rotate, shift=shift, scale=scale, flip=flip)
    view = GeometricView(one.matrix.expand(len(x), 2, 3), size, one.flipped.expand(len(x)))
    x = view.apply_image(F.pad(x, (edge,) * 4, mode="replicate"))[..., edge : edge + height, edge : edge + width]
    (drawn,) = _uniform(generator, 1)
    if (sigma := blur * (1 + drawn) / 2) > 0:
        x = gaussian_blur(x, sigma)
    return (x + noise * torch.randn(x.shape, generator=generator, device=x.device)).clamp(0, 1)


def check_pictures(x: Tensor) -> None:
    """Refuse what `gentle_view` cannot show. Raises: InputError: not [B, C, H, W]."""
    if x.ndim != 4:
        raise InputError(
            "the default view is for pictures [B, C, H, W]; give `view`, (x, generator) → x, for other inputs: "
            f"got {list(x.shape)}"
        )


def _uniform(generator: torch.Generator, n: int) -> list[float]:
    """n draws in [−1, 1]."""
    return (2 * torch.rand(n, generator=generator, device=generator.device) - 1).tolist()


def _recoloured(x: Tensor, saturation: float, angle: float) -> Tensor:
    """Chroma stretched and turned: [B, 3, H, W] → [B, 3, H, W]."""
    yiq = torch.tensor(_YIQ, dtype=x.dtype, device=x.device)
    cos, sin = saturation * math.cos(angle), saturation * math.sin(angle)
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]], dtype=x.dtype, device=x.device)
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(yiq) @ turn @ yiq, x)
