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

    Example:
        >>> schedule = Constant(0.5, warmup_steps=10)
        >>> [float(schedule(step)) for step in (0, 5, 10, 1000)]
        [0.0, 0.25, 0.5, 0.5]
    """

    paper: ClassVar = "Goyal et al. 2017, arXiv 1706.02677, for the warmup"

    def __post_init__(self) -> None:
        self.check_peak()
        rule = "a non-negative int"
        checks.int_in(self, "warmup_steps", Range(0, STEP_LIMIT, rule), kind=rule)

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        return self.warmed(step, self.peak)
