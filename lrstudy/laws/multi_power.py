"""The Multi-Power Law: what each drop of the rate brings grows as a power of the sum of rates since."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lrstudy.laws.law import Sample
from lrstudy.laws.parameters import Parameter
from lrstudy.laws.schedule_law import DropsLaw, drop_scale, power_law_starts

_SMALLEST = 1e-30
"""A rate of 0 has no negative power; no rate of a run is as small as this."""


@dataclasses.dataclass(frozen=True)
class MultiPowerLaw(DropsLaw):
    """``L(t) = L0 + A S1^-alpha - B sum_k (eta_{k-1} - eta_k) G(eta_k^-gamma S_k(t))`` (Luo et al. 2025).

    ``G(x) = 1 - (C x + 1)^-beta``, ``S1`` is the sum of all rates up to t and ``S_k(t)`` that of the rates from k to t
    (arXiv:2503.12811; the paper writes ``S1`` as ``S1 + S_W``, the sum in warmup apart). Its parameters C, beta and
    gamma are seldom told apart by curves; its predictions agree where they differ. The authors' released code also
    counts the rise of the rate in warmup as a negative drop: that is ``warmup_steps=0``.

    Attributes:
        L0: loss that no training removes, in the units of the loss.
        A: factor of the power law.
        alpha: its exponent.
        B: loss that a drop of the rate by 1 removes in the end.
        C: how soon it does.
        beta: exponent of how it does, in (0, 1).
        gamma: exponent of the rate after the drop, in (0, 1).
    """

    paper: ClassVar = "Luo et al. 2025, arXiv 2503.12811"

    parameters: ClassVar = (
        Parameter("L0"),
        Parameter("A"),
        Parameter("alpha"),
        Parameter("B"),
        Parameter("C", anchor=1.0),
        Parameter("beta", "unit", anchor=0.5),
        Parameter("gamma", "unit", anchor=0.5),
    )

    L0: float
    A: float
    alpha: float
    B: float
    C: float
    beta: float
    gamma: float

    def formula(self, rows: Mapping[str, Any]) -> Any:
        """Implements ``Law.formula``."""
        drops = rows["drops"]
        xp = drops.rate.__array_namespace__()
        # (C x + 1)^-beta with x = rate^-gamma (since + rate), in logarithms: two functions a block in place of powers.
        log_rate = xp.log(drops.rate + _SMALLEST)
        log_grown = xp.log(self.C) + xp.log(drops.since + drops.rate + _SMALLEST) - self.gamma * log_rate
        brought = -drops.drop * xp.expm1(-self.beta * xp.logaddexp(0.0, log_grown))
        return self.L0 + self.A * rows["S1"] ** -self.alpha - self.B * drops.sum_by_row(brought, len(rows["S1"]))

    def starts(self, rng: np.random.Generator, count: int, sample: Sample) -> dict[str, np.ndarray]:
        """Implements ``Law.starts``; C is such that a drop takes 3 to 3,000 steps to bring its share."""
        power = power_law_starts(rng, count, sample.rows["S1"], sample.losses)
        gamma = rng.uniform(0.2, 0.9, count)
        steps = 10 ** rng.uniform(0.5, 3.5, count)
        drops = sample.rows["drops"]
        dropped = drops.drop != 0
        rate = float(np.median(drops.rate[dropped])) if dropped.any() else 1.0
        return {
            "L0": power["floor"],
            "A": power["factor"],
            "alpha": power["exponent"],
            "B": drop_scale(rng, count, drops.sum_by_row(drops.drop, len(sample.losses)), sample.losses),
            "C": rate ** (gamma - 1) / steps,
            "beta": rng.uniform(0.2, 0.9, count),
            "gamma": gamma,
        }
