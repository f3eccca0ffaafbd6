"""The one loop: `Lesson` says what a step teaches, `fit` teaches it, `StackedFit` teaches many small ones at once."""

from __future__ import annotations

from tutelage.training.baselines import Distillation, Signal, Supervised, signal_of
from tutelage.training.batches import Batches, epoch_order, step_order
from tutelage.training.callbacks import Callback, EarlyStop, EveryK, KeepBest, ShowProgress, Validate
from tutelage.training.checkpoint import load_tree, save_tree
from tutelage.training.distributed import gather_rows
from tutelage.training.fit import FitOptions, fit
from tutelage.training.history import History
from tutelage.training.inference import predict_all
from tutelage.training.lesson import Batch, Lesson, Minimiser, Progress, decay_groups, logits_of
from tutelage.training.run import Run
from tutelage.training.schedules import (
    Schedule,
    after,
    constant,
    cosine,
    linear,
    one_cycle,
    sigmoid_ramp,
    step,
    value_at,
)
from tutelage.training.seeding import Generators, child_seed, generators, seed_all, seeded
from tutelage.training.stacked import Stack, StackedFit, StackedResult, stacked_order
from tutelage.training.stages import Stage, Stages
from tutelage.training.weights import load_weights, save_weights, weights_fingerprint

__all__ = [
    "Batch",
    "Batches",
    "Callback",
    "Distillation",
    "EarlyStop",
    "EveryK",
    "FitOptions",
    "Generators",
    "History",
    "KeepBest",
    "Lesson",
    "Minimiser",
    "Progress",
    "Run",
    "Schedule",
    "ShowProgress",
    "Signal",
    "Stack",
    "StackedFit",
    "StackedResult",
    "Stage",
    "Stages",
    "Supervised",
    "Validate",
    "after",
    "child_seed",
    "constant",
    "cosine",
    "decay_groups",
    "epoch_order",
    "fit",
    "gather_rows",
    "generators",
    "linear",
    "load_tree",
    "load_weights",
    "logits_of",
    "one_cycle",
    "predict_all",
    "save_tree",
    "save_weights",
    "seed_all",
    "seeded",
    "sigmoid_ramp",
    "signal_of",
    "stacked_order",
    "step",
    "step_order",
    "value_at",
    "weights_fingerprint",
]
