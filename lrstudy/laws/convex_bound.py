"""What convex optimization says of a schedule, as a law of loss curves."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lrstudy.laws.drops import FINE
from lrstudy.laws.law import Sample
from lrstudy.laws.parameters import Parameter
from lrstudy.laws.rate_path import RatePath
from lrstudy.laws.schedule_law import ScheduleLaw
from lrstudy.schedules.bound import bound_terms


@dataclasses.dataclass(frozen=True)
class ConvexBound(ScheduleLaw):
    """``floor`` and the bound on the last iterate's excess loss (arXiv:2310.07831; as a predictor arXiv:2501.18965).

    See ``lrstudy.schedules.bound`` for its terms. Every step that is asked for costs time proportional to the steps
    before it.

    Attributes:
        D: distance from the first parameters to the optimum.
        G: bound on the gradient's norm.
        floor: loss of the optimum.
    """

    paper: ClassVar = "Defazio et al. 2023, arXiv 2310.07831; Schaipp et al. 2025, arXiv 2501.18965"

    parameters: ClassVar = (Parameter("D"), Parameter("G"), Parameter("floor"))

    D: float = 1.0
    G: float = 1.0
    floor: float = 0.0

    def rows(self, path: RatePath, steps: np.ndarray, per_octave: int = FINE) -> dict[str, Any]:
        """The terms of D^2 and of G^2 at each step; implements ``ScheduleLaw.rows``."""
        del per_octave
        terms = [_terms(path.rates[: step + 1]) for step in steps]
        return {"distance": np.array([one[0] for one in terms]), "noise": np.array([one[1] for one in terms])}

    def end_rows(self, rates: Any, warmup_steps: int = 0) -> dict[str, Any]:
        """Implements ``ScheduleLaw.end_rows``; rates at the end must be above 0. Warmup is like any other rates."""
        del warmup_steps
        left = rates[::-1].cumsum()[::-1]
        costs = (rates**2)[::-1].cumsum()[::-1]
        last = (rates[:-1] / left[1:] * costs[:-1] / left[:-1]).sum() / 2
        return {"distance": (1 / (2 * left[0]))[None], "noise": (costs[0] / (2 * left[0]) + last)[None]}

    def formula(self, rows: Mapping[str, Any]) -> Any:
        """Implements ``Law.formula``."""
        return self.floor + self.D**2 * rows["distance"] + self.G**2 * rows["noise"]

    def starts(self, rng: np.random.Generator, count: int, sample: Sample) -> dict[str, np.ndarray]:
        """Implements ``Law.starts``."""
        floor = sample.losses.min() * rng.uniform(0.6, 0.99, count)
        share = rng.uniform(0.05, 0.95, count)
        excess = sample.losses.max() - floor
        return {
            "D": np.sqrt(share * excess / sample.rows["distance"].max()),
            "G": np.sqrt((1 - share) * excess / sample.rows["noise"].max()),
            "floor": floor,
        }


def _terms(rates: np.ndarray) -> tuple[float, float]:
    if not rates.any():
        return np.inf, np.inf
    terms = bound_terms(rates)
    return terms.distance, terms.noise + terms.last_iterate
