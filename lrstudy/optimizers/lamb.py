"""LAMB's direction: Adam's, as long as its tensor asks for, without a copy of it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lrstudy.optimizers.decay import decay_mask
from lrstudy.optimizers.directions import Number
from lrstudy.optimizers.trust_ratio import scale_by_trust_ratio


def lamb_direction(*, b1: Number, b2: Number, eps: Number, weight_decay: Number) -> optax.GradientTransformation:
    """``scale_by_trust_ratio("lamb")`` of ``optax.scale_by_adam``, gains and biases excepted (arXiv 1904.00962).

    The chain of the two computes a direction, its norm, and its multiple; XLA keeps the direction in between, a copy of
    the parameters. Here norm and multiple are computed from the moments in two forms that are equal but share no
    tensor, with the correction of the second moment once outside of the root and once inside: the moments are read
    twice and nothing is kept (``benchmarks/optimizers.py`` counts).

    Args:
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: offset of the denominator.
        weight_decay: part of the direction whose norm is taken.

    Returns:
        Gradient to direction, of ascent; its state is that of the chain, and ``update`` needs the parameters.
    """
    adam = optax.scale_by_adam(b1, b2, eps)
    ratios = functools.partial(scale_by_trust_ratio, "lamb", mask=decay_mask)

    def init(params: Any) -> tuple[Any, Any]:
        return adam.init(params), ratios().init(params)

    def update(updates: Any, state: tuple[Any, Any], params: Any = None) -> tuple[Any, tuple[Any, Any]]:
        # A number that XLA knows it makes a tensor of, which is then kept after all.
        decay = jax.lax.optimization_barrier(jnp.asarray(weight_decay, jnp.result_type(float)))
        moments: Any
        found: Any
        steps, moments = adam.update(updates, state[0], params)
        first, second = (1 - b**moments.count for b in (b1, b2))
        root = jnp.sqrt(second)
        plain = jax.tree.map(lambda m, v: m * (root / first) / (jnp.sqrt(v) + eps * root), moments.mu, moments.nu)
        _, found = ratios(weight_decay=decay).update(plain, state[1], params)

        def scaled(ratio: Float[Array, "..."] | None, step: Array, m: Array, v: Array, weights: Array) -> Array:
            if ratio is None:
                return step
            ratio = jnp.reshape(ratio, ratio.shape + (1,) * (m.ndim - ratio.ndim))
            direction = m * (ratio / first) / (jnp.sqrt(v / second) + eps)
            return (direction + ratio * decay * weights).astype(step.dtype)

        args = (found.ratio, steps, moments.mu, moments.nu, params)
        return jax.tree.map(scaled, *args, is_leaf=lambda node: node is None), (moments, found)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
