"""Warmup, stable, decay, simplified (WSD-S)."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar, cast

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.checks import ABOVE_ZERO, STEP_LIMIT, Number, Range, Steps, fail
from lrstudy.schedules.cyclic import Cyclic
from lrstudy.schedules.shaped import Shaped
from lrstudy.schedules.steps import rounded_share, traced_share

_FRACTION = 0.1
_END_RATIO = 0.1
_OF = ("total", "cycle")


@dataclasses.dataclass(frozen=True)
class WSDS(Shaped, Cyclic):
    """One run with a decayed model at each of `ends`: after a decay the rate jumps back to `peak`.

    Where `WSD` goes back to the checkpoint before the decay, WSD-S trains on from the decayed one (river valley,
    arXiv:2410.05192). ``WSDS(peak, ends, *, warmup_steps=0, decay_fraction=0.1 | decay_lengths,
    decay_relative_to="total", shape="inverse", end=None, rewarmup_steps=0, power=2.0, d=0.5, init_value=0.0,
    warmup_style="optax", endpoint="exclusive")``; other attributes as in `Cyclic` and `Shaped`.

    Attributes:
        decay_fraction: every decay as a share, in (0, 1], rounded to steps as `steps_from_fraction` does when the
            schedule is called; its gradient is zero. None if `decay_lengths` is given.
        decay_lengths: the steps of each decay, one for every end; they take the place of `decay_fraction`.
        decay_relative_to: what `decay_fraction` is a share of: "total", the end of the cycle, so that a model decays as
            long as it would in a `WSD` of that budget; or "cycle", the length of the cycle. The paper can be read
            either way.
        end: rate after each decay, in [0, peak]; None stands for a tenth of `peak`.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = WSDS(1.0, [100, 200], warmup_steps=10, decay_lengths=[20, 20], shape="linear", end=0.0)
        >>> [float(schedule(step)) for step in (10, 80, 90, 100, 180, 200)]
        [1.0, 1.0, 0.5, 1.0, 1.0, 0.0]
    """

    paper: ClassVar = "Wen et al. 2024, arXiv 2410.05192"

    _: dataclasses.KW_ONLY
    shape: str = "inverse"
    decay_fraction: Number | None = _FRACTION
    decay_lengths: tuple[Steps, ...] | None = None
    decay_relative_to: str = "total"
    end: Number | None = None

    def __post_init__(self) -> None:
        peak = self.check_peak()
        ends = self.check_cycles()
        rule = "a non-negative int"
        rewarmup = checks.int_in(self, "rewarmup_steps", Range(0, STEP_LIMIT, rule), kind=rule)
        checks.choice(self, "decay_relative_to", _OF)
        self.check_shape()
        if self.end is not None:
            checks.number_in(self, "end", *self.end_ranges(peak))
        decays = self._check_decays(ends, rewarmup)
        high = ends[0] - decays[0] - 1
        checks.int_in(self, "warmup_steps", Range(0, high, "in [0, ends[0] - decay_lengths[0])"))

    def _check_decays(self, ends: list[float], rewarmup: float) -> list[float]:
        """Checks that every decay fits its cycle beside the rewarmup; returns their steps, UNKNOWN for arrays."""
        spans = [end - begin for begin, end in itertools.pairwise([0, *ends])]
        rooms = [spans[0], *(span - rewarmup for span in spans[1:])]
        bounds = "in [1, ends[i] - ends[i - 1] - rewarmup_steps] for every cycle i"
        if self.decay_lengths is None:
            name, rule = "decay_fraction", f"such that its number of steps is {bounds}"
            given = self.decay_fraction
            fraction = checks.number_in(self, name, Range(ABOVE_ZERO, 1, "in (0, 1]"))
            decays = [rounded_share(fraction, whole) for whole in (ends if self._of_total() else spans)]
        else:
            name, rule, given = "decay_lengths", bounds, self.decay_lengths
            decays = self._check_lengths()
        if any(decay < 1 or decay > room for decay, room in zip(decays, rooms, strict=True)):
            fail(type(self).__name__, name, rule, given)
        return decays

    def _check_lengths(self) -> list[float]:
        """Checks `decay_lengths`, which leave no place for a fraction; returns them, UNKNOWN for arrays."""
        owner, given, fraction = type(self).__name__, self.decay_lengths, self.decay_fraction
        if fraction is not None and (checks.is_array(fraction) or fraction != _FRACTION):
            fail(owner, "decay_fraction", "None if decay_lengths is given", fraction)
        checks.store(self, "decay_fraction", None)
        rule = "a sequence of ints, one for each of ends"
        decays = checks.ints(self, "decay_lengths", rule)
        if len(decays) != len(self.ends):
            fail(owner, "decay_lengths", rule, given)
        return decays

    def _of_total(self) -> bool:
        return self.decay_relative_to == "total"

    def settled(self) -> "WSDS":
        """Implements `Schedule.settled`."""
        if self.decay_fraction is None:
            return self
        wholes = self.ends if self._of_total() else self.lengths()
        lengths = tuple(traced_share(self.decay_fraction, whole) for whole in wholes)
        return dataclasses.replace(self, decay_lengths=lengths, decay_fraction=None)

    def decay_starts(self) -> Sequence[Steps]:
        """Implements `Cyclic.decay_starts`."""
        lengths = cast("tuple[Steps, ...]", self.decay_lengths)
        return [end - length for end, length in zip(self.ends, lengths, strict=True)]

    def peaks(self) -> Sequence[Number]:
        """Implements `Cyclic.peaks`."""
        return [self.peak] * len(self.ends)

    def end_rate(self) -> Number:
        """Implements `Cyclic.end_rate`."""
        return _END_RATIO * self.peak if self.end is None else self.end

    def decayed(self, over: jax.Array, left: jax.Array, peak: jax.Array) -> jax.Array:
        """Implements `Cyclic.decayed`."""
        return self.shaped(over, left, peak, self.end_rate())
