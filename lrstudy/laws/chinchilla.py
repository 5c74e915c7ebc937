"""The loss of a model of N parameters after D tokens, and how to split a budget between the two."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lrstudy.laws.law import Sample
from lrstudy.laws.parameters import Parameter
from lrstudy.laws.size_law import SizeLaw, positive

FLOPS = 6.0
"""For each parameter and token of training."""


@dataclasses.dataclass(frozen=True)
class ChinchillaLaw(SizeLaw):
    """``L = E + A N^-alpha + B D^-beta`` (Hoffmann et al. 2022, arXiv:2203.15556). Runs have the columns N, D, loss.

    Attributes:
        E: loss that neither removes.
        A: factor of the power law of the parameters.
        B: factor of the power law of the tokens.
        alpha: exponent of the parameters.
        beta: exponent of the tokens.

    Example:
        >>> law = ChinchillaLaw(E=1.5, A=400.0, B=400.0, alpha=0.5, beta=0.5)
        >>> float(law.predict(N=1e8, D=1e8))  # 400 / 10^4 each
        1.58
    """

    paper: ClassVar = "Hoffmann et al. 2022, arXiv 2203.15556"

    parameters: ClassVar = (Parameter("E"), Parameter("A"), Parameter("B"), Parameter("alpha"), Parameter("beta"))
    columns: ClassVar = ("N", "D")

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def predict(self, N: Any, D: Any) -> np.ndarray:
        """The losses of models of N parameters after D tokens, broadcast against each other.

        Raises:
            LawError: for what is not positive.
        """
        return self._losses(N=N, D=D)

    def formula(self, rows: Mapping[str, Any]) -> Any:
        """Implements ``Law.formula``."""
        return self.E + self.A * rows["N"] ** -self.alpha + self.B * rows["D"] ** -self.beta

    def starts(self, rng: np.random.Generator, count: int, sample: Sample) -> dict[str, np.ndarray]:
        """Implements ``Law.starts``; the power laws share what the largest loss has above the floor."""
        floor = sample.losses.min() * rng.uniform(0.2, 0.99, count)
        alpha, beta = rng.uniform(0.1, 1.0, (2, count))
        share = rng.uniform(0.05, 0.95, count)
        worst = int(np.argmax(sample.losses))
        excess = sample.losses[worst] - floor
        return {
            "E": floor,
            "A": share * excess * sample.rows["N"][worst] ** alpha,
            "B": (1 - share) * excess * sample.rows["D"][worst] ** beta,
            "alpha": alpha,
            "beta": beta,
        }

    def best_split(self, flops: Any) -> tuple[np.ndarray, np.ndarray]:
        """The parameters and tokens with the smallest loss of all with ``6 N D`` operations.

        Args:
            flops: operations of training, any shape.

        Returns:
            N and D, of that shape.
        """
        budget = positive("ChinchillaLaw", "flops", flops) / FLOPS
        factor = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        parameters = factor * budget ** (self.beta / (self.alpha + self.beta))
        return parameters, budget / parameters


HOFFMANN = ChinchillaLaw(1.69, 406.4, 410.7, 0.34, 0.28)
"""As printed by Hoffmann et al.; the rounding of its exponents shifts what it says of budgets."""

BESIROGLU = ChinchillaLaw(1.8172, 482.01, 2085.43, 0.3478, 0.3658)
"""The refit of arXiv:2404.10102 to the same runs."""
