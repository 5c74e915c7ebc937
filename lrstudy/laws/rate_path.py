"""The rates of a run as the laws of loss curves see them: their sums and their drops after warmup."""

import dataclasses
import warnings
from typing import Any, Literal

import numpy as np

from lrstudy.laws.errors import LawError, fail
from lrstudy.schedules import Schedule

Warmup = Literal["true", "constant"]
WARMUPS: tuple[Warmup, ...] = ("true", "constant")

NOTHING = 1e-3
"""Of the highest rate: one below this moves nothing."""

_RATES = "a schedule, or a sequence of finite rates, none below 0 and not all 0"


@dataclasses.dataclass(frozen=True, eq=False)
class RatePath:
    """The rates of every update from the first, under a convention for warmup.

    Attributes:
        rates: shape (T,), float64; entry i is the rate of update i.
        drops: shape (T,); ``rates[i - 1] - rates[i]`` after warmup, 0 in it; below 0 where the rate rises again.
        warmup_steps: updates of the warmup.
        warmup: how these count.
    """

    rates: np.ndarray
    drops: np.ndarray
    warmup_steps: int
    warmup: Warmup = "true"

    @property
    def sums(self) -> np.ndarray:
        """``S1``, shape (T,): the sum of the rates up to and with each update."""
        return np.cumsum(self.rates)

    @property
    def idle_steps(self) -> int:
        """Updates after warmup at a rate of nearly 0."""
        after = self.rates[self.warmup_steps :]
        return int((after <= NOTHING * after.max()).sum())


def rate_path(schedule: Any, length: int, *, warmup_steps: int = 0, warmup: Warmup = "true") -> RatePath:
    """The first rates of a schedule.

    Args:
        schedule: a schedule, or the rate of every update, at least ``length`` of them.
        length: how many.
        warmup_steps: updates in which the rate rises; they count as no negative drops.
        warmup: "true": their rates as they are; "constant": as if each had the rate that follows them.

    Raises:
        LawError: for a bad argument.
    """
    rates = rates_of(schedule, length)
    if not isinstance(warmup_steps, int | np.integer) or not 0 <= warmup_steps < length:
        fail("law", "warmup_steps", f"an int in [0, {length})", warmup_steps)
    if warmup not in WARMUPS:
        fail("law", "warmup", " or ".join(map(repr, WARMUPS)), warmup)
    drops = np.concatenate([[0.0], rates[:-1] - rates[1:]])
    drops[: warmup_steps + 1] = 0
    if warmup == "constant":
        rates = np.where(np.arange(length) < warmup_steps, rates[warmup_steps], rates)
    return RatePath(rates, drops, int(warmup_steps), warmup)


def rates_of(schedule: Any, length: int) -> np.ndarray:
    """The first rates of a schedule or of an array, shape (length,), float64.

    Raises:
        LawError: they are no rates, or there are fewer.
    """
    given = schedule(np.arange(length)) if isinstance(schedule, Schedule) else schedule
    try:
        rates = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        rates = np.zeros(())
    if rates.ndim != 1 or not (np.isfinite(rates) & (rates >= 0)).all() or not rates.any():
        fail("law", "schedule", _RATES, schedule)
    if len(rates) < length:
        raise LawError(f"law: schedule must have the rate of step {length - 1}, got {len(rates)} rates")
    return rates[:length]


def interpolated_rates(steps: np.ndarray, learning_rates: np.ndarray, warmup_steps: int) -> np.ndarray:
    """Rates of every step from those of some, linear between them.

    Before the first it is the first, but in a warmup without logged steps, where it rises linearly from 0. Warns, as
    sums and drops of the rates are then guesses.
    """
    warnings.warn(
        "the rates between the logged steps are interpolated; give the curve its schedule to have them exactly",
        UserWarning,
        stacklevel=3,
    )
    known = steps, learning_rates
    if warmup_steps and steps[0]:
        top = min(warmup_steps, steps[0])
        known = np.array([0, top, *steps]), np.array([0.0, learning_rates[0], *learning_rates])
    return np.interp(np.arange(int(steps[-1]) + 1), *known)
