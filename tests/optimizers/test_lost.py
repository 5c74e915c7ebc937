"""The arithmetic of LOST's decomposition; nothing of its results is claimed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.optimizers import lost_decomposed, lost_linear

WEIGHTS = np.asarray([[3, 0, 1, 0.5], [0, 2, 0.2, 0], [0, 0, 0.1, 1]])


def test_columns_are_those_that_a_low_rank_misses_most():
    with jax.enable_x64(True):
        parts = lost_decomposed(jnp.asarray(WEIGHTS), rank=1, kept=2)
    residual = np.linalg.norm(WEIGHTS - np.asarray(parts.up) @ np.asarray(parts.down), axis=0)
    np.testing.assert_allclose(residual, [0.216187, 1.998970, 0.171324, 0.965807], rtol=0, atol=5.1e-7)
    np.testing.assert_array_equal(parts.chosen, [1, 3])
    # Their values are the original ones, and both factors have the same norm.
    np.testing.assert_array_equal(parts.columns, WEIGHTS[:, [1, 3]])
    np.testing.assert_allclose(np.linalg.norm(parts.up), np.linalg.norm(parts.down), rtol=1e-12)


def test_both_parts_are_mixed_and_trained():
    parts = lost_decomposed(jnp.float32(WEIGHTS), rank=2, kept=2)
    inputs = jnp.float32([[1, -1, 2, 0.5], [0, 1, 0, 1]])
    sparse = np.zeros((3, 4))
    sparse[:, parts.chosen] = parts.columns
    for between in (None, jnp.tanh):
        found = lost_linear(inputs, parts, gamma=0.75, between=between)
        middle = np.asarray(inputs) @ np.asarray(parts.down).T
        low = (middle if between is None else np.tanh(middle)) @ np.asarray(parts.up).T
        np.testing.assert_allclose(found, 0.75 * low + 0.25 * np.asarray(inputs) @ sparse.T, rtol=0, atol=2e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"^rank must be an int in \[1, 3\], got 4$"):
        lost_decomposed(jnp.zeros((3, 4)), rank=4, kept=1)
    with pytest.raises(ValueError, match=r"^kept must be an int in \[1, 4\], got 0$"):
        lost_decomposed(jnp.zeros((3, 4)), rank=1, kept=0)
