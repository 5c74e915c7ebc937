"""Linear decay."""

import dataclasses
from typing import ClassVar

import jax

from lrstudy.schedules.shapes import linear
from lrstudy.schedules.single_decay import SingleDecay


@dataclasses.dataclass(frozen=True)
class Linear(SingleDecay):
    """Warmup, then a straight line from `peak` to `end` (arXiv:2310.07831 recommends it as the default).

    ``Linear(peak, total_steps, *, warmup_steps=0, end=0.0, init_value=0.0, warmup_style="optax",
    endpoint="exclusive")``; attributes as in `SingleDecay`.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = Linear(1.0, 100, warmup_steps=10)
        >>> [float(schedule(step)) for step in (0, 5, 10, 55, 100)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    paper: ClassVar = "Defazio et al. 2023, arXiv 2310.07831"

    def decayed(self, over: jax.Array, left: jax.Array) -> jax.Array:
        """Implements `SingleDecay.decayed`."""
        return linear(over, left, self.peak, self.end)
