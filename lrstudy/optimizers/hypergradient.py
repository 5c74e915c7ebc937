"""Hypergradient descent: the learning rate follows the derivative of the loss with respect to it."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lrstudy.feedback import AppliedRate, alignment
from lrstudy.optimizers.directions import LearningRate, Number, rate_at

KINDS = ("add", "mul", "cos")


class HypergradientState(NamedTuple):
    """State of ``hypergradient``.

    Attributes:
        schedule: count of updates, which the schedule is evaluated at.
        inner: state of the inner direction.
        direction: the direction of the previous update; zeros before the first.
        adjustment: what is added to the schedule (``add``, from 0) or multiplies it (``mul`` and ``cos``, from 1).
        applied: the rate of the last update.
    """

    schedule: optax.ScaleByScheduleState
    inner: optax.OptState
    direction: Any
    adjustment: Float[Array, "*lanes"]
    applied: AppliedRate


def hypergradient(
    inner: optax.GradientTransformation,
    learning_rate: LearningRate,
    *,
    beta: Number,
    kind: str = "add",
    bounds: tuple[Number, Number] = (0.0, math.inf),
) -> optax.GradientTransformationExtraArgs:
    """Adapts the rate by the inner product of the gradient with the previous direction (Baydin et al. 2018).

    A step is theta_t = theta_{t-1} - lr_t u_t, so the derivative of the loss with respect to the rate of the previous
    update is -<g_t, u_{t-1}> (arXiv 1703.04782, equations 5 and 8). With h_t = <g_t, u_{t-1}> the published rules are

    - ``add``: lr_t = lr_{t-1} + beta h_t (equation 6),
    - ``mul``: lr_t = lr_{t-1} (1 + beta h_t),
    - ``cos``: lr_t = lr_{t-1} (1 + beta cos(g_t, u_{t-1})), free of the gradient's scale; a zero gradient has cosine 0.

    Here they act on top of a schedule: lr_t = schedule(t) + offset_t or schedule(t) * factor_t, which for a constant
    schedule is the published rule. For an inner direction with memory (momentum, Adam) u_{t-1} is that direction, as in
    the paper's SGDN-HD and Adam-HD. A rate at a bound stays there only as long as it is pushed: what lies beyond is not
    summed up. ``mul`` and ``cos`` never leave a rate of zero again, so they want a positive lower bound.

    Args:
        inner: gradient to direction, of ascent (``optax.identity`` for SGD, ``optax.scale_by_adam`` for Adam).
        learning_rate: initial rate, or a schedule that is adapted.
        beta: rate of the rate.
        kind: which rule.
        bounds: least and largest rate.

    Returns:
        A transform whose state says the rate it applied (``effective_lr``).

    Raises:
        ValueError: an unknown ``kind``.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {list(KINDS)}, got {kind!r}")
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> HypergradientState:
        return HypergradientState(
            schedule=optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)),
            inner=inner.init(params),
            direction=optax.tree.zeros_like(params),
            adjustment=jnp.float32(0 if kind == "add" else 1),
            applied=AppliedRate(jnp.float32(0)),
        )

    def update(
        updates: Any, state: HypergradientState, params: Any = None, **extra: Any
    ) -> tuple[Any, HypergradientState]:
        count = state.schedule.count
        scheduled = rate_at(learning_rate, count)
        slope = alignment(updates, state.direction, cosine=kind == "cos")
        if kind == "add":
            adjustment = state.adjustment + beta * slope
            wanted = scheduled + adjustment
        else:
            adjustment = state.adjustment * (1 + beta * slope)
            wanted = scheduled * adjustment
        rate = jnp.clip(wanted, *bounds)
        adjustment = jnp.where(rate == wanted, adjustment, _held(kind, rate, scheduled, adjustment))
        direction, inner_state = inner.update(updates, state.inner, params, **extra)
        new = HypergradientState(
            schedule=optax.ScaleByScheduleState(optax.safe_increment(count)),
            inner=inner_state,
            direction=direction,
            adjustment=jnp.asarray(adjustment, jnp.float32),
            applied=AppliedRate(jnp.asarray(rate, jnp.float32)),
        )
        return jax.tree.map(lambda u: -rate * u, direction), new

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def _held(kind: str, rate: Array, scheduled: Array | Number, adjustment: Array) -> Array:
    """The adjustment that gives exactly the bound; a schedule at zero has none and keeps what it had."""
    if kind == "add":
        return rate - scheduled
    moves = jnp.asarray(scheduled) > 0
    return jnp.where(moves, rate / jnp.where(moves, scheduled, 1), adjustment)
