"""COCOB: every coordinate bets on its next gradient, and no rate is left to choose."""

from typing import Any

import jax
import optax

from lrstudy.optimizers.directions import LearningRate, Number
from lrstudy.optimizers.estimated import Moved, estimated, ratio


def cocob(
    learning_rate: LearningRate, *, caution: Number = 100.0, eps: Number = 1e-8
) -> optax.GradientTransformationExtraArgs:
    """Continuous coin betting (Orabona & Tommasi 2017, arXiv 1705.07795, algorithm 2).

    ``optax.contrib.scale_by_cocob`` computes it. A coordinate's bet does not depend on the scale of its gradients, so
    a schedule cannot multiply a rate: as in optax it weighs the gradients, and what matters is its shape. Under a
    constant one of any size the steps are the same.

    Args:
        learning_rate: weight of the gradients, 1.0 or a schedule.
        caution: the paper's alpha: until a coordinate's gradients sum up to so many times its
            largest, bets are as small as if they did.
        eps: the largest gradient before the first.

    Returns:
        A transform whose state says the norm of its step over that of the gradient (``effective_lr``): the rate at
        which gradient descent would have moved as far. It has no decay, for lack of a rate that this could follow.
    """

    def method(scheduled: Any) -> optax.GradientTransformation:
        return optax.chain(optax.scale(scheduled), optax.contrib.scale_by_cocob(caution, eps))

    def rate(moved: Moved) -> jax.Array:
        return ratio(moved.step, moved.gradient)

    return estimated(method, rate, learning_rate)
