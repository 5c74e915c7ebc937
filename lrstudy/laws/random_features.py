"""Least squares on random ReLU features, solved exactly: what peaks where there are as many features as samples.

The test error of the least coefficients that fit (Belkin et al. 2019, arXiv 1812.11118: double descent) beside that of
solutions that are kept from fitting small singular values: by a ridge (Nakkiran et al. 2021, arXiv 2003.01897), or by
stopping gradient descent early. All are one formula: along each singular direction of the features the coefficient of
least squares is multiplied by a factor between 0 and 1.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Filter = Callable[[np.ndarray], np.ndarray]
"""Singular values to the factor by which the coefficients of least squares are multiplied along their directions."""

RANK_TOLERANCE = 1e-12
"""Singular values below this share of the largest are rounding: the features do not reach these directions."""


def minimum_norm(values: np.ndarray) -> np.ndarray:
    """The least coefficients of those that fit best."""
    return np.ones_like(values)


def ridge(penalty: float) -> Filter:
    """The least of |f - y|^2 + penalty |a|^2."""
    return lambda values: values**2 / (values**2 + penalty)


def gradient_descent(steps: int) -> Filter:
    """Gradient descent on |f - y|^2 / 2 from zero, at a rate of one over the square of the largest singular value.

    Along a singular value s it leaves (1 - (s / s_max)^2)^steps of the residual.
    """
    return lambda values: -np.expm1(steps * np.log1p(-((values / values.max()) ** 2).clip(max=1 - 1e-16)))


def solve(
    features: Float[np.ndarray, "samples features"], labels: Float[np.ndarray, " samples"], *filters: Filter
) -> list[Float[np.ndarray, " features"]]:
    """The coefficients that every filter gives, of one singular value decomposition, in float64.

    Args:
        features: one row a sample.
        labels: one a sample.
        filters: what is asked for.
    """
    left, values, right = np.linalg.svd(np.asarray(features, np.float64), full_matrices=False)
    kept = values > RANK_TOLERANCE * values[0]
    left, values, right = left[:, kept], values[kept], right[kept]
    along = left.T @ np.asarray(labels, np.float64) / values
    return [right.T @ (own(values) * along) for own in filters]


def condition(features: Float[np.ndarray, "samples features"]) -> float:
    """The largest over the smallest eigenvalue of the Gram matrix of the smaller side, infinite for none."""
    values = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
    return float((values[0] / values[-1]) ** 2) if values[-1] > 0 else float("inf")


def error_moments(
    weights: Float[np.ndarray, "directions features"], target: Float[np.ndarray, " directions"]
) -> tuple[Float[np.ndarray, "features features"], Float[np.ndarray, " features"]]:
    """K and c with which the test error is a.K.a - 2 a.c + |b|^2, over normal inputs of unit variance, target b.x.

    K is the arc-cosine kernel of order 1 over 2 pi (Cho & Saul 2009), c is w.b / 2.

    Args:
        weights: of the features, one column each.
        target: b.
    """
    weights = np.asarray(weights, np.float64)
    norms = np.linalg.norm(weights, axis=0)
    cosine = np.clip((weights / norms).T @ (weights / norms), -1, 1)
    angle = np.arccos(cosine)
    kernel = (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
    return np.outer(norms, norms) * kernel, weights.T @ np.asarray(target, np.float64) / 2


def test_error(
    moments: tuple[np.ndarray, np.ndarray], target: Float[np.ndarray, " directions"], coefficients: np.ndarray
) -> float:
    """The mean of (f - b.x)^2 over all inputs.

    Args:
        moments: of the features (``error_moments``), or of more, of which the first are used.
        target: b.
        coefficients: a.
    """
    kernel, cross = moments
    n = len(coefficients)
    square = np.asarray(target, np.float64) @ np.asarray(target, np.float64)
    return float(coefficients @ kernel[:n, :n] @ coefficients - 2 * coefficients @ cross[:n] + square)
