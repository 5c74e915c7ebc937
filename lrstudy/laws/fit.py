"""A law fitted to a sample: the best of many starts, how well it fits, and how far its parameters are known."""

import dataclasses
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.laws.errors import LawError, fail
from lrstudy.laws.intervals import CLOSE, Bootstrap, bootstrap
from lrstudy.laws.law import Law, Sample
from lrstudy.laws.scores import average, scores
from lrstudy.laws.solver import HUBER, MOST_CALLS, solve

L = TypeVar("L", bound=Any)
L_co = TypeVar("L_co", bound=Any, covariant=True)

FOLLOWED = 8
"""The best starts, which are followed to the solver's tolerance."""


@dataclasses.dataclass(frozen=True)
class Fit(Generic[L_co]):
    """A fitted law.

    Attributes:
        law: with the parameters found.
        metrics: averages over the runs that it was fitted to of ``r2``, ``mae``, ``relative_error`` and ``worst_error``
            (see ``scores``), and ``objective``, the sum of Huber losses of the log losses.
        intervals: parameter name to the ends of its 95% bootstrap interval; NaN where none was drawn, it was held, or
            there are fewer than two rows a parameter.
        identified: parameter name to whether its interval is narrower than its value and than the refits' median;
            where it is not, the data do not say what the parameter is, though the law may predict well.
        converged: whether the solver met its tolerance at the parameters found. Along a valley of parameters that the
            data do not tell apart it may not.
        agreeing: share of the starts that came within 10% of the best objective in 20 iterations.
    """

    law: L_co
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    identified: dict[str, bool]
    converged: bool
    agreeing: float


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a law is fitted.

    Attributes:
        starts: how many, batched in one program.
        converge: whether all parameters are fitted to the solver's tolerance. Otherwise it is stopped early: those
            with an anchor stay there, and a start has 20 iterations.
        key: of the starts and resamples: a JAX key, an int, or None for 0.
        resamples: of the bootstrap; 0: no intervals.

    Raises:
        LawError: for a bad value.
    """

    starts: int = 64
    converge: bool = True
    key: Any = None
    resamples: int = 192

    def __post_init__(self) -> None:
        for name, least in (("starts", 1), ("resamples", 0)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                fail("fit", name, f"an int of at least {least}", value)

    def generator(self) -> np.random.Generator:
        """Random numbers from the key."""
        key = 0 if self.key is None else self.key
        if isinstance(key, jax.Array):
            data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
            key = np.asarray(data).ravel().tolist()
        try:
            return np.random.default_rng(key)
        except (TypeError, ValueError):
            fail("fit", "key", "a JAX key, an int of at least 0 or None", self.key)


def fit_sample(law: L, sample: Sample, settings: Settings) -> Fit[L]:
    """Fits a law's parameters to a sample.

    The sum over rows of the Huber loss of ``log predicted - log loss`` is minimised from many starts.

    Args:
        law: whose settings hold.
        sample: rows and losses.
        settings: how.

    Raises:
        LawError: fewer rows than parameters, or no start led anywhere.
    """
    count, wanted = len(sample.losses), len(law.parameters)
    if count < wanted:
        raise LawError(f"{type(law).__name__}: a fit of {wanted} parameters needs as many rows, got {count}")
    rng = settings.generator()
    starts = law.starts(rng, settings.starts, sample)
    if settings.converge:
        solved = solve(law, sample, starts)
        finals = solve(law, sample, solved.best(FOLLOWED).values, calls=MOST_CALLS)
    else:
        starts |= {p.name: np.full(settings.starts, p.anchor) for p in law.parameters if p.anchor is not None}
        solved = solve(law, sample, starts, held=True)
        finals = solved
    best = finals.best(1)
    if not np.isfinite(best.objective[0]):
        raise LawError(f"{type(law).__name__}: no start led to finite losses")
    found = law.with_values({name: float(values[0]) for name, values in best.values.items()})
    held = tuple(p.name for p in law.parameters if not settings.converge and p.anchor is not None)
    intervals, identified = bootstrap(found, sample, solved, Bootstrap(settings.resamples, held), rng)
    return Fit(
        found,
        _metrics(found, sample),
        intervals,
        identified,
        bool(best.converged[0]),
        float(np.mean(solved.objective <= CLOSE * best.objective[0])),
    )


def _metrics(law: Law, sample: Sample) -> dict[str, float]:
    predicted = np.asarray(law.formula(sample.rows))
    each = [scores(predicted[sample.runs == run], sample.losses[sample.runs == run]) for run in np.unique(sample.runs)]
    error = np.abs(np.log(predicted) - np.log(sample.losses))
    huber = np.where(error <= HUBER, error**2 / 2, HUBER * (error - HUBER / 2))
    return {**average(each), "objective": float(huber.sum())}
