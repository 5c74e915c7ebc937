"""Lion's direction, written so that its momentum is updated in place."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrstudy.optimizers.directions import Number


def lion_direction(*, b1: Number, b2: Number) -> optax.GradientTransformation:
    """The sign of b1 m + (1 - b1) g, after which m <- b2 m + (1 - b2) g (Chen et al. 2023, arXiv 2302.06675).

    The sign is taken of the same number in terms of the new momentum m', (b1 / b2) m' + (1 - b1 / b2) g: a rule that
    reads the old one keeps XLA from overwriting it, and costs a copy of the parameters in memory and traffic
    (``optax.scale_by_lion`` does; ``benchmarks/optimizers.py``). The two differ where the sum is zero up to rounding,
    the more the smaller b2: an old momentum cannot be told from a new one that has forgotten it. An infinite gradient
    has no sign here where b1 is above b2.

    Args:
        b1: weight of the momentum in the direction.
        b2: decay of the momentum, not zero.

    Returns:
        Gradient to direction, of ascent; its state is that of ``optax.scale_by_lion``.
    """

    def init(params: Any) -> optax.ScaleByLionState:
        return optax.ScaleByLionState(count=jnp.zeros((), jnp.int32), mu=optax.tree.zeros_like(params))

    def update(updates: Any, state: optax.ScaleByLionState, params: Any = None) -> tuple[Any, optax.ScaleByLionState]:
        del params
        mu = optax.tree.update_moment(updates, state.mu, b2, 1)
        share = b1 / b2
        signs = jax.tree.map(lambda m, g: jnp.sign(share * m + (1 - share) * g), mu, updates)
        return signs, optax.ScaleByLionState(count=optax.safe_increment(state.count), mu=mu)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
