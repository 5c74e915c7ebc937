"""The schedule that a law thinks best."""

import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.laws.errors import ExtrapolationWarning, LawError, fail
from lrstudy.laws.rate_path import NOTHING
from lrstudy.laws.schedule_law import ScheduleLaw
from lrstudy.laws.solver import double_precision
from lrstudy.schedules import Tabulated

KNOTS = 64
"""Between which the rate is linear, evenly spaced; as many more lie ever closer to the end."""

ITERATIONS = 200
FALLS = (1.0, 0.5, 0.3, 0.15)
"""Shares of the updates over which the lines that the search begins with fall."""

LIFT = 0.02
"""Of the peak: where the search's first schedules end, as the derivative of some laws is not finite at a rate of 0."""

MOST_IDLE = 0.01
"""Of the updates: a law that wants more of them at no rate is padding."""

_SCALES = 2.0 ** np.arange(-20, 21)
"""Of the peak, among which a law without a peak is asked for one."""


def best_schedule(
    law: ScheduleLaw,
    total_steps: int,
    *,
    peak: float | None,
    warmup_steps: int = 0,
    end: float = 0.0,
    monotone: bool = True,
) -> Tabulated:
    """The rates whose final loss a law predicts to be smallest.

    They are linear between knots, start at the peak when warmup ends, and are found by sequential quadratic programming
    (SLSQP) on the law's own formula, from a cosine and from lines that begin to fall at different times;
    what is returned is the best that these lead to, as the problem may have several optima.

    A law knows only what it was fitted to, and the laws of annealing are wrong in two known ways: steps at no rate go
    on lowering their loss, and so does a higher peak. Both are refused.

    Args:
        law: a law of loss curves.
        total_steps: updates.
        peak: the highest rate; None: what the law prefers, if it prefers any.
        warmup_steps: updates in which the rate rises linearly from 0.
        end: the lowest rate; whether it is reached is for the law to say.
        monotone: whether the rate may only fall; otherwise it stays between ``end`` and ``peak``. Laws do not know what
            a rise costs at once, and use that: a schedule that rises is flagged.

    Returns:
        The rate of every update, and ``end`` for what follows them.

    Warns:
        ExtrapolationWarning: the rate rises again, which only happens where ``monotone`` is False.

    Raises:
        LawError: a bad argument; or the law wants updates at no rate, or an ever higher peak. It is a ValueError.
    """
    _check(law, total_steps, peak, warmup_steps, end)
    rates = _best_rates(law, _Shape(total_steps, warmup_steps, float(end), monotone), peak)
    after = rates[warmup_steps:]
    idle = int((after < NOTHING * after.max()).sum())
    if idle > max(2, MOST_IDLE * total_steps):
        raise LawError(
            f"best_schedule: {type(law).__name__} wants {idle} of {total_steps} updates at no rate, which train "
            "nothing; the law does not hold there: give a lowest rate (end=...), or a law that knows what a drop takes"
        )
    if (np.diff(after) > NOTHING * after.max()).any():
        warnings.warn(
            f"best_schedule: the rate rises again, and {type(law).__name__} does not know what that costs at once",
            ExtrapolationWarning,
            stacklevel=2,
        )
    return Tabulated(np.append(rates, end))


class _Shape(NamedTuple):
    """What every schedule of a search has in common."""

    total_steps: int
    warmup_steps: int
    end: float
    monotone: bool

    @property
    def knots(self) -> np.ndarray:
        """Updates after warmup between which the rate is linear, from 0 to the last, at most one an update."""
        last = self.total_steps - self.warmup_steps - 1
        even = np.linspace(0, last, KNOTS)
        closer = last - np.geomspace(1, max(last, 1), KNOTS)
        return np.unique(np.round(np.concatenate([even, closer])).clip(0, last)).astype(int)

    def rates(self, free: Any, peak: Any) -> Any:
        """The rate of every update: ``free`` is the logarithm of a factor of the peak, and how far every knot is up."""
        peak = peak * jnp.exp(free[0])
        warmup = peak * np.arange(self.warmup_steps) / max(self.warmup_steps, 1)
        share = jnp.interp(np.arange(self.total_steps - self.warmup_steps), self.knots, free[1:])
        return jnp.concatenate([warmup, self.end + (peak - self.end) * share])


