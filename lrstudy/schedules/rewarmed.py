"""Re-warming and re-decaying, stage after stage."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp

from lrstudy.schedules import checks
from lrstudy.schedules.base import Schedule
from lrstudy.schedules.checks import ABOVE_ZERO, BELOW_ONE, LARGEST, Number, Range, Steps, fail
from lrstudy.schedules.phases import decay, pick, ramp
from lrstudy.schedules.shapes import cosine
from lrstudy.schedules.steps import rounded_share, traced_share


@dataclasses.dataclass(frozen=True)
class Rewarmed(Schedule):
    """In every stage up from the rate at hand to the stage's peak, then half a cosine down (arXiv:2403.08763).

    Stage i covers the steps [boundaries[i - 1], boundaries[i]). ``Rewarmed(peaks, boundaries, *, warmup_fraction=0.01,
    end_ratio=0.1, start_value=0.0)``.

    Attributes:
        peaks: highest rate of every stage, or one for all of them, above 0.
        boundaries: the steps at which stages end, increasing.
        warmup_fraction: share of a stage in which the rate rises, in [0, 1), rounded as `steps_from_fraction` does.
        end_ratio: a stage's last rate over its peak, in [0, 1].
        start_value: rate at step 0, in [0, peaks[0]].

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = Rewarmed(1.0, [100, 200], warmup_fraction=0.1, end_ratio=0.25)
        >>> [float(schedule(step)) for step in (0, 10, 100, 105, 110, 200)]
        [0.0, 1.0, 0.25, 0.625, 1.0, 0.25]
    """

    paper: ClassVar = "Gupta et al. 2023, arXiv 2308.04014; Ibrahim et al. 2024, arXiv 2403.08763"

    peaks: tuple[Number, ...]
    boundaries: tuple[Steps, ...]
    _: dataclasses.KW_ONLY
    warmup_fraction: Number = 0.01
    end_ratio: Number = 0.1
    start_value: Number = 0.0

    def __post_init__(self) -> None:
        boundaries = checks.increasing_ints(self, "boundaries")
        rule = "a finite positive number, or one for each of boundaries"
        if not isinstance(self.peaks, Sequence) and not getattr(self.peaks, "ndim", 0):
            checks.store(self, "peaks", (self.peaks,) * len(boundaries))
        peaks = checks.numbers(self, "peaks", Range(ABOVE_ZERO, LARGEST, rule), len(boundaries))
        fraction = checks.number_in(self, "warmup_fraction", Range(0, BELOW_ONE, "in [0, 1)"))
        lengths = [end - begin for begin, end in zip([0, *boundaries], boundaries, strict=False)]
        if any(rounded_share(fraction, length) >= length for length in lengths):
            rule = "such that every stage is longer than its warmup"
            fail(type(self).__name__, "warmup_fraction", rule, self.warmup_fraction)
        checks.number_in(self, "end_ratio", Range(0, 1, "in [0, 1]"))
        checks.number_in(self, "start_value", Range(0, peaks[0], "in [0, peaks[0]]"))

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        begins = (0, *self.boundaries[:-1])
        warmups = [
            traced_share(self.warmup_fraction, end - begin) for begin, end in zip(begins, self.boundaries, strict=True)
        ]
        lows = [peak * self.end_ratio for peak in self.peaks]
        begin, end = pick(step, self.boundaries, begins), pick(step, self.boundaries, self.boundaries)
        peak, low = pick(step, self.boundaries, self.peaks), pick(step, self.boundaries, lows)
        before = pick(step, self.boundaries, (self.start_value, *lows[:-1]))
        warmup = pick(step, self.boundaries, warmups)
        falling = decay(step, begin + warmup, end, (peak, low), lambda u, v: cosine(u, v, peak, low))
        # A stage that begins above its own peak comes down to it in a straight line as well.
        return jnp.asarray(ramp(step, begin, warmup, (before, peak), "optax", falling))
