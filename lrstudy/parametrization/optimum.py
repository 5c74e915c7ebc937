"""The learning rate at which a loss curve is lowest."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Optimum(NamedTuple):
    """Where a curve of loss against learning rate is lowest.

    Attributes:
        value: the rate.
        on_edge: the lowest loss sits on the first or last rate of the grid, though others may have it too, so the true
            optimum may lie outside.
    """

    value: float
    on_edge: bool


def optimal_learning_rate(learning_rates: Sequence[float], losses: Sequence[float]) -> Optimum:
    """The vertex of the parabola in log rate through the lowest point and its two neighbours.

    Where a neighbour diverged (a loss that is not finite), the grid's own best rate is returned.

    Args:
        learning_rates: positive, in any order, all different, at least one.
        losses: one a rate; a diverged one may be infinite or NaN.

    Raises:
        ValueError: the lengths differ, a rate is not positive or given twice, or no loss is finite.
    """
    rates = np.asarray(learning_rates, dtype=np.float64)
    values = np.asarray(losses, dtype=np.float64)
    if rates.shape != values.shape or rates.ndim != 1 or not rates.size:
        raise ValueError(f"losses must hold one value a rate, got {values.shape} for {rates.shape}")
    if not ((rates > 0) & np.isfinite(rates)).all() or np.unique(rates).size != rates.size:
        raise ValueError(f"learning_rates must be positive, finite and different, got {learning_rates!r}")
    if not np.isfinite(values).any():
        raise ValueError("losses must hold a finite value: every rate diverged")
    order = np.argsort(rates)
    rates, values = rates[order], np.where(np.isfinite(values[order]), values[order], np.inf)
    best = int(np.argmin(values))
    if values[-1] == values[best]:
        best = rates.size - 1
    if best in (0, rates.size - 1):
        return Optimum(float(rates[best]), on_edge=True)
    if not np.isfinite(values[best - 1 : best + 2]).all():
        return Optimum(float(rates[best]), on_edge=False)
    left, right = np.log(rates[[best - 1, best + 1]] / rates[best])
    rise_left, rise_right = values[[best - 1, best + 1]] - values[best]
    # The parabola through (left, rise_left), (0, 0) and (right, rise_right); both rises are at least 0.
    bend = rise_right / right - rise_left / left
    if bend == 0:
        return Optimum(float(rates[best]), on_edge=False)
    vertex = (rise_right * left / right - rise_left * right / left) / (2 * bend)
    return Optimum(float(rates[best] * np.exp(vertex)), on_edge=False)
