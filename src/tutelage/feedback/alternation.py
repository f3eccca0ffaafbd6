"""Whose turn it is in a game: the adversary climbs, or waits until the student has caught up.

Running means of three figures decide: what the student pays on ordinary inputs, what it pays on the adversary's, and how
unsure the teacher is there.

    climb → wait    when  augmented > l_max · clean
    wait → climb    when  augmented ≤ l_min · clean
    climb no more   once the teacher's entropy is above `fog` · log K: there nobody knows the answer

Nix, Burg and Sinz, "HARD: Hard Augmentations for Robust Distillation", 2023 (arXiv:2305.14890), for the two thresholds;
their values are ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tutelage.errors import InputError


class Alternation(nn.Module):
    """Whose turn it is: the augmentor climbs, or waits for the student.

    Args:
        l_max, l_min: the augmentor stops above l_max × the clean loss and goes on below l_min ×; infinite: never stops.
        most: augmentor steps for one student step, at most.
        fog: largest entropy of the teacher on augmented inputs, as a share of log K.

    Raises: InputError: limits out of order.

    >>> turn = Alternation(l_max=2.0, l_min=1.5)
    >>> said = []
    >>> for augmented in (1.0, 3.0, 1.8, 1.2):
    ...     turn.see(clean=torch.tensor(1.0), augmented=torch.tensor(augmented), memory=0.0)
    ...     said.append(turn.climbs)
    >>> said
    [True, False, False, True]
    """

    averages: Tensor
    waiting: Tensor
    steps: Tensor

    def __init__(self, l_max: float = math.inf, l_min: float = 1.1, most: int = 1, fog: float = 0.8) -> None:
        super().__init__()
        if not 0 < l_min <= l_max or most < 1 or not 0 < fog <= 1:
            raise InputError(f"need 0 < l_min <= l_max, most >= 1, fog in (0, 1]; got {l_min}, {l_max}, {most}, {fog}")
        self.l_max, self.l_min, self.most, self.fog = l_max, l_min, most, fog
        self.register_buffer("averages", torch.full((3,), math.nan))  # clean loss, augmented loss, teacher's entropy
        self.register_buffer("waiting", torch.tensor(False))
        self.register_buffer("steps", torch.tensor(0))

    @property
    def climbs(self) -> bool:
        """Whether the augmentor may take a step now."""
        return not bool(self.waiting) and not bool(self.averages[2] > self.fog)

    def see(
        self,
        *,
        clean: Tensor | None = None,
        augmented: Tensor | None = None,
        entropy: Tensor | None = None,
        memory: float = 0.9,
    ) -> None:
        """Take new figures into the running means and decide whose turn it is."""
        for i, value in enumerate((clean, augmented, entropy)):
            if value is not None:
                held = value.detach().float()
                mixed = torch.lerp(held, self.averages[i], memory) if memory else held
                self.averages[i] = held if bool(self.averages[i].isnan()) else mixed
        ratio = self.averages[1] / self.averages[0]
        self.waiting.copy_(ratio > (self.l_min if bool(self.waiting) else self.l_max))
