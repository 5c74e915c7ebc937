"""Cosine decay with warm restarts at chosen steps."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.checks import ABOVE_ZERO, STEP_LIMIT, Number, Range, Steps
from lrstudy.schedules.cyclic import Cyclic
from lrstudy.schedules.shapes import cosine


@dataclasses.dataclass(frozen=True)
class CyclicCosine(Cyclic):
    """Half a cosine from peak to `end` in every cycle (SGDR, arXiv:1608.03983, with the ends chosen).

    ``CyclicCosine(peak, ends, *, warmup_steps=0, end=0.0, rewarmup_steps=0, peak_decay=1.0, init_value=0.0,
    warmup_style="optax", endpoint="exclusive")``; other attributes as in `Cyclic`.

    Attributes:
        end: rate at the end of every cycle, in [0, the last cycle's peak].
        peak_decay: cycle i has the peak ``peak * peak_decay**i``; in (0, 1].

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = CyclicCosine(1.0, [100, 200])
        >>> [float(schedule(step)) for step in (0, 50, 100, 150, 200)]
        [1.0, 0.5, 1.0, 0.5, 0.0]
    """

    paper: ClassVar = "Loshchilov & Hutter 2017, SGDR, arXiv 1608.03983"

    _: dataclasses.KW_ONLY
    end: Number = 0.0
    peak_decay: Number = 1.0

    def __post_init__(self) -> None:
        peak = self.check_peak()
        ends = self.check_cycles()
        shortest = min((after - before for before, after in itertools.pairwise(ends)), default=STEP_LIMIT)
        rule = "in [0, ends[i] - ends[i - 1]) for every cycle i after the first"
        checks.int_in(self, "rewarmup_steps", Range(0, shortest - 1, rule))
        checks.int_in(self, "warmup_steps", Range(0, ends[0] - 1, "in [0, ends[0])"))
        peak_decay = checks.number_in(self, "peak_decay", Range(ABOVE_ZERO, 1, "in (0, 1]"))
        lowest = Range(0, peak * peak_decay ** (len(ends) - 1), "in [0, peak * peak_decay**(len(ends) - 1)]")
        checks.number_in(self, "end", Range(0, peak, "in [0, peak]"), lowest)

    def decay_starts(self) -> Sequence[Steps]:
        """Implements `Cyclic.decay_starts`."""
        return [self.warmup_steps, *(begin + self.rewarmup_steps for begin in self.ends[:-1])]

    def peaks(self) -> Sequence[Number]:
        """Implements `Cyclic.peaks`."""
        return [self.peak * self.peak_decay**i for i in range(len(self.ends))]

    def end_rate(self) -> Number:
        """Implements `Cyclic.end_rate`."""
        return self.end

    def decayed(self, over: jax.Array, left: jax.Array, peak: jax.Array) -> jax.Array:
        """Implements `Cyclic.decayed`."""
        return cosine(over, left, peak, self.end)
