"""Directions that an optimizer can step along: the pure part of it, without decay and rate."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from lrstudy.optimizers.decay import decay_mask

Number = float | jax.Array
LearningRate = Number | optax.Schedule
Around = Callable[[optax.GradientTransformation], optax.GradientTransformation] | None
"""What a caller wraps a direction in, such as a factor on every tensor's gradient and step; ``None``: nothing."""

DIRECTIONS = ("sgd", "momentum", "adam")


def direction(inner: str, *, momentum: Number, b1: Number, b2: Number, eps: Number) -> optax.GradientTransformation:
    """The pure part of a plain optimizer: a step is minus the rate times it.

    Args:
        inner: ``sgd``, the gradient; ``momentum``, the trace of Polyak's method; ``adam``, Adam's corrected ratio.
        momentum: of ``momentum``.
        b1: decay of Adam's first moment.
        b2: decay of Adam's second moment.
        eps: Adam's offset of the denominator.

    Raises:
        ValueError: another ``inner``.
    """
    if inner == "sgd":
        return optax.identity()
    if inner == "momentum":
        return optax.trace(momentum)
    if inner == "adam":
        return optax.scale_by_adam(b1=b1, b2=b2, eps=eps)
    raise ValueError(f"inner must be one of {list(DIRECTIONS)}, got {inner!r}")


def adafactor_direction(
    *,
    decay_rate: Number,
    clipping_threshold: Number,
    multiply_by_parameter_scale: bool,
    min_dim_size_to_factor: int,
) -> optax.GradientTransformation:
    """Adafactor's direction (Shazeer & Stern 2018, arXiv 1804.04235) as optax computes it.

    The gradient over the root of its factored second moment, clipped by its root mean square, times that of the tensor.
    The tensor's is taken to be at least 1e-3, which is what a tensor of zeros is first moved by.

    All three are of whole tensors, so stacked layers share one. Whether a second moment is factored depends on a
    tensor's size: a study over widths wants ``min_dim_size_to_factor`` below or above them all.

    Args:
        decay_rate: c in the decay 1 - t^-c of the second moment.
        clipping_threshold: largest root mean square of a tensor's ratio; 1 in the paper.
        multiply_by_parameter_scale: whether a step is relative to the size of its tensor.
        min_dim_size_to_factor: second moments are factored where two axes have at least this size.

    Returns:
        Gradient to direction, of ascent; ``update`` needs the parameters.
    """
    parts: list[Any] = [
        optax.scale_by_factored_rms(decay_rate=decay_rate, min_dim_size_to_factor=min_dim_size_to_factor),
        optax.clip_by_block_rms(clipping_threshold),
    ]
    if multiply_by_parameter_scale:
        parts.append(optax.scale_by_param_block_rms())
    return optax.chain(*parts)


class NotScaledError(ValueError):
    """There is something around a row whose direction cannot be scaled tensor by tensor.

    Args:
        optimizer: name of the row.
        reason: why it cannot.
    """

    def __init__(self, optimizer: str, reason: str) -> None:
        super().__init__(f"around must be None for {optimizer}: {reason}")
        self.optimizer, self.reason = optimizer, reason


def alone(optimizer: str, around: Around, reason: str) -> None:
    """Refuses what a caller puts around a row that nothing may be around.

    Args:
        optimizer: name of the row.
        around: what the row was given.
        reason: why nothing may.

    Raises:
        NotScaledError: there is something.
    """
    if around is not None:
        raise NotScaledError(optimizer, reason)


def wrapped(pure: optax.GradientTransformation, around: Around) -> optax.GradientTransformation:
    """The direction inside of what the caller puts around it."""
    return pure if around is None else around(pure)


def stepped(
    pure: optax.GradientTransformation, learning_rate: LearningRate, weight_decay: Number | None = None
) -> optax.GradientTransformation:
    """Minus the rate times a direction, to which the decay of kernels and embeddings is added first if there is one."""
    decay = [] if weight_decay is None else [optax.add_decayed_weights(weight_decay, mask=decay_mask)]
    return optax.chain(pure, *decay, optax.scale_by_learning_rate(learning_rate))


def rate_at(learning_rate: LearningRate, count: jax.Array) -> jax.Array | float:
    """The rate that is asked for at a count of updates, whether it was given as a schedule or as a number."""
    return learning_rate(count) if callable(learning_rate) else learning_rate  # pyright: ignore[reportReturnType]
