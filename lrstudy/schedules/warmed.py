"""What schedules with a peak share: a linear warmup up to it."""

import dataclasses

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.base import Schedule
from lrstudy.schedules.checks import Number, Range, Steps
from lrstudy.schedules.phases import WARMUP_STYLES, ramp


@dataclasses.dataclass(frozen=True)
class Warmed(Schedule):
    """A schedule that rises linearly to `peak` in the steps [0, warmup_steps) and has it at `warmup_steps`.

    Attributes:
        peak: highest rate, above 0.
        warmup_steps: steps before `peak`; 0 means that the schedule starts there.
        init_value: rate that the warmup starts from, in [0, peak].
        warmup_style: with t the step, W the warmup steps and p the part of the way from `init_value` to `peak`:
            "optax" (the default) p = t / W, so the first update may have rate 0; "skip_zero" p = (t + 1) / W, which is
            at the peak from t = W - 1; "open" p = (t + 1) / (W + 1).
    """

    peak: Number
    _: dataclasses.KW_ONLY
    warmup_steps: Steps = 0
    init_value: Number = 0.0
    warmup_style: str = "optax"

    def check_peak(self) -> float:
        """Checks the arguments that do not depend on the length of the schedule; returns the peak."""
        peak = checks.positive_number(self, "peak")
        checks.number_in(self, "init_value", Range(0, peak, "in [0, peak]"))
        checks.choice(self, "warmup_style", WARMUP_STYLES)
        return peak

    def warmed(self, step: jax.Array, otherwise: Number) -> jax.Array:
        """The warmup where `step` is in it, else `otherwise`."""
        rates = (self.init_value, self.peak)
        return ramp(step, 0, self.warmup_steps, rates, self.warmup_style, otherwise)
