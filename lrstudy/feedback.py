"""What an optimizer tells others through its state: nodes that are found by their type, wherever they are nested.

Training, tasks and optimizers do not import each other; what one reads from another's state is defined here.
"""

from typing import Any, NamedTuple, TypeVar

import jax
from jaxtyping import Array, Float

Node = TypeVar("Node")


class AppliedRate(NamedTuple):
    """The learning rate of the last update, kept by an optimizer that adapts the rate it was given.

    Attributes:
        value: learning rate, float32; before the first update it says nothing.
    """

    value: Float[Array, "*lanes"]


def trained_params(opt_state: Any, params: Any) -> Any:
    """The parameters that are evaluated for most optimizers: those that are trained."""
    del opt_state
    return params


def effective_lr(opt_state: Any) -> Float[Array, "*lanes"] | None:
    """The learning rate of the update that led to this state, where the optimizer adapts it.

    Args:
        opt_state: the optimizer's state after an update; of stacked states it gives one rate a lane.

    Returns:
        The rate; ``None`` where the optimizer applies its schedule as it is.

    Raises:
        ValueError: several optimizers of the state adapt a rate.
    """
    applied = find(opt_state, AppliedRate)
    return None if applied is None else applied.value


def find(opt_state: Any, kind: type[Node]) -> Node | None:
    """The node of one type in an optimizer's state; ``None`` where there is none.

    Raises:
        ValueError: there are several, so that none speaks for the optimizer.
    """

    def is_kind(node: Any) -> bool:
        return isinstance(node, kind)

    found = [node for node in jax.tree.leaves(opt_state, is_leaf=is_kind) if is_kind(node)]
    if len(found) > 1:
        raise ValueError(f"opt_state must hold at most one {kind.__name__}, got {len(found)}")
    return found[0] if found else None
