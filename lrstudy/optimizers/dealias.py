"""A state that shares no memory with the parameters, so that both can be donated."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def dealias(transform: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Copies what a transform's ``init`` keeps of the parameters.

    The distance from the initial parameters is measured by keeping them: ``optax.contrib``'s prodigy, dog, dowg, cocob
    and mechanize keep the very arrays that ``init`` was given, and a step that donates (params, state), the cheapest
    kind, then fails with "Attempt to donate the same buffer twice". Here ``init`` works on a copy of the parameters,
    and what two places of the state share is copied once more. Updates are those of the transform.

    Args:
        transform: any transform.

    Returns:
        The same transform, whose initial state owns every one of its arrays.
    """
    inner = optax.with_extra_args_support(transform)

    def init(params: Any) -> optax.OptState:
        seen: set[int] = set()

        def own(leaf: Any) -> Any:
            if isinstance(leaf, jax.Array) and id(leaf) in seen:
                return jnp.copy(leaf)
            seen.add(id(leaf))
            return leaf

        return jax.tree.map(own, inner.init(jax.tree.map(jnp.copy, params)))

    return optax.GradientTransformationExtraArgs(init, inner.update)
