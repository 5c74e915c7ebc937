"""A multilayer perceptron."""

import flax.linen as nn
from jaxtyping import Array, Float

from lrstudy.models.sizes import check_sizes


class MLP(nn.Module):
    """ReLU layers of equal width and a linear readout.

    Attributes:
        outputs: size of the last axis of the result.
        width: hidden units of every hidden layer.
        layers: number of hidden layers.
    """

    outputs: int
    width: int = 64
    layers: int = 2

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: one of them is below its least.
        """
        check_sizes(width=(self.width, 1), layers=(self.layers, 0))
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch outputs"]:
        """Scores of every example."""
        for layer in range(self.layers):
            x = nn.relu(nn.Dense(self.width, name=f"hidden_{layer}")(x))
        return nn.Dense(self.outputs, name="readout")(x)
