"""Transforms that optax lacks, and the table of the optimizers that a configuration can name."""

from lrstudy.feedback import effective_lr
from lrstudy.optimizers.decay import decay_mask
from lrstudy.optimizers.fedhyper import fedhyper
from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.hypergradient import hypergradient
from lrstudy.optimizers.normalized import project_to_norm
from lrstudy.optimizers.plateau import plateau
from lrstudy.optimizers.schedule_free import averaged_params, schedule_free
from lrstudy.optimizers.separable import (
    batch_perceptron,
    logistic_gd,
    normalized_batch_perceptron,
    normalized_logistic_gd,
)
from lrstudy.optimizers.table import TABLE, Optimizer

__all__ = [
    "TABLE",
    "Optimizer",
    "averaged_params",
    "batch_perceptron",
    "decay_mask",
    "effective_lr",
    "fedhyper",
    "hypergradient",
    "logistic_gd",
    "normalized_batch_perceptron",
    "normalized_logistic_gd",
    "plateau",
    "project_to_norm",
    "schedule_free",
    "with_float32_state",
]
