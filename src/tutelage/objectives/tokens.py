"""What next tokens cost, in the convention of causal language models: position i predicts token i + 1.

Labels are token ids, and −100 where a token is nobody's target (padding, a prompt), as in `transformers`.

    nll_i = − log softmax(s_i)_{y_{i+1}}
    top-k KL_i = Σ_{v in top k} p_v log(p_v / q_v) + p_rest log(p_rest / q_rest),   q = softmax(s_i)

An endpoint returns only the k likeliest tokens of a teacher; everything else is one bucket, whose probability is what is
left to 1. By the log-sum inequality this is never above the KL over the whole vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.data.token_rows import IGNORED
from tutelage.errors import InputError
from tutelage.objectives.reduce import weighted_mean


def next_token_nll(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cost of every next token, and which of them count: [B, n, V], [B, n] → [B, n − 1], [B, n − 1] bool.

    What does not count costs 0; half precision is computed in float32.

    Raises: InputError: shapes that do not fit, labels outside the vocabulary.

    >>> costs, counted = next_token_nll(torch.zeros(1, 3, 2), torch.tensor([[0, 1, -100]]))
    >>> costs, counted.tolist()
    (tensor([[0.6931, 0.0000]]), [[True, False]])
    """
    if labels.shape != logits.shape[:2]:
        raise InputError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not fit")
    target = labels[:, 1:]
    counted = target != IGNORED
    strange = counted & ((target < 0) | (target >= logits.shape[-1]))
    if bool(strange.any()):
        row, place = strange.nonzero()[0].tolist()
        raise InputError(
            f"labels must be in [0, {logits.shape[-1]}) or {IGNORED}; found {int(target[row, place])} in row {row}"
        )
    scores = logits[:, :-1].transpose(1, 2)
    scores = scores if scores.dtype == torch.float64 else scores.float()
    return F.cross_entropy(scores, target, ignore_index=IGNORED, reduction="none"), counted


def top_k_kl(student: Tensor, ids: Tensor, log_p: Tensor, mask: Tensor | None = None) -> Tensor:
    """KL(teacher ‖ student) where only the teacher's likeliest tokens are known, mean over kept tokens.

    Shapes: student logits [B, n, V]; ids [B, n, k] (distinct) and their log-probabilities log_p [B, n, k]; mask [B, n].

    Raises: InputError: shapes that do not fit, probabilities that sum to more than 1.

    >>> top_k_kl(torch.zeros(1, 1, 4), torch.tensor([[[2]]]), torch.tensor([[[0.25]]]).log())  # as uniform as the student
    tensor(0.)
    """
    if ids.shape != log_p.shape or ids.shape[:-1] != student.shape[:-1]:
        raise InputError(
            f"ids {tuple(ids.shape)}, log_p {tuple(log_p.shape)}, logits {tuple(student.shape)} do not fit"
        )
    p = log_p.detach().exp()
    known = p.sum(-1)
    if bool((known > 1.001).any()):
        raise InputError(f"the likeliest tokens of a position sum to a probability of {known.max():.3f}")
    log_q = student.float().log_softmax(-1)
    inside = (p * (log_p.detach() - log_q.gather(-1, ids))).sum(-1)
    others = torch.zeros_like(log_q, dtype=torch.bool).scatter(-1, ids, True)
    rest, log_rest = (1 - known).clamp(min=0), log_q.masked_fill(others, -torch.inf).logsumexp(-1)
    outside = torch.where(rest > 1e-6, rest * (rest.clamp(min=1e-6).log() - log_rest), 0.0)
    return weighted_mean(inside + outside, mask=mask)
