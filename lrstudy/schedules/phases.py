"""The two phases schedules are built of: a ramp up to a rate and a decay down to one.

Both compute their shares from integer step differences. Outside its phase the share is replaced by a harmless one half
*before* a shape sees it: a division by zero or a square root at zero in the branch that ``jnp.where`` does not select
would still make the gradient nan.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from lrstudy.schedules.checks import Number, Steps
from lrstudy.schedules.shapes import linear
from lrstudy.schedules.steps import real

WARMUP_STYLES = ("optax", "skip_zero", "open")
ENDPOINTS = ("exclusive", "inclusive")


def shares(inside: jax.Array, over: Steps, left: Steps) -> tuple[jax.Array, jax.Array]:
    """The shares of a phase that are over and left; (1/2, 1/2) outside it.

    Args:
        inside: bool, whether the step is in the phase.
        over: steps since the phase began, int32 (or float, for gradients).
        left: steps until it is complete.
    """
    over = jnp.where(inside, over, 1)
    left = jnp.where(inside, left, 1)
    length = real(over + left)
    return real(over) / length, real(left) / length


def ramp(
    step: jax.Array,
    begin: Steps,
    length: Steps,
    rates: tuple[Number, Number],
    style: str,
    otherwise: Number,
) -> jax.Array:
    """A straight line up between ``rates`` in [begin, begin + length), `otherwise` outside it.

    Args:
        step: int32 steps.
        begin: first step of the ramp.
        length: its number of steps; 0 for no ramp.
        rates: the rate that the ramp leaves and the one that it reaches.
        style: with k the steps since `begin`, "optax": k / length of the way; "skip_zero": (k + 1) / length, all of it
            at the ramp's last step; "open": (k + 1) / (length + 1).
        otherwise: the rate outside the ramp.
    """
    since = step - begin
    inside = (since >= 0) & (since < length)
    over = since if style == "optax" else since + 1
    left = length - since - 1 if style == "skip_zero" else length - since
    u, v = shares(inside, over, left)
    return jnp.where(inside, linear(u, v, *rates), otherwise)


def decay(
    step: jax.Array,
    start: Steps,
    stop: Steps,
    rates: tuple[Number, Number],
    shape: Callable[[jax.Array, jax.Array], jax.Array],
) -> jax.Array:
    """The first of `rates` until `start`, ``shape(u, v)`` in between, the last of them from `stop` on.

    Args:
        step: int32 steps.
        start: the step at which the rate is still `rates[0]`.
        stop: the first step at which it is `rates[1]`; ``start == stop`` has that rate.
        rates: the rates before and after.
        shape: maps the shares (over, left) to the rate.
    """
    u, v = shares((step > start) & (step < stop), step - start, stop - step)
    falling = jnp.where(step <= start, rates[0], shape(u, v))
    return jnp.where(step >= stop, rates[1], falling)


def pick(step: jax.Array, ends: Sequence[Steps], values: Sequence[Number]) -> jax.Array:
    """``values[i]`` at the steps of segment i, which is [ends[i - 1], ends[i]); the last one after all ends."""
    picked = jnp.asarray(values[-1])
    for end, value in zip(reversed(ends[:-1]), reversed(values[:-1]), strict=True):
        picked = jnp.where(step < end, value, picked)
    return picked
