"""REINFORCE for policies that propose: what was rewarded above the running mean becomes more likely.

Williams, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning", 1992.

    L = − Σ_i A_i log p_i − entropy · Σ_i H_i,      A_i = R_i − b,     b = mean of all mean rewards so far

Shapes: log p, R, H (N,): one a proposal.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutelage.errors import InputError


class Reinforce:
    """Updates a policy by its own samples.

    Args:
        policy: what learns; lr: of Adam.
        shared: one advantage, that of the mean reward, for all proposals of an update.
        entropy: weight of the entropy; 0: none.
        clip: largest norm of the gradient.

    Attributes: baseline: b; None before the first update, which takes its own mean.

    Raises: InputError: lr or clip not positive, a negative entropy.

    >>> logits = nn.Linear(1, 2, bias=False)
    >>> learn = Reinforce(logits, lr=0.5)
    >>> for _ in range(10):
    ...     log_p = logits(torch.ones(2, 1)).log_softmax(1).diagonal()  # proposals 0 and 1
    ...     learn.update(log_p, torch.tensor([1.0, 0.0]))
    >>> bool(logits(torch.ones(1, 1)).softmax(1)[0, 0] > 0.9), learn.baseline
    (True, 0.5)
    """

    def __init__(
        self, policy: nn.Module, *, lr: float, shared: bool = False, entropy: float = 0.0, clip: float = 1.0
    ) -> None:
        if not lr > 0 or not clip > 0 or entropy < 0:
            raise InputError(f"need lr > 0, clip > 0 and entropy >= 0; got {lr}, {clip}, {entropy}")
        self.policy, self.shared, self.entropy, self.clip = policy, shared, entropy, clip
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=lr)
        self._means: list[float] = []

    @property
    def baseline(self) -> float | None:
        """Mean of the mean rewards of all updates."""
        return sum(self._means) / len(self._means) if self._means else None

    def advantages(self, rewards: Tensor) -> Tensor:
        """A_i for rewards that are about to be learnt from: (N,) → (N,)."""
        baseline = rewards.mean().item() if self.baseline is None else self.baseline
        return (rewards.mean().expand_as(rewards) if self.shared else rewards) - baseline

    def update(self, log_prob: Tensor, rewards: Tensor, entropy: Tensor | None = None) -> None:
        """One step. Raises: InputError: shapes that differ, rewards that are not finite."""
        if log_prob.shape != rewards.shape or log_prob.ndim != 1 or not bool(torch.isfinite(rewards).all()):
            raise InputError(
                f"need one finite reward a proposal; got {tuple(log_prob.shape)} and {tuple(rewards.shape)}"
            )
        loss = -(self.advantages(rewards) * log_prob).sum()
        if self.entropy and entropy is not None:
            loss = loss - self.entropy * entropy.sum()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.clip)
        self.optimizer.step()
        self._means.append(rewards.mean().item())
