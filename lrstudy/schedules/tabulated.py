"""A schedule from a table of rates."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.schedules import checks
from lrstudy.schedules.base import Schedule
from lrstudy.schedules.checks import LARGEST, STEP_LIMIT, Number, Range, Steps, fail
from lrstudy.schedules.steps import opaque, real, scaled_division

MODES = ("linear", "hold")


@dataclasses.dataclass(frozen=True, eq=False)
class Tabulated(Schedule):
    """``scale`` times the table at ``x = t (n - 1) / (total_steps - 1)``, so its ends are the run's ends.

    ``Tabulated(values, *, total_steps=None, mode="linear", scale=1.0)``. After the last step its value is held.

    Attributes:
        values: n rates, at least two, none below 0; one array, and one leaf.
        total_steps: length in optimizer updates, at least 2; None: one step a value.
        mode: "linear" between neighbouring values, or "hold", the value at the whole part of x.
        scale: factor, above 0.

    Raises:
        ScheduleError: for a bad argument.

    Example:
        >>> schedule = Tabulated([1.0, 0.5, 0.0], total_steps=5)
        >>> [float(schedule(step)) for step in (0, 1, 2, 4)]
        [1.0, 0.75, 0.5, 0.0]
    """

    paper: ClassVar = "Defazio et al. 2023, arXiv 2310.07831, whose refined schedules are tables"

    tables: ClassVar[tuple[str, ...]] = ("values",)

    values: np.ndarray | jax.Array | tuple[float, ...]
    _: dataclasses.KW_ONLY
    total_steps: Steps | None = None
    mode: str = "linear"
    scale: Number = 1.0

    def __post_init__(self) -> None:
        self._check_values()
        if self.total_steps is not None:
            rule = "an int of at least 2"
            checks.int_in(self, "total_steps", Range(2, STEP_LIMIT, rule), kind=rule)
        checks.choice(self, "mode", MODES)
        checks.positive_number(self, "scale")

    def _check_values(self) -> None:
        """A sequence or an array becomes a float array; one that lives on a device is left as it is."""
        owner, rule = type(self).__name__, "a sequence of at least two finite rates, none below 0"
        given = self.values
        if isinstance(given, jax.Array):
            return
        try:
            values = np.asarray(given, jnp.result_type(float))
        except (TypeError, ValueError):
            fail(owner, "values", rule, given)
        if values.ndim != 1 or values.size < 2 or not ((values >= 0) & (values <= LARGEST)).all():
            fail(owner, "values", rule, given)
        checks.store(self, "values", values)

    def __eq__(self, other: object) -> bool:
        """Equal tables, read alike."""
        if not isinstance(other, Tabulated):
            return NotImplemented
        mine, theirs = ((s.total_steps, s.mode, s.scale) for s in (self, other))
        return mine == theirs and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((np.asarray(self.values).tobytes(), self.total_steps, self.mode, self.scale))

    def rate(self, step: jax.Array) -> jax.Array:
        """Implements `Schedule.rate`."""
        values = jnp.asarray(self.values)
        last = values.shape[-1] - 1
        length = last if self.total_steps is None else self.total_steps - 1
        place, rest = scaled_division(jnp.clip(step, 0, length), last, length)
        place = place.astype(jnp.int32)
        here = values[place]
        if self.mode == "linear":
            share = real(rest) / opaque(length)
            following = values[jnp.minimum(place + 1, last)]
            here = jnp.where(share > 0, here + share * (following - here), here)
        return real(self.scale) * here
