"""Decay in steps."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.checks import ABOVE_ZERO, LARGEST, Number, Range, Steps
from lrstudy.schedules.phases import pick
from lrstudy.schedules.warmed import Warmed


@dataclasses.dataclass(frozen=True)
class StepDecay(Warmed):
    """Warmup, then `peak` times a factor for every boundary that has been reached; "30-60-90" is one.

    ``StepDecay(peak, boundaries, *, factors | gamma=0.1, warmup_steps=0, init_value=0.0, warmup_style="optax")``;
    other attributes as in `Warmed`.

    Attributes:
        boundaries: the steps at which the rate changes, increasing; at a boundary the new rate holds already.
        factors: what the rate is multiplied by at each boundary, above 0; they take the place of `gamma`.
        gamma: the one factor of all boundaries, above 0.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = StepDecay(1.0, [30, 60], gamma=0.5)
        >>> [float(schedule(step)) for step in (0, 29, 30, 60)]
        [1.0, 1.0, 0.5, 0.25]
    """

    paper: ClassVar = "Goyal et al. 2017, arXiv 1706.02677, with boundaries at 30, 60 and 80 epochs"

    boundaries: tuple[Steps, ...]
    _: dataclasses.KW_ONLY
    factors: tuple[Number, ...] | None = None
    gamma: Number = 0.1

    def __post_init__(self) -> None:
        self.check_peak()
        boundaries = checks.increasing_ints(self, "boundaries")
        checks.int_in(self, "warmup_steps", Range(0, boundaries[0], "in [0, boundaries[0]]"))
        checks.positive_number(self, "gamma")
        if self.factors is not None:
            rule = "a sequence of finite positive numbers, one for each of boundaries"
            checks.numbers(self, "factors", Range(ABOVE_ZERO, LARGEST, rule), len(boundaries))

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        return self.warmed(step, pick(step, (*self.boundaries, 0), self._rates()))

    def _rates(self) -> Sequence[Number]:
        factors = [self.gamma] * len(self.boundaries) if self.factors is None else self.factors
        return list(itertools.accumulate(factors, lambda rate, factor: rate * factor, initial=self.peak))
