"""A loss curve: what was logged of one run, and the rates of all its updates."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from lrstudy.laws.errors import LawError, fail
from lrstudy.laws.rate_path import RatePath, Warmup, interpolated_rates, rate_path, rates_of

DISAGREEMENT = 1e-3
"""Of the highest rate: how far a logged rate may be from the schedule's."""


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """The losses of one run.

    The rate logged at a step is that of the update with this number, counted from 0, and the loss is the one after that
    update. (Rows of a study have the loss before it; ``study.loss_curves`` shifts them.)

    Attributes:
        steps: shape (n,), whole numbers that rise.
        learning_rates: shape (n,), at those steps.
        losses: shape (n,), above 0.
        schedule: the rate of every update from 0, as a ``Schedule`` or an array; None: interpolated between the logged
            steps, with a warning; before them it is the first, or rises linearly through the warmup.
        warmup_steps: updates of the warmup; rows within it are not fitted.

    Raises:
        LawError: values that are not finite, steps that do not rise, rates that are not the schedule's.
    """

    steps: np.ndarray
    learning_rates: np.ndarray
    losses: np.ndarray
    schedule: Any = None
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        steps = _column("steps", self.steps)
        if len(steps) < 2 or (steps < 0).any() or (steps != np.floor(steps)).any():
            fail("Curve", "steps", "at least two whole numbers of at least 0", self.steps)
        order = np.diff(steps) > 0
        if not order.all():
            place = int(np.argmin(order)) + 1
            fail("Curve", "steps", "rising, each once", f"{steps[place]:g} after {steps[place - 1]:g} at row {place}")
        for name in ("learning_rates", "losses"):
            column = _column(name, getattr(self, name))
            if len(column) != len(steps):
                fail("Curve", name, f"{len(steps)} numbers, one a step", len(column))
            least = 0 if name == "learning_rates" else np.finfo(float).tiny
            bad = ~(column >= least)
            if bad.any():
                rule = "at least 0" if name == "learning_rates" else "above 0"
                fail("Curve", name, rule, f"{column[bad][0]:g} at step {steps[bad][0]:g}")
            object.__setattr__(self, name, column)
        object.__setattr__(self, "steps", steps.astype(int))
        if not isinstance(self.warmup_steps, int | np.integer) or not 0 <= self.warmup_steps < steps[-1]:
            fail("Curve", "warmup_steps", f"an int in [0, {steps[-1]:g})", self.warmup_steps)
        if self.schedule is not None:
            self._check_rates()

    def _check_rates(self) -> None:
        expected = rates_of(self.schedule, int(self.steps[-1]) + 1)[self.steps]
        gap = np.abs(self.learning_rates - expected)
        worst = int(np.argmax(gap))
        if gap[worst] > DISAGREEMENT * expected.max():
            raise LawError(
                f"Curve: learning_rates must be the schedule's, got {self.learning_rates[worst]:g} at step "
                f"{self.steps[worst]} where the schedule has {expected[worst]:g}"
            )

    @functools.cached_property
    def rates(self) -> np.ndarray:
        """The rate of every update up to the last logged one, shape (steps[-1] + 1,)."""
        if self.schedule is None:
            return interpolated_rates(self.steps, self.learning_rates, self.warmup_steps)
        return rates_of(self.schedule, int(self.steps[-1]) + 1)

    def path(self, warmup: Warmup) -> RatePath:
        """The rates under a convention for warmup."""
        return rate_path(self.rates, len(self.rates), warmup_steps=self.warmup_steps, warmup=warmup)

    def after_warmup(self) -> Self:
        """The rows whose update is not one of the warmup's, nor before the first rate above 0.

        Raises:
            LawError: there are fewer than two.
        """
        keep = (self.steps >= self.warmup_steps) & (np.cumsum(self.rates)[self.steps] > 0)
        if keep.all():
            return self
        if keep.sum() < 2:
            raise LawError(f"Curve: steps must go at least two rows beyond warmup_steps, {self.warmup_steps}")
        own = {name: getattr(self, name)[keep] for name in ("steps", "learning_rates", "losses")}
        return dataclasses.replace(self, **own, schedule=self.rates)

    def between(self, first: int, last: int | None = None) -> Self:
        """The rows from one step to another, both included; None: to the end."""
        keep = (self.steps >= first) & (self.steps <= (self.steps[-1] if last is None else last))
        own = {name: getattr(self, name)[keep] for name in ("steps", "learning_rates", "losses")}
        return dataclasses.replace(self, **own)


Curves = Curve | Sequence[Curve] | Mapping[str, Curve]


def named(curves: Curves) -> dict[str, Curve]:
    """Curves by name; those without are numbered.

    Raises:
        LawError: there are none, or what is given is no curve.
    """
    if isinstance(curves, Curve):
        curves = [curves]
    found = dict(curves) if isinstance(curves, Mapping) else {str(i): one for i, one in enumerate(curves)}
    strangers = [one for one in found.values() if not isinstance(one, Curve)]
    if not found or strangers:
        fail("law", "curves", "one or more Curve", strangers[0] if strangers else curves)
    return found


def _column(name: str, given: Any) -> np.ndarray:
    try:
        column = np.array(given, np.float64)
    except (TypeError, ValueError):
        column = np.zeros(())
    if column.ndim != 1:
        fail("Curve", name, "a sequence of numbers", given)
    bad = ~np.isfinite(column)
    if bad.any():
        fail("Curve", name, "finite", f"{column[bad][0]:g} at row {int(np.argmax(bad))}")
    return column
