"""MoMo and MoMo-Adam against their algorithms in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optimizers.following import followed, valley

START = [1.0, -2.0]
STEPS = 6


def height(x):
    """(x1^2 + 3 x2^2) / 2 + 1/4, whose minimum is not the bound of zero."""
    return 0.5 * (x[0] ** 2 + 3 * x[1] ** 2) + 0.25


def momo(alpha, beta, bound):
    x = np.asarray(START)
    mean = line = along = 0.0
    places, rates = [], []
    for step in range(STEPS):
        g, f, keep = np.asarray([1.0, 3.0]) * x, height(x), beta if step else 0.0
        mean, line = keep * mean + (1 - keep) * g, keep * line + (1 - keep) * f
        along = keep * along + (1 - keep) * (g @ x)
        rate = min(alpha, max(line - bound - along + mean @ x, 0) / (mean @ mean))
        x = x - rate * mean
        places.append(x)
        rates.append(rate)
    return np.asarray(places), np.asarray(rates)


def momo_adam(alpha, b1, b2, eps, bound):
    x, mean, square, line, along = np.asarray(START), np.zeros(2), np.zeros(2), 0.0, 0.0
    places, rates = [], []
    for t in range(1, STEPS + 1):
        g, f = np.asarray([1.0, 3.0]) * x, height(x)
        mean, square = b1 * mean + (1 - b1) * g, b2 * square + (1 - b2) * g * g
        line, along = b1 * line + (1 - b1) * f, b1 * along + (1 - b1) * (g @ x)
        metric = eps + np.sqrt(square / (1 - b2**t))
        first = 1 - b1**t
        rate = min(alpha / first, max(line - first * bound - along + mean @ x, 0) / (mean @ (mean / metric)))
        x = x - rate * mean / metric
        places.append(x)
        # Of the corrected mean, as Adam's.
        rates.append(rate * first)
    return np.asarray(places), np.asarray(rates)


@pytest.mark.parametrize("name", ["momo", "momo_adam"])
@pytest.mark.parametrize("alpha", [0.3, 10.0])
def test_the_rate_is_polyaks_where_that_is_below_the_schedule(name, alpha):
    numbers = {"beta": 0.8} if name == "momo" else {"b1": 0.8, "b2": 0.9, "eps": 1e-8}
    expected = {"momo": momo, "momo_adam": momo_adam}[name](alpha, **numbers, bound=0.125)
    with jax.enable_x64(True):
        settings = {**numbers, "lower_bound": 0.125, "learning_rate": alpha, "loss": height}
        places, rates = followed(name, jnp.asarray(START), valley, STEPS, **settings)
    np.testing.assert_allclose(places, expected[0], rtol=1e-11)
    # Reported in float32.
    np.testing.assert_allclose(rates, expected[1], rtol=1e-7)
    assert (rates <= alpha * (1 + 1e-6)).all()
    assert (rates < 0.9 * alpha).any()
