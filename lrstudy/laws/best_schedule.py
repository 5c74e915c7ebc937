"""The schedule that a law thinks best."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.laws.errors import LawError, fail
from lrstudy.laws.schedule_law import ScheduleLaw
from lrstudy.laws.solver import double_precision
from lrstudy.schedules import Tabulated

KNOTS = 64
"""Between which the rate is linear, evenly spaced; as many more lie ever closer to the end."""

ITERATIONS = 300
NOTHING = 1e-3
"""Of the peak: a rate below this moves nothing."""

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

    They are linear between knots, start at the peak when warmup ends, and are chosen by L-BFGS on the law's own
    formula, from a line, a cosine-like and a late fall.

    A law knows only what it was fitted to, and the laws of annealing are wrong in two known ways: steps at no rate go
    on lowering their loss, and so does a higher peak. Both are refused.

    Args:
        law: a law of loss curves.
        total_steps: updates.
        peak: the highest rate; None: what the law prefers, if it prefers any.
        warmup_steps: updates in which the rate rises linearly from 0; the law is asked about the updates after them,
            and of a law that sums rates their sum is left out, which shifts every schedule's loss alike.
        end: the lowest rate; whether it is reached is for the law to say.
        monotone: whether the rate may only fall; otherwise it stays between ``end`` and ``peak``.

    Returns:
        The rate of every update, and ``end`` for what follows them.

    Raises:
        LawError: a bad argument; or the law wants updates at no rate, or an ever higher peak. It is a ValueError.
    """
    _check(law, total_steps, peak, warmup_steps, end)
    length = total_steps - warmup_steps
    rates, peak = _best_rates(law, length, peak, float(end), monotone)
    idle = int((rates < NOTHING * peak).sum())
    if idle > max(2, MOST_IDLE * total_steps):
        raise LawError(
            f"best_schedule: {type(law).__name__} wants {idle} of {total_steps} updates at no rate, which train "
            "nothing; the law does not hold there: give a lowest rate (end=...), or a law that knows what a drop takes"
        )
    warmup = peak * np.arange(warmup_steps) / max(warmup_steps, 1)
    return Tabulated(np.concatenate([warmup, rates, [end]]))


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


def _first_peak(law: ScheduleLaw, length: int, end: float) -> float:
    """The peak of the smallest loss among octaves, of a straight fall.

    Raises:
        LawError: the loss falls with the peak as far as one looks.
    """
    line = np.linspace(1.0, 0.0, length + 1)[:-1]
    losses = np.array([_loss(law, end + scale * line) for scale in _SCALES])
    best = int(np.nanargmin(losses))
    if best == len(_SCALES) - 1:
        raise LawError(
            f"best_schedule: {type(law).__name__} predicts a lower loss for any higher peak, which no run would show; "
            "give the peak of the curves that it was fitted to"
        )
    return float(_SCALES[best])


def _loss(law: ScheduleLaw, rates: np.ndarray) -> float:
    return float(np.asarray(law.formula(law.end_rows(rates)))[0])


def _best_rates(
    law: ScheduleLaw, length: int, peak: float | None, end: float, monotone: bool
) -> tuple[np.ndarray, float]:
    """Rates, shape (length,), and their peak."""
    from scipy.optimize import minimize

    # The first of the free numbers is the logarithm of the peak over the one that the search begins with.
    first = _first_peak(law, length, end) if peak is None else float(peak)
    bounds = (None, None) if peak is None else (0.0, 0.0)
    with double_precision():
        program = _program(type(law), length, monotone)

        def objective(free: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = program(law, jnp.asarray(free), first, end)
            return float(value), np.asarray(gradient)

        options = {"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "ftol": 1e-12, "gtol": 1e-10}
        found = [
            minimize(
                objective,
                np.append(0.0, start),
                jac=True,
                method="L-BFGS-B",
                bounds=[bounds, *[(None, None)] * len(start)],
                options=options,
            )
            for start in _starts(_knots(length) / (length - 1), monotone)
        ]
        best = min(found, key=lambda one: one.fun)
        rates = np.asarray(_rates(jnp.asarray(best.x), first, end, length, monotone))
    return rates, first * float(np.exp(best.x[0]))


def _knots(length: int) -> np.ndarray:
    """Places of the knots, from 0 to the last update, at most one an update."""
    last = length - 1
    even = np.linspace(0, last, KNOTS)
    closer = last - np.geomspace(1, max(last, 1), KNOTS)
    return np.unique(np.round(np.concatenate([even, closer])).clip(0, last)).astype(int)


def _starts(places: np.ndarray, monotone: bool) -> list[np.ndarray]:
    """A straight fall, a fall that is slow at first, and one in the last fifth; see ``_rates`` for what they mean."""
    falls = [1 - places, np.cos(np.pi * places / 2) ** 2, np.clip((1 - places) / 0.2, 0, 1)]
    least = 1e-3 / len(places)
    starts = []
    for fall in falls:
        if monotone:
            drops = np.append(-np.diff(fall), fall[-1]).clip(least)
            starts.append(np.log(drops))
        else:
            share = fall.clip(least, 1 - least)
            starts.append(np.log(share / (1 - share)))
    return starts


def _rates(free: Any, peak: Any, end: Any, length: int, monotone: bool) -> Any:
    """Rates of every update from numbers without bounds, of which the first scales the peak.

    Monotone: the shares of the whole fall that happen before each knot but the first, and that which never happens, by
        a
    softmax. Otherwise how far every knot is up from ``end`` to ``peak``, by a sigmoid.
    """
    knots = _knots(length)
    peak, free = peak * jnp.exp(free[0]), free[1:]
    if monotone:
        fallen = jnp.cumsum(jax.nn.softmax(free))[:-1]
        share = jnp.concatenate([jnp.ones(1), 1 - fallen])
    else:
        share = jax.nn.sigmoid(free)
    return end + (peak - end) * jnp.interp(np.arange(length), knots, share)


@functools.lru_cache(maxsize=16)
def _program(cls: type[ScheduleLaw], length: int, monotone: bool) -> Any:
    """The final loss and its gradient by the free numbers; the law is data, so another fit of it compiles nothing."""
    del cls

    def loss(law: ScheduleLaw, free: Any, peak: Any, end: Any) -> Any:
        return law.formula(law.end_rows(_rates(free, peak, end, length, monotone)))[0]

    return jax.jit(jax.value_and_grad(loss, argnums=1))
