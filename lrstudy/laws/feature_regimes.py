"""The four regimes of scaling of least squares on random features of a linear teacher (Bahri et al., arXiv 2102.06701).

Inputs are normal with independent coordinates of variance lambda_i, the teacher's weights have mean zero and unit
variance in each, so the error of a student, averaged over teachers, is |S (1 - R)|^2 / tr(S^2), S^2 = diag(lambda), R
being the matrix that takes the teacher's weights to the student's. The student fits D samples X = Z S by the least
coefficients of P features F: R = F (X F)^+ X.

Too few samples or too few features limit the error alike: with G = S F and H = X^T, exchanging the samples' Z^T and F
transposes S R S^-1 and leaves the error as it is. So the error of (D, P) has the distribution of that of (P, D), and a
regime of D is one of P. With one of them without limit it is the share of the variance outside the span of so many
random directions S z. For lambda_i = i^-(1 + a) that falls as the a-th power (resolution-limited); at a finite value
of the one, the error approaches its limit in the other like one over it (variance-limited).
"""

import numpy as np
from jaxtyping import Float


def power_spectrum(directions: int, exponent: float) -> Float[np.ndarray, " directions"]:
    """lambda_i = i^-(1 + exponent)."""
    return np.arange(1, directions + 1, dtype=np.float64) ** -(1 + exponent)


def limited(spectrum: Float[np.ndarray, " directions"], draws: Float[np.ndarray, "directions count"]) -> float:
    """The error where samples or features alone are limited: the share of variance outside the span of S z.

    Args:
        spectrum: lambda.
        draws: z of every sample or feature, one column each; fewer than directions.
    """
    root = np.sqrt(spectrum)[:, None]
    basis = np.linalg.qr(root * draws)[0]
    return float(1 - np.sum((root * basis) ** 2) / np.sum(spectrum))


def both_limited(
    spectrum: Float[np.ndarray, " directions"],
    samples: Float[np.ndarray, "directions samples"],
    features: Float[np.ndarray, "directions features"],
) -> float:
    """The error of the least coefficients that fit the samples best.

    Args:
        spectrum: lambda.
        samples: Z^T, of unit variance.
        features: F, of unit variance.
    """
    root = np.sqrt(spectrum)[:, None]
    inputs, seen = root * samples, root * features
    inverse = np.linalg.pinv(inputs.T @ features)
    # |S - G A H^T|^2 with A the inverse, without forming a square matrix of directions.
    cross = np.sum(inverse * (inputs.T @ (root * seen)).T)
    square = np.sum((seen.T @ seen @ inverse) * (inverse @ (inputs.T @ inputs)))
    return float(1 + (square - 2 * cross) / np.sum(spectrum))


def slope(sizes: np.ndarray, errors: np.ndarray) -> float:
    """The exponent with which errors fall: minus the least-squares slope in logarithms."""
    return -float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])
