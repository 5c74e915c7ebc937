"""Newton with a regulariser from the gradient and an estimate of smoothness (Semenov et al. 2025, arXiv 2506.13710)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

Vector = Float[Array, " n"]
Step = Callable[[Array, Float[Array, ""]], tuple[Vector, Float[Array, ""], Float[Array, ""]]]

TRIALS = 40
"""How often a step may halve gamma before it gives up."""

_OFFSET = 1e-8
_LEAST = 1e-9


class _Trial(NamedTuple):
    made: Any
    accepted: Any
    gamma: Any
    place: Any
    value: Any


def gns_newton(
    loss: Callable[[Vector], Float[Array, ""]],
    hessian_or_approximation: Callable[[Vector], Float[Array, "n n"] | Vector],
    *,
    metric: Float[Array, "n n"] | None = None,
    keep_failed: bool = False,
) -> Step:
    """Newton with gradient-normalised smoothness, for small problems in one vector.

    x+ = x - (H + lam B)^-1 g with lam = |g|_* / (gamma + 1e-8), where |v|_* = sqrt(v B^-1 v). A trial is accepted if
    f(x) - f(x+) >= |g+|_*^2 / (8 lam), and then gamma becomes max(2 gamma, 1e-9); otherwise gamma is halved and another
    is made, at most ``TRIALS`` times. gamma, a length, bounds how far the model of H is trusted; it starts at 1.

    H may be any approximation: the Hessian, Gauss-Newton, a sum of outer products of gradients. Close to the minimum
    f(x) - f(x+) is made of rounding errors and no trial may pass.

    Args:
        loss: f.
        hessian_or_approximation: x to H, or to a vector v that stands for H = v v^T, which is solved for without a
            matrix (Sherman and Morrison).
        metric: B, symmetric and positive definite; ``None``: the identity.
        keep_failed: whether the last trial is kept where none was accepted, as the authors' code has it; otherwise x
            stays where it is.

    Returns:
        ``(x, gamma) -> (x, gamma, value)`` with the loss at the new x; both can be traced.
    """

    def raised(v: Vector) -> Vector:
        return v if metric is None else jnp.linalg.solve(metric, v)

    def solved(h: Array, lam: Array, g: Vector) -> Vector:
        if h.ndim == 1:
            up, along = raised(g), raised(h)
            return (up - along * (h @ up) / (lam + h @ along)) / lam
        return jnp.linalg.solve(h + lam * (jnp.eye(len(g), dtype=g.dtype) if metric is None else metric), g)

    value_and_grad = jax.value_and_grad(loss)

    def step(x: Array, gamma: Any) -> tuple[Vector, Float[Array, ""], Float[Array, ""]]:
        _check(x, gamma)
        value, g = value_and_grad(x)
        h = hessian_or_approximation(x)
        size = jnp.sqrt(g @ raised(g))
        # Without a gradient there is no step, whatever it is divided by.
        size = jnp.where(size > 0, size, 1)

        def unfinished(trial: _Trial) -> Array:
            return ~trial.accepted & (trial.made < TRIALS)

        def attempt(trial: _Trial) -> _Trial:
            lam = size / (trial.gamma + _OFFSET)
            place = x - solved(h, lam, g)
            after, slope = value_and_grad(place)
            accepted = value - after >= slope @ raised(slope) / (8 * lam)
            gamma = jnp.where(accepted, jnp.maximum(2 * trial.gamma, _LEAST), trial.gamma / 2)
            return _Trial(trial.made + 1, accepted, gamma, place, after)

        start = _Trial(jnp.int32(0), jnp.bool_(False), jnp.asarray(gamma, value.dtype), x, value)
        last = jax.lax.while_loop(unfinished, attempt, start)
        kept = last.accepted | keep_failed
        return jnp.where(kept, last.place, x), last.gamma, jnp.where(kept, last.value, value)

    return step


def _check(x: Any, gamma: Any) -> None:
    """Checks what is not traced.

    Raises:
        ValueError: a bad argument.
    """
    if jnp.ndim(x) != 1:
        raise ValueError(f"x must be a vector, got the shape {jnp.shape(x)}")
    if not isinstance(gamma, Tracer) and not gamma > 0:
        raise ValueError(f"gamma must be a positive number, got {gamma!r}")
