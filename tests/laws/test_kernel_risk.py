"""The exact risk of kernel regression: a closed form, drawn samples, and the slopes of the theory."""

import numpy as np
import pytest

from lrstudy.laws import LawError, kernel_risk


def test_one_direction_has_a_closed_form():
    # m <- ((1 - eta)^2 + 2 eta^2) m + eta^2 sigma^2, from m = 1 and with an eigenvalue of 1.
    eta, sigma, steps = 0.1, 0.5, 50
    factor = (1 - eta) ** 2 + 2 * eta**2
    settled = eta**2 * sigma**2 / (1 - factor)
    moments = settled + (1 - settled) * factor ** np.arange(1, steps + 1)
    found = kernel_risk(np.full(steps, eta), steps, source=1.0, capacity=2.0, directions=1, noise=sigma)
    np.testing.assert_allclose(found, moments / 2, rtol=1e-12)


def test_it_is_the_mean_of_runs_on_drawn_samples():
    rng = np.random.default_rng(0)
    runs, steps, directions, rate, batch = 4_000, 40, 3, 0.2, 2
    spectrum = np.arange(1, directions + 1.0) ** -1.5
    target = np.sqrt(spectrum ** (0.8 - 1) / np.arange(1, directions + 1))
    error = np.tile(-target, (runs, 1))
    for _ in range(steps):
        x = rng.standard_normal((runs, batch, directions)) * np.sqrt(spectrum)
        missed = np.einsum("rbd,rd->rb", x, error) - 0.3 * rng.standard_normal((runs, batch))
        error = error - rate * np.einsum("rb,rbd->rd", missed, x) / batch
    risks = (error**2 @ spectrum) / 2
    exact = kernel_risk(
        np.full(steps, rate), steps, source=0.8, capacity=1.5, directions=directions, noise=0.3, batch_size=batch
    )[-1]
    assert abs(risks.mean() - exact) < 4 * risks.std() / np.sqrt(runs)


def test_a_tuned_constant_rate_falls_as_the_theory_says():
    """D^(-s / (s + 1)), published within .05; decay to nothing falls faster."""
    source, capacity = 0.5, 4.0

    def best(steps, decays):
        shape = steps ** -np.clip((np.arange(steps) / steps - 0.2) / 0.8, 0, 1) if decays else np.ones(steps)
        rates = np.geomspace(0.01, 1, 13)
        return min(kernel_risk(r * shape, steps, source=source, capacity=capacity, directions=32)[-1] for r in rates)

    slopes = [np.log(best(4_000, d) / best(500, d)) / np.log(8) for d in (False, True)]
    assert slopes[0] == pytest.approx(-source / (source + 1), abs=0.05)
    assert slopes[1] < slopes[0] - 0.1


def test_divergence_is_infinite_and_bad_arguments_are_named():
    assert np.isinf(kernel_risk(np.full(5_000, 5.0), 5_000, source=1.0, capacity=2.0, directions=4)[-1])
    with pytest.raises(LawError, match=r"capacity must be a finite number above 1, got 0\.5"):
        kernel_risk(np.ones(4), 4, source=1.0, capacity=0.5, directions=4)
    with pytest.raises(LawError, match="directions must be a positive int, got 0"):
        kernel_risk(np.ones(4), 4, source=1.0, capacity=2.0, directions=0)
