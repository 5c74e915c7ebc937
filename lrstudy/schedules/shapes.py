"""Decay shapes: how a rate falls from `peak` to `end`.

A shape is evaluated strictly inside its phase, at ``u``, the share of the phase that is over, and ``v``, the share that
is left. Both are in (0, 1) and come from integer remainders, so ``v`` keeps full relative precision near the end, where
``1 - u`` would not. Each shape gives the part of ``peak - end`` that has *fallen*, which is used in the first half of
the phase, and the part that is *left*, used in the second. The rate therefore starts exactly at `peak`, ends exactly at
`end`, and rounding never takes it above the one or below the other.

The half-life decay of MiniCPM (arXiv:2404.06395), ``peak * 2**(-(t - start) / H)``, is `exponential` with
``end = peak * 2**(-decay_steps / H)``.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lrstudy.schedules.checks import Number


class Shape(NamedTuple):
    """A row of `SHAPES`.

    Attributes:
        rate: ``rate(u, v, peak, end, **parameters)``; arguments broadcast, floats of one type.
        parameters: fields of a schedule that `rate` takes by keyword.
        positive_end: whether `end` must be above zero.
    """

    rate: Callable[..., jax.Array]
    parameters: tuple[str, ...] = ()
    positive_end: bool = False


def between(u: jax.Array, v: jax.Array, fallen: Number, left: Number, first: Number, last: Number) -> jax.Array:
    """The rate on the way from `first` to `last`.

    Args:
        u: share of the phase that is over.
        v: share of the phase that is left, ``1 - u``.
        fallen: part of the way that is behind, accurate for u <= 1/2.
        left: part of the way that is ahead, ``1 - fallen``, accurate for u >= 1/2.
        first: rate at u = 0.
        last: rate at u = 1.
    """
    span = first - last
    return jnp.where(u <= v, first - span * fallen, last + span * left)


def raised(fallen: jax.Array, left: jax.Array, power: Number) -> tuple[jax.Array, jax.Array]:
    """(fallen, left) of the shape whose `left` is ``left ** power``."""
    # `fallen` is used up to one half; beyond, log1p would reach log(0), whose gradient is infinite.
    return -jnp.expm1(power * jnp.log1p(-jnp.minimum(fallen, 0.5))), jnp.power(left, power)


def half_sine(u: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(fallen, left) of half a cosine, ``left = (1 + cos(pi u)) / 2``, without its cancellation."""
    return jnp.sin(0.5 * math.pi * u) ** 2, jnp.sin(0.5 * math.pi * v) ** 2


def linear(u: jax.Array, v: jax.Array, peak: Number, end: Number) -> jax.Array:
    """``peak + (end - peak) u``."""
    return between(u, v, u, v, peak, end)


def cosine(u: jax.Array, v: jax.Array, peak: Number, end: Number) -> jax.Array:
    """``end + (peak - end) (1 + cos(pi u)) / 2`` (SGDR, arXiv:1608.03983, equation 5)."""
    return between(u, v, *half_sine(u, v), peak, end)


def one_minus_sqrt(u: jax.Array, v: jax.Array, peak: Number, end: Number) -> jax.Array:
    """``end + (peak - end) (1 - sqrt(u))`` (Hagele et al., arXiv:2405.18392, section 3)."""
    root = jnp.sqrt(u)
    return between(u, v, root, v / (1 + root), peak, end)


def one_minus_square(u: jax.Array, v: jax.Array, peak: Number, end: Number) -> jax.Array:
    """``end + (peak - end) (1 - u**2)``."""
    return between(u, v, u * u, v * (1 + u), peak, end)


def mirror_cosine(u: jax.Array, v: jax.Array, peak: Number, end: Number) -> jax.Array:
    """The cosine mirrored at the line from `peak` to `end`: ``2 linear - cosine``."""
    fallen, left = half_sine(u, v)
    return between(u, v, 2 * u - fallen, 2 * v - left, peak, end)


def exponential(u: jax.Array, v: jax.Array, peak: Number, end: Number) -> jax.Array:
    """``peak**(1-u) end**u``, a straight line in log(rate); needs end > 0."""
    slope = jnp.log(end / peak)
    return jnp.where(u <= v, peak * jnp.exp(u * slope), end * jnp.exp(-v * slope))


def exp_to_zero(u: jax.Array, v: jax.Array, peak: Number, end: Number) -> jax.Array:
    """``end + (peak - end) (e**(1-u) - 1) / (e - 1)`` (Power scheduler, arXiv:2408.13359).

    Its time constant is the length of the phase; unlike `exponential` it reaches an `end` of zero.
    """
    scale = 1 / (math.e - 1)
    return between(u, v, -math.e * scale * jnp.expm1(-u), scale * jnp.expm1(v), peak, end)


def inverse(u: jax.Array, v: jax.Array, peak: Number, end: Number) -> jax.Array:
    """``1 / (u / end + (1 - u) / peak)``, a straight line in 1/rate; needs end > 0.

    The decay of WSD-S (river valley, arXiv:2410.05192).
    """
    head = peak / (1 + u * ((peak - end) / end))
    tail = end / (1 - v * ((peak - end) / peak))
    return jnp.where(u <= v, head, tail)


def polynomial(u: jax.Array, v: jax.Array, peak: Number, end: Number, *, power: Number) -> jax.Array:
    """``end + (peak - end) (1 - u)**power``, power > 0."""
    return between(u, v, *raised(u, v, power), peak, end)


def rex(u: jax.Array, v: jax.Array, peak: Number, end: Number, *, d: Number) -> jax.Array:
    """``end + (peak - end) (1 - u) / ((1 - d) + d (1 - u))``, 0 <= d < 1 (REX, arXiv:2107.04197; d = 1/2)."""
    keep = 1 - d
    scale = keep + d * v
    return between(u, v, keep * u / scale, v / scale, peak, end)


def inverse_sqrt(u: jax.Array, v: jax.Array, peak: Number, end: Number, *, timescale: Number) -> jax.Array:
    """``peak + (end - peak) h(u) / h(1)``, ``h(u) = 1 / sqrt(1 + timescale u) - 1``, timescale > 0.

    The cooldown of "Beyond cosine decay" (arXiv:2503.02844); no decay of `SHAPES`, for it is steep at neither end.
    """
    root, whole = jnp.sqrt(1 + timescale * u), jnp.sqrt(1 + timescale)
    # h(u) / h(1) and its complement without the subtraction of neighbours: both are fractions of positive terms.
    fallen = timescale * u / (root * (1 + root)) / (timescale / (whole * (1 + whole)))
    left = timescale * v / (root * (root + whole)) / (timescale / (1 + whole))
    return between(u, v, fallen, left, peak, end)


SHAPES: dict[str, Shape] = {
    "linear": Shape(linear),
    "cosine": Shape(cosine),
    "1-sqrt": Shape(one_minus_sqrt),
    "1-square": Shape(one_minus_square),
    "mirror_cosine": Shape(mirror_cosine),
    "exponential": Shape(exponential, positive_end=True),
    "exp_to_zero": Shape(exp_to_zero),
    "inverse": Shape(inverse, positive_end=True),
    "polynomial": Shape(polynomial, parameters=("power",)),
    "rex": Shape(rex, parameters=("d",)),
}
