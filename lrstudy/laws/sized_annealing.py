"""The law of annealing for models of several sizes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from lrstudy.laws.annealing import check_decay, momentum
from lrstudy.laws.curve import Curves, named
from lrstudy.laws.errors import fail
from lrstudy.laws.fit import Fit, Settings, fit_sample
from lrstudy.laws.law import Law, Range, Sample, joined
from lrstudy.laws.parameters import Parameter
from lrstudy.laws.rate_path import RatePath, Warmup, rate_path
from lrstudy.laws.schedule_law import asked_steps, drop_scale, power_law_starts
from lrstudy.laws.size_law import FARTHER as FARTHER_SIZE


@dataclasses.dataclass(frozen=True)
class SizedAnnealingLaw(Law):
    """``L = L0 + A S1^-alpha + B N^-beta - C S2 N^gamma`` (arXiv:2408.11029, its extension to model sizes).

    ``S1`` and ``S2`` as in ``AnnealingLaw``.

    Attributes:
        L0: loss that neither training nor size removes, in the units of the loss.
        A: factor of the power law of the rates' sum.
        alpha: its exponent.
        B: factor of the power law of the size.
        beta: its exponent.
        C: loss that a drop of the rate by 1 removes, each step, of a model of size 1.
        gamma: how this grows with the size.
        decay: the momentum's lambda, in [0, 1).
    """

    paper: ClassVar = "Tissue et al. 2024, arXiv 2408.11029"

    parameters: ClassVar = (
        Parameter("L0"),
        Parameter("A"),
        Parameter("alpha"),
        Parameter("B"),
        Parameter("beta"),
        Parameter("C"),
        Parameter("gamma", "real"),
    )

    L0: float
    A: float
    alpha: float
    B: float
    beta: float
    C: float
    gamma: float
    decay: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decay("SizedAnnealingLaw", self.decay)

    def predict(
        self,
        schedule: Any,
        *,
        size: float,
        steps: Sequence[int] | np.ndarray | None = None,
        warmup_steps: int = 0,
        warmup: Warmup = "true",
    ) -> np.ndarray:
        """The loss of a model after the update of each step, shape (n,); see ``AnnealingLaw.predict``.

        Args:
            schedule: a schedule, or the rate of every update from 0.
            size: parameters N, in the unit of the fit.
            steps: updates, counted from 0; None: all of the schedule's.
            warmup_steps: updates in which the rate rises.
            warmup: as in the fit.
        """
        wanted = asked_steps(schedule, steps)
        path = rate_path(schedule, int(wanted.max()) + 1, warmup_steps=warmup_steps, warmup=warmup)
        for one in self.fitted:
            one.check("SizedAnnealingLaw", size)
        with np.errstate(divide="ignore"):
            return np.asarray(self.formula(self.rows(path, wanted, size)))

    def rows(self, path: RatePath, steps: np.ndarray, size: float) -> dict[str, Any]:
        """What the formula reads of the rates at each step, and the size."""
        if not isinstance(size, int | float | np.number) or not np.isfinite(size) or size <= 0:
            fail("SizedAnnealingLaw", "size", "a finite positive number", size)
        total = np.cumsum(momentum(path.drops, self.decay))
        return {"S1": path.sums[steps], "S2": total[steps], "N": np.full(len(steps), float(size))}

    def formula(self, rows: Mapping[str, Any]) -> Any:
        """Implements ``Law.formula``."""
        annealed = self.C * rows["S2"] * rows["N"] ** self.gamma
        return self.L0 + self.A * rows["S1"] ** -self.alpha + self.B * rows["N"] ** -self.beta - annealed

    def starts(self, rng: np.random.Generator, count: int, sample: Sample) -> dict[str, np.ndarray]:
        """Implements ``Law.starts``."""
        size = sample.rows["N"]
        power = power_law_starts(rng, count, sample.rows["S1"], sample.losses)
        share, beta = rng.uniform(0.1, 0.9, count), rng.uniform(0.05, 0.5, count)
        gamma = rng.uniform(-0.1, 0.1, count)
        return {
            "L0": (1 - share) * power["floor"],
            "A": power["factor"],
            "alpha": power["exponent"],
            "B": share * power["floor"] * size.min() ** beta,
            "beta": beta,
            "C": drop_scale(rng, count, sample.rows["S2"], sample.losses) * size.max() ** -gamma,
            "gamma": gamma,
        }

    @classmethod
    def fit(
        cls,
        curves: Mapping[float, Curves],
        *,
        starts: int = 64,
        converge: bool = True,
        key: Any = None,
        warmup: Warmup = "true",
        decay: float = 0.999,
        resamples: int = 192,
    ) -> Fit[Self]:
        """Fits the law to curves of models of several sizes.

        Args:
            curves: size N, in a unit of one's choice, to its curves.
            starts: of the solver.
            converge: to the solver's tolerance; False: a start has 20 iterations.
            key: of the starts and of the bootstrap.
            warmup: see ``AnnealingLaw.predict``.
            decay: of the momentum.
            resamples: of the bootstrap; 0: no intervals.

        Raises:
            LawError: a bad argument, or fewer rows than parameters.
        """
        law = cls.unfitted(decay=decay)
        whole = [(size, one.after_warmup()) for size, own in curves.items() for one in named(own).values()]
        rows = [(law.rows(c.path(warmup), c.steps, size), c.losses) for size, c in whole]
        fit = fit_sample(law, joined(rows), Settings(starts, converge, key, resamples))
        sizes = np.asarray(list(curves), np.float64)
        fitted = (Range("size", float(sizes.min()) / FARTHER_SIZE, float(sizes.max()) * FARTHER_SIZE),)
        object.__setattr__(fit.law, "fitted", fitted)
        return fit
