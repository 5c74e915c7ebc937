"""TrAct: a first layer that is trained as if its activations were (Petersen et al. 2024, arXiv 2410.23970)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrstudy.optimizers.directions import Number

Inputs = Float[Array, "*batch in"]
Outputs = Float[Array, "*batch out"]
Kernel = Float[Array, "in out"]


def tract_linear(inputs: Inputs, kernel: Kernel, *, ridge: Number = 0.1) -> Outputs:
    """X W with the gradient of W that changes the activations as a step on them would.

    The gradient of W is (x^T x / b + ridge I)^-1 x^T g instead of x^T g, with g the gradient of the outputs and b the
    number of rows of x: how far an activation moves then no longer depends on how bright and how correlated the inputs
    are. The inputs' own gradient is the plain one. It is for the first layer, whose inputs are not learned; a
    convolution is the same with its patches as rows.

    Args:
        inputs: x, any batch axes before the features.
        kernel: W.
        ridge: lambda, for a loss that is the mean over the batch; 0.05 to 0.2 in the paper, 0.1 its default.

    Returns:
        The outputs.
    """
    return _tract(inputs, kernel, jnp.asarray(ridge, kernel.dtype))


@jax.custom_vjp
def _tract(inputs: Inputs, kernel: Kernel, ridge: Any) -> Outputs:
    del ridge
    return inputs @ kernel


def _forward(inputs: Inputs, kernel: Kernel, ridge: Any) -> tuple[Outputs, Any]:
    return _tract(inputs, kernel, ridge), (inputs, kernel, ridge)


def _backward(kept: Any, gradient: Outputs) -> tuple[Any, ...]:
    inputs, kernel, ridge = kept
    features, rows = (leaf.reshape(-1, leaf.shape[-1]) for leaf in (inputs, gradient))
    second = features.T @ features / len(features) + ridge * jnp.eye(features.shape[1], dtype=features.dtype)
    d_kernel = jax.scipy.linalg.solve(second, features.T @ rows, assume_a="pos")
    return gradient @ kernel.T, d_kernel.astype(kernel.dtype), jnp.zeros_like(ridge)


_tract.defvjp(_forward, _backward)
