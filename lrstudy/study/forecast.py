"""Where a short stretch of losses is heading: ``a exp(b x) + c`` with b < 0, fitted and read far to the right.

Jin et al. 2021, AutoLRS (arXiv 2105.10762), section 4.2: a constant learning rate is tried for tau' steps and judged by
the loss that this curve gives after tau steps.
"""

import dataclasses
from typing import Literal

import numpy as np

Smoothing = Literal["none", "train", "validation"]

LEAST_LOSSES = 3
"""Losses that three numbers need."""
SLOWEST = 10.0
"""Longest time constant, in lengths of the stretch: a slower decay cannot be told from a straight line in it."""
FASTEST = 5.0
"""Largest decay between neighbouring points, as an exponent: a faster one is over before the second point."""
_SCAN = 64
_TOLERANCE = 1e-10


@dataclasses.dataclass(frozen=True)
class ExponentialCurve:
    """``a exp(b x) + c``.

    Attributes:
        a: height above the asymptote at x = 0; negative for losses that rise towards it.
        b: exponent a step, below 0.
        c: asymptote.
    """

    a: float
    b: float
    c: float

    def __call__(self, x: float) -> float:
        """The loss at ``x``."""
        return float(self.a * np.exp(self.b * x) + self.c)


def fit_exponential(x: np.ndarray, losses: np.ndarray) -> ExponentialCurve:
    """The curve of least squares.

    For a given b the best a and c are linear least squares (variable projection), so b alone is searched: over a grid
    of its logarithm, which finds the right valley, then by bounded minimisation in it. Losses that are all equal give
    a = 0. Losses that rise ever faster, or fall along a straight line, get the slowest curve (``SLOWEST``).

    Args:
        x: positions, increasing, at least ``LEAST_LOSSES``.
        losses: one finite loss a position.

    Raises:
        ValueError: too few losses, or one that is not finite.
    """
    from scipy.optimize import minimize_scalar

    x, losses = np.asarray(x, np.float64), np.asarray(losses, np.float64)
    if len(losses) < LEAST_LOSSES or len(x) != len(losses):
        raise ValueError(f"losses must hold at least {LEAST_LOSSES} values, one a position, got {len(losses)}")
    if not np.isfinite(losses).all():
        raise ValueError(f"losses must be finite, got {losses[~np.isfinite(losses)][0]!r}")
    origin, span = x[0], x[-1] - x[0]
    if np.ptp(losses) == 0:
        return ExponentialCurve(0.0, -1 / float(span), float(losses[0]))
    logs = np.linspace(np.log(1 / (SLOWEST * span)), np.log(FASTEST / np.diff(x).min()), _SCAN)

    def linear(log_decay: float) -> tuple[float, float, float]:
        """Height at the first position, asymptote and the sum of squared residuals."""
        decay = np.exp(-np.exp(log_decay) * (x - origin))
        centred = decay - decay.mean()
        a = float(centred @ (losses - losses.mean()) / (centred @ centred))
        c = float(losses.mean() - a * decay.mean())
        return a, c, float(np.sum((a * decay + c - losses) ** 2))

    best = int(np.argmin([linear(log)[2] for log in logs]))
    bounds = logs[max(best - 1, 0)], logs[min(best + 1, _SCAN - 1)]
    options = {"xatol": _TOLERANCE}
    log_decay = float(minimize_scalar(lambda t: linear(t)[2], bounds=bounds, method="bounded", options=options).x)
    a, c, _ = linear(log_decay)
    b = -float(np.exp(log_decay))
    return ExponentialCurve(a * float(np.exp(-b * origin)), b, c)


def smooth(x: np.ndarray, losses: np.ndarray, *, rounds: int, dropped: int) -> np.ndarray:
    """Losses on a quadratic smoothing spline that outliers of the first half do not pull.

    As in the authors' program: a spline is fitted ``rounds`` times; each time the ``dropped`` points farthest from it
    are found and those of them in the first half are left out of the next. The spline's smoothing is SciPy's default,
    a squared residual of one a point, so that for losses that scatter by less it is one parabola, and the points left
    out are those of the steep beginning. On an exact exponential, 2 exp(-0.02 x) + 0.5 over 100 steps, that biases the
    fitted asymptote to 0.455 without rounds, and to 0.351 with the ten rounds of three points of ``train``.

    Args:
        x: positions, increasing.
        losses: finite.
        rounds: of removal.
        dropped: points looked at in each round.

    Returns:
        The spline at every ``x``.
    """
    from scipy.interpolate import UnivariateSpline

    kept_x, kept = x, losses
    middle = (x[0] + x[-1]) / 2
    for _ in range(rounds):
        distance = np.abs(kept - UnivariateSpline(kept_x, kept, k=2)(kept_x))
        farthest = np.argsort(distance)[len(kept) - dropped :]
        outliers = farthest[kept_x[farthest] < middle]
        if len(kept) - len(outliers) <= LEAST_LOSSES:
            break
        kept_x, kept = np.delete(kept_x, outliers), np.delete(kept, outliers)
    return UnivariateSpline(kept_x, kept, k=2)(x)


def forecast(losses: np.ndarray, horizon: float, *, spacing: float = 1.0, smoothing: Smoothing = "none") -> float:
    """The loss that a stretch of losses is heading for.

    Args:
        losses: the stretch, evenly spaced, from x = 0 on.
        horizon: x of the forecast, in steps from the beginning of the stretch.
        spacing: steps between two losses.
        smoothing: ``train``: ten rounds of outlier removal, 3 % of the points each; ``validation``: one round, one
            point; ``none``: the losses as they are.

    Returns:
        The forecast; infinite if any loss is not finite. Fewer than ``LEAST_LOSSES`` losses show no trend: the last
        one stands for the forecast.

    Raises:
        ValueError: there is no loss, or an unknown smoothing.
    """
    values = np.asarray(losses, np.float64)
    if not values.size:
        raise ValueError("losses must hold at least one value, got none")
    if smoothing not in ("none", "train", "validation"):
        raise ValueError(f"smoothing must be one of ['none', 'train', 'validation'], got {smoothing!r}")
    if not np.isfinite(values).all():
        return float("inf")
    if len(values) < LEAST_LOSSES:
        return float(values[-1])
    x = spacing * np.arange(len(values))
    if smoothing == "train":
        values = smooth(x, values, rounds=10, dropped=round(0.03 * len(values)))
    elif smoothing == "validation":
        values = smooth(x, values, rounds=1, dropped=1)
    return fit_exponential(x, values)(horizon)
