"""Polynomial decay."""

import dataclasses
from typing import ClassVar

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.checks import Number
from lrstudy.schedules.shapes import polynomial
from lrstudy.schedules.single_decay import SingleDecay


@dataclasses.dataclass(frozen=True)
class Polynomial(SingleDecay):
    """Warmup, then ``end + (peak - end) (1 - u)**power``, u the share of the decay that is over.

    ``Polynomial(peak, total_steps, *, warmup_steps=0, end=0.0, power=1.0, init_value=0.0, warmup_style="optax",
    endpoint="exclusive")``; other attributes as in `SingleDecay`.

    Attributes:
        power: above 0; 1 is the linear decay.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = Polynomial(1.0, 100, power=2.0)
        >>> [float(schedule(step)) for step in (0, 50, 100)]
        [1.0, 0.25, 0.0]
    """

    paper: ClassVar = "the rule is older than its papers"

    _: dataclasses.KW_ONLY
    power: Number = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive_number(self, "power")

    def decayed(self, over: jax.Array, left: jax.Array) -> jax.Array:
        """Implements `SingleDecay.decayed`."""
        return polynomial(over, left, self.peak, self.end, power=self.power)
