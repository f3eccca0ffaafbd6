"""Projectors: from the student's width to the teacher's, while training lasts.

Always project student to teacher: a trained projector on the teacher's side can shrink both to zero and be content. A
projector is trained with the student and saved with the run, but is no part of the student: count and export the
student without it.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError

Kind = Literal["identity", "linear", "conv", "mlp"]


class Projector(nn.Module):
    """Student features → the teacher's width, and for pictures the teacher's grid.

    Args:
        student_width, teacher_width: channels: the last axis, or axis 1 of pictures [B, C, H, W].
        kind: "identity" (equal widths), "linear" ([…, d_s] → […, d_t]), "conv" (1 × 1 convolution and batch norm, for
            pictures), "mlp" (d_s → 2 d_t → d_t with ReLU, layer norm between).
        grid: (H, W) to bring pictures to: averaged down, interpolated up.

    Raises: InputError: identity between different widths, or an unknown kind.

    >>> import torch
    >>> Projector(3, 5)(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 5])
    >>> Projector(3, 5, "conv", grid=(4, 4))(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 5, 4, 4])
    """

    def __init__(
        self, student_width: int, teacher_width: int, kind: Kind = "linear", *, grid: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.grid = grid
        match kind:
            case "identity":
                if student_width != teacher_width:
                    raise InputError(f"identity cannot take width {student_width} to {teacher_width}; use 'linear'")
                self.map: nn.Module = nn.Identity()
            case "linear":
                self.map = nn.Linear(student_width, teacher_width)
            case "conv":
                self.map = nn.Sequential(
                    nn.Conv2d(student_width, teacher_width, 1, bias=False), nn.BatchNorm2d(teacher_width)
                )
            case "mlp":
                hidden = 2 * teacher_width
                self.map = nn.Sequential(
                    nn.Linear(student_width, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, teacher_width)
                )
            case _:
                raise InputError(f"unknown kind {kind!r}; use 'identity', 'linear', 'conv' or 'mlp'")

    def forward(self, features: Tensor) -> Tensor:
        """[B, …, d_s] → [B, …, d_t], or [B, C_s, H, W] → [B, C_t, *grid]."""
        return self.map(features if self.grid is None else resize(features, self.grid))

    @classmethod
    def between(cls, student: Tensor, teacher: Tensor, kind: Kind | None = None) -> Projector:
        """The projector that fits one example of each side (from one dry forward).

        >>> import torch
        >>> Projector.between(torch.zeros(1, 8, 4, 4), torch.zeros(1, 16, 2, 2))(torch.zeros(3, 8, 4, 4)).shape
        torch.Size([3, 16, 2, 2])
        """
        if student.ndim != teacher.ndim:
            raise InputError(f"cannot project {tuple(student.shape)} to {tuple(teacher.shape)}")
        picture = student.ndim == 4
        widths = (student.shape[1], teacher.shape[1]) if picture else (student.shape[-1], teacher.shape[-1])
        height, width = teacher.shape[-2:] if picture else (0, 0)
        grid = (height, width) if picture and student.shape[2:] != teacher.shape[2:] else None
        default: Kind = "identity" if widths[0] == widths[1] else "conv" if picture else "linear"
        return cls(*widths, kind or default, grid=grid)


def resize(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bring [B, C, H, W] to a grid: averages down, bilinear interpolation up."""
    if features.shape[-2] >= grid[0] and features.shape[-1] >= grid[1]:
        return F.adaptive_avg_pool2d(features, grid)
    return F.interpolate(features, size=grid, mode="bilinear", align_corners=False)
