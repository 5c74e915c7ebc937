"""Linear classifiers of a separable sample: the batch perceptron, and logistic regression with huge steps, its double.

Gradient descent on the logistic loss with the step gamma moves theta by (gamma / n) sum y a s(-y a.theta), s being the
logistic function. As gamma grows, s(-y a.theta) becomes 1 for a misclassified example, 0 for a correct one and 1/2
where theta is zero, so theta / gamma becomes the iterate of the batch perceptron (Tyurin 2024, From Logistic Regression
to the Perceptron Algorithm). Iterations are updates until every example is classified correctly, starting from zero.
With R the largest norm of an example and mu the largest margin of a unit vector, at most n R^2 / mu^2 of them are
needed by the batch perceptron, R^2 / mu^2 by the normalised one, and R^2 / mu^2 + 2 log(2n - 1) / (gamma mu^2) by
normalised gradient descent.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

Vector = Float[Array, " features"]
Found = tuple[Vector, Int[Array, ""]]
Weights = Callable[[Float[Array, " examples"], Any], Float[Array, " examples"]]


def batch_perceptron(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    step_size: Any = 1.0,
    max_iterations: int = 100_000,
) -> Found:
    """The update theta <- theta + step (1/n) sum w y a, w being 1 of misclassified examples, 1/2 of those between.

    Args:
        features: of shape (examples, features), one row a an example.
        labels: y, -1 or 1, one an example.
        step_size: it scales theta and changes nothing else; may be traced.
        max_iterations: at which it gives up.

    Returns:
        theta, and how many updates it took; ``max_iterations`` where not all are correct by then.

    Raises:
        ValueError: a bad argument.
    """
    return _solved(features, labels, step_size, max_iterations, _mean_of_wrong)


def normalized_batch_perceptron(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    step_size: Any = 1.0,
    max_iterations: int = 100_000,
) -> Found:
    """The update theta <- theta + step times the mean of y a over the examples with y a.theta <= 0.

    Arguments, results and errors are those of ``batch_perceptron``.
    """
    return _solved(features, labels, step_size, max_iterations, _normalised_wrong)


def logistic_gd(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    step_size: Any,
    max_iterations: int = 100_000,
) -> Found:
    """Gradient descent on the mean logistic loss with a constant step.

    Arguments, results and errors are those of ``batch_perceptron``, but that ``step_size`` matters.
    """
    return _solved(features, labels, step_size, max_iterations, _mean_logistic)


def normalized_logistic_gd(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    step_size: Any,
    max_iterations: int = 100_000,
) -> Found:
    """The same with the gradient divided by the mean of its weights, so that a step has a length that does not vanish.

    Arguments, results and errors are those of ``batch_perceptron``, but that ``step_size`` matters.
    """
    return _solved(features, labels, step_size, max_iterations, _normalised_logistic)


def _mean_of_wrong(margins: Float[Array, " examples"]) -> Float[Array, " examples"]:
    return jnp.heaviside(-margins, 0.5) / len(margins)


def _normalised_wrong(margins: Float[Array, " examples"]) -> Float[Array, " examples"]:
    wrong = (margins <= 0).astype(margins.dtype)
    return wrong / jnp.maximum(1, jnp.sum(wrong))


def _mean_logistic(margins: Float[Array, " examples"]) -> Float[Array, " examples"]:
    return jax.nn.sigmoid(-margins) / len(margins)


def _normalised_logistic(margins: Float[Array, " examples"]) -> Float[Array, " examples"]:
    # By logarithms: where all weights underflow, their quotients are still shares.
    return jax.nn.softmax(jax.nn.log_sigmoid(-margins))


def _solved(features: Any, labels: Any, step_size: Any, max_iterations: int, weights: Callable[..., Any]) -> Found:
    _check(features, labels, step_size, max_iterations)
    kind = jnp.result_type(float)
    signed = jnp.asarray(features, kind) * jnp.asarray(labels, kind)[:, None]
    return _iterated(signed, jnp.asarray(step_size, kind), max_iterations, weights)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _iterated(signed: Float[Array, "examples features"], step: Any, limit: int, weights: Callable[..., Any]) -> Found:
    def unfinished(carry: Found) -> Array:
        theta, made = carry
        return ~jnp.all(signed @ theta > 0) & (made < limit)

    def update(carry: Found) -> Found:
        theta, made = carry
        return theta + step * (weights(signed @ theta) @ signed), made + 1

    return jax.lax.while_loop(unfinished, update, (jnp.zeros(signed.shape[1], signed.dtype), jnp.int32(0)))


def _check(features: Any, labels: Any, step_size: Any, max_iterations: int) -> None:
    """Checks what is not traced.

    Raises:
        ValueError: a bad argument.
    """
    if np.ndim(features) != 2 or not np.size(features):
        raise ValueError(f"features must have the shape (examples, features), got {np.shape(features)}")
    if np.shape(labels) != np.shape(features)[:1]:
        raise ValueError(f"labels must have the shape {np.shape(features)[:1]}, got {np.shape(labels)}")
    if not isinstance(labels, Tracer) and not np.all(np.abs(np.asarray(labels)) == 1):
        raise ValueError(f"labels must be -1 or 1, got {np.unique(np.asarray(labels)).tolist()}")
    if not isinstance(features, Tracer) and not np.all(np.isfinite(np.asarray(features))):
        raise ValueError("features must be finite numbers, got some that are not")
    if not isinstance(step_size, Tracer) and not (np.all(np.isfinite(step_size)) and np.all(np.asarray(step_size) > 0)):
        raise ValueError(f"step_size must be a positive number, got {step_size!r}")
    if not isinstance(max_iterations, int) or max_iterations < 1:
        raise ValueError(f"max_iterations must be an int of at least 1, got {max_iterations!r}")
