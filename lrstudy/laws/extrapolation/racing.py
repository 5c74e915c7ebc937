"""Which of several runs in training to give up: those that have the least chance to end as the best.

Domhan, Springenberg & Hutter 2015 and Adriaensen et al. 2023 (arXiv 2310.20447) train one run after another and compare
each with the best that has ended (``stopping``). Lanes are trained side by side, so there is no such run. Instead every
decision asks for the chance of each run to end above its rivals, P_i = integral of prod_j F_j dF_i with the forecasts
F of their last points taken as independent, and gives up the runs of least chance as long as what is given up adds up
to no more than a bound. The bound is thus on the event that matters: that the run that would have been best is stopped.
A run's rivals need not be all others: where a forecast is known to be unfair between two runs, it must not decide.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from lrstudy.laws.extrapolation.prior import LENGTH
from lrstudy.laws.extrapolation.stopping import Forecast, LossScale, Predictor

DECISIONS = (0.1, 0.2, 0.4, 0.8)
"""Shares of a run after which it may be stopped, as in the paper's coarse rule."""
LEAST_POINTS = 10
"""Evaluations of a whole run below which its first decision would have nothing to look at."""
_LEVELS = np.linspace(-0.5, 1.5, 4001)
"""Values of a curve between which chances are integrated; beyond them noise of a curve in [0, 1] does not reach."""


@dataclasses.dataclass(frozen=True)
class PredictiveStop:
    """Stops runs that are not likely to end as the best of those that they are compared with.

    Losses become curves in [0, 1] (``LossScale``), whose bounds must be known: a prediction depends on them.

    Attributes:
        risk: chance that the run that would have ended best of a race is stopped, by forecasts that are right; each of
            the decisions may spend an equal share of it.
        best: a loss that no run will beat.
        worst: the loss of a model that knows nothing; ``None``: that before the first update.
        logarithmic: whether equal ratios of losses, rather than equal differences, are equally much.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "predictive"

    risk: float = 0.05
    best: float = 0.0
    worst: float | None = None
    logarithmic: bool = False

    def __post_init__(self) -> None:
        """Checks the fields."""
        if not 0 < self.risk < 1:
            raise ValueError(f"early_stop.risk must be in (0, 1), got {self.risk!r}")
        for field in ("best", "worst"):
            value = getattr(self, field)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"early_stop.{field} must be finite, got {value!r}")
        if self.worst is not None and self.worst <= self.best:
            raise ValueError(f"early_stop.worst must be above early_stop.best ({self.best!r}), got {self.worst!r}")
        if self.logarithmic and self.best <= 0:
            raise ValueError(f"early_stop.best must be above 0 on a logarithmic scale, got {self.best!r}")

    def scale(self, first: Float[np.ndarray, " runs"]) -> LossScale | None:
        """The scale of a race, from the losses before the first update; ``None`` where these are not above the best."""
        worst = float(np.max(first)) if self.worst is None else self.worst
        return LossScale(self.best, worst, self.logarithmic) if self.best < worst < math.inf else None

    def gives_up(
        self,
        predictor: Predictor,
        losses: Float[np.ndarray, "runs evaluations"],
        *,
        observed: int,
        points: int,
        rivals: Bool[np.ndarray, "runs runs"] | None = None,
    ) -> Bool[np.ndarray, " runs"]:
        """Which runs one decision stops.

        Args:
            predictor: of the rest of a curve.
            losses: of the runs that are still trained: before the first update, then at each of the points observed.
            observed: points of every run so far.
            points: of a whole run, at most 100; the last is its final loss.
            rivals: whether the second run is a rival of the first; ``None``: all others are.
        """
        scale = self.scale(losses[:, 0])
        if scale is None:
            return np.zeros(len(losses), bool)
        curves = scale.to_curve(losses[:, 1:])
        endings = np.stack([ending(predictor.predict(curve), points - observed) for curve in curves])
        return least_likely(chances_of_best(endings, rivals), self.risk / len(DECISIONS))


TABLE: dict[str, type[PredictiveStop]] = {PredictiveStop.name: PredictiveStop}
"""What a configuration can name."""


def ending(forecast: Forecast, point: int) -> Float[np.ndarray, " levels"]:
    """Distribution function of one of the points to come, 1 being the next, at the levels that are integrated over."""
    return np.asarray(_ending(forecast.point(point - 1)), np.float64)


@jax.jit
def _ending(forecast: Any) -> Any:
    return jax.vmap(lambda level: forecast.cdf(level)[0])(_LEVELS.astype(np.float32))


def chances_of_best(
    endings: Float[np.ndarray, "runs levels"],
    rivals: Bool[np.ndarray, "runs runs"] | None = None,
) -> Float[np.ndarray, " runs"]:
    """The chance of each run to end above all its rivals, with independent endings.

    Args:
        endings: distribution functions at ``_LEVELS``.
        rivals: whether the second run is a rival of the first; ``None``: all others are, and the chances add up to one.
    """
    if rivals is None:
        rivals = np.ones((len(endings), len(endings)), bool)
    cumulative = np.maximum.accumulate(np.clip(endings, 0, 1), axis=1)
    # A cell below the first level and one above the last hold what lies beyond.
    padded = np.pad(cumulative, ((0, 0), (1, 0)))
    padded = np.concatenate([padded, np.ones((len(padded), 1))], axis=1)
    mass, middle = np.diff(padded, axis=1), (padded[:, 1:] + padded[:, :-1]) / 2
    logs = np.log(np.maximum(middle, 1e-300))
    others = np.exp((rivals & ~np.eye(len(endings), dtype=bool)) @ logs)
    return (mass * others).sum(1)


def least_likely(chances: Float[np.ndarray, " runs"], bound: float) -> Bool[np.ndarray, " runs"]:
    """The runs of least chance, as many as have no more than the bound together."""
    order = np.argsort(chances, kind="stable")
    stopped = np.zeros(len(chances), bool)
    stopped[order] = np.cumsum(chances[order]) <= bound
    return stopped


def observed_points(points: int) -> tuple[int, ...]:
    """How many of a run's points have been seen at each decision; fewer than ``DECISIONS`` where some fall together."""
    return tuple(sorted({max(1, math.floor(share * points)) for share in DECISIONS}))


