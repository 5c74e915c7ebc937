"""The unit of a schedule: steps, counted in optimizer updates already applied.

A step is an int32 on the device, whatever it was before; step differences are taken in integers and only then turned
into floats, because float32 cannot tell neighbouring steps apart above 2**24.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lrstudy.schedules.checks import (
    STEP_LIMIT,
    UNKNOWN,
    Number,
    Range,
    Steps,
    fail,
    plain_int,
    plain_number,
    tokens_in,
)

_MILLION = 1_000_000


def as_steps(owner: str, step: Any) -> np.ndarray | np.integer[Any] | jax.Array:
    """The step a schedule was asked for, clamped to what an int32 holds.

    Args:
        owner: name of the schedule, for the error.
        step: a Python int of any size, a NumPy int or int array, or a JAX int array or tracer.

    Returns:
        int32 of the shape of `step`, at least 0.

    Raises:
        ScheduleError: for any other type; bool and float are refused, also in arrays.
    """
    rule = "an int or an array of ints"
    if isinstance(step, bool):
        fail(owner, "step", rule, step)
    if isinstance(step, int):
        return np.int32(min(max(step, 0), STEP_LIMIT))
    if not isinstance(step, np.ndarray | np.generic | jax.Array) or not jnp.issubdtype(step.dtype, np.integer):
        fail(owner, "step", rule, step)
    # Clamp before the cast, in a type that holds the limit: a wide step must not wrap around.
    if jnp.iinfo(step.dtype).max > STEP_LIMIT:
        step = step.clip(0, STEP_LIMIT)
    return step.astype(np.int32).clip(0)


def steps_from_fraction(fraction: float, total_steps: int) -> int:
    """Steps in a fraction of a run: ``floor(fraction * total_steps + 1/2)``.

    The fraction is read to six decimals. A binary float cannot hold most decimals, so a tie such as 0.145 * 100 falls
    to either side depending on precision; read as 145000 millionths it is exactly 14.5, which rounds up, here in
    float64 and inside a compiled float32 program alike. In a run of more than half a million steps a fraction that is
    no such decimal, 1/3 say, can be a step off: there a number of steps is the better argument.

    Args:
        fraction: in [0, 1].
        total_steps: length of the run in optimizer updates, at least 1.

    Raises:
        ScheduleError: for a fraction or a length that is not such a number.

    Example:
        >>> steps_from_fraction(0.145, 200)
        29
    """
    owner = "steps_from_fraction"
    fraction = plain_number(owner, "fraction", fraction, Range(0, 1, "in [0, 1]"))
    total_steps = plain_int(owner, "total_steps", total_steps, Range(1, math.inf, "a positive int"))
    return int(rounded_share(fraction, total_steps))


def steps_from_tokens(tokens: float, batch_size: int, sequence_length: int) -> int:
    """The least number of steps that see so many tokens: ``ceil(tokens / (batch_size sequence_length))``.

    Args:
        tokens: a whole number, at least 0; exact at any size.
        batch_size: sequences an optimizer update, over all devices and accumulated micro-batches.
        sequence_length: tokens a sequence.

    Raises:
        ScheduleError: for an argument that is not such a number.

    Example:
        >>> steps_from_tokens(10**9, batch_size=256, sequence_length=1024)
        3815
    """
    owner, positive = "steps_from_tokens", Range(1, math.inf, "a positive int")
    tokens = tokens_in(owner, "tokens", tokens, 0)
    batch_size = plain_int(owner, "batch_size", batch_size, positive)
    sequence_length = plain_int(owner, "sequence_length", sequence_length, positive)
    return -(-tokens // (batch_size * sequence_length))


def rounded_share(fraction: float, total_steps: float) -> float:
    """`steps_from_fraction` without its checks; UNKNOWN if either argument is."""
    if math.isnan(fraction) or math.isnan(total_steps):
        return UNKNOWN
    # In float32, as `traced_share` reads it, so that both take every fraction to the same millionths.
    millionths = int(np.rint(np.float32(fraction) * np.float32(_MILLION)))
    return (millionths * int(total_steps) + _MILLION // 2) // _MILLION


def traced_share(fraction: Number, total_steps: Steps) -> jax.Array:
    """`steps_from_fraction` for arrays and tracers; the gradient with respect to `fraction` is zero.

    Args:
        fraction: float array; clamped to [0, 1].
        total_steps: int32 array, for which the result is exact, or float array, which gradients need.

    Returns:
        int32 for integer `total_steps`, else a float; the broadcast shape of the arguments.
    """
    scaled = jnp.clip(jnp.asarray(fraction, jnp.float32), 0, 1) * np.float32(_MILLION)
    millionths = jnp.round(scaled).astype(jnp.int32)
    total_steps = jnp.asarray(total_steps)
    if jnp.issubdtype(total_steps.dtype, np.floating):
        return jnp.floor(millionths * total_steps / _MILLION + 0.5)
    # millionths * total_steps needs 51 bits. With total_steps split into millions and a rest, and millionths into
    # thousands and units, no partial product passes 2**31. lax divides without the sign handling of the operators.
    thousand, million = np.int32(1000), np.int32(_MILLION)
    millions, rest = lax.div(total_steps, million), lax.rem(total_steps, million)
    thousands, units = lax.div(millionths, thousand), lax.rem(millionths, thousand)
    high, low = thousands * rest, units * rest
    carry = lax.div(lax.rem(high, thousand) * thousand + low + million // 2, million)
    return millionths * millions + lax.div(high, thousand) + carry


def scaled_division(over: Steps, parts: Steps, whole: Steps) -> tuple[jax.Array, jax.Array]:
    """Quotient and rest of ``over * parts / whole``, exact although the product may pass 2**31.

    Args:
        over: int32 in [0, whole], any shape (or floats, for gradients).
        parts: int32, at least 0.
        whole: int32, at least 1.

    Returns:
        The quotient in [0, parts] and the rest in [0, whole): int32, or floats where an argument is; of the broadcast
        shape of the arguments.
    """
    arguments = [jnp.asarray(value) for value in (over, parts, whole)]
    if any(jnp.issubdtype(value.dtype, np.floating) for value in arguments):
        over, parts, whole = (real(value) for value in arguments)
        quotient = lax.stop_gradient(jnp.floor(over * parts / whole))
        return quotient, over * parts - quotient * whole
    over, parts, whole = jnp.broadcast_arrays(*(value.astype(jnp.uint32) for value in arguments))

    def carried(quotient: jax.Array, rest: jax.Array) -> tuple[jax.Array, jax.Array]:
        full = rest >= whole
        return quotient + full, rest - jnp.where(full, whole, 0)

    def bit(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        # Long division: both double, then the next bit of `parts` adds `over`; no rest passes 2**32.
        quotient, rest = carried(2 * carry[0], 2 * carry[1])
        added = jnp.where((parts >> (30 - i).astype(jnp.uint32)) & 1, over, 0)
        return carried(quotient, rest + added)

    zero = jnp.zeros(whole.shape, jnp.uint32)
    quotient, rest = lax.fori_loop(0, 31, bit, (zero, zero))
    return quotient.astype(jnp.int32), rest.astype(jnp.int32)


def real(number: Number) -> jax.Array:
    """`number` in the float type of schedules: float32, or float64 under x64."""
    return jnp.asarray(number, jnp.result_type(float))


def opaque(number: Number) -> jax.Array:
    """`real`, hidden from the compiler, which would turn the division by a constant into a product and round anew."""
    return lax.optimization_barrier(real(number))


def canonical(leaf: Number) -> jax.Array:
    """A field as a schedule computes with it: integers as int32, floats in the float type."""
    array = jnp.asarray(leaf)
    return array.astype(jnp.int32) if jnp.issubdtype(array.dtype, np.integer) else real(array)
