"""GaLore: Adam in the leading singular directions of a matrix's gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import GaLoreDimensionNumbers

from lrstudy.optimizers.directions import Number
from lrstudy.optimizers.muon import dimension_numbers, is_numbers
from lrstudy.optimizers.paths import layer_axes


def galore_direction(
    *, rank: int, gap: int, scale: Number, b1: Number, b2: Number, eps: Number
) -> optax.GradientTransformation:
    """Adam on hidden matrices projected to a low rank, on the rest as it is (Zhao et al. 2024, arXiv 2403.03507).

    Every ``gap`` updates the ``rank`` leading singular vectors of a matrix's gradient, those of its longer side, become
    its projector P; Adam's moments are of P^T g, and the step is ``scale`` P times Adam's ratio. At a new projector the
    moments stay, as in the authors' code, though they were of other directions, whose signs are arbitrary too.

    ``optax.contrib.scale_by_galore`` computes it, for matrices of two axes. Here the hidden kernels of any number of
    axes are projected, told apart as Muon's are (``muon.dimension_numbers``), and of stacked layers every layer is a
    matrix with a projector of its own. Embeddings, readout and vectors are Adam's.

    Args:
        rank: of the projection, which is never above a matrix's shorter side.
        gap: updates between two projectors. Each costs a singular value decomposition, which lanes that are mapped by
            ``vmap`` pay in every update.
        scale: of the projected tensors' steps.
        b1: decay of Adam's first moment.
        b2: decay of Adam's second moment.
        eps: Adam's offset of the denominator.

    Returns:
        Gradient to direction, of ascent.
    """
    adam = optax.scale_by_adam(b1, b2, eps)

    def low_rank(tree: Any) -> optax.GradientTransformation:
        return optax.contrib.scale_by_galore(rank, gap, scale, adam, lambda _: _numbers(tree))

    def init(params: Any) -> optax.OptState:
        return low_rank(params).init(_apart(params))

    def update(updates: Any, state: optax.OptState, params: Any = None) -> tuple[Any, optax.OptState]:
        del params
        steps, state = low_rank(updates).update(_apart(updates), state)
        return _together(updates, steps), state

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda n: "adam" if n is None else "galore", dimension_numbers(params), is_leaf=is_numbers)

    # Apart from the rest, for which optax would keep projectors without entries, which no checkpoint can hold.
    return optax.partition({"galore": optax.GradientTransformation(init, update), "adam": adam}, labels)


def _apart(tree: Any) -> Any:
    """Stacked layers as a list of tensors each."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: list(leaf) if layer_axes(path) else leaf, tree)


def _together(tree: Any, apart: Any) -> Any:
    """The inverse of ``_apart``."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _, leaf: jnp.stack(leaf) if layer_axes(path) else leaf, tree, apart
    )


def _numbers(tree: Any) -> Any:
    """The axes of every tensor of ``_apart(tree)``."""

    def numbers_of(path: tuple[Any, ...], numbers: Any, leaf: jax.Array) -> Any:
        first = layer_axes(path)
        within = GaLoreDimensionNumbers(*(tuple(axis - first for axis in axes) for axes in numbers))
        return [within] * len(leaf) if first else within

    return jax.tree_util.tree_map_with_path(numbers_of, dimension_numbers(tree), tree, is_leaf=is_numbers)
