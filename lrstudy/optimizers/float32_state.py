"""Optimizer state in float32 whatever the parameters are stored in."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def with_float32_state(transform: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Runs a transform in float32 for parameters of lower precision.

    optax gives state the type of the parameters: bfloat16 moments lose small gradients, and traced hyperparameters turn
    them into float32 at the first update, which no loop can carry. Here state is float32 from the start, gradients and
    parameters are cast up for the update, and the update is cast to the type of its parameter. Trees of float32 or
    float64 pass unchanged.

    Args:
        transform: any transform.

    Returns:
        The same transform on 32-bit copies.
    """
    inner = optax.with_extra_args_support(transform)

    def init(params: Any) -> optax.OptState:
        return inner.init(_raised(params))

    def update(updates: Any, state: optax.OptState, params: Any = None, **extra: Any) -> tuple[Any, optax.OptState]:
        raised = None if params is None else _raised(params)
        result, state = inner.update(_raised(updates), state, raised, **extra)
        like = updates if params is None else params
        return jax.tree.map(lambda new, old: new.astype(old.dtype), result, like), state

    return optax.GradientTransformationExtraArgs(init, update)


def _raised(tree: Any) -> Any:
    """Leaves of fewer than 32 bits as float32."""

    def raise_one(leaf: Any) -> Any:
        low = jnp.issubdtype(leaf.dtype, jnp.floating) and jnp.finfo(leaf.dtype).bits < 32
        return leaf.astype(jnp.float32) if low else leaf

    return jax.tree.map(raise_one, tree)
