"""Exponential decay."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from lrstudy.schedules import checks
from lrstudy.schedules.checks import ABOVE_ZERO, LARGEST, Number, Range, Steps, fail
from lrstudy.schedules.shapes import exponential
from lrstudy.schedules.single_decay import SingleDecay
from lrstudy.schedules.steps import real


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

    Example:
        >>> schedule = Exponential(1.0, 100, end=0.25)
        >>> [float(schedule(step)) for step in (0, 50, 100)]
        [1.0, 0.5, 0.25]
    """

    paper: ClassVar = "Hu et al. 2024, MiniCPM, arXiv 2404.06395, for the half-life"

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
        return self.end if self.half_life is None else self._halved(self._length(), self.half_life)

    def decayed(self, over: jax.Array, left: jax.Array) -> jax.Array:
        """Implements `SingleDecay.decayed`."""
        return exponential(over, left, self.peak, self.end)

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        if self.half_life is None:
            return super().rate(step)
        # From the steps themselves: a share of the decay, turned back into steps, would bring two roundings along.
        since = jnp.clip(step - self.decay_start(), 0, self._length())
        return self.warmed(step, self._halved(since, self.half_life))

    def _halved(self, since: Steps, half_life: Number) -> jax.Array:
        """The peak after so many steps of halving.

        The whole halvings are split off by a remainder, which is exact, so that only a share below one is rounded and
        the error does not grow with the number of halvings.
        """
        since, half_life = real(since), real(half_life)
        rest = lax.rem(since, jnp.broadcast_to(half_life, since.shape))
        whole = lax.stop_gradient(jnp.round((since - rest) / half_life))
        return jnp.ldexp(real(self.peak) * jnp.exp2(-rest / half_life), -whole.astype(jnp.int32))

    def _length(self) -> Steps:
        return self.decay_stop() - self.decay_start()
