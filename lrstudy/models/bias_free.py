"""A multilayer perceptron without biases, as studies of modular arithmetic train it."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrstudy.models.fields import check_name, check_sizes

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"quadratic": jnp.square, "relu": nn.relu}


class BiasFreeMLP(nn.Module):
    """Layers of equal width without biases, and a linear readout without one.

    With ``relu`` the outputs are a homogeneous function of the weights, of degree ``layers + 1``: to scale them all up
    scales the scores up, which is how a fitted network lowers its loss without learning anything (Prieto et al. 2025,
    arXiv 2501.04697, whose network of two layers the defaults are). One ``quadratic`` layer learns modular addition
    from few examples (Doshi et al. 2023, arXiv 2310.13061).

    Initial weights are uniform in +-1 / sqrt(fan-in).

    Attributes:
        outputs: size of the last axis of the result.
        width: hidden units of every hidden layer.
        layers: number of hidden layers.
        activation: ``relu`` or ``quadratic``, the square.
    """

    outputs: int
    width: int = 200
    layers: int = 2
    activation: str = "relu"

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: a size is below its least, or there is no such activation.
        """
        check_sizes(width=(self.width, 1), layers=(self.layers, 0))
        check_name("activation", self.activation, ACTIVATIONS)
        super().__post_init__()

    @nn.nowrap
    def spec_overrides(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """What a parametrization cannot infer from shapes: (regular expression over a tensor's path, fields)."""
        return (("^readout/kernel$", {"role": "output"}),)

    @nn.compact
    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch outputs"]:
        """Scores of every example."""
        # The variance of a uniform number is a third of the square of its bound.
        initial = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        for layer in range(self.layers):
            x = nn.Dense(self.width, use_bias=False, kernel_init=initial, name=f"hidden_{layer}")(x)
            x = ACTIVATIONS[self.activation](x)
        return nn.Dense(self.outputs, use_bias=False, kernel_init=initial, name="readout")(x)
