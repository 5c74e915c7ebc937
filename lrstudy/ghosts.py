"""Ghosts of a batch, each normalised by itself (Hoffer et al. 2017, arXiv 1705.08741).

The optimizers' room has the regime that goes with them, the models' room a layer of them; neither imports the other.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lrstudy.schedules.checks import Number

STATISTICS = "batch_stats"
"""The collection in which a model keeps what it measures of a data set to be evaluated with (flax's name for it)."""


class GhostBatch(NamedTuple):
    """A batch that was normalised ghost by ghost.

    Attributes:
        outputs: of the shape of the inputs.
        mean: of every ghost.
        variance: of every ghost, divided by its number of values.
    """

    outputs: Float[Array, "batch *space features"]
    mean: Float[Array, "ghosts features"]
    variance: Float[Array, "ghosts features"]


def ghost_normalised(
    inputs: Float[Array, "batch *space features"], ghost_size: int, *, eps: Number = 1e-5
) -> GhostBatch:
    """Normalises every ghost, successive examples of the batch, by its own statistics.

    Args:
        inputs: examples first, features last; axes between are averaged over too.
        ghost_size: examples in a ghost, the small batch whose noise is wanted.
        eps: added to a variance.

    Returns:
        Outputs of mean 0 and variance 1 in every ghost, without gain and bias, and the statistics.

    Raises:
        ValueError: the batch is not made of ghosts of that size.
    """
    batch, features = inputs.shape[0], inputs.shape[-1]
    if not isinstance(ghost_size, int) or ghost_size < 1 or batch % ghost_size:
        raise ValueError(f"ghost_size must be a divisor of the batch ({batch}), got {ghost_size!r}")
    ghosts = inputs.reshape(batch // ghost_size, -1, features)
    mean = jnp.mean(ghosts, axis=1, keepdims=True)
    variance = jnp.var(ghosts, axis=1, keepdims=True)
    outputs = (ghosts - mean) / jnp.sqrt(variance + eps)
    return GhostBatch(outputs.reshape(inputs.shape), mean[:, 0], variance[:, 0])
