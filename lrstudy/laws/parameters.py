"""The parameters of a law: which values they may take, and how a solver without bounds moves them."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

Kind = Literal["positive", "unit", "real"]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Attributes:
        name: the law's field.
        kind: "positive", moved in its logarithm; "unit", in (0, 1), moved in its logit; "real", as it is.
        anchor: where a fit that is stopped early holds it; None: it is fitted with the others.
    """

    name: str
    kind: Kind = "positive"
    anchor: float | None = None

    def free(self, value: Any) -> np.ndarray:
        """The value as a number without bounds."""
        value = np.asarray(value, np.float64)
        if self.kind == "real":
            return value
        return np.log(value) if self.kind == "positive" else np.log(value / (1 - value))

    def bounded(self, free: Any) -> Any:
        """The inverse of ``free``, for arrays and tracers."""
        if self.kind == "real":
            return free
        return jnp.exp(free) if self.kind == "positive" else 1 / (1 + jnp.exp(-free))
