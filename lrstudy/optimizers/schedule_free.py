"""Schedule-Free learning: an average that takes the place of a decay (Defazio et al. 2024, arXiv 2405.15682)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lrstudy.optimizers.directions import LearningRate, Number, rate_at


class ScheduleFreeState(NamedTuple):
    """State of ``schedule_free``.

    Attributes:
        schedule: count of updates, which the schedule is evaluated at.
        inner: state of the inner direction.
        weight_sum: sum of the weights of the average, float32.
        max_rate: largest rate so far, float32.
        x: the average, at which the loss is evaluated.
        z: the sequence that the steps move.
    """

    schedule: optax.ScaleByScheduleState
    inner: optax.OptState
    weight_sum: Float[Array, "*lanes"]
    max_rate: Float[Array, "*lanes"]
    x: Any
    z: Any


def schedule_free(
    inner: optax.GradientTransformation, learning_rate: LearningRate, *, b1: Number = 0.9, power: Number = 2.0
) -> optax.GradientTransformationExtraArgs:
    """Steps z, averages x, trains at y between them (arXiv 2405.15682, equations 3 to 5 and 23).

    With the gradient at y_t = (1 - b1) z_t + b1 x_t, which are the parameters:
    z_{t+1} = z_t - lr_t u_t, x_{t+1} = (1 - c) x_t + c z_{t+1}, c = w_t / sum w, w_t = (max_{s<=t} lr_s)^power.

    ``optax.contrib.schedule_free`` reads the rate of the weight at counts 1, 2, 3 and that of the step at 0, 1, 2, and
    recomputes x from y, which fails for b1 = 0 and loses x where parameters are bfloat16. Here one rate serves both,
    read at the count before the update, and x is kept, at the price of one more copy of the parameters.

    Args:
        inner: gradient to direction, of ascent and without momentum, which ``b1`` replaces.
        learning_rate: rate or schedule; a warmup is advised, a decay is what the average replaces.
        b1: in [0, 1): 0 is SGD with averaged iterates, towards 1 the gradient is taken at the average.
        power: of the largest rate so far in a step's weight; it weighs down the steps of a warmup.

    Returns:
        A transform whose ``update`` needs the parameters.

    Raises:
        ValueError: ``update`` is not given the parameters.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> ScheduleFreeState:
        return ScheduleFreeState(
            schedule=optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)),
            inner=inner.init(params),
            weight_sum=jnp.float32(0),
            max_rate=jnp.float32(0),
            # Copies, because a buffer that parameters and state share could not be donated.
            x=jax.tree.map(jnp.copy, params),
            z=jax.tree.map(jnp.copy, params),
        )

    def update(
        updates: Any, state: ScheduleFreeState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScheduleFreeState]:
        if params is None:
            raise ValueError("params must be given: the update of schedule_free is relative to them")
        count = state.schedule.count
        rate = rate_at(learning_rate, count)
        direction, inner_state = inner.update(updates, state.inner, params, **extra)
        z = jax.tree.map(lambda z, u: z - rate * u, state.z, direction)
        max_rate = jnp.maximum(state.max_rate, rate)
        weight = max_rate**power
        weight_sum = state.weight_sum + weight
        # A rate that is still zero weighs nothing: x stays where it is.
        share = jnp.where(weight_sum > 0, weight / jnp.where(weight_sum > 0, weight_sum, 1), 0)
        x = jax.tree.map(lambda x, z: (1 - share) * x + share * z, state.x, z)
        moved = jax.tree.map(lambda x, z, y: b1 * x + (1 - b1) * z - y, x, z, params)
        new = ScheduleFreeState(
            schedule=optax.ScaleByScheduleState(optax.safe_increment(count)),
            inner=inner_state,
            weight_sum=jnp.asarray(weight_sum, jnp.float32),
            max_rate=jnp.asarray(max_rate, jnp.float32),
            x=x,
            z=z,
        )
        return moved, new

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def averaged_params(opt_state: ScheduleFreeState, params: Any) -> Any:
    """The average x, in the type of the parameters."""
    return jax.tree.map(lambda x, y: x.astype(y.dtype), opt_state.x, params)
