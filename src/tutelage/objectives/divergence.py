"""How far the student's distribution is from what it was told.

In the symbols of the code: s student logits, t teacher logits (never a graph), y labels, p targets, T temperature.

| function | equation | source |
|---|---|---|
| `distillation_kl` | T² KL(softmax t/T ‖ softmax s/T) | Hinton et al. 2015 |
| `token_kl` | the same over tokens, with a temperature of the target for each token | Li et al. 2022 |
| `js_divergence` | ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q) / 2 | Lin 1991 |
| `soft_cross_entropy`, `hard_cross_entropy` | − Σ_k p_k log softmax(s)_k | |
| `decoupled_kd` | T² (α KL(b_t ‖ b_s) + β KL(p̂_t ‖ p̂_s)) | Zhao et al. 2022 |
| `logit_mse` | mean_k (s_k − t_k)², the limit T → ∞ of 2K · KL when both are centred | Ba and Caruana 2014 |
| `soft_bce` | − Σ_k q_k log σ(s_k) + (1 − q_k) log(1 − σ(s_k)) | |
| `brier` | Σ_k (softmax(s)_k − p_k)² | Brier 1950 |

All return a scalar mean over examples, take `weight` and `mask` (see `weighted_mean`), compute in float32 where
inputs are half, and can be mapped over a leading axis with `torch.vmap`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives.reduce import weighted_mean

Direction = Literal["forward", "reverse", "js"]


def distillation_kl(
    student: Tensor,
    teacher: Tensor,
    temperature: float = 1.0,
    *,
    direction: Direction = "forward",
    weight: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """T² · KL(softmax(t / T) ‖ softmax(s / T)), mean over examples: [B, K], [B, K] → scalar.

    T² keeps the size of the gradient independent of T. As T → ∞ the value goes to half the variance over classes of s
    − t.

    Args: direction: "forward" (teacher first), "reverse" (student first) or "js" (Jensen–Shannon).
    Raises: InputError: shapes that differ, T ≤ 0.

    >>> s, t = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    >>> distillation_kl(s, t)  # 3/4 log(3/2) + 1/4 log(1/2)
    tensor(0.1308)
    """
    if temperature <= 0:
        raise InputError(f"the temperature must be positive; got {temperature}")
    each = divergence(_log_softmax(student / temperature), _log_softmax(teacher.detach() / temperature), direction)
    return temperature**2 * weighted_mean(each, weight, mask)


def token_kl(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    token_temperature: Tensor | None = None,
    direction: Direction = "forward",
    weight: Tensor | None = None,
) -> Tensor:
    """`distillation_kl` over the tokens that `mask` keeps: [B, n, V], [B, n, V], [B, n] → scalar, mean over kept tokens.

    `token_temperature` [B, n] softens the teacher's target of each token; the student's side and the factor T² keep
    the base temperature, for a factor of its own would amplify exactly the tokens that were softened.

    >>> s = torch.zeros(1, 2, 3); t = torch.tensor([[[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]])
    >>> flat = token_kl(s, t, token_temperature=torch.tensor([[1e6, 1e6]]))
    >>> bool(flat < 1e-6)
    True
    """
    if temperature <= 0:
        raise InputError(f"the temperature must be positive; got {temperature}")
    target = teacher.detach() / (temperature if token_temperature is None else token_temperature.unsqueeze(-1))
    each = divergence(_log_softmax(student / temperature), _log_softmax(target), direction)
    return temperature**2 * weighted_mean(each, weight, mask)


def divergence(student: Tensor, teacher: Tensor, direction: Direction = "forward") -> Tensor:
    """Divergence of log-probabilities over the last axis, one value per example: [B, …, K], [B, …, K] → [B, …]."""
    _same_shape(student, teacher)
    match direction:
        case "forward":
            return _kl(teacher, student)
        case "reverse":
            return _kl(student, teacher)
        case "js":
            middle = torch.logaddexp(student, teacher) - math.log(2.0)
            return (_kl(student, middle) + _kl(teacher, middle)) / 2
    raise InputError(f"direction is 'forward', 'reverse' or 'js'; got {direction!r}")


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def js_divergence(
    student: Tensor, teacher: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Jensen–Shannon divergence of softmax(s) and softmax(t), in nats, at most log 2: [B, K], [B, K] → scalar.

    >>> far = js_divergence(torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 50.0]]))
    >>> round(far.item(), 4) == round(math.log(2), 4)
    True
    """
    return distillation_kl(student, teacher, direction="js", weight=weight, mask=mask)


def soft_cross_entropy(
    logits: Tensor, targets: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """− Σ_k p_k log softmax(s)_k, mean over examples, no temperature: [B, K], [B, K] (probabilities) → scalar.

    >>> soft_cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.5, 0.5]]))
    tensor(0.6931)
    """
    _same_shape(logits, targets)
    return weighted_mean(-(targets.detach() * _log_softmax(logits)).sum(-1), weight, mask)


def hard_cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with labels, mean over examples: [B, K], [B] (long) or [B, K] (probabilities) → scalar.

    PyTorch's own, with errors at the door. Raises: InputError: labels outside [0, K), or of another length.

    >>> hard_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 7]))
    Traceback (most recent call last):
    tutelage.errors.InputError: labels must be in [0, 3); found 7 in row 1
    """
    try:
        return F.cross_entropy(_float(logits), labels, label_smoothing=label_smoothing)
    except (IndexError, RuntimeError, ValueError) as error:
        wrong = ((labels < 0) | (labels >= logits.shape[-1])).nonzero()
        if labels.ndim == 1 and len(wrong):
            row = int(wrong[0])
            raise InputError(f"labels must be in [0, {logits.shape[-1]}); found {labels[row]} in row {row}") from None
        raise InputError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not fit: {error}") from None


def logit_mse(
    student: Tensor,
    teacher: Tensor,
    *,
    center: bool = False,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean over classes and examples of (s − t)²; with `center` after taking each one's mean away: [B, K], [B, K] → scalar.

    >>> logit_mse(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]]), center=True)
    tensor(1.)
    """
    _same_shape(student, teacher)
    gap = _float(student) - _float(teacher.detach())
    if center:
        gap = gap - gap.mean(-1, keepdim=True)
    return weighted_mean(gap.square().mean(-1), weight, mask)


