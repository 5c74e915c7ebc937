"""Gradients without the part along their weights (Prieto et al. 2025, arXiv 2501.04697)."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from lrstudy.optimizers.checks import Real
from lrstudy.optimizers.norms import norm_over, widened
from lrstudy.optimizers.paths import layer_axes


def orthogonal_gradient(*, eps: Real = 1e-30, min_ndim: int = 2, rtol: Real = 1e-6) -> optax.GradientTransformation:
    """Replaces a tensor's gradient by what is orthogonal to the weights, at its old norm; the first of a chain.

    g' = g - (w.g / (w.w + eps)) w, and the result is g' |g| / (|g'| + eps): perpGrad, which keeps a classifier from
    lowering its loss by scaling its logits up. In stacked layers (``paths.STACK``) every layer is a tensor of its own.

    Where nothing is left, as for a tensor of one entry or a gradient along the weights, g' is the rounding error of the
    difference, and the authors' code scales that up to the norm of the gradient, with any sign. Here such a gradient
    becomes zero, and tensors of few axes (gains and biases) keep theirs.

    Args:
        eps: offset of both denominators.
        min_ndim: least number of axes, those that count layers aside, of a tensor that is projected.
        rtol: a remainder shorter than this share of the gradient is rounding error.

    Returns:
        A transform without state whose ``update`` needs the parameters.

    Raises:
        ValueError: ``update`` is not given the parameters.

    Example:
        >>> transform = orthogonal_gradient()
        >>> params, grads = jnp.float32([[1, 0], [0, 0]]), jnp.float32([[3, 4], [0, 0]])
        >>> updates, _ = transform.update(grads, transform.init(params), params)
        >>> updates.tolist()  # nothing along the weights, and as long as before
        [[0.0, 5.0], [0.0, 0.0]]
    """

    def project(path: tuple[Any, ...], gradient: Array, weights: Array) -> Array:
        first = layer_axes(path)
        if gradient.ndim - first < min_ndim:
            return gradient
        g, w = widened(gradient), widened(weights)
        over = tuple(range(first, g.ndim))
        along = jnp.sum(w * g, over, keepdims=True) / (jnp.sum(w * w, over, keepdims=True) + eps)
        rest = g - along * w
        length, left = norm_over(g, first), norm_over(rest, first)
        kept = jnp.where(left < rtol * length, 0, rest * (length / (left + eps)))
        return kept.astype(gradient.dtype)

    def update(updates: Any, params: Any = None) -> Any:
        if params is None:
            raise ValueError("params must be given: orthogonal_gradient projects gradients by them")
        return jax.tree_util.tree_map_with_path(project, updates, params)

    return optax.stateless(update)
