"""Subspaces of one matrix: how they are drawn, what of a matrix lies in them and what does not."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Matrix = Float[Array, "rows columns"]
Free = Callable[[Array], Array]
"""What the part of a gradient outside of a subspace is turned into, entry by entry."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """Some columns, rows or entries: what is not in the subspace is outside of it, so nothing is computed twice.

    Attributes:
        axis: 1 for columns, 0 for rows, ``None`` for entries.
    """

    axis: int | None

    def _choices(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape) if self.axis is None else shape[self.axis]

    def size(self, shape: tuple[int, ...], density: float) -> int:
        """How many are selected, rounded down."""
        return int(self._choices(shape) * density)

    def blank(self, shape: tuple[int, ...], size: int) -> Int[Array, " n"]:
        """A basis before the first draw."""
        del shape
        return jnp.zeros(size, jnp.int32)

    def draw(self, key: Array, gradient: Matrix, size: int) -> Int[Array, " n"]:
        """A basis: the indices of those that are selected."""
        return jax.random.permutation(key, self._choices(gradient.shape))[:size].astype(jnp.int32)

    def down(self, matrix: Matrix, basis: Int[Array, " n"]) -> Array:
        """What is selected of a matrix."""
        return jnp.take(matrix, basis, axis=self.axis, mode="clip")

    def join(self, gradient: Matrix, low: Array, step: Array, basis: Int[Array, " n"], free: Free) -> Matrix:
        """The step of the whole matrix: ``free`` of its gradient, overwritten by the step of what is selected."""
        del low
        outside = free(gradient)
        base = outside.ravel() if self.axis is None else outside
        at: Any = (slice(None), basis) if self.axis == 1 else basis
        return base.at[at].set(step.astype(base.dtype), unique_indices=True).reshape(gradient.shape)


@dataclasses.dataclass(frozen=True)
class Directions:
    """Orthonormal directions of a matrix's rows where it is at least as tall as wide, otherwise of its columns.

    Attributes:
        singular: whether they are the first singular directions of the gradient, or drawn at random.
    """

    singular: bool

    def size(self, shape: tuple[int, ...], density: float) -> int:
        """How many directions, to the nearest number."""
        return round(min(shape) * density)

    def blank(self, shape: tuple[int, ...], size: int) -> Float[Array, "side n"]:
        """A basis before the first draw."""
        return jnp.zeros((min(shape), size))

    def draw(self, key: Array, gradient: Matrix, size: int) -> Float[Array, "side n"]:
        """A basis: one direction a column."""
        if not self.singular:
            return jnp.linalg.qr(jax.random.normal(key, (min(gradient.shape), size)))[0]
        u, _, vt = jnp.linalg.svd(gradient, full_matrices=False)
        return vt[:size].T if _is_tall(gradient) else u[:, :size]

    def down(self, matrix: Matrix, basis: Float[Array, "side n"]) -> Array:
        """The coordinates of a matrix's rows or columns."""
        with jax.default_matmul_precision("highest"):
            return matrix @ basis if _is_tall(matrix) else basis.T @ matrix

    def join(self, gradient: Matrix, low: Array, step: Array, basis: Float[Array, "side n"], free: Free) -> Matrix:
        """The step of the whole matrix: that of the coordinates, and ``free`` of what remains of the gradient."""

        def up(coordinates: Array) -> Array:
            with jax.default_matmul_precision("highest"):
                return coordinates @ basis.T if _is_tall(gradient) else basis @ coordinates

        return free(gradient - up(low)) + up(step)


def _is_tall(matrix: Matrix) -> bool:
    return matrix.shape[0] >= matrix.shape[1]


KINDS: dict[str, Selection | Directions] = {
    "columns": Selection(1),
    "rows": Selection(0),
    "randk": Selection(None),
    "svd": Directions(singular=True),
    "orth": Directions(singular=False),
}


class Layout(NamedTuple):
    """How a tensor is seen as one matrix, or as a stack of them.

    Attributes:
        layers: number of matrices, one for every layer of a stack; ``None``: the tensor is one matrix.
        shape: inputs and outputs of one matrix.
    """

    layers: int | None
    shape: tuple[int, int]

    @classmethod
    def of(cls, shape: tuple[int, ...], first: int, split: int) -> "Layout":
        """From the number of leading axes that count layers and the first axis of the outputs."""
        matrix = math.prod(shape[first:split]), math.prod(shape[split:])
        return cls(math.prod(shape[:first]) if first else None, matrix)

    def matrices(self, leaf: Array) -> Array:
        """The tensor in the shape (inputs, outputs), or (layers, inputs, outputs)."""
        return leaf.reshape(self.shape if self.layers is None else (self.layers, *self.shape))

    def each(self, function: Callable[..., Array]) -> Callable[..., Array]:
        """The function of matrices for every layer."""
        return function if self.layers is None else jax.vmap(function)
