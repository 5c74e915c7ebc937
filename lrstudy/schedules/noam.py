"""The schedule of the first transformer."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lrstudy.schedules import checks
from lrstudy.schedules.base import Schedule
from lrstudy.schedules.checks import STEP_LIMIT, Number, Range, Steps
from lrstudy.schedules.steps import opaque, real


@dataclasses.dataclass(frozen=True)
class Noam(Schedule):
    """``scale model_width**-0.5 min(s**-0.5, s warmup_steps**-1.5)`` with s = t + 1 (arXiv:1706.03762, equation 3).

    ``Noam(model_width, warmup_steps, *, scale=1.0)``. It is highest at step ``warmup_steps - 1``.

    Attributes:
        model_width: features of the model, a positive int.
        warmup_steps: steps of the linear rise, a positive int.
        scale: factor, above 0.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = Noam(64, 16)
        >>> [float(schedule(step)) for step in (0, 15, 63)]
        [0.001953125, 0.03125, 0.015625]
    """

    paper: ClassVar = "Vaswani et al. 2017, arXiv 1706.03762"

    model_width: Steps
    warmup_steps: Steps
    _: dataclasses.KW_ONLY
    scale: Number = 1.0

    def __post_init__(self) -> None:
        rule = "a positive int"
        for name in ("model_width", "warmup_steps"):
            checks.int_in(self, name, Range(1, STEP_LIMIT, rule), kind=rule)
        checks.positive_number(self, "scale")

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        count, warmup = real(step) + 1, opaque(self.warmup_steps)
        # Divided twice: warmup**1.5 of a long warmup would lose more than a rounding.
        rising, falling = count / warmup / jnp.sqrt(warmup), 1 / jnp.sqrt(count)
        return real(self.scale) / jnp.sqrt(opaque(self.model_width)) * jnp.minimum(rising, falling)
