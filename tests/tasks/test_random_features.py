import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.tasks import RandomFeatures
from lrstudy.tasks.random_features import exact_error


def test_the_test_error_is_the_mean_over_inputs():
    rng = np.random.default_rng(0)
    weights, target, coefficients = rng.normal(size=(3, 5)), rng.normal(size=3), rng.normal(size=5)
    inputs = rng.normal(size=(400_000, 3))
    squares = np.square(np.maximum(inputs @ weights, 0) @ coefficients - inputs @ target)
    error = squares.std() / np.sqrt(len(squares))
    found = exact_error(*(jnp.asarray(x, jnp.float32) for x in (weights, target, coefficients)))
    assert abs(float(found) - squares.mean()) < 5 * error


def test_one_feature_along_the_target():
    # relu(x) - x is the negative half: its mean square is 1/2.
    one = exact_error(jnp.ones((1, 1)), jnp.ones(1), jnp.ones(1))
    # Sums and differences of a few numbers of size 1 in float32.
    assert float(one) == pytest.approx(0.5, abs=1e-6)


def test_fewer_features_are_the_first_of_more():
    few, more = (RandomFeatures(features=n, most=8, data_seed=3).sample() for n in (3, 8))
    np.testing.assert_array_equal(few.labels, more.labels)
    np.testing.assert_array_equal(few.features[:, :3], more.features[:, :3])
    assert not few.features[:, 3:].any()
    assert np.linalg.norm(few.target) == pytest.approx(1, rel=1e-6)


def test_the_largest_singular_value_of_a_batch_is_one():
    task = RandomFeatures(features=30, samples=20, directions=5, most=40)
    features, labels = jax.jit(task.batch)((), jnp.int32(0), jnp.int32(0))
    # An eigenvalue of a Gram matrix of 20 samples, in float32.
    assert np.linalg.norm(features, 2) == pytest.approx(1, rel=1e-5)
    sample = task.sample()
    ratio = np.asarray(sample.labels) / np.asarray(labels)
    np.testing.assert_allclose(ratio, np.linalg.norm(sample.features, 2), rtol=1e-5)


@pytest.mark.parametrize("arguments", [{"features": 1001}, {"features": 0}, {"noise": -1.0}, {"samples": 0}])
def test_fields_are_checked(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"task.{name} must be"):
        RandomFeatures(**arguments)
