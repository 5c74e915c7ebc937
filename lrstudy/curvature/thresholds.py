"""Above which sharpness an optimizer's steps diverge along the sharpest direction."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jax.core import Tracer

_Factor = Callable[[Any], Any]

_FACTORS: Mapping[str, _Factor] = {
    "gd": lambda _: 2.0,
    "heavy_ball": lambda b: 2 + 2 * b,
    "nesterov": lambda b: (2 + 2 * b) / (1 + 2 * b),
    "ema_momentum": lambda b: (2 + 2 * b) / (1 - b),
    "adam": lambda b: (2 + 2 * b) / (1 - b),
    "rmsprop": lambda _: 2.0,
}
_WITHOUT_MOMENTUM = ("gd", "rmsprop")


def thresholds(optimizer: str, learning_rate: Any, *, momentum: Any = 0.0) -> Any:
    """The sharpness at which a fixed quadratic is on the edge of stability.

    With eta the rate and b the momentum (Cohen et al. 2021, arXiv 2103.00065, and 2022, arXiv 2207.14484):

    ============== ======================================= ============================================
    ``gd``          2 / eta                                of the Hessian
    ``heavy_ball``  (2 + 2b) / eta                         m <- b m + g, x <- x - eta m; ``optax.sgd``
    ``nesterov``    (2 + 2b) / ((1 + 2b) eta)              optax's form, x <- x - eta (g + b m)
    ``ema_momentum`` (2 + 2b) / ((1 - b) eta)              m <- b m + (1 - b) g
    ``adam``        (2 + 2 b1) / ((1 - b1) eta), 38 / eta  of the Hessian preconditioned by P; b is b1
    ``rmsprop``     2 / eta                                the same
    ============== ======================================= ============================================

    Args:
        optimizer: one of these names.
        learning_rate: eta, may be an array or traced.
        momentum: b, in [0, 1); for ``adam`` it is b1, and left out means none, so 2 / eta.

    Raises:
        ValueError: an unknown name, a rate that is not positive, or a momentum outside of its range or of an optimizer
            that has none.

    Example:
        >>> thresholds("gd", learning_rate=0.5)
        4.0
        >>> thresholds("heavy_ball", learning_rate=0.5, momentum=0.5)
        6.0
    """
    if optimizer not in _FACTORS:
        raise ValueError(f"optimizer must be one of {list(_FACTORS)}, got {optimizer!r}")
    if not isinstance(learning_rate, Tracer) and not np.all(np.asarray(learning_rate) > 0):
        raise ValueError(f"learning_rate must be positive, got {learning_rate!r}")
    if not isinstance(momentum, Tracer):
        low, high = np.min(momentum), np.max(momentum)
        if not (low >= 0 and high < 1):
            raise ValueError(f"momentum must be in [0, 1), got {momentum!r}")
        if high > 0 and optimizer in _WITHOUT_MOMENTUM:
            raise ValueError(f"momentum must be left out, {optimizer} has none, got {momentum!r}")
    return _FACTORS[optimizer](momentum) / learning_rate
