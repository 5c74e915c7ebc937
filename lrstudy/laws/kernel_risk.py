"""Kernel regression by one-pass gradient descent: the exact risk along any schedule."""

import numpy as np

from lrstudy.laws.errors import fail
from lrstudy.laws.rate_path import rates_of


def kernel_risk(
    schedule: object,
    total_steps: int,
    *,
    source: float,
    capacity: float,
    directions: int,
    noise: float = 1.0,
    batch_size: int = 1,
) -> np.ndarray:
    """The expected excess risk ``E |theta - theta*|_H^2 / 2`` after every update, with no sampling.

    The setting of the functional scaling law (Li et al. 2025, arXiv:2509.19189): features with eigenvalues
    ``lambda_j = j^-capacity``, Gaussian and independent, a target with ``theta_j^2 = j^-1 lambda_j^(source - 1)``,
    label noise, and SGD on fresh examples from ``theta = 0``. For such features the second moments of the error close:
    with ``m_j = E (theta_j - theta*_j)^2`` and ``R = sum_j lambda_j m_j``,
    ``m_j <- (1 - eta lambda_j)^2 m_j + eta^2 lambda_j (lambda_j m_j + R + noise^2) / B``. What exceeds ``noise^2 / 2``
    in the risk falls as the law says: at a tuned constant rate as ``D^(-s / (s + 1))``, with decay as ``D^(-s beta /
    (1 + s beta))``.

    Args:
        schedule: a schedule, or the rate of every update.
        total_steps: T.
        source: s, how smooth the target is.
        capacity: beta, above 1.
        directions: M, how many features there are.
        noise: standard deviation of the labels.
        batch_size: B.

    Returns:
        Shape (T,), float64; infinite once it has diverged.

    Raises:
        LawError: for a bad argument.
    """
    for name, value, least in (("source", source, 0), ("capacity", capacity, 1), ("noise", noise, -1)):
        if not np.isfinite(value) or value <= least:
            fail("kernel_risk", name, f"a finite number above {least}", value)
    for name, count in (("total_steps", total_steps), ("directions", directions), ("batch_size", batch_size)):
        if not isinstance(count, int | np.integer) or count < 1:
            fail("kernel_risk", name, "a positive int", count)
    rates = rates_of(schedule, total_steps)
    index = np.arange(1, directions + 1, dtype=np.float64)
    spectrum = index**-capacity
    moments = spectrum ** (source - 1) / index
    risks = np.empty(total_steps)
    with np.errstate(over="ignore", invalid="ignore"):
        for step, rate in enumerate(rates):
            risk = spectrum @ moments
            # Gaussian features: E x x^T m x x^T = 2 H m H + H tr(H m), of which one H m H is the square of the mean.
            drawn = spectrum * (spectrum * moments + risk + noise**2) / batch_size
            moments = (1 - rate * spectrum) ** 2 * moments + rate**2 * drawn
            risks[step] = spectrum @ moments / 2
    return np.where(np.isfinite(risks), risks, np.inf)
