"""Matrix products of sequences."""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jaxtyping import Array

Dimensions = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]


def flat_dot_general(x: Array, kernel: Array, dimensions: Dimensions, precision: Any = None, **settings: Any) -> Array:
    """What a dense layer asks of ``lax.dot_general``, with the axes in front of its input as one.

    The numbers are those of ``lax.dot_general`` up to rounding. XLA's CPU compiler does badly by the gradient of a
    kernel that is a sum over two axes, of examples and of positions: it first copies, transposed and an element at a
    time, what it sums over, and multiplies at a third of its speed. That was 0.3 of a step at width 32 to 128.

    Args:
        x: input, whose last axes are contracted.
        kernel: its first axes are contracted.
        dimensions: as of ``lax.dot_general``, without batch axes.
        precision: as of ``lax.dot_general``.
        **settings: further ones of it.
    """
    count = len(dimensions[0][0])
    inputs = math.prod(kernel.shape[:count])
    flat = x.reshape(-1, inputs), kernel.reshape(inputs, -1)
    product = jax.lax.dot_general(*flat, (((1,), (0,)), ((), ())), precision=precision, **settings)
    return product.reshape(*x.shape[: x.ndim - count], *kernel.shape[count:])
