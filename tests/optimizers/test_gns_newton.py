"""Newton's method with gradient-normalised smoothness against a published run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.optimizers import gns_newton

FEATURES = np.asarray([[1, 2], [-1, 1], [0.5, -1], [2, 0.3]])
LABELS = np.asarray([1, -1, 1, -1])
VALUES = [5.876879282, 4.824794513, 3.135000044, 1.169102725, 0.709464737, 0.686886991, 0.686883997]


def logistic(x):
    return jnp.mean(jnp.logaddexp(0, -LABELS * (FEATURES @ x))) + 0.05 * x @ x


def test_it_takes_the_published_steps_and_doubles_gamma():
    with jax.enable_x64(True):
        x, gamma = jnp.asarray([5.0, -5.0]), jnp.asarray(1.0)
        step = jax.jit(gns_newton(logistic, jax.hessian(logistic)))
        values, gammas, places = [float(logistic(x))], [1.0], [x]
        for _ in range(7):
            x, gamma, value = step(x, gamma)
            values.append(float(value))
            gammas.append(float(gamma))
            places.append(x)
        slope = np.linalg.norm(jax.grad(logistic)(x))
    np.testing.assert_allclose(values[:7], VALUES, rtol=0, atol=5.1e-10)
    np.testing.assert_array_equal(gammas[:7], 2.0 ** np.arange(7))
    np.testing.assert_allclose(places[4], [-0.162860002, -0.015493273], rtol=0, atol=5.1e-10)
    # Printed as 4.99e-14, which is made of some hundred roundings of 1e-16.
    assert slope < 1e-13


def cubic(x):
    return jnp.sum(x**4) / 4


def test_a_search_that_fails_stays_unless_it_is_told_to_keep_its_last_trial():
    """A Hessian of the wrong sign points uphill, however small the step."""

    def wrong(x):
        return -1e10 * jnp.eye(2)

    with jax.enable_x64(True):
        x = jnp.asarray([1.0, 2.0])
        stayed, kept = (jax.jit(gns_newton(cubic, wrong, keep_failed=keep))(x, 1.0) for keep in (False, True))
        np.testing.assert_array_equal(stayed[0], x)
        assert stayed[2] == cubic(x) < kept[2] == cubic(kept[0])
        assert stayed[1] == kept[1] == 2.0**-40


def test_a_vector_stands_for_its_outer_product_in_any_metric():
    vector, metric = np.asarray([0.5, -1.0]), np.asarray([[2.0, 0.5], [0.5, 1.0]])
    with jax.enable_x64(True):
        x = jnp.asarray([1.0, 2.0])
        for given in (None, jnp.asarray(metric)):
            whole = gns_newton(cubic, lambda x: jnp.outer(vector, vector), metric=given)(x, 0.5)
            rank_one = gns_newton(cubic, lambda x: jnp.asarray(vector), metric=given)(x, 0.5)
            for one, other in zip(whole, rank_one, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-12)
            b, g = np.eye(2) if given is None else metric, np.asarray(x) ** 3
            lam = np.sqrt(g @ np.linalg.solve(b, g)) / (0.5 + 1e-8)
            place = np.asarray(x) - np.linalg.solve(np.outer(vector, vector) + lam * b, g)
            # The first trial is accepted.
            np.testing.assert_allclose(whole[0], place, rtol=1e-12)
            assert whole[1] == 1


def test_at_a_minimum_it_stays():
    x, gamma, value = gns_newton(cubic, jax.hessian(cubic))(jnp.zeros(2), 1.0)
    assert (value, gamma) == (0, 2)
    np.testing.assert_array_equal(x, [0, 0])


def test_bad_arguments():
    step = gns_newton(cubic, jax.hessian(cubic))
    with pytest.raises(ValueError, match=r"^x must be a vector, got the shape \(1, 2\)$"):
        step(jnp.zeros((1, 2)), 1.0)
    with pytest.raises(ValueError, match=r"^gamma must be a positive number, got 0.0$"):
        step(jnp.zeros(2), 0.0)
