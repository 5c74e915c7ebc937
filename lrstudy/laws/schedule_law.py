"""Laws that predict the loss along a run from its rates."""

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from lrstudy.laws.curve import Curve, Curves, named
from lrstudy.laws.drops import COARSE, FINE, block_count, drop_blocks, drops_before_end
from lrstudy.laws.errors import LawError, fail
from lrstudy.laws.fit import Fit, Settings, fit_sample
from lrstudy.laws.law import Law, Range, Sample, joined
from lrstudy.laws.rate_path import RatePath, Warmup, rate_path
from lrstudy.laws.scores import scores
from lrstudy.schedules import Schedule

FARTHER = 4.0
"""Beyond this many times the sums of rates that a law was fitted to, it is asked far outside."""

HIGHER = 1.5
"""And beyond this many times their highest rates."""

_COUNTED: dict[Warmup, str] = {"true": "at their true rates", "constant": "counted as constant"}

IDLE_SHARE = 0.01
"""Of the updates: more of them at a rate of 0 than in any fitted run are far outside as well."""


L = TypeVar("L", bound="ScheduleLaw")


CHUNK = 2_000_000
"""Blocks of drops that are held at a time."""


class ScheduleLaw(Law):
    """A law whose rows are logged steps of a run."""

    coarse: ClassVar[int] = COARSE
    """Blocks of drops an octave while it is fitted."""

    @abc.abstractmethod
    def rows(self, path: RatePath, steps: np.ndarray, per_octave: int = FINE) -> dict[str, Any]:
        """What the formula reads of the rates at each step.

        Args:
            path: the rates.
            steps: shape (n,).
            per_octave: how finely sums over drops are taken, see ``drop_blocks``.
        """

    @abc.abstractmethod
    def end_rows(self, rates: Any, warmup_steps: int = 0) -> dict[str, Any]:
        """The row of the last update, exactly, for NumPy's arrays and JAX's.

        Args:
            rates: shape (T,).
            warmup_steps: updates whose rise is no drop.
        """

    def predict(
        self,
        schedule: Any,
        *,
        steps: Sequence[int] | np.ndarray | None = None,
        warmup_steps: int = 0,
        warmup: Warmup = "true",
    ) -> np.ndarray:
        """The loss after the update of each step.

        Args:
            schedule: a schedule, or the rate of every update from 0.
            steps: updates, counted from 0, shape (n,); None: all of the schedule's.
            warmup_steps: updates in which the rate rises.
            warmup: "true": the rates of the warmup as they are; "constant": as if each were the rate that follows. Use
                that of the fit.

        Returns:
            Shape (n,), float64.

        Raises:
            LawError: for a bad argument.
        """
        wanted = asked_steps(schedule, steps)
        path = rate_path(schedule, int(wanted.max()) + 1, warmup_steps=warmup_steps, warmup=warmup)
        self._check_range(path, wanted)
        size = max(1, CHUNK // block_count(path, FINE))
        # Before the first rate above 0 the power law is infinite, and the loss with it.
        with np.errstate(divide="ignore"):
            chunks = [self.formula(self.rows(path, wanted[i : i + size])) for i in range(0, len(wanted), size)]
        return np.concatenate(chunks)

    def scores(self, curves: Curves, *, warmup: Warmup = "true") -> dict[str, dict[str, float]]:
        """How well curves are predicted, by their names; see ``lrstudy.laws.scores``.

        Args:
            curves: those that were not fitted, say.
            warmup: as in the fit.
        """
        found = {}
        for name, curve in named(curves).items():
            own = curve.after_warmup()
            predicted = self.predict(own.rates, steps=own.steps, warmup_steps=own.warmup_steps, warmup=warmup)
            found[name] = scores(predicted, own.losses)
        return found

    @classmethod
    def fit(
        cls,
        curves: Curves,
        *,
        starts: int = 64,
        converge: bool = True,
        key: Any = None,
        warmup: Warmup = "true",
        resamples: int = 192,
    ) -> Fit[Self]:
        """Fits the law to curves.

        Args:
            curves: one or several; what a drop of the rate brings needs sudden and slow ones.
            starts: of the solver.
            converge: to the solver's tolerance. False: stopped early: a start has 20 iterations, and parameters that
                curves seldom tell apart stay where the authors' own fit begins (``Parameter.anchor``), which often
                predicts better.
            key: of the starts and of the bootstrap.
            warmup: see ``predict``.
            resamples: of the bootstrap; 0: no intervals.

        Raises:
            LawError: a bad argument, or fewer rows than parameters.
        """
        return fit_curves(cls.unfitted(), curves, warmup, Settings(starts, converge, key, resamples))

    def _check_range(self, path: RatePath, steps: np.ndarray) -> None:
        asked = _asked(path, steps)
        for one in self.fitted:
            one.check(type(self).__name__, asked[one.name])


class DropsLaw(ScheduleLaw):
    """A law that sums over the drops of the rate, each by the sum of rates since."""

    def rows(self, path: RatePath, steps: np.ndarray, per_octave: int = FINE) -> dict[str, Any]:
        """``S1`` and blocks of drops; implements ``ScheduleLaw.rows``."""
        return {"S1": path.sums[steps], "drops": drop_blocks(path, steps, per_octave)}

    def end_rows(self, rates: Any, warmup_steps: int = 0) -> dict[str, Any]:
        """Implements ``ScheduleLaw.end_rows``."""
        return {"S1": rates.sum()[None], "drops": drops_before_end(rates, warmup_steps)}


def fit_curves(law: L, curves: Curves, warmup: Warmup, settings: Settings) -> Fit[L]:
    """Fits a law's parameters to curves, its settings held.

    Raises:
        LawError: a bad argument, or fewer rows than parameters.
    """
    sample, fitted = sample_of(law, curves, warmup)
    fit = fit_sample(law, sample, settings)
    object.__setattr__(fit.law, "fitted", fitted)
    return fit


def sample_of(law: ScheduleLaw, curves: Curves, warmup: Warmup) -> tuple[Sample, tuple[Range, ...]]:
    """The rows of curves as a law reads them, and the ranges that they cover."""
    whole = [curve.after_warmup() for curve in named(curves).values()]
    paths = [curve.path(warmup) for curve in whole]
    sample = joined([(law.rows(p, c.steps, law.coarse), c.losses) for p, c in zip(paths, whole, strict=True)])
    return sample, _ranges(paths, whole)


def _asked(path: RatePath, steps: np.ndarray) -> dict[str, Any]:
    after = path.rates[path.warmup_steps :]
    idle = max(0.0, path.idle_steps - IDLE_SHARE * len(path.rates))
    sums = path.sums[steps[steps >= path.warmup_steps]]
    return {
        "sum of rates": sums[sums > 0],
        "highest rate": after.max(),
        "number of updates at rate 0, less one in a hundred,": idle,
        **{f"number of warmup updates {how}": path.warmup_steps * (path.warmup == w) for w, how in _COUNTED.items()},
    }


def _ranges(paths: Sequence[RatePath], curves: Sequence[Curve]) -> tuple[Range, ...]:
    asked = [_asked(path, curve.steps) for path, curve in zip(paths, curves, strict=True)]
    sums, highest, idle, *warmups = (np.concatenate([np.atleast_1d(one[name]) for one in asked]) for name in asked[0])
    names = list(asked[0])
    # Where a warmup was fitted one way, no update of one may be counted the other way.
    counted = [bool(one.any()) for one in warmups]
    most = [0.0 if any(counted) and not own else np.inf for own in counted]
    return (
        Range(names[0], float(sums.min()) / FARTHER, float(sums.max()) * FARTHER),
        Range(names[1], float(highest.min()) / HIGHER, float(highest.max()) * HIGHER),
        Range(names[2], 0.0, float(idle.max())),
        *(Range(name, 0.0, high) for name, high in zip(names[3:], most, strict=True)),
    )


def asked_steps(schedule: Any, steps: Any) -> np.ndarray:
    """The steps that a prediction is asked for, shape (n,).

    Raises:
        LawError: they are no steps, or the schedule has no end and none are given.
    """
    if steps is None:
        length = getattr(schedule, "total_steps", None) if isinstance(schedule, Schedule) else len(schedule)
        if length is None:
            raise LawError(f"law: steps must be given for a {type(schedule).__name__}, which has no end")
        return np.arange(int(length))
    found = np.asarray(steps)
    if found.ndim != 1 or not found.size or not np.issubdtype(found.dtype, np.integer) or (found < 0).any():
        fail("law", "steps", "one or more whole numbers of at least 0", steps)
    return found


def power_law_starts(
    rng: np.random.Generator, count: int, total: np.ndarray, losses: np.ndarray
) -> dict[str, np.ndarray]:
    """Floors, and power laws of the sum of rates above them that pass through the first loss.

    Returns:
        ``floor``, ``factor`` and ``exponent`` of ``floor + factor total^-exponent``, each of shape (count,).
    """
    first = int(np.argmax(losses))
    floor = losses.min() * rng.uniform(0.6, 0.99, count)
    exponent = rng.uniform(0.2, 1.0, count)
    return {"floor": floor, "factor": (losses[first] - floor) * total[first] ** exponent, "exponent": exponent}


def drop_scale(rng: np.random.Generator, count: int, dropped: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Factors of the drops' sums by which the largest explains between a fiftieth and a half of the losses' range."""
    largest = float(np.abs(dropped).max())
    # Losses that are all alike have no range; a parameter of 0 could not leave it.
    span = max(float(np.ptp(losses)), 1e-3 * float(losses.min()))
    return rng.uniform(0.02, 0.5, count) * span / (largest or 1.0)
