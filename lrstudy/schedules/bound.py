"""What convex optimization says of a schedule: a bound on the loss at the end of a run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lrstudy.schedules.base import Schedule
from lrstudy.schedules.checks import ABOVE_ZERO, LARGEST, STEP_LIMIT, Range, fail, plain_int, plain_number


class BoundTerms(NamedTuple):
    """The parts of the bound, in the units of the loss.

    Attributes:
        distance: ``D^2 / (2 S)``, S the sum of the rates: how far the optimum may be.
        noise: ``sum_t eta_t^2 G_t^2 / (2 S)``: what the steps themselves cost.
        last_iterate: what the last parameters cost over the average of all.
    """

    distance: float
    noise: float
    last_iterate: float


def bound(
    rates: Sequence[float] | np.ndarray | Schedule | Any,
    *,
    G: float | Sequence[float] | np.ndarray = 1.0,
    D: float = 1.0,
    total_steps: int | None = None,
) -> float:
    """The bound on the excess loss of the last iterate of subgradient descent (arXiv:2310.07831, theorem 10).

    With ``S = sum_t eta_t``, over the updates t = 1 ... T,
    ``D^2 / (2 S) + sum_t eta_t^2 G_t^2 / (2 S) + 1/2 sum_{k < T} (eta_k / sum_{t > k} eta_t)
    (sum_{t >= k} eta_t^2 G_t^2 / sum_{t >= k} eta_t)``. It holds for convex losses; as a prediction of which schedule
    is better it goes further (arXiv:2501.18965). Takes time and memory proportional to T.

    Args:
        rates: the rate of every update, shape (T,), none below 0; or a schedule. Updates of rate 0 at the end change
            nothing and are left out.
        G: bound on the gradient's norm, above 0; one for all updates or one for each, shape (T,).
        D: distance from the first parameters to the optimum, at least 0.
        total_steps: T; needed for a schedule, and of an array the rates that count.

    Returns:
        The bound, in the units of the loss.

    Raises:
        ScheduleError: for a bad argument.
    """
    return sum(bound_terms(rates, G=G, D=D, total_steps=total_steps))


def best_peak(
    shape: Sequence[float] | np.ndarray | Schedule | Any,
    total_steps: int,
    *,
    G: float | Sequence[float] | np.ndarray = 1.0,
    D: float = 1.0,
) -> float:
    """The peak at which a schedule of this shape has the smallest `bound`.

    Scaled by c, the first term of the bound is divided by c and the others are multiplied by it, so the best c is the
    root of their ratio.

    Args:
        shape: a schedule, or the rate of every update; its own peak is of no consequence.
        total_steps: number of updates; of an array, those that count.
        G: as in `bound`.
        D: as in `bound`, above 0.

    Returns:
        The highest rate of the best schedule.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> from lrstudy.schedules import Constant, Linear
        >>> constant, linear = best_peak(Constant(1.0), 100), best_peak(Linear(1.0, 100), 100)
        >>> f"{bound(Constant(constant), total_steps=100):.3f}", f"{bound(Linear(linear, 100), total_steps=100):.3f}"
        ('0.249', '0.204')
    """
    owner = "best_peak"
    D = plain_number(owner, "D", D, Range(ABOVE_ZERO, LARGEST, "a finite positive number"))
    total_steps = plain_int(owner, "total_steps", total_steps, Range(1, STEP_LIMIT, "a positive int"))
    rates = _rates(owner, "shape", shape, total_steps)
    distance, noise, last_iterate = bound_terms(rates, G=G, D=D)
    return float(rates.max() * np.sqrt(distance / (noise + last_iterate)))


def bound_terms(
    rates: Sequence[float] | np.ndarray | Schedule | Any,
    *,
    G: float | Sequence[float] | np.ndarray = 1.0,
    D: float = 1.0,
    total_steps: int | None = None,
) -> BoundTerms:
    """The parts of `bound`, whose arguments these are.

    Raises:
        ScheduleError: for a bad argument.
    """
    owner = "bound"
    D = plain_number(owner, "D", D, Range(0, LARGEST, "a finite number of at least 0"))
    eta = _rates(owner, "rates", rates, total_steps)
    costs = eta**2 * _norms(owner, G, len(eta)) ** 2
    moving = len(eta) - int(np.argmax(eta[::-1] > 0))
    eta, costs = eta[:moving], costs[:moving]
    # Sums over the updates from each one on, from the last backwards.
    rates_left, costs_left = np.cumsum(eta[::-1])[::-1], np.cumsum(costs[::-1])[::-1]
    parts = eta[:-1] / rates_left[1:] * costs_left[:-1] / rates_left[:-1]
    whole = 2 * rates_left[0]
    return BoundTerms(float(D * D / whole), float(costs_left[0] / whole), float(parts.sum() / 2))


def _rates(owner: str, name: str, given: Any, total_steps: int | None) -> np.ndarray:
    """The rates of a schedule or of an array, shape (T,), float64, none below 0 and not all 0."""
    rates = given
    if total_steps is not None or isinstance(given, Schedule):
        total_steps = plain_int(owner, "total_steps", total_steps, Range(1, STEP_LIMIT, "a positive int"))
        rates = given(np.arange(total_steps)) if isinstance(given, Schedule) else given
    try:
        eta = np.asarray(rates, np.float64)
    except (TypeError, ValueError):
        eta = np.zeros(())
    if eta.ndim != 1 or not ((eta >= 0) & (eta <= LARGEST)).all() or not (eta[:total_steps] > 0).any():
        fail(owner, name, "a sequence of finite rates, none below 0 and not all 0", given)
    if total_steps is not None and len(eta) < total_steps:
        fail(owner, name, "at least total_steps rates", len(eta))
    return eta[:total_steps]


def _norms(owner: str, norms: Any, count: int) -> np.ndarray:
    """Shape () or (count,), float64."""
    try:
        bounds = np.asarray(norms, np.float64)
    except (TypeError, ValueError):
        bounds = np.zeros(())
    if bounds.shape not in ((), (count,)) or not ((bounds > 0) & (bounds <= LARGEST)).all():
        fail(owner, "G", "a finite positive number, or one for each of rates", norms)
    return bounds
