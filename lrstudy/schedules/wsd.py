"""Warmup, stable, decay (WSD)."""

import dataclasses
from typing import ClassVar, cast

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.base import concrete
from lrstudy.schedules.checks import ABOVE_ZERO, Number, Range, Steps, fail, known
from lrstudy.schedules.constant import Constant
from lrstudy.schedules.shaped import Shaped
from lrstudy.schedules.single_decay import SingleDecay
from lrstudy.schedules.steps import rounded_share, traced_share


@dataclasses.dataclass(frozen=True)
class WSD(Shaped, SingleDecay):
    """Warmup, then `peak`, then a decay to `end` in the last `decay_steps` of `total_steps`.

    Until the decay it equals a `Constant`, its `trunk`: one run of that serves schedules of many lengths, each a branch
    (MiniCPM, arXiv:2404.06395; Hagele et al., arXiv:2405.18392). ``WSD(peak, total_steps, *, warmup_steps=0,
    decay_steps | decay_fraction, shape="1-sqrt", end=0.0, power=2.0, d=0.5, init_value=0.0, warmup_style="optax",
    endpoint="exclusive")``; other attributes as in `SingleDecay` and `Shaped`.

    Attributes:
        decay_steps: length of the decay; this or `decay_fraction` is given, not both.
        decay_fraction: the decay as a share of `total_steps`, in (0, 1]. It is rounded to steps when the schedule is
            called, as `steps_from_fraction` does, and so can be swept; its gradient is zero.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = WSD(1.0, 100, warmup_steps=10, decay_fraction=0.2, shape="linear")
        >>> [float(schedule(step)) for step in (0, 5, 10, 80, 90, 100)]
        [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """

    paper: ClassVar = "Hu et al. 2024, MiniCPM, arXiv 2404.06395; Hägele et al. 2024, arXiv 2405.18392"

    _: dataclasses.KW_ONLY
    decay_steps: Steps | None = None
    decay_fraction: Number | None = None

    def __post_init__(self) -> None:
        self.check_shape()
        super().__post_init__()
        owner, given = type(self).__name__, self.decay_fraction
        if (self.decay_steps is None) == (given is None):
            rule = "given if and only if decay_fraction is not"
            fail(owner, "decay_steps", rule, self.decay_steps)
        total_steps = known(self.total_steps)
        room = total_steps - known(self.warmup_steps)
        bounds = "in [1, total_steps - warmup_steps]"
        if given is None:
            checks.int_in(self, "decay_steps", Range(1, room, bounds))
            return
        fraction = checks.number_in(self, "decay_fraction", Range(ABOVE_ZERO, 1, "in (0, 1]"))
        length = rounded_share(fraction, total_steps)
        if length < 1 or length > room:
            fail(owner, "decay_fraction", f"such that its number of steps is {bounds}", given)

    def decay_start(self) -> Steps:
        """Implements `SingleDecay.decay_start`."""
        return self.total_steps - cast("Steps", self.decay_steps)

    def settled(self) -> "WSD":
        """Implements `Schedule.settled`."""
        if self.decay_fraction is None:
            return self
        length = traced_share(self.decay_fraction, self.total_steps)
        return dataclasses.replace(self, decay_steps=length, decay_fraction=None)

    def trunk(self) -> tuple[Constant, int]:
        """The constant schedule and the step at which this one departs from it.

        Raises:
            ScheduleError: if an argument is a tracer or an array of more than one number.
        """
        names = ("peak", "warmup_steps", "init_value", "warmup_style")
        constant = Constant(**{name: concrete(self, name) for name in names})
        total_steps, length = concrete(self, "total_steps"), concrete(self, "decay_steps")
        if length is None:
            length = rounded_share(concrete(self, "decay_fraction"), total_steps)
        return constant, total_steps - length

    def decayed(self, over: jax.Array, left: jax.Array) -> jax.Array:
        """Implements `SingleDecay.decayed`."""
        return self.shaped(over, left, self.peak, self.end)
