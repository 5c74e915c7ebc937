"""Kaplan et al.'s laws of the loss: of parameters and tokens, and of parameters and updates."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lrstudy.laws.critical_batch import CriticalBatch
from lrstudy.laws.law import Sample
from lrstudy.laws.parameters import Parameter
from lrstudy.laws.size_law import SizeLaw, positive

_BISECTIONS = 200
"""More than the bits of a float64's logarithm: the trajectory is solved to rounding."""


@dataclasses.dataclass(frozen=True)
class KaplanLaw(SizeLaw):
    """``L = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D`` (arXiv:2001.08361, equation 1.5).

    The defaults are its constants for this form; runs have the columns N, D, loss.

    Attributes:
        alpha_N: exponent of the parameters.
        alpha_D: exponent of the tokens.
        N_c: scale of the parameters.
        D_c: scale of the tokens.
    """

    paper: ClassVar = "Kaplan et al. 2020, arXiv 2001.08361"

    parameters: ClassVar = (Parameter("alpha_N"), Parameter("alpha_D"), Parameter("N_c"), Parameter("D_c"))
    columns: ClassVar = ("N", "D")

    alpha_N: float = 0.076
    alpha_D: float = 0.103
    N_c: float = 6.4e13
    D_c: float = 1.8e13

    def predict(self, N: Any, D: Any) -> np.ndarray:
        """The losses of models of N parameters after D tokens, broadcast against each other.

        Raises:
            LawError: for what is not positive.
        """
        return self._losses(N=N, D=D)

    def formula(self, rows: Mapping[str, Any]) -> Any:
        """Implements ``Law.formula``."""
        return ((self.N_c / rows["N"]) ** (self.alpha_N / self.alpha_D) + self.D_c / rows["D"]) ** self.alpha_D

    def starts(self, rng: np.random.Generator, count: int, sample: Sample) -> dict[str, np.ndarray]:
        """Implements ``Law.starts``; either term alone gives the losses of the middle run."""
        alpha_N, alpha_D = rng.uniform(0.03, 0.4, (2, count))
        middle = float(np.median(sample.losses))
        size, tokens = (float(np.median(sample.rows[name])) for name in self.columns)
        share = rng.uniform(0.05, 0.95, count)
        inner = middle ** (1 / alpha_D)
        return {
            "alpha_N": alpha_N,
            "alpha_D": alpha_D,
            "N_c": size * (share * inner) ** (alpha_D / alpha_N),
            "D_c": tokens * (1 - share) * inner,
        }


@dataclasses.dataclass(frozen=True)
class KaplanStepsLaw(SizeLaw):
    """``L = (N_c / N)^alpha_N + (S_c / S)^alpha_S`` (arXiv:2001.08361, equation 1.6; runs: N, S, loss).

    S is the least number of updates, that of a batch far above the critical one; ``trajectory`` takes any batch.

    Attributes:
        alpha_N: exponent of the parameters.
        alpha_S: exponent of the updates.
        N_c: scale of the parameters.
        S_c: scale of the updates.
    """

    paper: ClassVar = "Kaplan et al. 2020, arXiv 2001.08361"

    parameters: ClassVar = (Parameter("alpha_N"), Parameter("alpha_S"), Parameter("N_c"), Parameter("S_c"))
    columns: ClassVar = ("N", "S")

    alpha_N: float = 0.077
    alpha_S: float = 0.76
    N_c: float = 6.5e13
    S_c: float = 2.1e3

    def predict(self, N: Any, S: Any) -> np.ndarray:
        """The losses of models of N parameters after at least S updates, broadcast against each other.

        Raises:
            LawError: for what is not positive.
        """
        return self._losses(N=N, S=S)

    def formula(self, rows: Mapping[str, Any]) -> Any:
        """Implements ``Law.formula``."""
        return (self.N_c / rows["N"]) ** self.alpha_N + (self.S_c / rows["S"]) ** self.alpha_S

    def starts(self, rng: np.random.Generator, count: int, sample: Sample) -> dict[str, np.ndarray]:
        """Implements ``Law.starts``; the two terms share the largest loss."""
        alpha_N, alpha_S = rng.uniform(0.03, 0.4, count), rng.uniform(0.2, 1.2, count)
        worst = int(np.argmax(sample.losses))
        share = rng.uniform(0.1, 0.9, count)
        return {
            "alpha_N": alpha_N,
            "alpha_S": alpha_S,
            "N_c": sample.rows["N"][worst] * (share * sample.losses[worst]) ** (1 / alpha_N),
            "S_c": sample.rows["S"][worst] * ((1 - share) * sample.losses[worst]) ** (1 / alpha_S),
        }

    def trajectory(self, N: Any, S: Any, batch: Any, critical: CriticalBatch) -> np.ndarray:
        """The losses after S updates with any batch (arXiv:2403.06563): of ``S / (1 + B_crit(L) / batch)`` best ones.

        The loss stands on both sides; it is found by bisection.

        Args:
            N: parameters.
            S: updates.
            batch: tokens of an update.
            critical: batch at which an update loses half of its worth, by the loss.

        Returns:
            The losses, all arguments broadcast against each other.
        """
        given = (positive("KaplanStepsLaw", n, v) for n, v in (("N", N), ("S", S), ("batch", batch)))
        size, steps, tokens = np.broadcast_arrays(*given)
        best = self.formula({"N": size, "S": steps})
        # With a batch the loss is above that of as many best updates; the larger it is the smaller is B_crit.
        low, high = best.copy(), best * 2
        above = _with_batch(self, size, steps, tokens, critical, high) > high
        while above.any():
            high = np.where(above, high * 2, high)
            above = _with_batch(self, size, steps, tokens, critical, high) > high
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            larger = _with_batch(self, size, steps, tokens, critical, middle) > middle
            low, high = np.where(larger, middle, low), np.where(larger, high, middle)
        return (low + high) / 2


def _with_batch(law: KaplanStepsLaw, N: Any, S: Any, batch: Any, critical: CriticalBatch, loss: Any) -> np.ndarray:
    return law.formula({"N": N, "S": critical.least_steps(S, batch, loss)})
