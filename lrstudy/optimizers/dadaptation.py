"""D-Adaptation and Prodigy: AdamW whose rate is an estimate of the distance to the solution."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrstudy.optimizers.directions import LearningRate, Number
from lrstudy.optimizers.estimated import Moved, estimated


def dadapt_adamw(
    learning_rate: LearningRate,
    *,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    initial_rate: Number = 1e-6,
) -> optax.GradientTransformationExtraArgs:
    """AdamW by D-Adaptation (Defazio & Mishchenko 2023, arXiv 2301.07733).

    The rate is ``learning_rate`` times d, a lower bound of the distance from the start to the solution in the largest
    coordinate, which grows as gradients agree with the way that was gone. ``optax.contrib.dadapt_adamw`` computes it;
    where nothing has been summed up yet, after gradients or rates of zero, it divides 0 by 0 and never recovers, and
    here d stays what it was. A gradient enters the momentum times the rate of its own step, so a rate of zero still
    moves along what is remembered.

    Args:
        learning_rate: 1.0 or a schedule of that peak.
        b1: decay of the first moment.
        b2: decay of the second moment, and its root of the sums that d is estimated by.
        eps: offset of Adam's denominator.
        weight_decay: times the rate applied; kernels and embeddings.
        initial_rate: the first d, well below any that could be right.

    Returns:
        A transform whose state says the rate it applied (``effective_lr``): the schedule times d.
    """

    def method(scheduled: Any) -> optax.GradientTransformation:
        return _kept(optax.contrib.dadapt_adamw(scheduled, (b1, b2), eps, initial_rate))

    return estimated(method, _rate, learning_rate, weight_decay=weight_decay)


def prodigy(
    learning_rate: LearningRate,
    *,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    initial_rate: Number = 1e-6,
    coefficient: Number = 1.0,
    bias_correction: bool = False,
    safeguard_warmup: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Prodigy (Mishchenko & Defazio 2023, arXiv 2306.06101): D-Adaptation whose estimate grows faster.

    ``optax.contrib.prodigy`` computes it, always with Adam's bias correction, which the authors' code leaves out unless
    asked. Without it the first step is (1 - b1) / sqrt(1 - b2), some three, times as long, and the estimate grows
    within a few. As ``dadapt_adamw`` it is kept from dividing 0 by 0.

    Args:
        learning_rate: 1.0 or a schedule of that peak.
        b1: decay of the first moment.
        b2: decay of the second moment, and its root of the sums that d is estimated by.
        eps: offset of Adam's denominator, times d.
        weight_decay: times the rate applied; kernels and embeddings.
        initial_rate: the first d, well below any that could be right.
        coefficient: factor on every estimate.
        bias_correction: whether Adam's moments are corrected.
        safeguard_warmup: leaves the rate out of the sum that an estimate is divided by; for long warmups.

    Returns:
        A transform whose state says the rate it applied (``effective_lr``): the schedule times d.
    """

    def method(scheduled: Any) -> optax.GradientTransformation:
        def at(rate: Any) -> optax.GradientTransformation:
            return optax.contrib.prodigy(
                rate,
                (b1, b2),
                eps=eps,
                estim_lr0=initial_rate,
                estim_lr_coef=coefficient,
                safeguard_warmup=safeguard_warmup,
            )

        def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
            count = state.count + 1
            correction = jnp.sqrt(1 - b2**count) / (1 - b1**count)
            # The correction multiplies the rate everywhere, and nothing else.
            rate = scheduled if bias_correction else scheduled / correction
            return at(rate).update(updates, state, params)

        return _kept(optax.GradientTransformation(at(scheduled).init, update))

    return estimated(method, _rate, learning_rate, weight_decay=weight_decay)


def _rate(moved: Moved) -> jax.Array:
    return moved.scheduled * moved.before.estim_lr


def _kept(transform: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same, but for an estimate whose denominator is zero: it stays, and nothing moves."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        steps, new = transform.update(updates, state, params)
        idle = sum(jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(new.grad_sum)) == 0
        kept = new._replace(estim_lr=jnp.where(idle, state.estim_lr, new.estim_lr))
        return jax.tree.map(lambda step: jnp.where(idle, 0, step), steps), kept

    return optax.GradientTransformation(transform.init, update)