class Replay(NamedTuple):
    """What the rule would have done to runs that were trained to their end.

    Attributes:
        trained: points of each run that were trained.
        best_stopped: whether the run that ended best was stopped.
        regret: final loss of the best that was left, less that of the best; 0 unless that was stopped.
    """

    trained: Int[np.ndarray, " runs"]
    best_stopped: bool
    regret: float


def replay(
    rule: PredictiveStop,
    predictor: Predictor,
    losses: Float[np.ndarray, "runs evaluations"],
    rivals: Callable[[int], Bool[np.ndarray, "runs runs"]] | None = None,
) -> Replay:
    """Replays finished runs that are trained side by side.

    Args:
        rule: that stops them.
        predictor: of the rest of a curve.
        losses: before the first update, then at each point, at most 100 of these; the last is the final loss.
        rivals: points observed to whether the second run is a rival of the first; ``None``: all others are.

    Raises:
        ValueError: there are more points than the prior's curves have.
    """
    runs, points = len(losses), losses.shape[1] - 1
    if points > LENGTH:
        raise ValueError(f"losses must have at most {LENGTH} points after the first, got {points}")
    trained = np.full(runs, points)
    for observed in observed_points(points):
        left = np.flatnonzero((trained == points) & np.isfinite(losses[:, : observed + 1]).all(1))
        if len(left) < 2:
            continue
        seen = losses[left, : observed + 1]
        own = rivals and rivals(observed)[np.ix_(left, left)]
        trained[left[rule.gives_up(predictor, seen, observed=observed, points=points, rivals=own)]] = observed
    finals = np.where(np.isfinite(losses[:, -1]), losses[:, -1], math.inf)
    best = int(np.argmin(finals))
    whole = trained == points
    return Replay(trained, not whole[best], float(finals[whole].min() - finals[best]))
