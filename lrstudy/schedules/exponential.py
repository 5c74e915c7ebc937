"""Exponential decay."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from lrstudy.schedules import checks
from lrstudy.schedules.checks import ABOVE_ZERO, LARGEST, Number, Range, Steps, fail
from lrstudy.schedules.shapes import exponential
from lrstudy.schedules.single_decay import SingleDecay
from lrstudy.schedules.steps import opaque, real


@dataclasses.dataclass(frozen=True)
class Exponential(SingleDecay):
    """Warmup, then ``peak**(1 - u) end**u``, u the share of the decay that is over: a straight line in log(rate).

    ``Exponential(peak, total_steps, *, warmup_steps=0, end | half_life, init_value=0.0, warmup_style="optax",
    endpoint="exclusive")``; other attributes as in `SingleDecay`.

    Attributes:
        end: rate after the decay, in (0, peak]; this or `half_life` is given, not both.
        half_life: the steps in which the rate halves, above 0 (MiniCPM, arXiv:2404.06395); the rate that it has at
            `total_steps` is held from there.

    Raises:
        ScheduleError: for a bad argument.
    """

    _: dataclasses.KW_ONLY
    half_life: Number | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.half_life is not None:
            checks.positive_number(self, "half_life")
            if not checks.is_array(self.end) and self.end != 0.0:
                fail(type(self).__name__, "end", "left out if half_life is given", self.end)

    def end_ranges(self, peak: float) -> tuple[Range, ...]:
        """Extends `SingleDecay.end_ranges`: a straight line in the logarithm never reaches zero."""
        ranges = super().end_ranges(peak)
        if self.half_life is not None:
            return ranges
        return (Range(ABOVE_ZERO, LARGEST, "positive for exponential decay"), *ranges)

    def end_rate(self) -> Number:
        """Extends `SingleDecay.end_rate` by the rate that a half-life leads to."""
        return self.end if self.half_life is None else self._halved(opaque(self._length()))

    def decayed(self, over: jax.Array, left: jax.Array) -> jax.Array:
        """Implements `SingleDecay.decayed`."""
        if self.half_life is None:
            return exponential(over, left, self.peak, self.end)
        return self._halved(over * opaque(self._length()))

    def _halved(self, since: jax.Array) -> jax.Array:
        """The peak after so many steps of halving; split so that the rounding does not grow with their number."""
        halvings = since / self.half_life
        whole = lax.stop_gradient(jnp.floor(halvings))
        return jnp.ldexp(real(self.peak) * jnp.exp2(whole - halvings), -whole.astype(jnp.int32))

    def _length(self) -> Steps:
        return self.decay_stop() - self.decay_start()
