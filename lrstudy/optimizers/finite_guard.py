"""Updates that would spoil the parameters or the state are not made."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int


class FiniteGuardState(NamedTuple):
    """State of ``finite_guard``.

    Attributes:
        inner: state of the guarded transform.
        refused: how many updates were not made.
    """

    inner: optax.OptState
    refused: Int[Array, "*lanes"]


def finite_guard(transform: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Leaves parameters and state as they are where an update is not of finite numbers.

    An update is refused if a gradient or an update is not finite, or if a number of the state would cease to be. The
    last is how a denominator of zero shows: on a first gradient of zeros the estimates of ``optax.contrib``'s prodigy
    and dadapt_adamw become 0 / 0 and stay so for ever, dadapt_adamw's update still being finite at that step; their
    authors' own code returns early there. What is infinite from the start, such as a best loss that is yet to be
    seen, may stay so.

    A refused update counts for nothing: a schedule inside stays at its step, a decay is not applied. Other than
    ``optax.apply_if_finite`` this looks at the outcome too, and never gives in.

    Args:
        transform: any transform.

    Returns:
        The same transform for all updates that are finite.
    """
    inner = optax.with_extra_args_support(transform)

    def init(params: Any) -> FiniteGuardState:
        return FiniteGuardState(inner.init(params), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: FiniteGuardState, params: Any = None, **extra: Any) -> tuple[Any, FiniteGuardState]:
        step, after = inner.update(updates, state.inner, params, **extra)
        sound = _all_finite(updates) & _all_finite(step) & _stays_finite(state.inner, after)
        # Minus zero is the one number that changes no parameter when it is added, not even the sign of a zero.
        made = jax.tree.map(lambda u: jnp.where(sound, u, jnp.asarray(-0.0, u.dtype)), step)
        kept = jax.tree.map(lambda new, old: jnp.where(sound, new, old), after, state.inner)
        return made, FiniteGuardState(kept, state.refused + jnp.where(sound, 0, 1))

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def _is_inexact(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _all_of(conditions: Any) -> Bool[Array, ""]:
    return jax.tree.reduce(jnp.logical_and, conditions, jnp.asarray(True))


def _all_finite(tree: Any) -> Bool[Array, ""]:
    return _all_of([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree) if _is_inexact(leaf)])


def _stays_finite(before: Any, after: Any) -> Bool[Array, ""]:
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return _all_of([jnp.all(jnp.isfinite(new) | ~jnp.isfinite(old)) for old, new in pairs if _is_inexact(old)])
