"""A schedule that begins later."""

import dataclasses

import jax
import jax.numpy as jnp

from lrstudy.schedules import checks
from lrstudy.schedules.base import Schedule
from lrstudy.schedules.checks import STEP_LIMIT, Range, Steps, fail


@dataclasses.dataclass(frozen=True)
class Shifted(Schedule):
    """Another schedule whose step 0 is the step `start`: ``schedule(max(t - start, 0))``.

    Until `start` it stands at its first rate. So a run that goes on from step 1000 under a new schedule follows
    ``Shifted(schedule, 1000)``. ``Shifted(schedule, start)``.

    Attributes:
        schedule: what begins later.
        start: the step at which it begins, at least 0.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> from lrstudy.schedules import Linear
        >>> schedule = Shifted(Linear(1.0, 100), 1000)
        >>> [float(schedule(step)) for step in (0, 1000, 1050, 1100)]
        [1.0, 1.0, 0.5, 0.0]
    """

    schedule: Schedule
    start: Steps

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            fail(type(self).__name__, "schedule", "a schedule", self.schedule)
        rule = "a non-negative int"
        checks.int_in(self, "start", Range(0, STEP_LIMIT, rule), kind=rule)

    def settled(self) -> "Shifted":
        """Implements `Schedule.settled`."""
        return dataclasses.replace(self, schedule=self.schedule.settled())

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        return self.schedule.rate(jnp.maximum(step - self.start, 0))
