"""How far the student is from what it was told: pure functions of tensors, one file a theme.

Every function returns a scalar mean over examples, detaches the teacher, accepts weights or masks where examples can
count for less, and refuses shapes that do not fit. Equations and sources are in the modules.
"""

from __future__ import annotations

from tutelage.objectives.consistency import probability_mse, pseudo_label_ce, sharpened_ce
from tutelage.objectives.contrast import info_nce
from tutelage.objectives.divergence import (
    brier,
    decoupled_kd,
    distillation_kl,
    divergence,
    hard_cross_entropy,
    js_divergence,
    logit_mse,
    soft_bce,
    soft_cross_entropy,
    token_kl,
)
from tutelage.objectives.entropy import prediction_entropy
from tutelage.objectives.feature import (
    attention_map,
    attention_relation,
    attention_scores_loss,
    attention_transfer,
    feature_loss,
)
from tutelage.objectives.projectors import Projector, resize
from tutelage.objectives.ranking import list_margin_mse, margin_mse, pairwise_logistic
from tutelage.objectives.reduce import weighted_mean
from tutelage.objectives.relation import (
    angle_relation,
    cosine_gram,
    distance_relation,
    relation_loss,
    similarity_preserving,
)

__all__ = [
    "Projector",
    "angle_relation",
    "attention_map",
    "attention_relation",
    "attention_scores_loss",
    "attention_transfer",
    "brier",
    "cosine_gram",
    "decoupled_kd",
    "distance_relation",
    "distillation_kl",
    "divergence",
    "feature_loss",
    "hard_cross_entropy",
    "info_nce",
    "js_divergence",
    "list_margin_mse",
    "logit_mse",
    "margin_mse",
    "pairwise_logistic",
    "prediction_entropy",
    "probability_mse",
    "pseudo_label_ce",
    "relation_loss",
    "resize",
    "sharpened_ce",
    "similarity_preserving",
    "soft_bce",
    "soft_cross_entropy",
    "token_kl",
    "weighted_mean",
]
