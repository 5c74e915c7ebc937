"""The functional scaling law: the Multi-Power Law's rival from the theory of kernel regression."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lrstudy.laws.law import Sample
from lrstudy.laws.parameters import Parameter
from lrstudy.laws.schedule_law import DropsLaw, drop_scale, power_law_starts


@dataclasses.dataclass(frozen=True)
class FunctionalScalingLaw(DropsLaw):
    """``L = L0 + c1 T^-s - c2 sum_i (eta_{i-1} - eta_i) (c3 + T(i)^-s) (1 - (1 + c4 (T - T(i)))^-gamma)``.

    The ansatz of Li et al. 2025, arXiv:2509.19189, for language models; ``T(i)`` is the intrinsic time, the sum of the
    rates up to update i, and T that of all. What ``kernel_risk`` computes is the theory that it comes from.

    Attributes:
        L0: loss that no training removes, in the units of the loss.
        c1: factor of the power law.
        s: its exponent.
        c2: loss that a drop of the rate by 1 removes, over ``c3 + T(i)^-s``.
        c3: share of it that does not fade with training.
        c4: how soon it does, over a sum of rates.
        gamma: exponent of how it does.
    """

    paper: ClassVar = "Li et al. 2025, arXiv 2509.19189"

    parameters: ClassVar = (
        Parameter("L0"),
        Parameter("c1"),
        Parameter("s"),
        Parameter("c2"),
        Parameter("c3"),
        Parameter("c4"),
        Parameter("gamma"),
    )

    coarse: ClassVar = 8  # it takes the sum since a drop as it is, which a fall to 0 changes fast

    L0: float
    c1: float
    s: float
    c2: float
    c3: float
    c4: float
    gamma: float

    def formula(self, rows: Mapping[str, Any]) -> Any:
        """Implements ``Law.formula``."""
        drops = rows["drops"]
        xp = drops.rate.__array_namespace__()
        reached = -xp.expm1(-self.gamma * xp.log1p(self.c4 * drops.since))
        brought = drops.drop * (self.c3 + drops.place**-self.s) * reached
        return self.L0 + self.c1 * rows["S1"] ** -self.s - self.c2 * drops.sum_by_row(brought, len(rows["S1"]))

    def starts(self, rng: np.random.Generator, count: int, sample: Sample) -> dict[str, np.ndarray]:
        """Implements ``Law.starts``; a drop takes 3 to 3,000 steps, and fades by a tenth to ten times the power law."""
        drops = sample.rows["drops"]
        power = power_law_starts(rng, count, sample.rows["S1"], sample.losses)
        faded = float(np.median(sample.rows["S1"])) ** -power["exponent"]
        c3 = faded * 10 ** rng.uniform(-1, 1, count)
        dropped = drops.drop != 0
        rate = float(np.median(drops.rate[dropped])) if dropped.any() else 1.0
        scale = drop_scale(rng, count, drops.sum_by_row(drops.drop, len(sample.losses)), sample.losses)
        return {
            "L0": power["floor"],
            "c1": power["factor"],
            "s": power["exponent"],
            "c2": scale / (c3 + faded),
            "c3": c3,
            "c4": 1 / (rate * 10 ** rng.uniform(0.5, 3.5, count)),
            "gamma": rng.uniform(0.2, 0.9, count),
        }
