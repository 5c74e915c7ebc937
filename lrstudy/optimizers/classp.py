"""CLASSP: large gradients alone move a weight, and the more it has moved the less it does (Ludwig 2024)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool

from lrstudy.optimizers.checks import Real, check_choice, check_number
from lrstudy.optimizers.directions import LearningRate

MODES = ("paper", "released")


class ClasspState(NamedTuple):
    """State of ``scale_by_classp``.

    Attributes:
        s: sums of the gradients' magnitudes to the power p, a tree like the parameters.
    """

    s: Any


def scale_by_classp(
    *, threshold: Real = 0.5, power: Real = 1.0, eps: Real = 1e-5, mode: str = "paper"
) -> optax.GradientTransformation:
    """The direction of ``classp``, of ascent; arguments and errors are those."""
    check_choice("mode", mode, MODES)
    check_number("power", power, 1e-3)
    check_number("eps", eps, 0.0)

    def passes(gradient: Array) -> Bool[Array, "..."]:
        if mode == "paper":
            return jnp.square(gradient) > threshold
        # The code compares whether any entry's square is not zero, a truth value, with the threshold.
        return jnp.any(jnp.square(gradient) != 0).astype(gradient.dtype) > threshold

    def init(params: Any) -> ClasspState:
        return ClasspState(optax.tree.zeros_like(params))

    def update(updates: Any, state: ClasspState, params: Any = None) -> tuple[Any, ClasspState]:
        del params
        exponent = power if mode == "paper" else 1.0

        def added(gradient: Array, total: Array) -> Array:
            return total + jnp.where(passes(gradient), jnp.abs(gradient) ** exponent, 0)

        def scaled(gradient: Array, total: Array) -> Array:
            moves = passes(gradient)
            offset = jnp.where(moves, eps + total, 1)
            return jnp.where(moves, gradient / offset ** (1 / power), 0)

        sums = jax.tree.map(added, updates, state.s)
        return jax.tree.map(scaled, updates, sums), ClasspState(sums)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def classp(
    learning_rate: LearningRate | int = 0.2,
    *,
    threshold: Real = 0.5,
    power: Real = 1.0,
    eps: Real = 1e-5,
    mode: str = "paper",
) -> optax.GradientTransformation:
    """Weights that have moved far are spared and small gradients are ignored (arXiv 2405.09637).

    For every entry of which g^2 > threshold: s <- s + |g|^p, w <- w - lr g / (eps + s)^(1/p). Other entries keep both
    weight and sum, so that a task that comes later leaves alone what an earlier one settled. p = 2 and a threshold of
    0 make it AdaGrad.

    The released code does something else, which ``mode="released"`` repeats: its condition is one for a whole tensor,
    whether any gradient is not zero at all (for thresholds in [0, 1)), and it sums |g| whatever p is.

    Args:
        learning_rate: rate or schedule.
        threshold: of the squared gradient; 0.5 is of large gradients.
        power: p, positive.
        eps: offset of the sum.
        mode: ``paper`` or ``released``.

    Returns:
        A transform with a sum as large as the parameters.

    Raises:
        ValueError: an unknown ``mode``, a power below 1e-3, a negative ``eps``.
    """
    direction = scale_by_classp(threshold=threshold, power=power, eps=eps, mode=mode)
    return optax.chain(direction, optax.scale_by_learning_rate(learning_rate))
