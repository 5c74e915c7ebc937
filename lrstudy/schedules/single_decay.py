"""What schedules with one decay at their end share."""

import abc
import dataclasses

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.checks import STEP_LIMIT, Number, Range, Steps
from lrstudy.schedules.phases import ENDPOINTS, decay
from lrstudy.schedules.warmed import Warmed


@dataclasses.dataclass(frozen=True)
class SingleDecay(Warmed):
    """Warmup, then `peak` until the decay begins, then a decay to `end`, which is held after `total_steps`.

    Phases are half-open: the rate is exactly `peak` at `warmup_steps` and at the decay's first step, and exactly `end`
    at `total_steps`. The last update of a run uses step ``total_steps - 1``, where the rate is still above `end`.

    Attributes:
        total_steps: length of the schedule in optimizer updates, warmup and decay included.
        end: rate after the decay, in [0, peak].
        endpoint: "exclusive" reaches `end` at `total_steps`; "inclusive" one step earlier, at the run's last update,
            and the decay is then a step shorter.
    """

    total_steps: Steps
    _: dataclasses.KW_ONLY
    end: Number = 0.0
    endpoint: str = "exclusive"

    def __post_init__(self) -> None:
        peak = self.check_peak()
        rule = "a positive int"
        total_steps = checks.int_in(self, "total_steps", Range(1, STEP_LIMIT, rule), kind=rule)
        checks.int_in(self, "warmup_steps", Range(0, total_steps - 1, "in [0, total_steps)"))
        checks.number_in(self, "end", *self.end_ranges(peak))
        checks.choice(self, "endpoint", ENDPOINTS)

    def end_ranges(self, peak: float) -> tuple[Range, ...]:
        """What `end` must be in."""
        return (Range(0, peak, "in [0, peak]"),)

    def decay_start(self) -> Steps:
        """The step at which the decay begins and the rate is still `peak`."""
        return self.warmup_steps

    def decay_stop(self) -> Steps:
        """The first step at which the rate is the end rate."""
        return self.total_steps - (self.endpoint == "inclusive")

    def end_rate(self) -> Number:
        """The rate after the decay."""
        return self.end

    @abc.abstractmethod
    def decayed(self, over: jax.Array, left: jax.Array) -> jax.Array:
        """The rate inside the decay, from the shares of it that are over and left, both in (0, 1)."""

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        rates = (self.peak, self.end_rate())
        return self.warmed(step, decay(step, self.decay_start(), self.decay_stop(), rates, self.decayed))
