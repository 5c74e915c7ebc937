"""COCOB against its algorithm in float64."""

import jax
import numpy as np

from tests.optimizers.following import followed, valley

START = [1.0, -2.0]
STEPS = 8


def reference(caution):
    """Orabona & Tommasi 2017, algorithm 2."""
    x = start = np.asarray(START)
    largest, total, reward, gone = np.full(2, 1e-8), np.zeros(2), np.zeros(2), np.zeros(2)
    places, rates = [], []
    for _ in range(STEPS):
        g = np.asarray([1.0, 3.0]) * x
        largest = np.maximum(largest, np.abs(g))
        total = total + np.abs(g)
        reward = np.maximum(reward - (x - start) * g, 0)
        gone = gone - g
        before, x = x, start + gone / (largest * np.maximum(total + largest, caution * largest)) * (largest + reward)
        places.append(x)
        rates.append(np.linalg.norm(x - before) / np.linalg.norm(g))
    return np.asarray(places), np.asarray(rates)


def test_bets_are_the_published_ones_whatever_a_constant_rate_is():
    places, rates = reference(caution=10.0)
    with jax.enable_x64(True):
        one = followed("cocob", START, valley, STEPS, caution=10.0)
        other = followed("cocob", START, valley, STEPS, caution=10.0, learning_rate=0.125)
    np.testing.assert_allclose(one[0], places, rtol=1e-12)
    # The rate is reported in float32: the length of a step over that of the gradient.
    np.testing.assert_allclose(one[1], rates, rtol=1e-7)
    # Powers of two do not round, and the first guess of the largest gradient is beaten at once.
    np.testing.assert_allclose(other[0], places, rtol=1e-12)
