"""REX decay."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lrstudy.schedules import checks
from lrstudy.schedules.checks import BELOW_ONE, STEP_LIMIT, Number, Range, Steps
from lrstudy.schedules.phases import decay
from lrstudy.schedules.shapes import rex
from lrstudy.schedules.single_decay import SingleDecay
from lrstudy.schedules.steps import opaque, real, scaled_division


@dataclasses.dataclass(frozen=True)
class Rex(SingleDecay):
    """Warmup, then ``end + (peak - end) (1 - u) / ((1 - d) + d (1 - u))`` (REX, arXiv:2107.04197; d = 1/2).

    u is the share of the decay that is over. The paper sees a schedule as a profile and the rate at which it is read;
    REX reads its profile at every step, ``samples`` reads it less often. ``Rex(peak, total_steps, *, warmup_steps=0,
    end=0.0, d=0.5, samples=None, init_value=0.0, warmup_style="optax", endpoint="exclusive")``; other attributes as
    in `SingleDecay`.

    Attributes:
        d: bend of the profile, in [0, 1); 0 is a line.
        samples: how many times the profile is read, at evenly spaced steps of the decay; None: at every step.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = Rex(1.0, 90)
        >>> [float(schedule(step)) for step in (0, 60, 90)]
        [1.0, 0.5, 0.0]
    """

    paper: ClassVar = "Chen, Wolfe & Kyrillidis 2021, REX, arXiv 2107.04197"

    _: dataclasses.KW_ONLY
    d: Number = 0.5
    samples: Steps | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number_in(self, "d", Range(0, BELOW_ONE, "in [0, 1)"))
        if self.samples is not None:
            rule = "a positive int"
            checks.int_in(self, "samples", Range(1, STEP_LIMIT, rule), kind=rule)

    def decayed(self, over: jax.Array, left: jax.Array) -> jax.Array:
        """Implements `SingleDecay.decayed`."""
        return rex(over, left, self.peak, self.end, d=self.d)

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        if self.samples is None:
            return super().rate(step)
        length = self.decay_stop() - self.decay_start()
        since = jnp.clip(step - self.decay_start(), 0, jnp.maximum(length, 1))
        # Which reading holds is decided in integers: a share just below a boundary would be a reading late.
        reading, _ = scaled_division(since, self.samples, jnp.maximum(length, 1))
        samples = opaque(self.samples)
        u, v = real(reading) / samples, real(self.samples - reading) / samples
        held = rex(u, v, self.peak, self.end, d=self.d)
        rates = (self.peak, self.end)
        return self.warmed(step, decay(step, self.decay_start(), self.decay_stop(), rates, lambda _u, _v: held))
