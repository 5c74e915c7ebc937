"""Cosine decay."""

import dataclasses
from typing import ClassVar

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.checks import Number
from lrstudy.schedules.shapes import between, half_sine, raised
from lrstudy.schedules.single_decay import SingleDecay


@dataclasses.dataclass(frozen=True)
class Cosine(SingleDecay):
    """Warmup, then half a cosine: ``end + (peak - end) ((1 + cos(pi u)) / 2)**exponent``.

    u is the share of the steps from `warmup_steps` to `total_steps` that is over (SGDR, arXiv:1608.03983, equation 5;
    the exponent is optax's). ``Cosine(peak, total_steps, *, warmup_steps=0, end=0.0, exponent=1.0, init_value=0.0,
    warmup_style="optax", endpoint="exclusive")``; other attributes as in `SingleDecay`.

    Attributes:
        exponent: above 0; 1 is the plain cosine.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = Cosine(1.0, 110, warmup_steps=10, end=0.25)
        >>> [float(schedule(step)) for step in (0, 10, 60, 110)]
        [0.0, 1.0, 0.625, 0.25]
    """

    paper: ClassVar = "Loshchilov & Hutter 2017, SGDR, arXiv 1608.03983"

    _: dataclasses.KW_ONLY
    exponent: Number = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive_number(self, "exponent")

    def decayed(self, over: jax.Array, left: jax.Array) -> jax.Array:
        """Implements `SingleDecay.decayed`."""
        parts = raised(*half_sine(over, left), self.exponent)
        return between(over, left, *parts, self.peak, self.end)
