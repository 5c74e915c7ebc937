"""A schedule refined from the gradient norms of an earlier run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lrstudy.schedules.checks import BELOW_ONE, STEP_LIMIT, Range, fail, one_of, plain_int, plain_number
from lrstudy.schedules.tabulated import Tabulated

_OWNER = "refined"
_POWERS = {"sgd": -2, "adam": -1}
_MILLION = 1_000_000


def refined(
    gradient_norms: Sequence[float] | np.ndarray | Any,
    *,
    optimizer: str = "sgd",
    smoothing: float = 0.1,
    points: int = 10_000,
    drop: int = 2,
    total_steps: int | None = None,
    scale: float = 1.0,
) -> Tabulated:
    """The schedule that is optimal for gradients as large as those of an earlier run (arXiv:2310.07831).

    With w the gradient norm to the power -2 (SGD, l2 norms) or -1 (Adam and its like, l1 norms), the rate is
    ``eta_t = w_t sum_{p > t} w_p``, divided by its maximum; the last rate is 0. Constant norms give a line. The norms
    are first made at least `points` by linear interpolation and smoothed by a running median.

    Args:
        gradient_norms: one for every update of the earlier run, or for every so many; above 0. Infinite ones, which
            are those of skipped updates, are left out.
        optimizer: "sgd", whose norms are l2, or "adam", whose norms are l1.
        smoothing: width of the median filter as a share of the points, in [0, 1); 0 for none.
        points: least length of the table.
        drop: how many norms are left out at either end.
        total_steps: length of the new run in optimizer updates; None: one step a point.
        scale: the new run's highest rate, to be tuned.

    Returns:
        A table whose highest value is 1.

    Raises:
        ScheduleError: for a bad argument, naming the first norm that is not positive.
    """
    if optimizer not in _POWERS:
        fail(_OWNER, "optimizer", one_of(_POWERS, optimizer), optimizer)
    smoothing = plain_number(_OWNER, "smoothing", smoothing, Range(0, BELOW_ONE, "in [0, 1)"))
    points = plain_int(_OWNER, "points", points, Range(1, STEP_LIMIT, "a positive int"))
    drop = plain_int(_OWNER, "drop", drop, Range(0, STEP_LIMIT, "a non-negative int"))
    norms = smoothed(_stretched(_kept(gradient_norms, drop), points), smoothing)
    # Divided by the smallest, so that no power of a norm leaves the range of floats.
    weights = (norms / norms.min()) ** _POWERS[optimizer]
    rates = np.zeros(len(weights))
    rates[:-1] = weights[:-1] * np.cumsum(weights[:0:-1])[::-1]
    return Tabulated(rates / rates.max(), total_steps=total_steps, scale=scale)


def smoothed(norms: np.ndarray, smoothing: float) -> np.ndarray:
    """The running median over an odd width of ``smoothing * len(norms)``, rounded as the paper's code does.

    The end is continued by reflection, where the norms of a finished run change most; the beginning by its first value.

    Args:
        norms: shape (n,).
        smoothing: in [0, 1).

    Returns:
        shape (n,).
    """
    from scipy.ndimage import median_filter

    # The share is read to six decimals, as by `steps_from_fraction`: 0.58 * 100 is 57.99 in binary.
    width = 2 * (round(smoothing * _MILLION) * len(norms) // _MILLION // 2) + 1
    continued = np.pad(norms, (0, 2 * width), mode="reflect")
    return median_filter(continued, size=width, mode="nearest")[: len(norms)]


def _kept(gradient_norms: Any, drop: int) -> np.ndarray:
    """The norms that count, in float64."""
    try:
        norms = np.asarray(gradient_norms, np.float64)
    except (TypeError, ValueError):
        norms = np.zeros(())
    if norms.ndim != 1:
        fail(_OWNER, "gradient_norms", "a sequence of positive numbers", gradient_norms)
    wrong = np.flatnonzero(~(norms > 0))
    if wrong.size:
        fail(_OWNER, f"gradient_norms[{wrong[0]}]", "a positive number", norms[wrong[0]].item())
    finite = norms[np.isfinite(norms)]
    if len(finite) < 2 * drop + 2:
        fail(_OWNER, "gradient_norms", "at least 2 * drop + 2 finite numbers", len(finite))
    return finite[drop : len(finite) - drop]


def _stretched(norms: np.ndarray, points: int) -> np.ndarray:
    """At least `points` norms, by linear interpolation."""
    if len(norms) >= points:
        return norms
    return np.interp(np.linspace(0, len(norms) - 1, points), np.arange(len(norms)), norms)
