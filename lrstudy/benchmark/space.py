"""Search spaces: ranges of hyperparameters, and points that fill them evenly."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from lrstudy.schedules.checks import one_of

Scale = Literal["log", "linear"]
Sequence = Literal["halton", "sobol"]
Point = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers between two.

    Attributes:
        low: the least.
        high: the largest; equal to ``low`` it is the only one.
        scale: in what the numbers are uniform; ``log`` needs a positive ``low``.
    """

    low: float
    high: float
    scale: Scale = "log"

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: the ends are not finite or in disorder, or the scale is unknown or does not fit them.
        """
        if self.scale not in get_args(Scale):
            raise ValueError(f"scale must be {one_of(get_args(Scale), self.scale)}, got {self.scale!r}")
        ends = (self.low, self.high)
        if not all(isinstance(end, int | float) and math.isfinite(end) for end in ends) or self.low > self.high:
            raise ValueError(f"a range must have finite ends in order, got {ends}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"a range must have positive ends on a log scale, got {ends}")

    def at(self, share: float) -> float:
        """The number that lies a share of the way from ``low`` to ``high``."""
        if self.scale == "log":
            return float(self.low * (self.high / self.low) ** share)
        return float(self.low + share * (self.high - self.low))


Space = Mapping[str, Range]


def points_of(space: Space, count: int, *, seed: int, sequence: Sequence = "halton") -> list[Point]:
    """Points of a scrambled low-discrepancy sequence, which fill a space more evenly than random ones.

    Args:
        space: hyperparameter to range.
        count: of points.
        seed: of the scrambling: another seed gives other points.
        sequence: whose points.

    Raises:
        ValueError: a space without ranges, no points, or an unknown sequence.
    """
    from scipy.stats import qmc

    if not space:
        raise ValueError(f"space must have at least one range, got {space!r}")
    if count < 1:
        raise ValueError(f"count must be a positive int, got {count!r}")
    if sequence not in get_args(Sequence):
        raise ValueError(f"sequence must be {one_of(get_args(Sequence), sequence)}, got {sequence!r}")
    names, random = sorted(space), np.random.default_rng(seed)
    if sequence == "halton":
        shares = qmc.Halton(len(names), scramble=True, seed=random).random(count)
    else:
        # The sequence is balanced in powers of two; of the last one the rest is left out.
        shares = qmc.Sobol(len(names), scramble=True, seed=random).random_base2((count - 1).bit_length())[:count]
    return [{name: space[name].at(share) for name, share in zip(names, row, strict=True)} for row in shares.tolist()]


def read_space(value: Any) -> Space | list[Point]:
    """A space, or a list of points, from what a JSON file holds.

    Args:
        value: ``{"learning_rate": {"log": [1e-4, 0.1]}, ...}``, the other scale being ``linear``, or
            ``[{"learning_rate": 0.01, ...}, ...]``.

    Raises:
        ValueError: it is neither.
    """
    rule = 'space must be ranges {"name": {"log" or "linear": [low, high]}} or a list of points {"name": number}'
    if isinstance(value, list) and value and all(isinstance(point, dict) for point in value):
        return [dict(point) for point in value]
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{rule}, got {value!r}")
    found = {}
    for name, ends in value.items():
        if not isinstance(ends, dict) or len(ends) != 1:
            raise ValueError(f"{rule}, got {ends!r} for {name}")
        ((scale, pair),) = ends.items()
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"{rule}, got {pair!r} for {name}")
        found[name] = Range(*pair, scale=scale)
    return found
