"""Adam with Nesterov's momentum, whose numerator two codes write in two ways."""

import optax

from lrstudy.optimizers.directions import Number
from lrstudy.optimizers.nadam import nadam_algoperf

RULES = ("optax", "algoperf")


def nadam_direction(rule: str, *, b1: Number, b2: Number, eps: Number) -> optax.GradientTransformation:
    """NAdam's corrected ratio n / (sqrt(v / (1 - b2^t)) + eps) (Dozat 2016), with m and v Adam's moments.

    - ``optax``: n = b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t): what Adam's numerator will be at the next step if
      its gradient is this one. ``optax.scale_by_adam`` computes it.
    - ``algoperf``: n = (b1 m + (1 - b1) g) / (1 - b1^t), as the baselines of AlgoPerf have it (Dahl et al. 2023, arXiv
      2306.07179): larger in the first steps, by 1.9 instead of 1.47 in the first one for b1 = 0.9.

    Args:
        rule: which.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: offset of the denominator.

    Returns:
        Gradient to direction, of ascent.

    Raises:
        ValueError: another ``rule``.
    """
    if rule == "optax":
        return optax.scale_by_adam(b1, b2, eps, nesterov=True)
    if rule == "algoperf":
        return nadam_algoperf(b1, b2, eps)
    raise ValueError(f"rule must be one of {list(RULES)}, got {rule!r}")
