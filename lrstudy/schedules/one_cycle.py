"""One cycle: up, down, and further down."""

import dataclasses
from typing import ClassVar, cast

import jax
import jax.numpy as jnp

from lrstudy.schedules import checks
from lrstudy.schedules.base import Schedule
from lrstudy.schedules.checks import ABOVE_ZERO, BELOW_ONE, LARGEST, STEP_LIMIT, Number, Range, Steps, fail
from lrstudy.schedules.phases import decay
from lrstudy.schedules.shapes import cosine, linear
from lrstudy.schedules.steps import rounded_share, traced_share

_RULE = "such that 0 < pct_start < pct_final < 1 and the boundaries differ by at least one step"


@dataclasses.dataclass(frozen=True)
class OneCycle(Schedule):
    """From ``peak / div`` up to `peak`, back down, and on to ``peak / (div final_div)`` (arXiv:1708.07120).

    With `pct_final` the three ways are straight lines; without it there are two, each half a cosine, as in optax's two
    one-cycle schedules. ``OneCycle(peak, total_steps, *, pct_start=0.3, pct_final=0.85, div=25.0, final_div=1e4)``.

    Attributes:
        peak: highest rate, above 0.
        total_steps: length of the schedule in optimizer updates.
        pct_start: share of the steps before the peak, rounded as `steps_from_fraction` does; in (0, 1).
        pct_final: share of the steps before ``peak / div`` is reached again, in (pct_start, 1), or None.
        div: peak over the first rate, at least 1.
        final_div: first over last rate, at least 1.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = OneCycle(1.0, 100, pct_start=0.25, pct_final=0.5, div=4.0, final_div=2.0)
        >>> [float(schedule(step)) for step in (0, 25, 50, 100)]
        [0.25, 1.0, 0.25, 0.125]
    """

    paper: ClassVar = "Smith & Topin 2017, Super-Convergence, arXiv 1708.07120"

    peak: Number
    total_steps: Steps
    _: dataclasses.KW_ONLY
    pct_start: Number = 0.3
    pct_final: Number | None = 0.85
    div: Number = 25.0
    final_div: Number = 1e4

    def __post_init__(self) -> None:
        checks.positive_number(self, "peak")
        rule = "a positive int"
        total = checks.int_in(self, "total_steps", Range(1, STEP_LIMIT, rule), kind=rule)
        inside = Range(ABOVE_ZERO, BELOW_ONE, "in (0, 1)")
        shares = [checks.number_in(self, "pct_start", inside)]
        if self.pct_final is not None:
            shares.append(checks.number_in(self, "pct_final", inside))
        marks = [0.0, *(rounded_share(share, total) for share in shares), total]
        for before, after, name in zip(marks, marks[1:], ("pct_start", "pct_final", "total_steps"), strict=False):
            if after <= before:
                fail(type(self).__name__, name, _RULE, getattr(self, name))
        for name in ("div", "final_div"):
            checks.number_in(self, name, Range(1, LARGEST, "at least 1"))

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        first = self.peak / self.div
        last = first / self.final_div
        top = traced_share(self.pct_start, self.total_steps)
        if self.pct_final is None:
            up, down = (lambda u, v: cosine(u, v, first, self.peak)), (lambda u, v: cosine(u, v, self.peak, last))
            falling = decay(step, top, self.total_steps, (self.peak, last), down)
        else:
            foot = traced_share(cast("Number", self.pct_final), self.total_steps)
            up, down = (lambda u, v: linear(u, v, first, self.peak)), (lambda u, v: linear(u, v, self.peak, first))
            tail = decay(step, foot, self.total_steps, (first, last), lambda u, v: linear(u, v, first, last))
            falling = jnp.where(step < foot, decay(step, top, foot, (self.peak, first), down), tail)
        return jnp.where(step < top, decay(step, 0, top, (first, self.peak), up), falling)
