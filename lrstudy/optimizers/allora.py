"""ALLoRA: adapters of low rank whose rate follows the size of what they have learned (Huang & Balestriero 2024)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrstudy.optimizers.directions import Number

Inputs = Float[Array, "*batch in"]
Outputs = Float[Array, "*batch out"]
Weights = Float[Array, "out in"]
Up = Float[Array, "out rank"]
Down = Float[Array, "rank in"]


def allora_linear(inputs: Inputs, weights: Weights, up: Up, down: Down, *, eta_squared: Number = 2.0) -> Outputs:
    """(W + BA) x with gradients of B and A whose rows are scaled by what is learned (arXiv 2410.09692).

    Row i of G = dL/d(BA) is multiplied by c_i = (|(BA)_i|_2 + 1 / eta^2)^(-1/2), so a row that is still zero learns
    eta times as fast and one that has grown more slowly, without dropout and without a scaling factor: dB = (c G) A^T
    and dA = B^T (c G). What the layer below is given is the plain gradient, so no transform of the gradients can do
    this: rows have to be scaled before A's are summed up.

    Args:
        inputs: x, any batch axes before the features.
        weights: W, of the pretrained layer, which is frozen by not being trained; its gradient is the plain one.
        up: B.
        down: A.
        eta_squared: eta^2; 1, 2 or 4 in the paper, with a base rate of 1e-4.

    Returns:
        The outputs.
    """
    return _allora(inputs, weights, up, down, jnp.asarray(eta_squared, up.dtype))


@jax.custom_vjp
def _allora(inputs: Inputs, weights: Weights, up: Up, down: Down, eta_squared: Any) -> Outputs:
    del eta_squared
    return inputs @ weights.T + (inputs @ down.T) @ up.T


def _forward(inputs: Inputs, weights: Weights, up: Up, down: Down, eta_squared: Any) -> tuple[Outputs, Any]:
    return _allora(inputs, weights, up, down, eta_squared), (inputs, weights, up, down, eta_squared)


def _backward(kept: Any, gradient: Outputs) -> tuple[Any, ...]:
    inputs, weights, up, down, eta_squared = kept
    rows, features = (leaf.reshape(-1, leaf.shape[-1]) for leaf in (gradient, inputs))
    scale = 1 / jnp.sqrt(jnp.linalg.norm(up @ down, axis=1) + 1 / eta_squared)
    scaled = rows * scale
    d_up = scaled.T @ (features @ down.T)
    d_down = (scaled @ up).T @ features
    d_inputs = gradient @ weights + (gradient @ up) @ down
    return d_inputs, rows.T @ features, d_up, d_down, jnp.zeros_like(eta_squared)


_allora.defvjp(_forward, _backward)
