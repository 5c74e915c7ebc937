"""MoMo: momentum and Adam whose rate is at most Polyak's, from the loss and a lower bound of it."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrstudy.optimizers.directions import LearningRate, Number
from lrstudy.optimizers.estimated import Moved, estimated, ratio
from lrstudy.optimizers.extra_args import needing


def momo(
    learning_rate: LearningRate,
    *,
    beta: Number = 0.9,
    weight_decay: Number = 0.0,
    lower_bound: Number = 0.0,
    adapt_lower_bound: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Momentum models for adaptive rates (Schaipp et al. 2023, arXiv 2305.07583).

    With d the running mean of gradients, the rate is min(alpha, (f - <d, x - x_s> - f_*)_+ / |d|^2) of running means of
    the loss and its linear models: Polyak's, for a loss that is seen through batches. ``optax.contrib.momo`` computes
    it. Its decay follows alpha and enters the rate; here it is the table's, times the rate applied.

    Args:
        learning_rate: alpha, the most that the rate may be; a number or a schedule.
        beta: decay of the means; the first is the first gradient.
        weight_decay: times the rate applied; kernels and embeddings.
        lower_bound: f_*, of the loss.
        adapt_lower_bound: whether the bound is raised as the losses say.

    Returns:
        A transform whose ``update`` needs ``value``, the loss at the parameters before the update, and whose state says
        the rate it applied (``effective_lr``).
    """

    def method(scheduled: Any) -> optax.GradientTransformation:
        return optax.contrib.momo(scheduled, beta, lower_bound, adapt_lower_bound=adapt_lower_bound)

    def rate(moved: Moved) -> jax.Array:
        return ratio(moved.step, moved.after.exp_avg)

    return needing("momo", ("value",), estimated(method, rate, learning_rate, weight_decay=weight_decay))


def momo_adam(
    learning_rate: LearningRate,
    *,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    lower_bound: Number = 0.0,
    adapt_lower_bound: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """MoMo along Adam's direction, in the norm of its second moment (arXiv 2305.07583).

    ``optax.contrib.momo_adam`` computes it; the rate is that of Adam's corrected ratio, so it is at most alpha.

    Args:
        learning_rate: alpha, the most that the rate may be; 0.01 in the paper, a number or a schedule.
        b1: decay of the first moment and of the means of losses.
        b2: decay of the second moment.
        eps: offset of Adam's denominator.
        weight_decay: times the rate applied; kernels and embeddings.
        lower_bound: f_*, of the loss.
        adapt_lower_bound: whether the bound is raised as the losses say.

    Returns:
        A transform whose ``update`` needs ``value``, the loss at the parameters before the update, and whose state says
        the rate it applied (``effective_lr``).
    """

    def method(scheduled: Any) -> optax.GradientTransformation:
        return optax.contrib.momo_adam(scheduled, b1, b2, eps, lower_bound, adapt_lower_bound=adapt_lower_bound)

    def rate(moved: Moved) -> jax.Array:
        state = moved.after
        first, second = 1 - b1**state.count, 1 - b2**state.count
        along = jax.tree.map(lambda m, v: m / first / (eps + jnp.sqrt(v / second)), state.exp_avg, state.exp_avg_sq)
        return ratio(moved.step, along)

    return needing("momo_adam", ("value",), estimated(method, rate, learning_rate, weight_decay=weight_decay))
