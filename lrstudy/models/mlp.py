"""A multilayer perceptron."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from lrstudy.models.fields import check_sizes


class MLP(nn.Module):
    """ReLU layers of equal width and a linear readout.

    Attributes:
        outputs: size of the last axis of the result.
        width: hidden units of every hidden layer.
        layers: number of hidden layers.
        layer_norm: normalises every hidden layer before its nonlinearity, without parameters: what
            normalize-and-project needs (Lyle et al. 2024, arXiv 2407.01800).
    """

    outputs: int
    width: int = 64
    layers: int = 2
    layer_norm: bool = False

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: one of them is below its least.
        """
        check_sizes(width=(self.width, 1), layers=(self.layers, 0))
        super().__post_init__()

    @nn.nowrap
    def spec_overrides(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """What a parametrization cannot infer from shapes: (regular expression over a tensor's path, fields)."""
        return (("^readout/kernel$", {"role": "output"}),)

    @nn.compact
    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch outputs"]:
        """Scores of every example."""
        for layer in range(self.layers):
            x = nn.Dense(self.width, name=f"hidden_{layer}")(x)
            if self.layer_norm:
                x = nn.LayerNorm(use_scale=False, use_bias=False, name=f"norm_{layer}")(x)
            x = nn.relu(x)
        return nn.Dense(self.outputs, name="readout")(x)
