"""A constant rate."""

import dataclasses
from typing import ClassVar

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.checks import STEP_LIMIT, Range
from lrstudy.schedules.warmed import Warmed


@dataclasses.dataclass(frozen=True)
class Constant(Warmed):
    """A warmup, then `peak` for ever.

    ``Constant(peak, *, warmup_steps=0, init_value=0.0, warmup_style="optax")``; attributes as in `Warmed`.

    Raises:
        ScheduleError: for a bad argument.
    """

    paper: ClassVar = "Goyal et al. 2017, arXiv 1706.02677, for the warmup"

    def __post_init__(self) -> None:
        self.check_peak()
        rule = "a non-negative int"
        checks.int_in(self, "warmup_steps", Range(0, STEP_LIMIT, rule), kind=rule)

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        return self.warmed(step, self.peak)
