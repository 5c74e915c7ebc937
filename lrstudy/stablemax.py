"""A cross-entropy that does not collapse when logits grow (Prieto et al. 2025, arXiv 2501.04697)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Logits = Float[Array, "*batch classes"]


def log_stablemax(logits: Logits) -> Logits:
    """Log-probabilities log(s(x) / sum s(x)) with s(x) = x + 1 where x >= 0 and 1 / (1 - x) below.

    s grows linearly where softmax grows exponentially. The reference computes in float64; in float32 a log-probability
    is good to some 1e-7 of the logarithms it is the difference of, so one below 1e-7 is lost: losses want
    ``stablemax_cross_entropy``.

    Args:
        logits: x.

    Returns:
        Log-probabilities over the last axis.
    """
    above, below = _halves(logits)
    total = jnp.sum(_scores(logits), axis=-1, keepdims=True)
    return jnp.log1p(above) - jnp.log1p(below) - jnp.log(total)


def stablemax_cross_entropy(logits: Logits, labels: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The cross-entropy of ``log_stablemax`` at integer labels, as log(1 + sum_{j != y} s_j / s_y).

    This is -log(s_y / sum s) without its cancellation: the reference's form, rounded to float32, is exactly 0 with a
    gradient of 0 once the other scores are below 6e-8 of the label's, which float64 puts off to 1e-16. This one keeps
    the relative accuracy of either type, however small the loss is.

    Args:
        logits: x.
        labels: y, a class an example.

    Returns:
        One loss an example; their mean is what is trained.
    """
    scores = _scores(logits)
    is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    own = jnp.sum(jnp.where(is_label, scores, 0), axis=-1)
    others = jnp.sum(jnp.where(is_label, 0, scores), axis=-1)
    return jnp.log1p(others / own)


def _scores(logits: Logits) -> Logits:
    """s(x), whose derivative at 0 is 1 from both sides."""
    above, below = _halves(logits)
    return jnp.where(logits >= 0, 1 + above, 1 / (1 + below))


def _halves(logits: Logits) -> tuple[Logits, Logits]:
    """What is above 0 and what is below, as sizes; not by absolute values, whose derivative at 0 is 0."""
    rising = logits >= 0
    return jnp.where(rising, logits, 0), jnp.where(rising, 0, -logits)
