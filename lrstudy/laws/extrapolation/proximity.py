"""When a growing curve is near enough its asymptote: power curves fitted to longer and longer prefixes.

After Vilares, Darriba & Ribadas, Modeling of learning curves with applications to part-of-speech tagging: a power curve
is fitted to growing prefixes of an accuracy curve, trusted from a prediction level on, and training ends once the curve
is within a threshold of its asymptote. That is the abstract's; the form A(x) = -a x^-b + c and how the level and the
distance are measured here are our reading of it.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

LEAST_POINTS = 4
"""Points that three numbers are fitted to."""
_FASTEST, _SLOWEST = 10.0, 1e-3
_TOLERANCE, _EVALUATIONS = 1e-12, 300


@dataclasses.dataclass(frozen=True)
class PowerCurve:
    """A(x) = -a x^-b + c, which rises to c.

    Attributes:
        a: at least 0, how far below the asymptote it is at x = 1.
        b: above 0.
        c: asymptote.
    """

    a: float
    b: float
    c: float

    def __call__(self, x: Float[np.ndarray, "*shape"] | float) -> Float[np.ndarray, "*shape"]:
        """The value at ``x`` above 0."""
        return self.c - self.a * np.asarray(x, np.float64) ** -self.b


class Levels(NamedTuple):
    """Fits to growing prefixes.

    Attributes:
        points: lengths of the prefixes.
        asymptotes: c of each fit.
        proximities: how far each fit's last point lies below its asymptote.
        prediction: index of the first prefix whose fit and those after it are trusted; as many as there are prefixes
            if none is.
    """

    points: Int[np.ndarray, " levels"]
    asymptotes: Float[np.ndarray, " levels"]
    proximities: Float[np.ndarray, " levels"]
    prediction: int


def fit_power(x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"]) -> PowerCurve:
    """The power curve of least squares with a >= 0 and b in [0.001, 10], by SciPy's trust-region solver.

    Args:
        x: positions, above 0 and increasing.
        y: values, rising overall.

    Raises:
        ValueError: too few points, a position at or below 0, or a value that is not finite.
    """
    from scipy.optimize import least_squares

    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) != len(y) or len(x) < LEAST_POINTS:
        raise ValueError(f"y must hold at least {LEAST_POINTS} values, one a position, got {len(y)} for {len(x)}")
    if not (x > 0).all() or not np.isfinite(y).all():
        raise ValueError("x must be above 0 and y finite")
    scale = float(np.ptp(y))
    if not scale:
        return PowerCurve(0.0, 1.0, float(y[0]))
    # In units of the first position and the values' spread every curve is of size one.
    log_unit = np.log(x / x[0])

    def residuals(parameters: np.ndarray) -> np.ndarray:
        a, log_b, c = parameters
        return c - a * np.exp(-np.exp(log_b) * log_unit) - (y - y[-1]) / scale

    def jacobian(parameters: np.ndarray) -> np.ndarray:
        a, log_b, _ = parameters
        decay = np.exp(-np.exp(log_b) * log_unit)
        return np.stack([-decay, a * np.exp(log_b) * log_unit * decay, np.ones_like(y)], 1)

    bounds = [0, np.log(_SLOWEST), -np.inf], [np.inf, np.log(_FASTEST), np.inf]
    starts = [np.array([1.0, np.log(b), 0.1]) for b in (0.1, 0.5, 2.0)]
    precise = {"xtol": _TOLERANCE, "ftol": _TOLERANCE, "gtol": _TOLERANCE, "max_nfev": _EVALUATIONS}
    fits = [least_squares(residuals, start, jacobian, bounds, **precise) for start in starts]
    a, log_b, c = min(fits, key=lambda fit: fit.cost).x
    b = float(np.exp(log_b))
    return PowerCurve(float(a * scale * x[0] ** b), b, float(c * scale + y[-1]))


def levels(
    x: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " points"],
    *,
    first: int = LEAST_POINTS,
    every: int = 1,
    ceiling: float = 1.0,
    steady: float = 0.05,
) -> Levels:
    """Fits to growing prefixes, and from which on they are trusted.

    A fit is usable if its asymptote is neither above the ceiling nor below the largest value seen by more than
    ``steady``, and moved by at most ``steady`` since the prefix before. The prediction level is the first usable fit.

    Args:
        x: positions, above 0 and increasing.
        y: values, rising overall.
        first: points of the shortest prefix.
        every: points that each further prefix adds.
        ceiling: largest value that is possible, 1 for an accuracy.
        steady: change of the asymptote that is small.

    Raises:
        ValueError: the curve is shorter than the first prefix.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    points = np.arange(first, len(x) + 1, every)
    if not len(points):
        raise ValueError(f"y must hold at least {first} values, got {len(y)}")
    fits = [fit_power(x[:n], y[:n]) for n in points]
    asymptotes = np.array([fit.c for fit in fits])
    proximities = np.array([fit.c - float(fit(x[n - 1])) for n, fit in zip(points, fits, strict=True)])
    highest = np.maximum.accumulate(y)[points - 1]
    moved = np.abs(np.diff(asymptotes, prepend=np.inf))
    usable = (asymptotes <= ceiling) & (asymptotes >= highest - steady) & (moved <= steady)
    prediction = int(usable.argmax()) if usable.any() else len(points)
    return Levels(points, asymptotes, proximities, prediction)


def stop_at(found: Levels, tau: float) -> int | None:
    """The length of the first prefix, from the prediction level on, that is within ``tau`` of its asymptote.

    Returns:
        the number of points; ``None`` if the curve is not near its asymptote yet.

    Raises:
        ValueError: tau is not above 0.
    """
    if not tau > 0:
        raise ValueError(f"tau must be above 0, got {tau!r}")
    near = found.proximities <= tau
    near[: found.prediction] = False
    return int(found.points[near.argmax()]) if near.any() else None
