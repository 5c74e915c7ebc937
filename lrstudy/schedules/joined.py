"""Schedules one after the other."""

import dataclasses
from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp

from lrstudy.schedules import checks
from lrstudy.schedules.base import Schedule
from lrstudy.schedules.checks import Steps, fail
from lrstudy.schedules.phases import pick


@dataclasses.dataclass(frozen=True)
class Joined(Schedule):
    """``schedules[i]`` at the steps [boundaries[i - 1], boundaries[i]), each counting its own steps from 0.

    The rate jumps at a boundary unless the schedules meet there. ``Joined(schedules, boundaries)``.

    Attributes:
        schedules: at least two.
        boundaries: the steps at which the next schedule takes over, increasing; one fewer than `schedules`.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> from lrstudy.schedules import Constant, Linear
        >>> schedule = Joined([Constant(1.0), Linear(0.5, 100)], [10])
        >>> [float(schedule(step)) for step in (9, 10, 60, 110)]
        [1.0, 0.5, 0.25, 0.0]
    """

    schedules: tuple[Schedule, ...]
    boundaries: tuple[Steps, ...]

    def __post_init__(self) -> None:
        owner, given = type(self).__name__, self.schedules
        listed = tuple(given) if isinstance(given, Sequence) else ()
        if len(listed) < 2 or not all(isinstance(schedule, Schedule) for schedule in listed):
            fail(owner, "schedules", "a sequence of at least two schedules", given)
        checks.store(self, "schedules", listed)
        if len(checks.increasing_ints(self, "boundaries")) != len(listed) - 1:
            fail(owner, "boundaries", "one fewer than schedules", self.boundaries)

    def settled(self) -> "Joined":
        """Implements `Schedule.settled`."""
        return dataclasses.replace(self, schedules=tuple(schedule.settled() for schedule in self.schedules))

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        begins = (0, *self.boundaries)
        rates = [s.rate(jnp.maximum(step - begin, 0)) for s, begin in zip(self.schedules, begins, strict=True)]
        # `pick` gives the last value after all but the last of its ends, which is never reached here.
        return pick(step, (*self.boundaries, 0), rates)


def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Joined:
    """One schedule after the other: ``schedules[i]`` takes over at ``boundaries[i - 1]`` and begins at its step 0.

    Args:
        schedules: at least two.
        boundaries: increasing steps, one fewer than `schedules`.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> from lrstudy.schedules import Constant, Linear
        >>> float(join([Constant(1.0), Linear(0.5, 100)], [10])(60))
        0.25
    """
    return Joined(cast("tuple[Schedule, ...]", schedules), cast("tuple[int, ...]", boundaries))
