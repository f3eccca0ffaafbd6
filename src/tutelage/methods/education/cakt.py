"""Knowledge tracing with explicit learning curves (CAKT): look at how the last tries at the asked concept went.

Yang, Zhu and Lu, "Deep Knowledge Tracing with Learning Curves", 2020 (arXiv:2008.01169).

An LSTM tracer keeps one mixed state. CAKT also gathers the last k tries at the concept that is asked next, fades them by
age, reads them as a short film of k frames, and lets two gates mix what it saw with the state. For the answer at step t:

    h_t = LSTM_front(e_1 … e_{t−1})                              the learner as a whole;  e_j = E[x_j]
    f_i = e_{j_i} · exp(−S (t − 1 − j_i)),  i = 1 … k             j_1 < … < j_k < t: the last k steps about concept q_t
    v_t = CNN(f_1 … f_k)                                         the learning curve; 0 where there was no try
    z_t = σ(W_c [v_t; h_t]) ⊙ v_t + σ(W_l [v_t; h_t]) ⊙ h_t       two gates
    p_t = σ((W u_t + b)_{q_t}),  u_t = LSTM_rear(z_1 … z_t)

S ≥ 0 is learned. The paper folds each e into a square and convolves over frames, rows and columns (`Film3d`). The square
has no spatial meaning, so that `Film1d`, which convolves over the frames with e's components as channels, sees the same
and costs a tenth. Frames of steps without an earlier try are not computed.

Shapes: interactions x [B, L] (long) as in `knowledge_tracing`, d width, k frames; frames [M, k, d] → [M, d], M the steps
with an earlier try.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from tutelage.errors import InputError
from tutelage.students.knowledge_tracing import (
    DEFAULT,
    NetworkTracer,
    TracerOptions,
    TracingNetwork,
    before,
    split_interactions,
)
from tutelage.training import Callback

History = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""(concepts [B, L], asked [B, A], place [B, A], k) → the steps to look at [B, A, k], −1 where there are fewer; as `tries`."""


def tries(concepts: Tensor, asked: Tensor, place: Tensor, k: int, *, at: Literal["next", "current"] = "next") -> Tensor:
    """The last k steps about the asked concept: [B, L], [B, A], [B, A] → [B, A, k], oldest first, −1 in front of too few.

    A question asked at `place` p sees steps 0 … p − 1 only. Steps with a negative concept are no answers. `at="current"`
    looks for the concept of step p − 1 instead, as the authors' code does.

    >>> asked = torch.tensor([[7, 5, 7, 7]])
    >>> tries(asked, asked, torch.arange(4).unsqueeze(0), k=2)[0].tolist()
    [[-1, -1], [-1, -1], [-1, 0], [0, 2]]
    """
    step = torch.arange(concepts.shape[1], device=concepts.device)
    if at == "current":
        asked = nn.functional.pad(concepts, (1, 0), value=-1).gather(1, place)
    about = (concepts.unsqueeze(1) == asked.unsqueeze(2)) & (asked.unsqueeze(2) >= 0)
    found = torch.where(about & (step < place.unsqueeze(2)), step, -1)
    found = nn.functional.pad(found, (max(0, k - found.shape[2]), 0), value=-1)
    return found.topk(k, dim=-1).values.flip(-1)


