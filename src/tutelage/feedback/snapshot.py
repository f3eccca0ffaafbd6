"""A snapshot: remember a model, let it be changed, put it back.

Values are put back *in place*, so that an optimiser, a parametrisation or another view of the same memory goes on with the
tensors that it holds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tutelage.errors import InputError


class Snapshot:
    """What a model was at the last `record()`: parameters, and on request buffers and what its optimiser remembers.

    Args: module: what is recorded, once at the start; buffers: running statistics and counters too; optimizer: its
        moments and step counts too (its learning rates are left to their schedule).

    Raises: InputError: a restore after the optimiser, or the module, got other parameters.

    >>> layer = nn.Linear(1, 1); snapshot = Snapshot(layer); was = layer.weight.item()
    >>> _ = nn.init.constant_(layer.weight, 7.0); snapshot.restore(); layer.weight.item() == was
    True
    """

    def __init__(self, module: nn.Module, *, buffers: bool = True, optimizer: Optimizer | None = None) -> None:
        self.module, self.buffers, self.optimizer = module, buffers, optimizer
        self.record()

    def record(self) -> None:
        """Remember everything as it is now."""
        self._values = {name: value.detach().clone() for name, value in self._held().items()}
        self._moments = {
            parameter: {key: _copied(value) for key, value in state.items()}
            for parameter, state in ({} if self.optimizer is None else self.optimizer.state).items()
        }

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back as it was; a parameter that the optimiser had not met yet is forgotten by it again."""
        held = self._held()
        if {n: v.shape for n, v in held.items()} != {n: v.shape for n, v in self._values.items()}:
            raise InputError("the module has other parameters or buffers than when it was recorded")
        for name, value in held.items():
            value.copy_(self._values[name])
        if self.optimizer is None:
            return
        for parameter in [held for held in self.optimizer.state if held not in self._moments]:
            del self.optimizer.state[parameter]
        for parameter, state in self._moments.items():
            now = self.optimizer.state[parameter]
            for key, value in state.items():
                if isinstance(value, Tensor) and isinstance(now.get(key), Tensor):
                    now[key].copy_(value)
                else:
                    now[key] = _copied(value)

    def _held(self) -> dict[str, Tensor]:
        return dict(self.module.named_parameters()) | (dict(self.module.named_buffers()) if self.buffers else {})


def _copied(value: object) -> object:
    return value.detach().clone() if isinstance(value, Tensor) else value
