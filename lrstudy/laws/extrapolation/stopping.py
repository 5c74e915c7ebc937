"""When to stop a run that will not beat the best: if no later point is likely to lie above it.

Domhan, Springenberg & Hutter 2015 (IJCAI), and Adriaensen et al. 2023 (arXiv 2310.20447): a run is stopped after T of
its m points if Pr(y_t > y_best) <= 0.05 for every t in (T, m]. Where curves are noisy, one of many points may lie above
the best though each is unlikely to; the stricter rule bounds the chance that any does by the sum of theirs.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from lrstudy.laws.extrapolation.prior import LENGTH

UNLIKELY = 0.05
Over = Literal["each", "any"]
"""Whether the chance of each later point must be small, or that of any of them, by the sum of their chances."""


class Forecast(Protocol):
    """Distributions of the points after a prefix."""

    def cdf(self, y: Any) -> Any:
        """The probability of values up to y, one a point."""
        ...

    def point(self, place: int) -> "Forecast":
        """The distribution of one point, 0 being the first to come."""
        ...


class Predictor(Protocol):
    """What says how a curve goes on: an `Extrapolator` or an `ImportanceSampler`."""

    def predict(self, prefix: Float[np.ndarray, " observed"]) -> Forecast:
        """The distributions of the points after a prefix, up to the hundredth."""
        ...


@dataclasses.dataclass(frozen=True)
class LossScale:
    """How losses become curves that rise within [0, 1], and back.

    It assumes that the bounds are known before a run: the loss of a model that knows nothing (its first, or chance),
    and one that no run will beat. A prediction depends on them, for the prior knows no other unit; bounds that are much
    too wide make every curve flat. A loss beyond a bound counts as the bound, so the way back is exact between them
    alone.

    Attributes:
        best: becomes 1.
        worst: becomes 0; above ``best``.
        logarithmic: whether equal ratios of losses, rather than equal differences, become equal steps.
    """

    best: float
    worst: float
    logarithmic: bool = False

    def __post_init__(self) -> None:
        """Checks the bounds.

        Raises:
            ValueError: they are not finite or not in order, or not above 0 where logarithms are taken.
        """
        if not (math.isfinite(self.best) and math.isfinite(self.worst) and self.best < self.worst):
            raise ValueError(f"best must be finite and below worst, got {self.best!r} and {self.worst!r}")
        if self.logarithmic and self.best <= 0:
            raise ValueError(f"best must be above 0 on a logarithmic scale, got {self.best!r}")

    def to_curve(self, losses: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Values in [0, 1], higher for lower losses; a loss that is not finite counts as the worst."""
        losses = np.asarray(losses, np.float64)
        bounded = np.clip(np.where(np.isfinite(losses), losses, self.worst), self.best, self.worst)
        worst, best = self._measure(self.worst), self._measure(self.best)
        return (worst - self._measure(bounded)) / (worst - best)

    def to_losses(self, values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The losses of values in [0, 1]."""
        worst, best = self._measure(self.worst), self._measure(self.best)
        measured = worst - np.asarray(values, np.float64) * (worst - best)
        return np.exp(measured) if self.logarithmic else measured

    def _measure(self, losses: Any) -> Any:
        return np.log(losses) if self.logarithmic else losses


def binned(values: Float[np.ndarray, " points"], bins: int = LENGTH) -> Float[np.ndarray, " bins"]:
    """Means of so many neighbouring stretches of a curve, of lengths that differ by one at most.

    Raises:
        ValueError: there are fewer values than bins.
    """
    values = np.asarray(values, np.float64)
    if not 1 <= bins <= len(values):
        raise ValueError(f"bins must be 1 to {len(values)}, one a value at most, got {bins!r}")
    return np.array([part.mean() for part in np.array_split(values, bins)])


def exceedance(forecast: Forecast, best: float, points: int) -> Float[np.ndarray, " points"]:
    """The probability that each of the next points lies above the best."""
    return 1 - np.asarray(forecast.cdf(np.float32(best)), np.float64)[:points]


def is_hopeless(chances: Float[np.ndarray, " points"], unlikely: float = UNLIKELY, over: Over = "each") -> bool:
    """Whether points with these chances to lie above the best are given up.

    Raises:
        ValueError: ``over`` is neither ``each`` nor ``any``.
    """
    if over not in ("each", "any"):
        raise ValueError(f"over must be 'each' or 'any', got {over!r}")
    return bool((chances.sum() if over == "any" else chances.max()) <= unlikely)


def should_stop(
    predictor: Predictor,
    prefix: Float[np.ndarray, " observed"],
    best: float,
    *,
    horizon: int = LENGTH,
    unlikely: float = UNLIKELY,
    over: Over = "each",
) -> bool:
    """Whether no later point of a run is likely to lie above the best.

    Args:
        predictor: of the rest of a curve.
        prefix: the run's values so far, higher being better, within [0, 1] but for noise.
        best: value to beat; minus infinity where there is none.
        horizon: points of a whole run, at most 100.
        unlikely: probability up to which a run is given up.
        over: whose probability that is: of each later point, or of any.

    Raises:
        ValueError: the horizon is longer than the prior's curves, or the prefix holds no or not finite values.
    """
    if not 1 <= horizon <= LENGTH:
        raise ValueError(f"horizon must be 1 to {LENGTH} points, got {horizon!r}")
    left = horizon - len(prefix)
    if left <= 0 or best == -math.inf:
        return False
    return is_hopeless(exceedance(predictor.predict(np.asarray(prefix)), best, left), unlikely, over)


class Backtest(NamedTuple):
    """What stopping would have done to finished runs, an entry an ordering.

    Attributes:
        trained: points that were trained.
        possible: points that the same runs would have had without stopping.
        regret: the best value of all runs less the best that was seen.
        regret_without: of runs that are never stopped, with the same budget.
        best_stopped: whether the best of the runs that were begun was stopped before it reached its best value.
    """

    trained: Int[np.ndarray, " orderings"]
    possible: Int[np.ndarray, " orderings"]
    regret: Float[np.ndarray, " orderings"]
    regret_without: Float[np.ndarray, " orderings"]
    best_stopped: Bool[np.ndarray, " orderings"]

    @property
    def saved(self) -> float:
        """Share of the points that were not trained."""
        return float(1 - self.trained.sum() / self.possible.sum())


def backtest(
    predictor: Predictor,
    curves: Float[np.ndarray, "runs horizon"],
    orderings: Sequence[Sequence[int]],
    *,
    cutoffs: Sequence[int] | None = None,
    budget: int | None = None,
    unlikely: float = UNLIKELY,
    over: Over = "each",
) -> Backtest:
    """Replays finished runs one after another, each stopped once it is not likely to beat the best so far.

    Args:
        predictor: of the rest of a curve.
        curves: finished runs, higher being better, within [0, 1] but for noise.
        orderings: of the runs, by their indices; each is a replay of its own.
        cutoffs: after how many points a run may be stopped; ``None``: 10, 20, 40 and 80 % of the horizon.
        budget: points that a replay may train in all; ``None``: as many as there are. A stopped run is not taken up
            again.
        unlikely: probability up to which a run is given up.
        over: whose probability that is: of each later point, or of any.

    Raises:
        ValueError: a curve is longer than the prior's.
    """
    curves = np.asarray(curves, np.float64)
    runs, horizon = curves.shape
    if horizon > LENGTH:
        raise ValueError(f"curves must have at most {LENGTH} points, got {horizon}; see binned")
    moments = cutoffs if cutoffs is not None else [round(share * horizon) for share in (0.1, 0.2, 0.4, 0.8)]
    moments = sorted({t for t in moments if 1 <= t < horizon})
    limit = runs * horizon if budget is None else budget
    forecasts: dict[tuple[int, int], Forecast] = {}

    def stops(run: int, observed: int, best: float) -> bool:
        if best == -math.inf:
            return False
        if (run, observed) not in forecasts:
            forecasts[run, observed] = predictor.predict(curves[run, :observed])
        return is_hopeless(exceedance(forecasts[run, observed], best, horizon - observed), unlikely, over)

    rows = [_replay(curves, ordering, moments, limit, stops) for ordering in orderings]
    return Backtest(*(np.array(column) for column in zip(*rows, strict=True)))


def _replay(
    curves: np.ndarray, ordering: Sequence[int], moments: Sequence[int], limit: int, stops: Any
) -> tuple[int, int, float, float, bool]:
    """One ordering: points trained and possible, both regrets, whether the best run was stopped."""
    horizon = curves.shape[1]
    best, left = -math.inf, limit
    lengths: dict[int, int] = {}
    stopped: set[int] = set()
    for run in ordering:
        if left <= 0:
            break
        length = min(horizon, left)
        # What is to be beaten is the best of the runs before; a run does not compete with itself.
        early = next((t for t in moments if t < length and stops(run, t, best)), None)
        if early is not None:
            length = early
            stopped.add(run)
        lengths[run] = length
        best, left = max(best, float(curves[run, :length].max())), left - length
    possible = {run: min(horizon, limit - i * horizon) for i, run in enumerate(ordering) if i * horizon < limit}
    without = max(float(curves[run, :length].max()) for run, length in possible.items())
    top = float(curves[list(ordering)].max())
    winner = max(lengths, key=lambda run: float(curves[run].max()))
    lost = winner in stopped and int(curves[winner].argmax()) >= lengths[winner]
    return sum(lengths.values()), horizon * len(lengths), top - best, top - without, lost
