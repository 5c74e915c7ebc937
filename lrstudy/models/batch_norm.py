"""A multilayer perceptron whose hidden layers are normalised over the batch, or over ghosts of it."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrstudy.ghosts import STATISTICS, ghost_normalised
from lrstudy.models.fields import check_sizes

EPS = 1e-5


class GhostBatchNorm(nn.Module):
    """Batch norm with a gain and a bias, ghost by ghost.

    Ioffe & Szegedy 2015, arXiv 1502.03167; Hoffer et al. 2017, arXiv 1705.08741. Running statistics, which would be a
    state beside the parameters, there are none. The statistics are

    - those of every ghost, while training,
    - those of all inputs, which are kept, where the collection ``STATISTICS`` may be written,
    - those that were kept, where the collection is given and may not be written.

    So parameters are evaluated with the statistics that the training set has under them, and not with an average over
    parameters that have changed since.

    Attributes:
        ghost_size: examples in a ghost, a divisor of the batch; 0: the whole batch is one.
    """

    ghost_size: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, "batch *space features"]) -> Float[Array, "batch *space features"]:
        """Normalises, scales and shifts.

        Raises:
            ValueError: the batch is not made of ghosts of that size.
        """
        features = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (features,))
        bias = self.param("bias", nn.initializers.zeros, (features,))
        if self.is_mutable_collection(STATISTICS):
            normalised, mean, variance = ghost_normalised(x, len(x), eps=EPS)
            self.put_variable(STATISTICS, "mean", mean[0])
            self.put_variable(STATISTICS, "variance", variance[0])
        elif self.has_variable(STATISTICS, "mean"):
            mean, variance = (self.get_variable(STATISTICS, name) for name in ("mean", "variance"))
            normalised = (x - mean) / jnp.sqrt(variance + EPS)
        else:
            normalised = ghost_normalised(x, self.ghost_size or len(x), eps=EPS).outputs
        return scale * normalised + bias


class BatchNormMLP(nn.Module):
    """ReLU layers of equal width, normalised over the batch before the nonlinearity, and a linear readout.

    While training an example's scores depend on the others of its ghost; what they are in evaluation ``GhostBatchNorm``
    says.

    Attributes:
        outputs: size of the last axis of the result.
        width: hidden units of every hidden layer.
        layers: number of hidden layers.
        ghost_size: examples that are normalised together, a divisor of the batch; 0: all of the batch.
    """

    outputs: int
    width: int = 64
    layers: int = 2
    ghost_size: int = 0

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: one of them is below its least.
        """
        check_sizes(width=(self.width, 1), layers=(self.layers, 0), ghost_size=(self.ghost_size, 0))
        super().__post_init__()

    @nn.nowrap
    def spec_overrides(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """What a parametrization cannot infer from shapes: (regular expression over a tensor's path, fields)."""
        return (("^readout/kernel$", {"role": "output"}),)

    @nn.compact
    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch outputs"]:
        """Scores of every example.

        Raises:
            ValueError: the batch is not made of ghosts of ``ghost_size``.
        """
        for layer in range(self.layers):
            # The norm takes the mean away: a bias before it would do nothing.
            x = nn.Dense(self.width, use_bias=False, name=f"hidden_{layer}")(x)
            x = nn.relu(GhostBatchNorm(self.ghost_size, name=f"norm_{layer}")(x))
        return nn.Dense(self.outputs, name="readout")(x)
