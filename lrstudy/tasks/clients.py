"""Local training of the clients of a federated round."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from lrstudy.feedback import ServerFeedback, alignment

Loss = Callable[[Any, Any], Float[Array, ""]]

GLOBAL_SHARE = 0.1
"""Weight of the server's last change in a client's factor (FedHyper's released code)."""
LARGEST_GROWTH = 1.1
"""Largest factor from one local step to the next."""
SCALES = (0.1, 10.0)
"""Bounds of a client's factor on its initial rate."""
NO_FEEDBACK = ServerFeedback(np.float32(1), None, np.bool_(False))  # pyright: ignore[reportArgumentType]
"""What a client hears from an optimizer that says nothing."""


def train_client(
    loss: Loss,
    params: Any,
    batches: Any,
    *,
    feedback: ServerFeedback,
    learning_rate: Float[Array, ""] | float,
    momentum: Float[Array, ""] | float,
    active: int,
) -> tuple[Any, Float[Array, " local_steps"], Float[Array, ""]]:
    """SGD with momentum from the server's weights, on one client's batches in turn.

    Where the feedback carries the server's last change D (FedHyper-CL; Wang et al. 2023, arXiv 2310.03156), the client
    adapts its rate: after every local step k but the first of the round its factor is multiplied by
    min(1.1, 1 + 0.1 <dx_k, D> / active + <dx_k, dx_{k-1}>) and clipped to [0.1, 10], dx_k being the change that step k
    made; the factor starts at 1 in every round.

    Args:
        loss: ``(params, batch) -> loss``.
        params: the server's weights.
        batches: a pytree with a leading axis of local steps.
        feedback: what the server's optimizer says.
        learning_rate: initial rate.
        momentum: in [0, 1).
        active: clients in the round.

    Returns:
        The client's change of the weights, its loss before every local step, and the rate of its last step.
    """
    rate = learning_rate * feedback.client_scale
    zeros = optax.tree.zeros_like(params)

    def step(carry: Any, batch: Any) -> tuple[Any, tuple[Array, Array]]:
        params, trace, scale, before, first = carry
        value, grads = jax.value_and_grad(loss)(params, batch)
        trace = jax.tree.map(lambda t, g: momentum * t + g, trace, grads)
        change = optax.tree.scale(-rate * scale, trace)
        used = rate * scale
        if feedback.change is not None:
            towards = alignment(change, feedback.change, cosine=feedback.cosine)
            onwards = alignment(change, before, cosine=feedback.cosine)
            growth = jnp.minimum(LARGEST_GROWTH, 1 + GLOBAL_SHARE * towards / active + onwards)
            scale = jnp.where(first, scale, jnp.clip(scale * growth, *SCALES))
            before = change
        return (optax.tree.add(params, change), trace, scale, before, jnp.bool_(False)), (value, used)

    before = None if feedback.change is None else zeros
    start = (params, zeros, jnp.ones_like(feedback.client_scale), before, jnp.bool_(True))
    (trained, *_), (losses, rates) = jax.lax.scan(step, start, batches)
    return optax.tree.sub(trained, params), losses, rates[-1]