def _check(law: ScheduleLaw, total_steps: int, peak: float | None, warmup_steps: int, end: float) -> None:
    if not isinstance(law, ScheduleLaw):
        fail("best_schedule", "law", "a law of loss curves", law)
    if not isinstance(total_steps, int | np.integer) or isinstance(total_steps, bool) or total_steps < 2:
        fail("best_schedule", "total_steps", "an int of at least 2", total_steps)
    if not isinstance(warmup_steps, int | np.integer) or not 0 <= warmup_steps <= total_steps - 2:
        fail("best_schedule", "warmup_steps", "an int in [0, total_steps - 2]", warmup_steps)
    for name, value, least in (("peak", peak, 0.0), ("end", end, -1.0)):
        if value is not None and (
            not isinstance(value, int | float | np.number) or not np.isfinite(value) or value <= least
        ):
            fail("best_schedule", name, "a finite positive number" if least == 0 else "a finite number", value)
    if end < 0 or (peak is not None and end >= peak):
        fail("best_schedule", "end", "in [0, peak)", end)


def _first_peak(law: ScheduleLaw, shape: _Shape) -> float:
    """The peak of the smallest loss among octaves, of a straight fall.

    Raises:
        LawError: the loss falls with the peak as far as one looks.
    """
    line = np.append(0.0, np.linspace(1.0, 0.0, len(shape.knots) + 1)[:-1])
    rates = (np.asarray(shape.rates(line, scale)) for scale in _SCALES)
    losses = [float(np.asarray(law.formula(law.end_rows(own, shape.warmup_steps)))[0]) for own in rates]
    best = int(np.nanargmin(losses))
    if best == len(_SCALES) - 1:
        raise LawError(
            f"best_schedule: {type(law).__name__} predicts a lower loss for any higher peak, which no run would show; "
            "give the peak of the curves that it was fitted to"
        )
    return float(_SCALES[best])


def _best_rates(law: ScheduleLaw, shape: _Shape, peak: float | None) -> np.ndarray:
    """Rates of every update, shape (total_steps,)."""
    from scipy.optimize import LinearConstraint, minimize

    with double_precision():
        first = _first_peak(law, shape) if peak is None else float(peak)
        program = _program(type(law), shape)

        def objective(free: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = program(law, jnp.asarray(free), first)
            return float(value), np.asarray(gradient)

        places = shape.knots / shape.knots[-1]
        count = len(places)
        free_peak = (None, None) if peak is None else (0.0, 0.0)
        top = (1.0, 1.0) if shape.monotone else (0.0, 1.0)
        falls = np.eye(count - 1, count + 1, 1) - np.eye(count - 1, count + 1, 2)
        found = [
            minimize(
                objective,
                np.append(0.0, LIFT + (1 - LIFT) * start),
                jac=True,
                method="SLSQP",
                bounds=[free_peak, top, *[(0.0, 1.0)] * (count - 1)],
                constraints=LinearConstraint(falls, 0, np.inf) if shape.monotone else (),
                options={"maxiter": ITERATIONS, "ftol": 1e-10},
            )
            for start in (np.cos(np.pi * places / 2) ** 2, *(np.clip((1 - places) / f, 0, 1) for f in FALLS))
        ]
        best = min(found, key=lambda one: one.fun if np.isfinite(one.fun) else np.inf).x
        # The solver keeps to its constraints to rounding alone.
        share = np.clip(best[1:], 0, 1)
        share = np.minimum.accumulate(share) if shape.monotone else share
        return np.asarray(shape.rates(jnp.asarray(np.append(best[0], share)), first))


@functools.lru_cache(maxsize=16)
def _program(cls: type[ScheduleLaw], shape: _Shape) -> Any:
    """The final loss and its gradient by the free numbers; the law is data, so another fit of it compiles nothing."""
    del cls

    def loss(law: ScheduleLaw, free: Any, peak: Any) -> Any:
        return law.formula(law.end_rows(shape.rates(free, peak), shape.warmup_steps))[0]

    return jax.jit(jax.value_and_grad(loss, argnums=1))
