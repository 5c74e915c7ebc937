"""What schedules of several cycles share."""

import abc
import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lrstudy.schedules import checks
from lrstudy.schedules.checks import Number, Steps
from lrstudy.schedules.phases import ENDPOINTS, decay, pick, ramp
from lrstudy.schedules.warmed import Warmed


@dataclasses.dataclass(frozen=True)
class Cyclic(Warmed):
    """Cycles that each decay; the next one starts again from its peak.

    Cycle i covers the steps [ends[i - 1], ends[i]), the first one from 0 with the warmup. At ``ends[i]`` the rate has
    jumped to the peak of the next cycle, or begins to climb to it over `rewarmup_steps`; at the last of `ends` it has
    the end rate and keeps it.

    Attributes:
        ends: the steps at which cycles end, increasing; each is a budget that has a decayed model.
        rewarmup_steps: steps from the end rate back to the peak, in every cycle but the first; in `warmup_style`.
        endpoint: "exclusive" reaches the end rate at ``ends[i]``, where only the last cycle shows it; "inclusive" at
            the cycle's last step, ``ends[i] - 1``.
    """

    ends: tuple[Steps, ...]
    _: dataclasses.KW_ONLY
    rewarmup_steps: Steps = 0
    endpoint: str = "exclusive"

    def check_cycles(self) -> list[float]:
        """Checks the arguments above; returns `ends`, UNKNOWN for arrays."""
        ends = checks.increasing_ints(self, "ends")
        checks.choice(self, "endpoint", ENDPOINTS)
        return ends

    @abc.abstractmethod
    def decay_starts(self) -> Sequence[Steps]:
        """The step at which the decay of each cycle begins and the rate is still its peak."""

    @abc.abstractmethod
    def peaks(self) -> Sequence[Number]:
        """The peak of each cycle."""

    @abc.abstractmethod
    def end_rate(self) -> Number:
        """The rate that every decay ends at."""

    @abc.abstractmethod
    def decayed(self, over: jax.Array, left: jax.Array, peak: jax.Array) -> jax.Array:
        """The rate inside a decay from `peak`, from the shares of it that are over and left."""

    def lengths(self) -> tuple[Steps, ...]:
        """The steps of every cycle."""
        return tuple(end - begin for begin, end in zip(self.begins(), self.ends, strict=True))

    def begins(self) -> tuple[Steps, ...]:
        """The first step of every cycle."""
        return (0, *self.ends[:-1])

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        peak, last = pick(step, self.ends, self.peaks()), self.end_rate()
        begin = pick(step, self.ends, self.begins())
        start = pick(step, self.ends, self.decay_starts())
        stop = pick(step, self.ends, self.ends) - (self.endpoint == "inclusive")
        rate = decay(step, start, stop, (peak, last), lambda u, v: self.decayed(u, v, peak))
        first_cycle = begin == 0
        rising = jnp.where(first_cycle, self.warmup_steps, self.rewarmup_steps)
        low = jnp.where(first_cycle, self.init_value, last)
        return ramp(step, begin, rising, (low, peak), self.warmup_style, rate)
