"""Norms of tensors, or of every layer of a stack."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def widened(leaf: Array) -> Array:
    """The tensor in at least 32 bits, in which sums of squares are taken."""
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))


def norm_over(leaf: Array, kept: int) -> Float[Array, "..."]:
    """Frobenius norm over all but the first ``kept`` axes; the others stay, of length one."""
    return jnp.sqrt(jnp.sum(jnp.square(widened(leaf)), axis=tuple(range(kept, leaf.ndim)), keepdims=True))
