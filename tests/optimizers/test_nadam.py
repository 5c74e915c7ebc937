"""AlgoPerf's NAdamW beside optax's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrstudy.optimizers import nadam_algoperf
from tests.optimizers.promises import check_promises, run

START, GRADS = [3.0, 4.0], ([0.6, 0.0], [-0.1, 0.2])


def positions(transform):
    with jax.enable_x64(True):
        return [np.asarray(p) for p, _ in run(transform, jnp.asarray(START), [jnp.asarray(g) for g in GRADS])]


def test_the_two_rules():
    """Rate 0.1, no decay, in float64."""
    ours = positions(optax.chain(nadam_algoperf(), optax.scale_by_learning_rate(0.1)))
    np.testing.assert_allclose(ours, [[2.8100000032, 4.0], [2.7737711142, 3.8586140135]], rtol=0, atol=1e-10)
    theirs = positions(optax.nadamw(0.1, weight_decay=0.0))
    # The second was worked out as 2.8308895509213 in float64; what was printed of it ends in 06.
    np.testing.assert_allclose(theirs, [[2.8526315814, 4.0], [2.8308895506, 3.8786315672]], rtol=0, atol=4e-10)


def test_without_correction_moments_are_as_they_are():
    b1, b2, eps, root = 0.5, 0.75, 0.125, 0.25
    found = positions(optax.chain(nadam_algoperf(b1, b2, eps, root, debias=False), optax.scale(-1.0)))
    mean = square = np.zeros(2)
    place = np.asarray(START)
    for gradient, moved in zip(map(np.asarray, GRADS), found, strict=True):
        mean, square = b1 * mean + (1 - b1) * gradient, b2 * square + (1 - b2) * gradient**2
        place = place - (b1 * mean + (1 - b1) * gradient) / (np.sqrt(square + root) + eps)
        np.testing.assert_allclose(moved, place, rtol=1e-14)


def test_promises():
    check_promises(nadam_algoperf, {"b1": 0.9, "b2": 0.99, "eps": 1e-8, "eps_root": 1e-8})
