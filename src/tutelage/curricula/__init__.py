"""Which examples, when, and how many: pure selections over scores that a model gave."""

from __future__ import annotations

from tutelage.curricula.gates import Gate, confidence_gate
from tutelage.curricula.negatives import hard_negatives, sample_negatives
from tutelage.curricula.selection import Chosen, top_k_per_group, top_share

__all__ = [
    "Chosen",
    "Gate",
    "confidence_gate",
    "hard_negatives",
    "sample_negatives",
    "top_k_per_group",
    "top_share",
]