def soft_bce(
    logits: Tensor,
    targets: Tensor | tuple[Tensor, Tensor],
    mask: Tensor | None = None,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy with soft targets for each class: sum over classes, mean over examples.

    Shapes: logits [B, N]; targets [B, N] probabilities, or sparse (ids, values) [B, m] with 0 elsewhere; mask [B, N]
        of classes that count.

    >>> dense = soft_bce(torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.5]]))
    >>> sparse = soft_bce(torch.zeros(1, 3), (torch.tensor([[0, 2]]), torch.tensor([[1.0, 0.5]])))
    >>> dense, bool(dense == sparse)
    (tensor(2.0794), True)
    """
    if isinstance(targets, tuple):
        ids, values = targets
        targets = torch.zeros_like(logits).scatter(-1, ids, values.to(logits.dtype))
    _same_shape(logits, targets)
    each = F.binary_cross_entropy_with_logits(_float(logits), _float(targets.detach()), reduction="none")
    return weighted_mean((each if mask is None else torch.where(mask.bool(), each, 0.0)).sum(-1), weight)


def decoupled_kd(
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Decoupled distillation: the target class against the rest (α), and the rest among themselves (β).

    With b = (p_y, 1 − p_y) and p̂ the distribution over the other classes:  T² (α KL(b_t ‖ b_s) + β KL(p̂_t ‖ p̂_s)).
    Plain KL is the same with α = 1 and β = 1 − p_y, which silences the second term whenever the teacher is sure.

    Shapes: logits [B, K], targets [B] (long).

    >>> s, t = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[1.0, 0.0, 2.0]])
    >>> decoupled_kd(s, t, torch.tensor([0]))
    tensor(0.)
    """
    _same_shape(student, teacher)
    s, t = _log_softmax(student / temperature), _log_softmax(teacher.detach() / temperature)
    is_target = F.one_hot(targets, student.shape[-1]).bool()
    each = alpha * _binary_kl(s, t, is_target) + beta * _others_kl(s, t, is_target)
    return temperature**2 * weighted_mean(each, weight)


def _binary_kl(s: Tensor, t: Tensor, is_target: Tensor) -> Tensor:
    def pair(log_p: Tensor) -> Tensor:
        target = torch.where(is_target, log_p, -torch.inf).logsumexp(-1)
        others = torch.where(is_target, -torch.inf, log_p).logsumexp(-1)
        return torch.stack([target, others], -1)

    return divergence(pair(s), pair(t))


def _others_kl(s: Tensor, t: Tensor, is_target: Tensor) -> Tensor:
    # A finite floor: the target class gets probability 0 on both sides, and 0 · (floor − floor) is 0 where infinities give NaN.
    s, t = (_log_softmax(torch.where(is_target, -1000.0, log_p)) for log_p in (s, t))
    return divergence(s, t)


def brier(logits: Tensor, targets: Tensor, weight: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Σ_k (softmax(s)_k − p_k)², mean over examples: [B, K], [B, K] probabilities or [B] labels → scalar in [0, 2].

    >>> brier(torch.zeros(1, 2), torch.tensor([0]))
    tensor(0.5000)
    """
    if targets.ndim < logits.ndim:
        targets = F.one_hot(targets, logits.shape[-1])
    _same_shape(logits, targets)
    probabilities = _log_softmax(logits).exp()
    return weighted_mean((probabilities - targets.detach().to(probabilities.dtype)).square().sum(-1), weight, mask)


def _float(x: Tensor) -> Tensor:
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x


def _log_softmax(logits: Tensor) -> Tensor:
    """Finite at logits of −inf, so that a class that both sides rule out costs 0 and not NaN."""
    log_p = F.log_softmax(_float(logits), dim=-1)
    return log_p.clamp(min=torch.finfo(log_p.dtype).min)


def _same_shape(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise InputError(
            f"student and teacher must have the same shape; got {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
