"""DoG and DoWG: gradient descent whose rate is the distance gone over the size of the gradients met."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrstudy.optimizers.directions import LearningRate, Number
from lrstudy.optimizers.estimated import Moved, estimated


def dog(
    learning_rate: LearningRate,
    *,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    initial_distance: Number = 1e-6,
) -> optax.GradientTransformationExtraArgs:
    """Distance over gradients (Ivgi et al. 2023, arXiv 2302.12022): the rate max_s |x_s - x_0| / sqrt(sum_s |g_s|^2).

    ``optax.contrib.dog`` computes it. The authors evaluate an average of the iterates, which this row does
    not.

    Args:
        learning_rate: factor on the rate, 1.0 or a schedule of that peak.
        eps: added to the sum of squares.
        weight_decay: times the rate applied; kernels and embeddings.
        initial_distance: the first distance over 1 + |x_0|.

    Returns:
        A transform whose state says the rate it applied (``effective_lr``).
    """

    def method(scheduled: Any) -> optax.GradientTransformation:
        return optax.contrib.dog(scheduled, ("heuristic", initial_distance), eps)

    def rate(moved: Moved) -> jax.Array:
        _, state, _ = moved.after
        return moved.scheduled * state.max_dist / jnp.sqrt(state.sum_sq_norm_grads + eps)

    return estimated(method, rate, learning_rate, weight_decay=weight_decay)


def dowg(
    learning_rate: LearningRate,
    *,
    eps: Number = 1e-4,
    weight_decay: Number = 0.0,
    initial_distance: Number = 1e-2,
) -> optax.GradientTransformationExtraArgs:
    """Distance over weighted gradients (Khaled et al. 2023, arXiv 2305.16284).

    With r_s the largest distance from the start so far, the rate is r_t^2 / sqrt(sum_s r_s^2 |g_s|^2): gradients that
    were met near the start count less, so it is larger than DoG's. ``optax.contrib.dowg`` computes it.

    Args:
        learning_rate: factor on the rate, 1.0 or a schedule of that peak.
        eps: added to the root of the sum.
        weight_decay: times the rate applied; kernels and embeddings.
        initial_distance: the first r; the square of optax's is its eps.

    Returns:
        A transform whose state says the rate it applied (``effective_lr``).
    """

    def method(scheduled: Any) -> optax.GradientTransformation:
        return optax.contrib.dowg(scheduled, initial_distance**2, eps)

    def rate(moved: Moved) -> jax.Array:
        _, state, _ = moved.after
        return moved.scheduled * state.estim_sq_dist / (jnp.sqrt(state.weighted_sq_norm_grads) + eps)

    return estimated(method, rate, learning_rate, weight_decay=weight_decay)
