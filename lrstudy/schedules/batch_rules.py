"""How a learning rate follows the batch size."""

import math
from typing import NamedTuple

from lrstudy.schedules.checks import (
    ABOVE_ZERO,
    BELOW_ONE,
    LARGEST,
    STEP_LIMIT,
    Range,
    fail,
    one_of,
    plain_int,
    plain_number,
)

RULES = ("linear", "sqrt", "adam_sde")
_POSITIVE = Range(ABOVE_ZERO, LARGEST, "a finite positive number")
_SHARE = Range(0, BELOW_ONE, "in [0, 1)")


class AdamScaling(NamedTuple):
    """Hyperparameters of Adam, scaled together.

    Attributes:
        learning_rate: the rate.
        b1: decay rate of the first moment.
        b2: decay rate of the second moment.
        eps: added to the root of the second moment.
    """

    learning_rate: float
    b1: float
    b2: float
    eps: float


def lr_from_batch(learning_rate: float, batch: int, reference_batch: int, *, rule: str) -> float:
    """The rate for another batch size, from the one that is good at `reference_batch`.

    With ``k = batch / reference_batch``: "linear", ``k`` times the rate (SGD; arXiv:1706.02677); "sqrt", ``sqrt(k)``
    times the rate, which keeps the covariance of an update (arXiv:1705.08741); "adam_sde", the same root, to which
    Adam's other hyperparameters must follow as `adam_from_batch` says (arXiv:2205.10287).

    Args:
        learning_rate: above 0.
        batch: examples an update.
        reference_batch: examples an update for which `learning_rate` was found.
        rule: a name in `RULES`.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> lr_from_batch(0.25, 1024, 256, rule="sqrt")
        0.5
    """
    owner = "lr_from_batch"
    if rule not in RULES:
        fail(owner, "rule", one_of(RULES, rule), rule)
    learning_rate = plain_number(owner, "learning_rate", learning_rate, _POSITIVE)
    k = _ratio(owner, batch, reference_batch)
    return learning_rate * (k if rule == "linear" else math.sqrt(k))


def adam_from_batch(
    learning_rate: float, batch: int, reference_batch: int, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> AdamScaling:
    """All that Adam needs for another batch size, by the rule of its stochastic differential equation.

    With ``k = batch / reference_batch``: the rate times ``sqrt(k)``, ``1 - b1`` and ``1 - b2`` times k, eps over
    ``sqrt(k)`` (arXiv:2205.10287).

    Args:
        learning_rate: above 0.
        batch: examples an update.
        reference_batch: examples an update for which the others were found.
        b1: in [0, 1), such that the scaled one is, too.
        b2: likewise.
        eps: at least 0.

    Raises:
        ScheduleError: for a bad argument, and where the batch is too large for the rule: ``k (1 - b) > 1``.
    """
    owner = "adam_from_batch"
    rate = lr_from_batch(learning_rate, batch, reference_batch, rule="adam_sde")
    k = _ratio(owner, batch, reference_batch)
    b1, b2 = _forgetting(owner, "b1", b1, k), _forgetting(owner, "b2", b2, k)
    eps = plain_number(owner, "eps", eps, Range(0, LARGEST, "a finite number of at least 0"))
    return AdamScaling(rate, b1, b2, eps / math.sqrt(k))


def _forgetting(owner: str, name: str, decay: float, k: float) -> float:
    """The decay rate that forgets k times as fast."""
    forgotten = k * (1 - plain_number(owner, name, decay, _SHARE))
    if forgotten > 1:
        fail(owner, name, "at least 1 - reference_batch / batch", decay)
    return 1 - forgotten


def _ratio(owner: str, batch: int, reference_batch: int) -> float:
    positive = Range(1, STEP_LIMIT, "a positive int")
    batch = plain_int(owner, "batch", batch, positive)
    return batch / plain_int(owner, "reference_batch", reference_batch, positive)
