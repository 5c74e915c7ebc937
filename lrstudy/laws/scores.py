"""How well a law predicts losses."""

from collections.abc import Iterable, Mapping

import numpy as np

SCORES = ("r2", "mae", "relative_error", "worst_error")


def scores(predicted: np.ndarray, losses: np.ndarray) -> dict[str, float]:
    """How well losses are predicted.

    Args:
        predicted: shape (n,).
        losses: shape (n,).

    Returns:
        ``r2``, the share of the losses' variance that is explained; ``mae``, mean absolute error; ``relative_error``,
        mean of the absolute errors over the losses; ``worst_error``, the largest of those.
    """
    error = np.abs(predicted - losses)
    spread = float(np.sum((losses - losses.mean()) ** 2))
    explained = 1 - float(np.sum(error**2)) / spread if spread > 0 else float("nan")
    relative = error / losses
    return {
        "r2": explained,
        "mae": float(error.mean()),
        "relative_error": float(relative.mean()),
        "worst_error": float(relative.max()),
    }


def average(each: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Scores averaged over curves, whatever their lengths."""
    found = list(each)
    return {name: float(np.mean([one[name] for one in found])) for name in SCORES}
