"""LISA: a few layers at a time are trained, and with them what is not a layer (Pan et al. 2024)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from lrstudy.optimizers.checks import check_choice, check_period
from lrstudy.optimizers.layered import Layered

STATES = ("keep", "reset")


class LisaState(NamedTuple):
    """State of ``lisa``.

    Attributes:
        count: updates so far.
        active: the layers that are trained.
        always: state of the inner transform on the tensors that are always trained.
        layers: its state on layers, every one for itself: on the first axis all layers (``keep``) or those that are
            trained (``reset``), in the order of ``active``.
    """

    count: Int[Array, "*lanes"]  # pyright: ignore[reportIncompatibleMethodOverride]
    active: Int[Array, "*lanes gamma"]
    always: optax.OptState
    layers: optax.OptState


def lisa(
    inner: optax.GradientTransformation,
    layer_of: Callable[[tuple[Any, ...]], int | None],
    *,
    gamma: int = 2,
    period: int | Array = 20,
    state: str = "keep",
    key: Array,
) -> optax.GradientTransformationExtraArgs:
    """Trains ``gamma`` layers that are drawn anew before the updates 0, ``period``, 2 ``period`` (arXiv 2403.17919).

    Layers are drawn uniformly without replacement; the tensors outside of layers, embeddings, final norm and readout,
    are always trained, which is what is left of the paper's importance of layers in its code. A layer that is not
    drawn is frozen: no update, no decay, no count. The inner transform is therefore the whole optimizer, decay and rate
    included, and it sees every layer alone and what is always trained together; a schedule inside counts the updates
    of a layer, so rates that follow a schedule are chained after ``lisa``.

    Args:
        inner: the optimizer of the tensors that are trained.
        layer_of: path of a tensor, as ``jax.tree_util`` gives it, to its layer in 0, 1, ..., or ``None`` where it is
            always trained. Layers must be alike: the same tensors in the same order. Tensors below ``blocks`` hold all
            layers on their first axis, and are not asked for.
        gamma: layers at a time.
        period: updates between draws.
        state: ``keep``: a layer finds its state again when it is drawn anew, as in the released code, which costs as
            much memory as training all layers; ``reset``: it begins anew, and the state is of ``gamma`` layers, as the
            paper has it.
        key: the draws depend on it and on the count.

    Returns:
        A transform like ``inner``.

    Raises:
        ValueError: a bad argument; at ``init``, layers that are not alike, or fewer of them than ``gamma``.
    """
    check_choice("state", state, STATES)
    check_period("period", period)
    if isinstance(gamma, bool) or not isinstance(gamma, int) or gamma < 1:
        raise ValueError(f"gamma must be an int of at least 1, got {gamma!r}")
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> LisaState:
        layers = Layered(params, layer_of)
        if layers.number < gamma:
            raise ValueError(f"gamma must be at most the number of layers {layers.number}, got {gamma!r}")
        kept = jnp.arange(layers.number if state == "keep" else gamma)
        return LisaState(
            count=jnp.zeros((), jnp.int32),
            active=jnp.arange(gamma, dtype=jnp.int32),
            always=inner.init(layers.outside(params)),
            layers=jax.vmap(inner.init)(layers.take(params, kept)),
        )

    def update(updates: Any, before: LisaState, params: Any = None, **extra: Any) -> tuple[Any, LisaState]:
        layers = Layered(updates, layer_of)
        due = before.count % period == 0
        drawn = jax.random.permutation(jax.random.fold_in(key, before.count // period), layers.number)[:gamma]
        active = jnp.where(due, drawn, before.active).astype(jnp.int32)

        gradients, weights = layers.take(updates, active), None if params is None else layers.take(params, active)
        if state == "keep":
            own = jax.tree.map(lambda leaf: leaf[active], before.layers)
        else:
            fresh = jax.vmap(inner.init)(gradients if weights is None else weights)
            own = jax.tree.map(lambda new, old: jnp.where(due, new, old), fresh, before.layers)
        steps, own = jax.vmap(lambda g, s, p: inner.update(g, s, p, **extra))(gradients, own, weights)
        if state == "keep":
            own = jax.tree.map(lambda all_layers, new: all_layers.at[active].set(new), before.layers, own)

        outside = None if params is None else layers.outside(params)
        rest, always = inner.update(layers.outside(updates), before.always, outside, **extra)
        after = LisaState(optax.safe_increment(before.count), active, always, own)
        return layers.put(steps, active, rest, updates), after

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]
