"""What an optimizer tells others through its state: nodes that are found by their type, wherever they are nested.

Training, tasks and optimizers do not import each other; what one reads from another's state is defined here.
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

Node = TypeVar("Node")


class AppliedRate(NamedTuple):
    """The learning rate of the last update, kept by an optimizer that adapts the rate it was given.

    Attributes:
        value: learning rate, float32; before the first update it says nothing.
    """

    value: Float[Array, "*lanes"]


class ServerFeedback(NamedTuple):
    """What a federated server's optimizer tells the clients of the next round.

    Attributes:
        client_scale: factor on the clients' learning rate.
        change: the last change that the clients' mean made to the weights, zeros before the first round, for clients
            that adapt their own rate by it; ``None`` where they do not.
        cosine: whether inner products are divided by the norms of their factors.
    """

    client_scale: Float[Array, "*lanes"]
    change: Any
    cosine: Bool[Array, "*lanes"]


def alignment(first: Any, second: Any, *, cosine: bool | Bool[Array, "*lanes"]) -> Float[Array, ""]:
    """The inner product of two trees, or the cosine of their angle: 0 where one of them is zero."""
    product = optax.tree.vdot(first, second)
    norms = optax.tree.norm(first) * optax.tree.norm(second)
    normalised = jnp.where(norms > 0, product / jnp.where(norms > 0, norms, 1), 0)
    return jnp.where(cosine, normalised, product)


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
