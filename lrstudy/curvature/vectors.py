"""Pytrees of parameters as flat vectors, and back."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

Vector = Any
"""A pytree like the parameters."""


def check_differentiable(name: str, tree: Any) -> None:
    """Refuses what has no curvature.

    Args:
        name: of the argument.
        tree: of arrays.

    Raises:
        ValueError: the tree has no numbers, or some that are not floating-point.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    if not sum(np.size(leaf) for _, leaf in leaves):
        raise ValueError(f"{name} must hold at least one number, got {tree!r}")
    for path, leaf in leaves:
        kind = jnp.result_type(leaf)
        if not jnp.issubdtype(kind, jnp.floating):
            raise ValueError(f"{name} must be floating-point, got {kind} at '{jax.tree_util.keystr(path)}'")


def size(tree: Any) -> int:
    """How many numbers a tree holds."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(tree))


def working_type(tree: Any) -> Any:
    """The type that vectors like this tree are computed in: at least float32."""
    return jnp.result_type(jnp.float32, *[jnp.result_type(leaf) for leaf in jax.tree.leaves(tree)])


def flatten(tree: Any) -> Float[Array, " n"]:
    """All numbers of a tree in one vector of its working type."""
    kind = working_type(tree)
    return jnp.concatenate([jnp.ravel(leaf).astype(kind) for leaf in jax.tree.leaves(tree)])


def unflattener(example: Any) -> Callable[[Float[Array, " n"]], Any]:
    """The inverse of ``flatten`` for trees like ``example``; leaves get its shapes and types."""
    leaves, structure = jax.tree.flatten(example)
    shapes = [(np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]
    cuts = np.cumsum([int(np.prod(shape)) for shape, _ in shapes])[:-1]

    def unflatten(vector: Float[Array, " n"]) -> Any:
        pieces = jnp.split(vector, cuts)
        return structure.unflatten(
            [piece.reshape(shape).astype(kind) for piece, (shape, kind) in zip(pieces, shapes, strict=True)]
        )

    return unflatten


def random_like(key: Key[Array, ""], tree: Any) -> Float[Array, " n"]:
    """A random direction, uniform on the sphere of radius one, flat."""
    vector = jax.random.normal(key, (size(tree),), working_type(tree))
    return vector / norm(vector)


def norm(vector: Float[Array, " n"]) -> Float[Array, ""]:
    """Its length, also where squares would be too small or too large for a float.

    The scale is a power of two, so that the result is what it would be without it.
    """
    largest, info = jnp.max(jnp.abs(vector), initial=0), jnp.finfo(vector.dtype)
    _, exponent = jnp.frexp(largest)
    exponent = jnp.where((largest > 0) & jnp.isfinite(largest), exponent - 1, 0)
    scale = jnp.ldexp(jnp.ones_like(largest), jnp.clip(exponent, int(info.minexp), int(info.maxexp) - 1))
    return scale * jnp.linalg.norm(vector / scale)
