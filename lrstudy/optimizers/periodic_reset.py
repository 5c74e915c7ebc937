"""Moments that begin anew every so many updates."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from lrstudy.optimizers.checks import check_period
from lrstudy.optimizers.paths import names


class PeriodicResetState(NamedTuple):
    """State of ``periodic_reset``.

    Attributes:
        count: updates so far.
        inner: state of the transform whose moments are reset.
    """

    count: Int[Array, "*lanes"]  # pyright: ignore[reportIncompatibleMethodOverride]
    inner: optax.OptState


def periodic_reset(
    inner: optax.GradientTransformation, every: int | Array, which: Sequence[str] = ("mu", "nu")
) -> optax.GradientTransformationExtraArgs:
    """Sets parts of a transform's state to zero before the updates ``every``, 2 ``every`` and so on, counted from 0.

    Adam's bias correction goes by its ``count``, which stays unless it is named: with it left alone the first step
    after a reset is (1 - b1) / sqrt(1 - b2) long, three times Adam's usual one at the defaults; with
    ``which=("mu", "nu", "count")`` Adam begins anew altogether. A schedule inside ``inner`` has a count as well, so
    what is wrapped is the direction alone.

    Args:
        inner: a transform whose state names its parts, as optax's do.
        every: updates from one reset to the next.
        which: names of parts of the state, wherever they are nested.

    Returns:
        A transform like ``inner``.

    Raises:
        ValueError: a period below 1; at ``init``, a name that the state does not have.
    """
    check_period("every", every)
    inner = optax.with_extra_args_support(inner)

    def is_named(path: tuple[Any, ...]) -> bool:
        return any(isinstance(e, jax.tree_util.GetAttrKey) and e.name in which for e in path)

    def init(params: Any) -> PeriodicResetState:
        state = inner.init(params)
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(state)]
        for name in which:
            if not any(name in names(path) for path in paths):
                raise ValueError(f"which must name parts of the inner state, got {name!r}")
        return PeriodicResetState(jnp.zeros((), jnp.int32), state)

    def update(
        updates: Any, state: PeriodicResetState, params: Any = None, **extra: Any
    ) -> tuple[Any, PeriodicResetState]:
        due = (state.count > 0) & (state.count % every == 0)

        def reset(path: tuple[Any, ...], leaf: Array) -> Array:
            return jnp.where(due, jnp.zeros_like(leaf), leaf) if is_named(path) else leaf

        fresh = jax.tree_util.tree_map_with_path(reset, state.inner)
        steps, after = inner.update(updates, fresh, params, **extra)
        return steps, PeriodicResetState(optax.safe_increment(state.count), after)

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]
