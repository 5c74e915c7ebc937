"""Transforms that optax lacks, and the table of the optimizers that a configuration can name."""

from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.table import TABLE, Optimizer

__all__ = ["TABLE", "Optimizer", "with_float32_state"]
