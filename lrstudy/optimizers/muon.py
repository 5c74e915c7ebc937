"""Muon on the hidden matrices of a network, Adam on the rest (Jordan et al. 2024)."""

import math
from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from lrstudy.optimizers.decay import decay_mask
from lrstudy.optimizers.directions import Number
from lrstudy.optimizers.paths import layer_axes, names

NOT_HIDDEN = ("embedding", "positions", "readout")
"""Names on a path that leave a matrix to Adam: lookups, and the readout, whose outputs are classes."""

# Kernels of flax's DenseGeneral whose outputs, unlike everybody else's, fill all axes but the first.
_SPLIT_OUTPUTS = ("query", "key", "value")


def muon_direction(
    *,
    beta: Number,
    nesterov: bool,
    ns_steps: int,
    b1: Number,
    b2: Number,
    eps: Number,
    adam_scale: Number,
) -> optax.GradientTransformation:
    """The direction of Muon, whose matrices are told apart by their names and shapes.

    ``optax.contrib.muon`` takes every tensor of two axes, embeddings and readout included, and no other. Here hidden
    kernels of any rank are Muon's (``dimension_numbers``): momentum, orthogonalised by Newton-Schulz iterations, times
    sqrt(max(1, fan_out / fan_in)), so that its spectral norm goes as the width asks for. The rest is Adam's, which
    does not look ahead, as in the author's own code; in optax's it does if the momentum does.

    Args:
        beta: decay of the momentum.
        nesterov: whether the momentum looks ahead.
        ns_steps: Newton-Schulz iterations.
        b1: decay of Adam's first moment.
        b2: decay of Adam's second moment.
        eps: offset of both denominators, Adam's and that of the norm by which a matrix is divided.
        adam_scale: the rate of Adam's tensors over that of Muon's.

    Returns:
        Gradient to direction, of ascent.
    """
    hidden = optax.chain(
        scale_by_muon(
            beta=beta, eps=eps, ns_steps=ns_steps, nesterov=nesterov, weight_dimension_numbers=dimension_numbers
        ),
        optax.stateless(_scaled_by_shape),
    )
    rest = optax.chain(optax.scale_by_adam(b1=b1, b2=b2, eps=eps), optax.scale(adam_scale))

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda n: "adam" if n is None else "muon", dimension_numbers(params), is_leaf=is_numbers)

    return optax.partition({"muon": hidden, "adam": rest}, labels)


def dimension_numbers(params: Any) -> Any:
    """Which axes of every tensor are inputs and which are outputs; ``None`` for a tensor that Adam moves.

    Vectors, biases, gains and what is named in ``NOT_HIDDEN`` are Adam's. Of a kernel the last axis is the output and
    the others are inputs, as in (in, out), (height, width, in, out) and (heads, head width, out); but query, key and
    value are (in, heads, head width). Axes that count stacked layers are neither: every layer is a matrix of its own.

    Args:
        params: tree of tensors, of which only paths and shapes are looked at.

    Returns:
        A tree of ``MuonDimensionNumbers`` or ``None`` of the same structure.
    """

    def numbers_of(path: tuple[Any, ...], leaf: Any, is_matrix: bool) -> MuonDimensionNumbers | None:
        words, first = names(path), layer_axes(path)
        if not is_matrix or set(words) & set(NOT_HIDDEN) or leaf.ndim - first < 2:
            return None
        split = first + 1 if set(words[-2:]) & set(_SPLIT_OUTPUTS) else leaf.ndim - 1
        return MuonDimensionNumbers(tuple(range(first, split)), tuple(range(split, leaf.ndim)))

    return jax.tree_util.tree_map_with_path(numbers_of, params, decay_mask(params))


def is_numbers(node: Any) -> bool:
    """Whether a node is a leaf of ``dimension_numbers``."""
    return node is None or isinstance(node, MuonDimensionNumbers)


def _scaled_by_shape(updates: Any, params: Any) -> Any:
    """Times sqrt(max(1, fan_out / fan_in)): the spectral norm of a change that moves features of any width alike."""
    del params

    def scale(numbers: MuonDimensionNumbers, update: jax.Array) -> jax.Array:
        fan_in, fan_out = (math.prod(update.shape[axis] for axis in axes) for axes in numbers)
        return math.sqrt(max(1, fan_out / fan_in)) * update

    return jax.tree.map(scale, dimension_numbers(updates), updates, is_leaf=is_numbers)
