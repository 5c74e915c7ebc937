"""Large batches that train like small ones: ghosts' running statistics and regime adaptation (Hoffer et al. 2017).

The formulas are those of arXiv 1705.08741; constants of its experiments were not checked and are left to the caller.
Ghosts themselves are in `lrstudy.ghosts`.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lrstudy.optimizers.directions import Number

ORDERS = ("formula", "sequential")
"""How the statistics of the ghosts of one batch enter the running ones."""


def running_statistics(
    running: Float[Array, "..."], ghosts: Float[Array, "ghosts ..."], *, momentum: Number = 0.1, order: str
) -> Float[Array, "..."]:
    """The running mean or variance after a batch of k ghosts.

    - ``formula``: (1 - momentum)^k r + sum_i (1 - momentum)^i momentum g_i, i from 0, as the paper prints it: the first
      ghost weighs most.
    - ``sequential``: r <- (1 - momentum) r + momentum g_i, ghost after ghost, as code usually does it: the last does.

    Args:
        running: r.
        ghosts: g, a statistic of every ghost.
        momentum: share of a ghost in the running statistic.
        order: which.

    Returns:
        The new running statistic; the weights sum to one in both orders.

    Raises:
        ValueError: another ``order``.
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {list(ORDERS)}, got {order!r}")
    count = len(ghosts)
    powers = jnp.arange(count) if order == "formula" else jnp.arange(count - 1, -1, -1)
    weights = momentum * (1 - momentum) ** powers
    return (1 - momentum) ** count * running + jnp.tensordot(weights, ghosts, axes=1)


class Regime(NamedTuple):
    """A training at another batch size.

    Attributes:
        learning_rate: of the larger batch.
        epochs: after which as many updates were made as before.
    """

    learning_rate: float
    epochs: float


def adapted_regime(
    learning_rate: int | float, epochs: int | float, *, batch: int | float, reference_batch: int | float
) -> Regime:
    """Regime adaptation: the rate grows with the root of the batch, and the number of updates stays.

    The paper's reason: weights drift from their start as the logarithm of the number of updates, so a large batch that
    sees the same epochs does not get as far.

    Args:
        learning_rate: that goes with the reference batch.
        epochs: that go with it.
        batch: the larger batch.
        reference_batch: that both were tuned for.

    Raises:
        ValueError: a number is not positive.
    """
    given = {"learning_rate": learning_rate, "epochs": epochs, "batch": batch, "reference_batch": reference_batch}
    for name, value in given.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a finite positive number, got {value!r}")
    growth = batch / reference_batch
    return Regime(learning_rate * growth**0.5, epochs * growth)