class SqueezeExcite(nn.Module):
    """Weigh k frames by what they hold on the mean: [M, c, k, …] → the same shape."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Linear(k, max(1, k // 2)), nn.ReLU(), nn.Linear(max(1, k // 2), k), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        means = x.transpose(1, 2).flatten(2).mean(2)
        return x * self.weigh(means).view(len(x), 1, -1, *(1,) * (x.ndim - 3))


class Block(nn.Module):
    """Residual block over frames: conv – BN – ReLU – conv – BN, squeeze-and-excite, skip, ReLU; `dims` 1 or 3."""

    def __init__(self, fan_in: int, fan_out: int, k: int, dims: int) -> None:
        super().__init__()
        conv = nn.Conv3d if dims == 3 else nn.Conv1d
        norm = nn.BatchNorm3d if dims == 3 else nn.BatchNorm1d
        self.body = nn.Sequential(
            conv(fan_in, fan_out, 3, padding=1, bias=False), norm(fan_out), nn.ReLU(),
            conv(fan_out, fan_out, 3, padding=1, bias=False), norm(fan_out), SqueezeExcite(k),
        )  # fmt: skip
        same = fan_in == fan_out
        self.skip = nn.Identity() if same else nn.Sequential(conv(fan_in, fan_out, 1, bias=False), norm(fan_out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


class Film1d(nn.Module):
    """Frames as a sequence, components as channels: [M, k, d] → [M, d].

    >>> Film1d(width=16, k=4)(torch.zeros(3, 4, 16)).shape
    torch.Size([3, 16])
    """

    def __init__(self, width: int, k: int, blocks: int = 1) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, width, k, dims=1) for _ in range(blocks)))

    def forward(self, frames: Tensor) -> Tensor:
        return self.blocks(frames.transpose(1, 2)).mean(2)


class Film3d(nn.Module):
    """The paper's: each frame folded into a square of side √d: [M, k, d] → [M, d].

    >>> Film3d(width=16, k=4)(torch.zeros(3, 4, 16)).shape
    torch.Size([3, 16])
    """

    def __init__(self, width: int, k: int, channels: tuple[int, ...] = (1, 4, 8, 4, 1)) -> None:
        super().__init__()
        self.side = round(width**0.5)
        if self.side**2 != width or channels[0] != 1 or channels[-1] != 1:
            raise InputError(
                f"frames of {width} numbers need a square width, and channels {channels} to begin and end in 1"
            )
        self.blocks = nn.Sequential(*(Block(a, b, k, dims=3) for a, b in pairwise(channels)))

    def forward(self, frames: Tensor) -> Tensor:
        film = frames.unflatten(2, (self.side, self.side)).unsqueeze(1)
        return self.blocks(film).mean(2).flatten(1)


class TwoGateFusion(nn.Module):
    """z = σ(W_c [v; h]) ⊙ v + σ(W_l [v; h]) ⊙ h: [B, L, d], [B, L, d] → [B, L, d]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Linear(2 * width, 2 * width)

    def forward(self, v: Tensor, h: Tensor) -> Tensor:
        curve, state = self.gates(torch.cat([v, h], -1)).sigmoid().chunk(2, -1)
        return curve * v + state * h


