"""The law of annealing: a power of the sum of rates, less what the drops of the rate have brought."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from lrstudy.laws.curve import Curves
from lrstudy.laws.drops import FINE
from lrstudy.laws.errors import fail
from lrstudy.laws.fit import Fit, Settings
from lrstudy.laws.law import Sample
from lrstudy.laws.parameters import Parameter
from lrstudy.laws.rate_path import RatePath, Warmup
from lrstudy.laws.schedule_law import ScheduleLaw, drop_scale, fit_curves, power_law_starts


@dataclasses.dataclass(frozen=True)
class AnnealingLaw(ScheduleLaw):
    """``L(s) = L0 + A S1^-alpha - C S2`` (Tissue et al. 2024, arXiv:2408.11029).

    ``S1`` is the sum of the rates up to step s, and ``S2`` that of their drops with momentum, ``m_i = decay m_{i-1} +
    (eta_{i-1} - eta_i)``, summed over i. It is below 0 where the rate has risen again. What the law does not know:
    steps at a rate of 0 go on lowering its loss, and so does a higher rate, without bound.

    Attributes:
        L0: loss that no training removes, in the units of the loss.
        A: factor of the power law.
        alpha: its exponent.
        C: loss that a drop of the rate by 1 removes, each step, before it decays.
        decay: the momentum's lambda, in [0, 1); 0.99 to 0.999 are sensible.

    Example:
        >>> law = AnnealingLaw(L0=2.0, A=0.5, alpha=0.5, C=0.25, decay=0.0)
        >>> law.predict(np.array([1.0, 1.0, 1.0, 1.0]))[-1]  # a constant rate: 2 + 0.5 / sqrt(4)
        np.float64(2.25)
    """

    paper: ClassVar = "Tissue et al. 2024, arXiv 2408.11029"

    parameters: ClassVar = (
        Parameter("L0"),
        Parameter("A"),
        Parameter("alpha"),
        Parameter("C"),
    )

    L0: float
    A: float
    alpha: float
    C: float
    decay: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decay("AnnealingLaw", self.decay)

    def rows(self, path: RatePath, steps: np.ndarray, per_octave: int = FINE) -> dict[str, Any]:
        """``S1`` and ``S2`` at each step; implements ``ScheduleLaw.rows``."""
        del per_octave
        return {"S1": path.sums[steps], "S2": np.cumsum(momentum(path.drops, self.decay))[steps]}

    def end_rows(self, rates: Any, warmup_steps: int = 0) -> dict[str, Any]:
        """Implements ``ScheduleLaw.end_rows``."""
        ago = np.arange(rates.shape[0] - 1 - warmup_steps, 0, -1)
        reached = (1 - self.decay**ago) / (1 - self.decay)
        drops = rates[warmup_steps:-1] - rates[warmup_steps + 1 :]
        return {"S1": rates.sum()[None], "S2": (drops * reached).sum()[None]}

    def formula(self, rows: Mapping[str, Any]) -> Any:
        """Implements ``Law.formula``."""
        return self.L0 + self.A * rows["S1"] ** -self.alpha - self.C * rows["S2"]

    def starts(self, rng: np.random.Generator, count: int, sample: Sample) -> dict[str, np.ndarray]:
        """Implements ``Law.starts``."""
        power = power_law_starts(rng, count, sample.rows["S1"], sample.losses)
        return {
            "L0": power["floor"],
            "A": power["factor"],
            "alpha": power["exponent"],
            "C": drop_scale(rng, count, sample.rows["S2"], sample.losses),
        }

    @classmethod
    def fit(
        cls,
        curves: Curves,
        *,
        starts: int = 64,
        converge: bool = True,
        key: Any = None,
        warmup: Warmup = "true",
        decay: float | Sequence[float] = 0.999,
        resamples: int = 192,
    ) -> Fit[Self]:
        """Fits the law to curves.

        Args:
            curves: one or several; a constant rate alone does not identify C.
            starts: of the solver, in one program.
            converge: to the solver's tolerance; False: stopped early, from 20 iterations.
            key: of the starts and of the bootstrap.
            warmup: see ``predict``. The paper takes "constant"; "true" predicts better where warmup is long.
            decay: of the momentum, or several of which the best is taken.
            resamples: of the bootstrap; 0: no intervals.

        Raises:
            LawError: a bad argument, or fewer rows than parameters.
        """
        settings = Settings(starts, converge, key, resamples)
        decays = [decay] if np.ndim(decay) == 0 else list(decay)  # pyright: ignore[reportArgumentType]
        fits = [fit_curves(cls.unfitted(decay=one), curves, warmup, settings) for one in decays]
        return min(fits, key=lambda fit: fit.metrics["objective"])


def momentum(drops: np.ndarray, decay: float) -> np.ndarray:
    """``m_i = decay m_{i-1} + drops_i``, shape (T,)."""
    from scipy.signal import lfilter

    return np.asarray(lfilter([1.0], [1.0, -decay], drops))


def check_decay(owner: str, decay: Any) -> None:
    """Refuses a decay of the momentum that is not in [0, 1).

    Raises:
        LawError: for others.
    """
    if not isinstance(decay, int | float | np.number) or not 0 <= decay < 1:
        fail(owner, "decay", "in [0, 1)", decay)
