"""Transforms that optax lacks, and the table of the optimizers that a configuration can name."""

from lrstudy.feedback import effective_lr
from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.table import TABLE, Optimizer

__all__ = ["TABLE", "Optimizer", "effective_lr", "with_float32_state"]
