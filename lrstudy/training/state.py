"""The state of one run."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key


class TrainState(NamedTuple):
    """Everything that a run carries from one update to the next.

    Attributes:
        step: updates applied so far; also the position in the data.
        params: the parameters.
        opt_state: the transform's state.
        key: randomness of the run that is neither initialisation nor data (dropout); constant, folded with ``step``.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: optax.OptState
    key: Key[Array, ""]


def init_state(params: Any, transform: optax.GradientTransformation, key: Key[Array, ""]) -> TrainState:
    """The state before the first update."""
    return TrainState(jnp.zeros((), jnp.int32), params, transform.init(params), key)
