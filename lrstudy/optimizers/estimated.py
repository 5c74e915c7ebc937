"""What a method that estimates its own learning rate has around it: a schedule, a decay, the rate that it applied."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lrstudy.feedback import AppliedRate
from lrstudy.optimizers.decay import decay_mask
from lrstudy.optimizers.directions import LearningRate, Number, rate_at


class EstimatedState(NamedTuple):
    """State of ``estimated``.

    Attributes:
        schedule: count of updates, which the schedule is evaluated at.
        inner: state of the method.
        applied: the rate of the last update.
    """

    schedule: optax.ScaleByScheduleState
    inner: optax.OptState
    applied: AppliedRate


class Moved(NamedTuple):
    """What one update of a method was made of.

    Attributes:
        scheduled: the schedule's value.
        gradient: what the method was given.
        before: its state before the update.
        after: its state after the update.
        step: its update.
    """

    scheduled: Any
    gradient: Any
    before: Any
    after: Any
    step: Any


def estimated(
    method: Callable[[Any], optax.GradientTransformation],
    rate: Callable[[Moved], Array],
    learning_rate: LearningRate,
    *,
    weight_decay: Number | None = None,
) -> optax.GradientTransformationExtraArgs:
    """A method that estimates the learning rate, under a schedule of which 1 means the estimate itself.

    Most begin with a rate of a millionth and learn from how far the parameters have moved. Parameters in bfloat16 do
    not move by a millionth of themselves, so there the estimate never grows: they want float32 or a larger first guess.

    Args:
        method: value of the schedule to transform; the value changes numbers alone, not the state's structure.
        rate: the rate that the method applied.
        learning_rate: what the estimate is multiplied by, or as the method says; a number or a schedule.
        weight_decay: share of a kernel or embedding (``decay_mask``) that an update takes away, times the rate that the
            method applied; ``None``: no decay.

    Returns:
        A transform whose state shares no buffer with the parameters and says the rate it applied (``effective_lr``);
        its ``update`` needs the parameters.

    Raises:
        ValueError: ``update`` is not given the parameters.
    """

    def init(params: Any) -> EstimatedState:
        return EstimatedState(
            schedule=optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)),
            # Copies: a method that starts from the parameters keeps them, and no buffer can be donated twice.
            inner=jax.tree.map(jnp.copy, method(1.0).init(params)),
            applied=AppliedRate(jnp.float32(0)),
        )

    def update(updates: Any, state: EstimatedState, params: Any = None, **extra: Any) -> tuple[Any, EstimatedState]:
        if params is None:
            raise ValueError("params must be given: the rate is estimated from how far they have moved")
        count = state.schedule.count
        scheduled = rate_at(learning_rate, count)
        transform = optax.with_extra_args_support(method(scheduled))
        step, inner = transform.update(updates, state.inner, params, **extra)
        applied = jnp.asarray(rate(Moved(scheduled, updates, state.inner, inner, step)), jnp.float32)
        new = EstimatedState(optax.ScaleByScheduleState(optax.safe_increment(count)), inner, AppliedRate(applied))
        return (step if weight_decay is None else _decayed(step, params, applied * weight_decay)), new

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def ratio(first: Any, second: Any) -> Float[Array, ""]:
    """The norm of one tree over that of another: the rate of a step along it; 0 where the other is zero."""
    size = optax.tree.norm(second)
    return jnp.where(size > 0, optax.tree.norm(first) / jnp.where(size > 0, size, 1), 0)


def _decayed(step: Any, params: Any, share: Array) -> Any:
    def decay(moved: Array, param: Array, is_decayed: bool) -> Array:
        return moved - (share * param).astype(moved.dtype) if is_decayed else moved

    return jax.tree.map(decay, step, params, decay_mask(params))
