"""A schedule that is read less often than at every step."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lrstudy.schedules import checks
from lrstudy.schedules.base import Schedule
from lrstudy.schedules.checks import STEP_LIMIT, Range, Steps, fail
from lrstudy.schedules.steps import scaled_division


@dataclasses.dataclass(frozen=True)
class Sampled(Schedule):
    """Another schedule read only `samples` times in `total_steps`, at even distances (REX, arXiv:2107.04197).

    The k-th reading holds from the first step t with ``floor(samples t / total_steps) = k`` and is taken there, at the
    step ``ceil(k total_steps / samples)``. ``Sampled(schedule, total_steps, samples)``.

    Attributes:
        schedule: what is read.
        total_steps: length in optimizer updates; from there on the schedule is read at `total_steps`.
        samples: number of readings, in [1, total_steps].

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> from lrstudy.schedules import Tabulated
        >>> schedule = Sampled(Tabulated([1.0, 0.0], total_steps=101), 100, 4)
        >>> [float(schedule(step)) for step in (0, 24, 25, 99, 100)]
        [1.0, 1.0, 0.75, 0.25, 0.0]
    """

    paper: ClassVar = "Chen, Wolfe & Kyrillidis 2021, REX, arXiv 2107.04197"

    schedule: Schedule
    total_steps: Steps
    samples: Steps

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            fail(type(self).__name__, "schedule", "a schedule", self.schedule)
        rule = "a positive int"
        total = checks.int_in(self, "total_steps", Range(1, STEP_LIMIT, rule), kind=rule)
        checks.int_in(self, "samples", Range(1, total, "in [1, total_steps]"))

    def settled(self) -> "Sampled":
        """Implements `Schedule.settled`."""
        return dataclasses.replace(self, schedule=self.schedule.settled())

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        inside = jnp.clip(step, 0, self.total_steps)
        reading, _ = scaled_division(inside, self.samples, self.total_steps)
        at, rest = scaled_division(reading, self.total_steps, self.samples)
        return self.schedule.rate((at + (rest > 0)).astype(jnp.int32))
