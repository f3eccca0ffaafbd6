"""N2N: a policy reads a trained network and proposes smaller ones, learnt by how well these imitate it.

Ashok et al., "N2N Learning: Network to Network Compression via Policy Gradient Reinforcement Learning", 2017
(arXiv:1709.06030).

The teacher bounds the space: a student is the teacher with layers taken out (stage 1), then with narrower layers (stage
2). A bidirectional LSTM reads the teacher's layers x_l and says which to keep; a second LSTM goes through the best child
of stage 1 and chooses a factor for each width, knowing the one before. A child starts from fresh weights, learns the
teacher's logits for a few epochs, and is rewarded on held-out data for accuracy A and size P:

    C = 1 − P_s / P_t,      R = (A_s / A_t) · C (2 − C),      −1 for what is no network, or not smaller than its parent

C (2 − C) is concave: the smaller the child already is, the more its accuracy counts. With a limit of size or accuracy that
is not met, R = (eps − 1) + eps · (A_s / A_t) · C (2 − C), eps = max(0, 1 − e / 15)^4 at iteration e: mild first, −1 later.
REINFORCE moves the policies. They read layers, not names: one learnt on a small teacher starts the search on a large one.

Shapes: x_l (5,): type, kernel, stride, outputs, padding; actions (N, L) for N rollouts over L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.evaluation.cost import parameters
from tutelage.evaluation.tabular import Architecture, SearchLog
from tutelage.feedback.reinforce import Reinforce
from tutelage.objectives.divergence import logit_mse
from tutelage.students.edit_policies import FACTORS, RemovalPolicy, ShrinkagePolicy
from tutelage.students.editing import describe, narrower, outputs_of, rebuild, removable
from tutelage.training import Batch, Lesson, Progress, fit, load_weights, logits_of, predict_all, save_weights, seeded

STRICT = 15
"""Iterations after which a limit that is not met costs the whole reward."""


def compression_reward(
    accuracy: float,
    teacher_accuracy: float,
    size: int,
    teacher_size: int,
    *,
    max_parameters: int | None = None,
    min_accuracy: float = 0.0,
    iteration: int = 0,
) -> float:
    """R of a child: accuracies in [0, 1], sizes in parameters.

    >>> compression_reward(0.9, 0.9, 50, 100), round(compression_reward(0.9, 0.9, 50, 100, max_parameters=10), 2)
    (0.75, 0.75)
    >>> compression_reward(0.9, 0.9, 50, 100, max_parameters=10, iteration=15)
    -1.0
    """
    if size >= teacher_size:
        return -1.0
    compression = 1 - size / teacher_size
    reward = accuracy / teacher_accuracy * compression * (2 - compression)
    if accuracy >= min_accuracy and (max_parameters is None or size <= max_parameters):
        return reward
    eps = max(0.0, 1 - iteration / STRICT) ** 4
    return (eps - 1) + eps * reward


def policy_search(
    policy: RemovalPolicy | ShrinkagePolicy,
    layers: Tensor,
    free: Sequence[bool],
    reward: Callable[[Architecture, int], float],
    *,
    iterations: int = 100,
    rollouts: int = 5,
    lr: float,
    shared: bool = False,
    seed: int = 0,
) -> SearchLog:
    """Propose, reward and learn; `reward` is (actions, iteration) → R, and is asked again for what was proposed before.

    Args: shared: the paper's one advantage for all rollouts of an iteration, in the place of one each.

    Raises: InputError: nothing is free, iterations or rollouts below 1.
    """
    if not any(free) or min(iterations, rollouts) < 1:
        raise InputError(f"need a free layer, an iteration and a rollout; got {sum(free)}, {iterations}, {rollouts}")
    log, learner = SearchLog(), Reinforce(policy, lr=lr, shared=shared)
    with seeded(seed, "method"):
        for iteration in range(iterations):
            drawn = policy.sample(layers, rollouts, free)
            asked = [tuple(actions) for actions in drawn.actions.tolist()]
            rewards = [reward(actions, iteration) for actions in asked]
            log.asked += asked
            log.rewards += rewards
            learner.update(drawn.log_prob, torch.tensor(rewards), drawn.entropy)
    return log


class LogitMatching(Lesson):
    """Train a child on the teacher's logits, which come with the batch as `t`: the mean of (s − t)²."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {"mse": logit_mse(logits_of(self.student, batch["x"]), batch["t"])}


class Child(NamedTuple):
    """A student: the network, its size, accuracy and that of the teacher on the held-out data, how many times smaller."""

    network: nn.Sequential
    parameters: int
    accuracy: float
    teacher_accuracy: float
    compression: float


