"""How much a loss depends on the learning rate, and where it crosses a level."""

import math
from collections.abc import Sequence

import numpy as np


def learning_rate_sensitivity(losses: Sequence[float], initial_loss: float) -> float:
    """The loss above its least, averaged over a grid of rates (Wortsman et al. 2023, arXiv 2309.14322, section 2.2).

    S = mean over rates of ``min(loss, initial_loss) - least loss``. It depends on the range of the grid: a range that
    reaches down to rates at which little is learnt measures that instead, so it is chosen before and reported.

    Args:
        losses: final losses, one a rate of a grid that is even in log rate; a diverged run may be infinite or NaN and
            counts as one that learnt nothing.
        initial_loss: of the model before training.

    Returns:
        S, in the unit of the losses.

    Raises:
        ValueError: there are no losses, none is finite, or the initial loss is not finite.
    """
    values = np.asarray(losses, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).any():
        raise ValueError(f"losses must hold a finite value, got {losses!r}")
    if not math.isfinite(initial_loss):
        raise ValueError(f"initial_loss must be finite, got {initial_loss!r}")
    capped = np.minimum(np.where(np.isfinite(values), values, np.inf), initial_loss)
    return float(np.mean(capped) - np.min(capped))


def learning_rate_at_threshold(learning_rates: Sequence[float], losses: Sequence[float], threshold: float) -> float:
    """The least rate at which the loss falls through a level, interpolated in log rate.

    It does not depend on the flat and noisy bottom of the curve, as its lowest point does.

    Args:
        learning_rates: positive, all different, in any order.
        losses: one a rate; a diverged one may be infinite or NaN.
        threshold: the level.

    Returns:
        The rate; NaN where no loss below the level has a higher, finite one at the next smaller rate.

    Raises:
        ValueError: the lengths differ, or a rate is not positive or given twice.
    """
    rates = np.asarray(learning_rates, dtype=np.float64)
    values = np.asarray(losses, dtype=np.float64)
    if rates.shape != values.shape or rates.ndim != 1:
        raise ValueError(f"losses must hold one value a rate, got {values.shape} for {rates.shape}")
    if not ((rates > 0) & np.isfinite(rates)).all() or np.unique(rates).size != rates.size:
        raise ValueError(f"learning_rates must be positive, finite and different, got {learning_rates!r}")
    order = np.argsort(rates)
    rates, values = rates[order], values[order]
    crossing = np.flatnonzero((values[:-1] > threshold) & (values[1:] <= threshold) & np.isfinite(values[:-1]))
    if not crossing.size:
        return math.nan
    i = int(crossing[0])
    share = (values[i] - threshold) / (values[i] - values[i + 1])
    return float(rates[i] * (rates[i + 1] / rates[i]) ** share)
