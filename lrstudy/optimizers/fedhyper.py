"""FedHyper: the rates of federated learning follow the inner products of the changes of successive rounds."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lrstudy.feedback import AppliedRate, ServerFeedback, alignment
from lrstudy.optimizers.directions import LearningRate, Number, rate_at

KINDS = ("G", "GM", "SL", "CL")
PRODUCTS = ("raw", "cosine")
CLIENT_SCALES = (0.1, 10.0)
"""Bounds of a client's factor: the released code clips the rate to [0.001, 0.1] around its initial 0.01."""
_SUMS = {"G": (-0.8, 4.0), "GM": (-0.2, 4.0), "SL": (-math.inf, math.inf)}


class FedHyperState(NamedTuple):
    """State of ``fedhyper``.

    Attributes:
        schedule: count of rounds, which the schedule is evaluated at.
        total: sum of the inner products, clipped: the server's factor less one.
        change: the change that the last round's clients made; zeros before the first, ``None`` for ``CL``.
        momentum: running sum of the changes, for ``GM``; otherwise ``None``.
        applied: the server's rate in the last round.
        feedback: what the clients of the next round are told.
    """

    schedule: optax.ScaleByScheduleState
    total: Float[Array, "*lanes"]
    change: Any
    momentum: Any
    applied: AppliedRate
    feedback: ServerFeedback


def fedhyper(
    learning_rate: LearningRate,
    *,
    kind: str = "G",
    product: str = "raw",
    beta: Number = 1.0,
    momentum: Number = 0.9,
) -> optax.GradientTransformationExtraArgs:
    """The server's side of FedHyper (Wang et al. 2023, arXiv 2310.03156, and the authors' released code).

    Updates are pseudo-gradients: the server's weights less the weighted mean of its clients', so D_t is their negative.
    With a_t = clip(a_{t-1} + beta <D_t, D_{t-1}>), a_0 = 0:

    - ``G``: the server adds (1 + a_t) D_t, a in [-0.8, 4].
    - ``GM``: it adds D_t + a_t (D_t + momentum M_t), M_{t+1} = D_t + momentum M_t, a in [-0.2, 4].
    - ``SL``: it adds D_t; the clients of the next round take 1 + a_t times their rate, within ``CLIENT_SCALES``; a is
      not clipped. In the released code this factor is computed and then dropped: the local rate is rebuilt from its
      initial value at the top of every round. Here it reaches the clients.
    - ``CL``: it adds D_t and tells it to the clients, which adapt their rate at every local step
      (``lrstudy.tasks.clients``).

    A raw inner product grows with the square of the change, hence with the model's size and the local rate; ``cosine``
    does not. A ``learning_rate`` of 1 is the published server; a schedule scales its step.

    Args:
        learning_rate: of the server, 1 for FedAvg's.
        kind: which form.
        product: what <., .> is: the ``raw`` inner product or the ``cosine``.
        beta: rate of a; 1 in the paper. ``CL`` does not use it.
        momentum: of ``GM``.

    Returns:
        A transform whose state says the server's rate (``effective_lr``) and what its clients are told
        (``ServerFeedback``).

    Raises:
        ValueError: an unknown ``kind`` or ``product``.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {list(KINDS)}, got {kind!r}")
    if product not in PRODUCTS:
        raise ValueError(f"product must be one of {list(PRODUCTS)}, got {product!r}")
    cosine = product == "cosine"

    def init(params: Any) -> FedHyperState:
        def zeros(wanted: bool) -> Any:
            return optax.tree.zeros_like(params) if wanted else None

        return FedHyperState(
            schedule=optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)),
            total=jnp.float32(0),
            change=zeros(kind != "CL"),
            momentum=zeros(kind == "GM"),
            applied=AppliedRate(jnp.float32(0)),
            feedback=ServerFeedback(jnp.float32(1), zeros(kind == "CL"), jnp.bool_(cosine)),
        )

    def update(updates: Any, state: FedHyperState, params: Any = None, **extra: Any) -> tuple[Any, FedHyperState]:
        del params, extra
        count = state.schedule.count
        rate = rate_at(learning_rate, count)
        change = optax.tree.scale(-1, updates)
        total, feedback, server_momentum = state.total, state.feedback, state.momentum
        step = change
        if kind == "CL":
            feedback = feedback._replace(change=change)
        else:
            total = jnp.clip(total + beta * alignment(change, state.change, cosine=cosine), *_SUMS[kind])
        if kind == "SL":
            feedback = feedback._replace(client_scale=jnp.clip(1 + total, *CLIENT_SCALES))
        if kind == "GM":
            server_momentum = jax.tree.map(lambda d, m: d + momentum * m, change, server_momentum)
            step = jax.tree.map(lambda d, m: d + total * m, change, server_momentum)
        if kind == "G":
            step = optax.tree.scale(1 + total, change)
        new = FedHyperState(
            schedule=optax.ScaleByScheduleState(optax.safe_increment(count)),
            total=jnp.asarray(total, jnp.float32),
            change=None if kind == "CL" else change,
            momentum=server_momentum,
            applied=AppliedRate(jnp.asarray(rate * (1 + total) if kind in ("G", "GM") else rate, jnp.float32)),
            feedback=feedback,
        )
        return optax.tree.scale(rate, step), new

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]
