"""A rate that is cut when the training loss stops falling."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lrstudy.feedback import AppliedRate
from lrstudy.optimizers.directions import LearningRate, Number, rate_at
from lrstudy.optimizers.extra_args import needing

_HALF = 0.5


class PlateauState(NamedTuple):
    """State of ``plateau``.

    Attributes:
        schedule: count of updates, which the schedule is evaluated at.
        inner: state of the inner direction.
        listener: optax's counts and best value.
        scale: product of the reductions so far, float32.
        applied: the rate of the last update.
    """

    schedule: optax.ScaleByScheduleState
    inner: optax.OptState
    listener: optax.OptState
    scale: Float[Array, "*lanes"]
    applied: AppliedRate


def plateau(
    inner: optax.GradientTransformation,
    learning_rate: LearningRate,
    *,
    factor: Number = 0.1,
    patience: int = 10,
    cooldown: int = 0,
    accumulation: int = 10,
    min_scale: Number = 0.0,
    rtol: float = 1e-4,
) -> optax.GradientTransformationExtraArgs:
    """Multiplies the schedule by ``factor`` when the loss has not improved ``patience`` times in a row.

    ``optax.contrib.reduce_on_plateau`` decides when. Three of its ways are kept from the caller: it checks ``factor``
    with a Python ``if``, which a traced number fails, so here it halves and this transform counts the halvings, each
    undone at once; it stores losses and scale in the type of the parameters, here float32; and its state lives in
    the update's own (a chain would apply the scale without saying so). One is left: its tolerance is relative to the
    best value, so of a negative loss it takes an increase by less than ``rtol`` for an improvement.

    Args:
        inner: gradient to direction, of ascent.
        learning_rate: rate, or a schedule that is scaled.
        factor: in (0, 1).
        patience: means without improvement before a reduction.
        cooldown: means after a reduction that are not counted.
        accumulation: losses of which one mean is taken; the loss of a batch is noisy.
        min_scale: least product of the reductions.
        rtol: share of the best value by which a mean must be lower to be an improvement.

    Returns:
        A transform whose ``update`` needs ``value``, the loss at the parameters before the update, and whose state says
        the rate it applied (``effective_lr``).
    """
    inner = optax.with_extra_args_support(inner)
    listener = optax.contrib.reduce_on_plateau(
        factor=_HALF, patience=patience, cooldown=cooldown, accumulation_size=accumulation, rtol=rtol
    )

    def init(params: Any) -> PlateauState:
        return PlateauState(
            schedule=optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)),
            inner=inner.init(params),
            listener=listener.init(jnp.zeros((), jnp.float32)),
            scale=jnp.float32(1),
            applied=AppliedRate(jnp.float32(0)),
        )

    def update(
        updates: Any, state: PlateauState, params: Any = None, *, value: Any, **extra: Any
    ) -> tuple[Any, PlateauState]:
        count = state.schedule.count
        _, heard = listener.update((), state.listener, value=value)
        reduced = heard.scale < 1  # pyright: ignore[reportAttributeAccessIssue]
        heard = heard._replace(scale=jnp.ones_like(heard.scale))  # pyright: ignore[reportAttributeAccessIssue]
        scale = jnp.where(reduced, jnp.maximum(state.scale * factor, min_scale), state.scale)
        rate = rate_at(learning_rate, count) * scale
        direction, inner_state = inner.update(updates, state.inner, params, value=value, **extra)
        new = PlateauState(
            schedule=optax.ScaleByScheduleState(optax.safe_increment(count)),
            inner=inner_state,
            listener=heard,
            scale=jnp.asarray(scale, jnp.float32),
            applied=AppliedRate(jnp.asarray(rate, jnp.float32)),
        )
        return jax.tree.map(lambda u: -rate * u, direction), new

    listening = optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]
    return needing("plateau", ("value",), listening)
