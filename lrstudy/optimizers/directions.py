"""Directions that an optimizer which adapts its own rate can step along."""

import jax
import optax

Number = float | jax.Array
LearningRate = Number | optax.Schedule

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


def rate_at(learning_rate: LearningRate, count: jax.Array) -> jax.Array | float:
    """The rate that is asked for at a count of updates, whether it was given as a schedule or as a number."""
    return learning_rate(count) if callable(learning_rate) else learning_rate  # pyright: ignore[reportReturnType]
