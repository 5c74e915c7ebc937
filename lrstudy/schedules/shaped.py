"""What schedules share whose decay has one of the shapes in the table."""

import dataclasses

import jax

from lrstudy.schedules import checks
from lrstudy.schedules.checks import ABOVE_ZERO, BELOW_ONE, LARGEST, Number, Range
from lrstudy.schedules.shapes import SHAPES


@dataclasses.dataclass(frozen=True)
class Shaped:
    """The arguments of a decay shape, for a schedule to inherit beside its own base.

    Attributes:
        shape: a name in `SHAPES`.
        power: exponent of the shape "polynomial", above 0.
        d: bend of the shape "rex", in [0, 1); 0 is a line.
    """

    _: dataclasses.KW_ONLY
    shape: str = "1-sqrt"
    power: Number = 2.0
    d: Number = 0.5

    def check_shape(self) -> None:
        """Checks the attributes above."""
        checks.choice(self, "shape", SHAPES)
        checks.positive_number(self, "power")
        checks.number_in(self, "d", Range(0, BELOW_ONE, "in [0, 1)"))

    def end_ranges(self, peak: float) -> tuple[Range, ...]:
        """What `end` must be in; some shapes need it above zero. The shape has been checked."""
        ranges = (Range(0, peak, "in [0, peak]"),)
        if not SHAPES[self.shape].positive_end:
            return ranges
        return (Range(ABOVE_ZERO, LARGEST, f"positive for {self.shape} decay"), *ranges)

    def shaped(self, over: jax.Array, left: jax.Array, peak: Number, end: Number) -> jax.Array:
        """The rate inside a decay, from the shares of it that are over and left."""
        shape = SHAPES[self.shape]
        parameters = {name: getattr(self, name) for name in shape.parameters}
        return shape.rate(over, left, peak, end, **parameters)
