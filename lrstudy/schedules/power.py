"""The Power scheduler: a rate that follows from the batch size and the tokens seen."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from lrstudy.schedules import checks
from lrstudy.schedules.base import Schedule
from lrstudy.schedules.checks import LARGEST, STEP_LIMIT, Number, Range, Steps, fail, known, one_of
from lrstudy.schedules.shaped import Shaped
from lrstudy.schedules.shapes import SHAPES
from lrstudy.schedules.steps import real


@dataclasses.dataclass(frozen=True)
class Power(Shaped, Schedule):
    """``min(peak, batch_size a n**b)``, n the tokens seen so far (Power scheduler, arXiv:2408.13359).

    One setting serves every batch size and length, in a network whose rates transfer over widths (muP). It rises
    linearly during `warmup_tokens`, and over the last `decay_tokens` of `total_tokens` it decays to zero.
    ``Power(peak=0.02, *, batch_size, sequence_length, a=4.0, b=-0.51, warmup_tokens=1e9, total_tokens=None,
    decay_tokens=None, shape="exp_to_zero", power=2.0, d=0.5)``; other attributes as in `Shaped`.

    Tokens are counted in floats, so that float32 holds the boundaries of warmup and decay to an ulp or two of the token
    count. The end is exact: it is reached when what is left of `total_tokens` is within that rounding, a four-millionth
    of them.

    Attributes:
        peak: highest rate, above 0.
        batch_size: sequences an optimizer update.
        sequence_length: tokens a sequence.
        a: factor of the law, above 0.
        b: exponent of the law, below 0.
        warmup_tokens: tokens of the warmup, at least 0.
        total_tokens: tokens of the run; needed for a decay.
        decay_tokens: tokens of the decay, above 0; None for none.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = Power(0.5, batch_size=1, sequence_length=1, warmup_tokens=4, a=1.0, b=-0.5)
        >>> [float(schedule(step)) for step in (0, 2, 4, 16, 64)]
        [0.0, 0.25, 0.5, 0.25, 0.125]
    """

    paper: ClassVar = "Shen et al. 2024, Power Scheduler, arXiv 2408.13359"

    peak: Number = 0.02
    _: dataclasses.KW_ONLY
    batch_size: Steps
    sequence_length: Steps
    a: Number = 4.0
    b: Number = -0.51
    warmup_tokens: Number = 1e9
    total_tokens: Number | None = None
    decay_tokens: Number | None = None
    shape: str = "exp_to_zero"

    def __post_init__(self) -> None:
        owner, rule = type(self).__name__, "a positive int"
        for name in ("peak", "a"):
            checks.positive_number(self, name)
        for name in ("batch_size", "sequence_length"):
            checks.int_in(self, name, Range(1, STEP_LIMIT, rule), kind=rule)
        checks.number_in(self, "b", Range(-LARGEST, -checks.ABOVE_ZERO, "below 0"))
        checks.number_in(self, "warmup_tokens", Range(0, LARGEST, "at least 0"))
        self.check_shape()
        if SHAPES[self.shape].positive_end:
            fail(owner, "shape", one_of([name for name in SHAPES if not SHAPES[name].positive_end]), self.shape)
        if self.total_tokens is not None:
            checks.positive_number(self, "total_tokens")
        if self.decay_tokens is not None:
            self._check_decay()

    def _check_decay(self) -> None:
        owner = type(self).__name__
        if self.total_tokens is None:
            fail(owner, "total_tokens", "given if decay_tokens is", None)
        checks.positive_number(self, "decay_tokens")
        room = known(self.total_tokens) - known(self.warmup_tokens)
        if known(self.decay_tokens) > room:
            fail(owner, "decay_tokens", "in (0, total_tokens - warmup_tokens]", self.decay_tokens)

    def law(self, tokens: Number) -> jax.Array:
        """``min(peak, batch_size a tokens**b)``, at least one token."""
        tokens = jnp.maximum(real(tokens), 1)
        return jnp.minimum(self.peak, real(self.batch_size) * self.a * _powered(tokens, self.b))

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        # In floats: the product of three ints passes 2**31 within a thousand steps of a large run.
        tokens = real(step) * real(self.batch_size) * real(self.sequence_length)
        warming = tokens < self.warmup_tokens
        begin = real(self.warmup_tokens)
        rising = jnp.where(warming, tokens, begin) / jnp.where(begin > 0, begin, 1) * self.law(begin)
        rate = jnp.where(warming, rising, self.law(tokens))
        if self.decay_tokens is None or self.total_tokens is None:
            return rate
        total = real(self.total_tokens)
        start = total - self.decay_tokens
        # The count is a product of three numbers, with up to four roundings of half an ulp, that of the total included.
        ended = total - tokens <= 2 * jnp.finfo(total.dtype).eps * total
        inside = (tokens > start) & ~ended
        over = jnp.where(inside, tokens - start, 0.5 * self.decay_tokens) / self.decay_tokens
        left = jnp.where(inside, total - tokens, 0.5 * self.decay_tokens) / self.decay_tokens
        highest = self.law(start)
        falling = jnp.where(inside, self.shaped(over, left, highest, jnp.zeros_like(highest)), 0.0)
        # Decay tokens that the rounding swallows leave no step inside the decay, but the end stays the end.
        return jnp.where((tokens <= start) & ~ended, rate, falling)


def _powered(base: jax.Array, exponent: Number) -> jax.Array:
    """``base**exponent`` for a base of 1 and more, to a few roundings also where its logarithm is large.

    With ``base = m 2**e`` it is ``m**exponent 2**(e exponent)``. The exponent is cut into a part of twelve binary
    places, whose product with e is exact, and the small rest; ``exp(exponent log(base))`` would carry the rounding of a
    number of size 20 into the result.
    """
    e = lax.stop_gradient(jnp.floor(jnp.log2(base)))
    m = base * jnp.ldexp(jnp.ones_like(base), -e.astype(jnp.int32))
    coarse = lax.stop_gradient(jnp.round(exponent * 4096) / 4096)
    whole = jnp.floor(e * coarse)
    fine = (e * coarse - whole) + e * (exponent - coarse) + exponent * jnp.log2(m)
    return jnp.ldexp(jnp.exp2(fine), whole.astype(jnp.int32))
