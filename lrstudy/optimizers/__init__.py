"""Transforms that optax lacks, and the table of the optimizers that a configuration can name."""

from lrstudy.feedback import effective_lr
from lrstudy.optimizers.fedhyper import fedhyper
from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.hypergradient import hypergradient
from lrstudy.optimizers.plateau import plateau
from lrstudy.optimizers.schedule_free import averaged_params, schedule_free
from lrstudy.optimizers.table import TABLE, Optimizer

__all__ = [
    "TABLE",
    "Optimizer",
    "averaged_params",
    "effective_lr",
    "fedhyper",
    "hypergradient",
    "plateau",
    "schedule_free",
    "with_float32_state",
]