class N2N:
    """Search a smaller network for a trained one.

    Args:
        teacher: an `nn.Sequential` of layers or blocks, x → logits (without a log-softmax at the end).
        train: inputs that children learn on; held_out: inputs and labels that reward them.
        child_epochs, batch_size, lr: of a child's training; rollouts: children an iteration.
        removal_lr, shrinkage_lr: of the policies.

    Attributes: removal, shrinkage: the policies; teacher_accuracy.

    Raises: InputError: a teacher that is no Sequential, or is no better than always saying one class.
    """

    def __init__(
        self,
        teacher: nn.Sequential,
        train: Tensor,
        held_out: tuple[Tensor, Tensor],
        *,
        child_epochs: int = 5,
        rollouts: int = 5,
        batch_size: int = 64,
        lr: float = 3e-3,
        removal_lr: float = 1e-2,
        shrinkage_lr: float = 1e-2,
        seed: int = 0,
    ) -> None:
        if not isinstance(teacher, nn.Sequential):
            raise InputError(f"the teacher is an nn.Sequential of layers and blocks; got {type(teacher).__name__}")
        self.teacher, self.train, self.held_out, self.rollouts = teacher, train, held_out, rollouts
        self.child_epochs, self.batch_size, self.lr, self.seed = child_epochs, batch_size, lr, seed
        self.removal_lr, self.shrinkage_lr = removal_lr, shrinkage_lr
        with seeded(seed, "init"):
            self.removal, self.shrinkage = RemovalPolicy(), ShrinkagePolicy()
        self.logits = predict_all(teacher, train)
        self.teacher_accuracy = self._accuracy(teacher)
        if self.teacher_accuracy <= held_out[1].bincount().max().item() / len(held_out[1]) + 0.05:
            raise InputError(f"the teacher is near chance on the held-out data: accuracy {self.teacher_accuracy:.2f}")

    def remove(
        self, iterations: int = 30, *, max_parameters: int | None = None, min_accuracy: float = 0.0
    ) -> tuple[nn.Sequential, SearchLog]:
        """Stage 1: the best child with layers taken out, untrained, and the log; limits as for `compression_reward`."""
        worth = partial(compression_reward, max_parameters=max_parameters, min_accuracy=min_accuracy)
        make = lambda keep: rebuild(self.teacher, self.train[:2], keep=[bool(k) for k in keep])
        free = removable(self.teacher)
        return self._search(self.removal, self.teacher, free, make, iterations, self.removal_lr, worth)

    def shrink(
        self, network: nn.Sequential, iterations: int = 30,
        *, max_parameters: int | None = None, min_accuracy: float = 0.0,
    ) -> tuple[nn.Sequential, SearchLog]:  # fmt: skip
        """Stage 2: the best child of `network` with narrower layers; the last layer keeps its outputs. Limits as above."""
        worth = partial(compression_reward, max_parameters=max_parameters, min_accuracy=min_accuracy)
        widths = [outputs_of(item) for item in network]
        free = [width is not None and place < len(widths) - 1 for place, width in enumerate(widths)]

        def make(actions: Sequence[int]) -> nn.Sequential | None:
            outputs = {
                i: narrower(w or 0, FACTORS[a]) for i, (a, w) in enumerate(zip(actions, widths, strict=True)) if free[i]
            }
            return rebuild(network, self.train[:2], outputs=outputs)

        return self._search(self.shrinkage, network, free, make, iterations, self.shrinkage_lr, worth)

    def finish(self, network: nn.Sequential, epochs: int = 60) -> Child:
        """Train a child for longer, in place."""
        self.fit_child(network, epochs)
        size, accuracy = parameters(network), self._accuracy(network)
        return Child(network, size, accuracy, self.teacher_accuracy, parameters(self.teacher) / size)

    def fit_child(self, network: nn.Module, epochs: int) -> None:
        """Match the teacher's logits."""
        data = {"x": self.train, "t": self.logits}
        fit(LogitMatching(network), data, epochs=epochs, batch_size=self.batch_size, lr=self.lr, optimizer="adam",
            weight_decay=5e-4, seed=self.seed)  # fmt: skip

    def _search(
        self,
        policy: RemovalPolicy | ShrinkagePolicy,
        parent: nn.Sequential,
        free: Sequence[bool],
        make: Callable[[Architecture], nn.Sequential | None],
        iterations: int,
        lr: float,
        worth: Callable[..., float],
    ) -> tuple[nn.Sequential, SearchLog]:
        measured: dict[Architecture, tuple[float, int]] = {}

        def reward(actions: Architecture, iteration: int) -> float:
            if actions not in measured:
                measured[actions] = self._measured(self._fresh(make, actions), parameters(parent))
            accuracy, size = measured[actions]
            return worth(accuracy, self.teacher_accuracy, size, parameters(self.teacher), iteration=iteration)

        log = policy_search(
            policy, describe(parent), free, reward, iterations=iterations, rollouts=self.rollouts, lr=lr, seed=self.seed
        )
        best = max(measured, key=lambda actions: reward(actions, STRICT))
        network = self._fresh(make, best)
        if network is None or reward(best, STRICT) <= -1:
            raise InputError("no child was small and good enough; allow more iterations or looser limits")
        return network, log

    def _measured(self, child: nn.Module | None, parent: int) -> tuple[float, int]:
        """Accuracy after the short training, and size; the teacher's own where it is no smaller than its parent."""
        if child is None or parameters(child) >= parent:
            return 0.0, parameters(self.teacher)
        self.fit_child(child, self.child_epochs)
        return self._accuracy(child), parameters(child)

    def _fresh(
        self, make: Callable[[Architecture], nn.Sequential | None], actions: Architecture
    ) -> nn.Sequential | None:
        with seeded(self.seed, "init"):
            return make(actions)

    def _accuracy(self, network: nn.Module) -> float:
        return float((predict_all(network, self.held_out[0]).argmax(1) == self.held_out[1]).float().mean())

    def save_policies(self, path: str | Path) -> None:
        """Write both policies (safetensors), to start another search with `load_policies`."""
        save_weights(nn.ModuleList([self.removal, self.shrinkage]), path)

    def load_policies(self, path: str | Path) -> None:
        """Start from policies learnt on another teacher. Raises: InputError: no such file, or other policies."""
        load_weights(nn.ModuleList([self.removal, self.shrinkage]), path)
