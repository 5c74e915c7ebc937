"""LOST: a matrix as one of low rank and a few columns of the rest (Li et al. 2025, arXiv 2508.02668).

Written from the paper's abstract and its reviews; the authors' code was not seen. Reviews mention a nonlinearity
between the two factors without naming it, so it is the caller's to give, and how columns are shared out over several
layers is not known. What is checked is the arithmetic of the decomposition.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lrstudy.optimizers.directions import Number


class LostParts(NamedTuple):
    """What is trained in place of a matrix of shape (out, in), and which columns are.

    Attributes:
        up: U_r S_r^(1/2).
        down: S_r^(1/2) V_r^T.
        columns: W_s, those columns of the original matrix.
        chosen: which, in ascending order; fixed.
    """

    up: Float[Array, "out rank"]
    down: Float[Array, "rank in"]
    columns: Float[Array, "out kept"]
    chosen: Int[Array, " kept"]


def lost_decomposed(weights: Float[Array, "out in"], *, rank: int, kept: int) -> LostParts:
    """The best approximation of a low rank, and the columns in which most of the residual lies.

    Columns are chosen by their norm in W - W_r, the residual, and their values are taken from W itself.

    Args:
        weights: W, as it was initialised.
        rank: r.
        kept: how many columns.

    Raises:
        ValueError: there are not as many.
    """
    for name, value, most in (("rank", rank, min(weights.shape)), ("kept", kept, weights.shape[1])):
        if not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"{name} must be an int in [1, {most}], got {value!r}")
    left, sizes, right = jnp.linalg.svd(weights, full_matrices=False)
    roots = jnp.sqrt(sizes[:rank])
    up, down = left[:, :rank] * roots, roots[:, None] * right[:rank]
    norms = jnp.linalg.norm(weights - up @ down, axis=0)
    chosen = jnp.sort(jnp.argsort(-norms)[:kept])
    return LostParts(up, down, weights[:, chosen], chosen)


def lost_linear(
    inputs: Float[Array, "*batch in"],
    parts: LostParts,
    *,
    gamma: Number,
    between: Callable[[Array], Array] | None = None,
) -> Float[Array, "*batch out"]:
    """Gamma (low rank) + (1 - gamma) x[:, I] W_s^T.

    Args:
        inputs: x, any batch axes before the features.
        parts: of the matrix.
        gamma: weight of the low rank.
        between: what is applied between the two factors; ``None``: nothing.
    """
    low = inputs @ parts.down.T
    low = (low if between is None else between(low)) @ parts.up.T
    return gamma * low + (1 - gamma) * inputs[..., parts.chosen] @ parts.columns.T
