"""The sample of features and noise, by its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.tasks import FeatureNoise
from lrstudy.tasks.feature_noise import outputs

TASK = FeatureNoise(samples=400, directions=6, batch_size=400)


def test_patches_hold_the_features_and_the_noise_lies_beside_them():
    patches, labels = (np.asarray(x) for x in TASK._training(jnp.arange(400)))
    assert set(labels) == {-1.0, 1.0}
    np.testing.assert_allclose(patches[:, 0, 0], 0.3 * labels, rtol=1e-6)
    assert not patches[:, 0, 1:].any()
    strong = patches[:, 1, 1] != 0
    np.testing.assert_allclose(patches[strong, 1, 1], labels[strong], rtol=1e-6)
    assert not patches[strong, 1, 2:].any()
    # A share of 0.7 of 400: its standard deviation is 0.023.
    assert abs(strong.mean() - 0.7) < 4 * 0.023
    noise = np.concatenate([patches[:, 2, 2:].ravel(), patches[~strong, 1, 2:].ravel()])
    assert not patches[:, 2, :2].any()
    assert noise.std() == pytest.approx(0.15, rel=4 / np.sqrt(2 * len(noise)))


def test_an_example_is_the_same_in_every_batch():
    batch, labels = TASK.batch((), jnp.int32(3), jnp.int32(5))
    whole, known = (np.asarray(x) for x in TASK._training(jnp.arange(400)))
    places = [int(np.flatnonzero((whole == one).all(axis=(1, 2)))[0]) for one in np.asarray(batch)[:20]]
    assert np.asarray(labels)[:20].tolist() == known[places].tolist()


def test_outputs_are_means_of_squared_responses_of_either_sign():
    filters = jnp.asarray([[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], [[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    patches = jnp.asarray([[[3.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.5, 2.0]]])
    # First sign: 3^2 from the weak patch, (2 * 0.5)^2 from the last; second: relu(-3) and 2^2; means over two filters.
    assert outputs({"filters": filters}, patches).tolist() == [(9 + 1) / 2 - 4 / 2]


def test_an_evaluation_counts_errors_of_the_weak_feature_alone():
    """Filters along it, of either sign, tell every test label; along the strong one none, and training ones mostly."""
    weak = jnp.zeros((2, 10, 6)).at[0, :, 0].set(1.0).at[1, :, 0].set(-1.0)
    strong = jnp.zeros((2, 10, 6)).at[0, :, 1].set(1.0).at[1, :, 1].set(-1.0)
    assert TASK.evaluate({"filters": weak}, ())["test_error"] == 0
    found = jax.device_get(TASK.evaluate({"filters": strong}, ()))
    # Without the feature both outputs are zero, which counts as an error.
    assert found["test_error"] == 1
    assert 0.2 < found["sample_error"] < 0.4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, r"task\.samples must be an int of at least 1, got 0"),
        ({"directions": 2}, r"task\.directions must be an int of at least 3, got 2"),
        ({"noise": 0.0}, r"task\.noise must be a finite positive number, got 0.0"),
        ({"share": 1.5}, r"task\.share must be in \[0, 1\], got 1.5"),
        ({"data_seed": -1}, r"task\.data_seed must be an int of at least 0, got -1"),
    ],
)
def test_a_bad_field_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        FeatureNoise(**changes)
