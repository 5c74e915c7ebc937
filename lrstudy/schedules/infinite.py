"""An infinite schedule: it needs no length, and is annealed whenever a model is wanted."""

import dataclasses
from typing import ClassVar

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.base import concrete
from lrstudy.schedules.checks import ABOVE_ZERO, STEP_LIMIT, Number, Range, Steps, fail
from lrstudy.schedules.phases import decay
from lrstudy.schedules.shapes import cosine, exponential, inverse_sqrt, linear
from lrstudy.schedules.warmed import Warmed

COOLDOWNS = ("cosine", "inv_sqrt", "linear")


@dataclasses.dataclass(frozen=True)
class Infinite(Warmed):
    """Warmup, a cooldown from `peak` to `constant`, that rate for as long as one likes, and an exponential annealing.

    "Simple and scalable" continual pre-training (arXiv:2403.08763) and "Beyond cosine decay" (arXiv:2503.02844). Until
    `anneal_start` it equals the schedule without annealing, its `trunk`; that step may therefore be chosen later, by
    ``dataclasses.replace(schedule, anneal_start=..., anneal_end=...)``. ``Infinite(peak, constant, *, warmup_steps=0,
    cooldown_end, cooldown="cosine", timescale=10.0, anneal_start=None, anneal_end=None, end, init_value=0.0,
    warmup_style="optax")``; other attributes as in `Warmed`.

    Attributes:
        constant: rate after the cooldown, in [end, peak].
        cooldown_end: the step at which the rate is `constant`.
        cooldown: "cosine", "linear" or "inv_sqrt": ``peak + (constant - peak) h(u) / h(1)`` with
            ``h(u) = 1 / sqrt(1 + timescale u) - 1``, u the share of the cooldown that is over.
        timescale: see `cooldown`; above 0.
        anneal_start: the step at which the annealing begins, at least `cooldown_end`; None: it never does.
        anneal_end: the step from which the rate is `end`; given if and only if `anneal_start` is.
        end: rate after the annealing, in (0, constant].

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = Infinite(1.0, 0.5, warmup_steps=10, cooldown_end=30, anneal_start=50, anneal_end=70, end=0.125)
        >>> [float(schedule(step)) for step in (0, 10, 20, 30, 50, 60, 70)]
        [0.0, 1.0, 0.75, 0.5, 0.5, 0.25, 0.125]
    """

    paper: ClassVar = "Ibrahim et al. 2024, arXiv 2403.08763; Singh et al. 2025, arXiv 2503.02844"

    constant: Number
    _: dataclasses.KW_ONLY
    cooldown_end: Steps
    end: Number
    cooldown: str = "cosine"
    timescale: Number = 10.0
    anneal_start: Steps | None = None
    anneal_end: Steps | None = None

    def __post_init__(self) -> None:
        peak = self.check_peak()
        constant = checks.number_in(self, "constant", Range(ABOVE_ZERO, peak, "in (0, peak]"))
        checks.number_in(self, "end", Range(ABOVE_ZERO, constant, "in (0, constant]"))
        rule = "a positive int"
        cooled = checks.int_in(self, "cooldown_end", Range(1, STEP_LIMIT, rule), kind=rule)
        checks.int_in(self, "warmup_steps", Range(0, cooled - 1, "in [0, cooldown_end)"))
        checks.choice(self, "cooldown", COOLDOWNS)
        checks.positive_number(self, "timescale")
        if (self.anneal_start is None) != (self.anneal_end is None):
            fail(type(self).__name__, "anneal_end", "given if and only if anneal_start is", self.anneal_end)
        if self.anneal_start is not None:
            start = checks.int_in(self, "anneal_start", Range(cooled, STEP_LIMIT, "at least cooldown_end"))
            checks.int_in(self, "anneal_end", Range(start + 1, STEP_LIMIT, "more than anneal_start"))

    def trunk(self) -> "tuple[Infinite, int] | None":
        """The schedule without annealing and the step at which this one departs from it; None if it never does.

        Raises:
            ScheduleError: if `anneal_start` is a tracer or an array of more than one number.
        """
        if self.anneal_start is None:
            return None
        return dataclasses.replace(self, anneal_start=None, anneal_end=None), concrete(self, "anneal_start")

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        rates = (self.peak, self.constant)
        cooled = self.warmed(step, decay(step, self.warmup_steps, self.cooldown_end, rates, self._cooling))
        if self.anneal_start is None or self.anneal_end is None:
            return cooled
        rates = (cooled, self.end)
        return decay(step, self.anneal_start, self.anneal_end, rates, self._annealing)

    def _cooling(self, over: jax.Array, left: jax.Array) -> jax.Array:
        if self.cooldown == "inv_sqrt":
            return inverse_sqrt(over, left, self.peak, self.constant, timescale=self.timescale)
        shape = cosine if self.cooldown == "cosine" else linear
        return shape(over, left, self.peak, self.constant)

    def _annealing(self, over: jax.Array, left: jax.Array) -> jax.Array:
        return exponential(over, left, self.constant, self.end)
