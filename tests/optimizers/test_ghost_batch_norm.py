"""Ghosts of a batch, both orders of their running statistics, and the regime of a larger batch."""

import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.optimizers import adapted_regime, ghost_normalised, running_statistics


def test_every_ghost_has_its_own_statistics():
    batch = np.random.default_rng(0).normal(loc=3, scale=2, size=(6, 4, 5)).astype(np.float32)
    found = ghost_normalised(jnp.asarray(batch), 2)
    ghosts = batch.reshape(3, 8, 5).astype(np.float64)
    np.testing.assert_allclose(found.mean, ghosts.mean(axis=1), rtol=1e-6)
    # Squares of differences of numbers of size five, in float32.
    np.testing.assert_allclose(found.variance, ghosts.var(axis=1), rtol=3e-6)
    expected = (ghosts - ghosts.mean(axis=1, keepdims=True)) / np.sqrt(ghosts.var(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found.outputs, expected.reshape(batch.shape), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("order", "expected"), [("formula", 0.56), ("sequential", 0.58)])
def test_the_order_of_the_ghosts_matters(order, expected):
    """Of 1, 3 and 2, 6, by a tenth from zero: the means are 2 and 4."""
    means = ghost_normalised(jnp.float32([[1], [3], [2], [6]]), 2).mean
    np.testing.assert_allclose(running_statistics(jnp.zeros(1), means, momentum=0.1, order=order), expected, rtol=1e-6)
    # What all ghosts agree on stays.
    same = running_statistics(jnp.full(2, 3.0), jnp.full((4, 2), 3.0), momentum=0.2, order=order)
    np.testing.assert_allclose(same, 3, rtol=1e-6)


def test_a_larger_batch_keeps_its_number_of_updates():
    regime = adapted_regime(0.1, 80, batch=2048, reference_batch=128)
    assert regime == (0.4, 1280)
    # 50000 examples: as many updates as before.
    assert regime.epochs * 50_000 / 2048 == 80 * 50_000 / 128


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"^ghost_size must be a divisor of the batch \(6\), got 4$"):
        ghost_normalised(jnp.zeros((6, 2)), 4)
    with pytest.raises(ValueError, match=r"^order must be one of \['formula', 'sequential'\], got 'random'$"):
        running_statistics(jnp.zeros(1), jnp.zeros((2, 1)), order="random")
    with pytest.raises(ValueError, match=r"^batch must be a finite positive number, got 0$"):
        adapted_regime(0.1, 1, batch=0, reference_batch=1)