class CaktNetwork(TracingNetwork):
    """The network: interactions [B, L] → logits [B, L]; `ask` → logits of every concept after the last answer, [B, K].

    Args:
        film: frames [M, k, d] → [M, d]. history: which steps are the frames. decay: S at the start; None: frames do not
            fade. dropout: on z and u.

    >>> network = CaktNetwork(concepts=5, width=8, k=2, film=Film1d(8, 2))
    >>> network(torch.ones(2, 3).long()).shape, network.ask(torch.ones(2, 3).long()).shape
    (torch.Size([2, 3]), torch.Size([2, 5]))
    """

    def __init__(
        self,
        concepts: int,
        width: int,
        k: int,
        film: nn.Module,
        *,
        history: History = tries,
        decay: float | None = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.concepts, self.k, self.history, self.film = concepts, k, history, film
        self.embed = nn.Embedding(2 * concepts + 1, width, padding_idx=0)
        self.decay = None if decay is None else nn.Parameter(torch.tensor(float(decay)))
        self.front = nn.LSTM(width, width, batch_first=True)
        self.fuse = TwoGateFusion(width)
        self.rear = nn.LSTM(width, width, batch_first=True)
        self.drop, self.out = nn.Dropout(dropout), nn.Linear(width, concepts)

    def forward(self, x: Tensor) -> Tensor:
        asked, z, _ = self._fused(x)
        return self.out(self.drop(self.rear(self.drop(z))[0])).gather(-1, asked.clamp(min=0).unsqueeze(-1)).squeeze(-1)

    def ask(self, x: Tensor) -> Tensor:
        """One more step of the rear LSTM for every concept, from where the learner's answers left it."""
        concepts, z, h = self._fused(x)
        batch, lengths = len(x), (concepts >= 0).sum(1)
        state = self.rear(pack_padded_sequence(z, lengths.cpu(), batch_first=True, enforce_sorted=False))[1]
        each = torch.arange(self.concepts, device=x.device).expand(batch, -1)
        v = self.curve(self.embed(x), concepts, each, lengths.unsqueeze(1).expand_as(each))
        last = h[torch.arange(batch), lengths].unsqueeze(1).expand_as(v)
        own = tuple(part.repeat_interleave(self.concepts, 1) for part in state)
        u = self.rear(self.fuse(v, last).flatten(0, 1).unsqueeze(1), own)[0].view_as(v)
        return (u * self.out.weight).sum(-1) + self.out.bias

    def _fused(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Concepts [B, L] (−1: no answer), z [B, L, d], and h before every answer and after the last [B, L + 1, d]."""
        concepts, _, mask = split_interactions(x, self.concepts)
        concepts = concepts.where(mask, -1)
        h = self.front(self.embed(before(x)))[0]
        place = torch.arange(x.shape[1], device=x.device).expand_as(x)
        return concepts, self.fuse(self.curve(self.embed(x), concepts, concepts, place), h[:, :-1]), h

    def curve(self, embedded: Tensor, concepts: Tensor, asked: Tensor, place: Tensor) -> Tensor:
        """v, what the last tries at each asked concept looked like: [B, L, d], [B, L], [B, A], [B, A] → [B, A, d]."""
        steps = self.history(concepts, asked, place, self.k)
        tried = steps[..., -1] >= 0
        v = embedded.new_zeros(*asked.shape, embedded.shape[-1])
        if not bool(tried.any()):
            return v
        rows, steps = tried.nonzero()[:, :1], steps[tried]
        fading = (steps >= 0).to(embedded.dtype)
        if self.decay is not None:
            fading = fading * torch.exp(-self.decay.clamp(min=0) * (place[tried].unsqueeze(1) - 1 - steps))
        frames = embedded[rows, steps.clamp(min=0)] * fading.unsqueeze(-1)
        return v.index_put((tried,), self.film(frames))


class CAKT(NetworkTracer):
    """The tracer.

    Args:
        width: d of embeddings, states and frames; a square number for `film="3d"` (the paper: 225).
        k: tries that are looked at. film: "1d", or "3d" as in the paper. decay, history, dropout: of `CaktNetwork`.
        options, callbacks: as for `NetworkTracer`.

    >>> from tutelage.data.knowledge_tracing import AnswerLog
    >>> log = AnswerLog.of({f"learner {n}": [("add", 0), ("add", n % 2), ("add", n % 2)] for n in range(20)})
    >>> CAKT(8, k=2, options=TracerOptions(epochs=1)).fit(log).mastery(log).shape
    (20, 1)
    """

    def __init__(
        self,
        width: int = 64,
        k: int = 4,
        film: Literal["1d", "3d"] = "1d",
        *,
        decay: float | None = 1.0,
        history: History = tries,
        dropout: float = 0.0,
        options: TracerOptions = DEFAULT,
        callbacks: tuple[Callback, ...] = (),
    ) -> None:
        if k < 1 or film not in ("1d", "3d"):
            raise InputError(f"need k >= 1 and film '1d' or '3d'; got {k} and {film!r}")
        if film == "3d" and (width < 1 or round(width**0.5) ** 2 != width):
            raise InputError(f"film '3d' folds frames into squares: width must be a square, as 64 or 225; got {width}")
        reader = partial(Film1d if film == "1d" else Film3d, width, k)
        more = {"history": history, "decay": decay, "dropout": dropout}
        super().__init__(lambda concepts: CaktNetwork(concepts, width, k, reader(), **more), options, callbacks)
