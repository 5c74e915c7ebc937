"""Mechanic: the scale of another optimizer's steps, learned as they are taken."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrstudy.optimizers.directions import LearningRate, Number, stepped
from lrstudy.optimizers.estimated import Moved, estimated


def mechanic(
    inner: optax.GradientTransformation,
    learning_rate: LearningRate,
    *,
    weight_decay: Number = 0.0,
    regularisation: Number = 0.01,
    initial_scale: Number = 1e-6,
    num_betas: int = 6,
) -> optax.GradientTransformationExtraArgs:
    """Tunes the rate of any direction (Cutkosky et al. 2023, arXiv 2306.00144).

    The parameters are x_0 + S_t D_t with D_t the sum of the steps that the optimizer would have taken, under the
    schedule and with its decay, and S_t a scale that coin betting learns from <g_t, D_t>, at ``num_betas`` rates of
    forgetting at once. Whatever direction it is, one scale of all tensors is learned, so they may have factors of their
    own before.

    ``optax.contrib.mechanize`` computes it. It recovers D_t from the parameters, so while S_t is still tiny D_t is as
    coarse as their last bits over S_t.

    Args:
        inner: gradient to direction, of ascent.
        learning_rate: of the inner optimizer, 1.0 or a schedule of that peak.
        weight_decay: of the inner optimizer, times its rate and hence S_t; kernels and embeddings.
        regularisation: of Mechanic: how much of the parameters is added to the gradient that S_t is learned from.
        initial_scale: the first S.
        num_betas: n, for the decays 0.9, 0.99, ..., 1 - 10^-n.

    Returns:
        A transform whose state says the rate it applied (``effective_lr``): the schedule times S_t, at which the newest
        step entered. All earlier ones are scaled anew with it.
    """

    def method(scheduled: Any) -> optax.GradientTransformation:
        base = stepped(inner, scheduled, weight_decay)
        return optax.contrib.mechanize(base, regularisation, s_init=initial_scale, num_betas=num_betas)

    def rate(moved: Moved) -> jax.Array:
        return moved.scheduled * jnp.sum(moved.after.s)

    return estimated(method, rate, learning_rate)
