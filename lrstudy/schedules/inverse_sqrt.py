"""Inverse square root decay."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lrstudy.schedules import checks
from lrstudy.schedules.checks import STEP_LIMIT, Number, Range
from lrstudy.schedules.steps import real
from lrstudy.schedules.warmed import Warmed

_TIMESCALE = 10_000.0


@dataclasses.dataclass(frozen=True)
class InverseSqrt(Warmed):
    """Warmup, then ``max(end, peak sqrt(timescale / (t - warmup_steps + timescale)))``; it has no length.

    ``InverseSqrt(peak, *, warmup_steps=0, timescale=None, end=0.0, init_value=0.0, warmup_style="optax")``; other
    attributes as in `Warmed`.

    Attributes:
        timescale: steps after the warmup at which the rate has fallen to ``peak / sqrt(2)``, above 0; None stands for
            `warmup_steps`, or 10 000 where there is no warmup.
        end: lowest rate, in [0, peak].

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = InverseSqrt(1.0, warmup_steps=10)
        >>> [float(schedule(step)) for step in (0, 5, 10, 40)]
        [0.0, 0.5, 1.0, 0.5]
    """

    paper: ClassVar = "Zhai et al. 2021, Scaling Vision Transformers, arXiv 2106.04560"

    _: dataclasses.KW_ONLY
    timescale: Number | None = None
    end: Number = 0.0

    def __post_init__(self) -> None:
        peak = self.check_peak()
        rule = "a non-negative int"
        checks.int_in(self, "warmup_steps", Range(0, STEP_LIMIT, rule), kind=rule)
        if self.timescale is not None:
            checks.positive_number(self, "timescale")
        checks.number_in(self, "end", Range(0, peak, "in [0, peak]"))

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        since = real(jnp.maximum(step - self.warmup_steps, 0))
        timescale = self._timescale()
        return self.warmed(step, jnp.maximum(self.peak * jnp.sqrt(timescale / (since + timescale)), self.end))

    def _timescale(self) -> Number:
        if self.timescale is not None:
            return self.timescale
        return jnp.where(self.warmup_steps == 0, _TIMESCALE, real(self.warmup_steps))
