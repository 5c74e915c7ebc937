import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.laws.extrapolation import Extrapolator, LearningCurvePrior, Recipe, train
from lrstudy.laws.extrapolation.training import begin, borders_of, chunks, draw_batch
from lrstudy.study.extrapolator import last_value_log_densities

TINY = Recipe(curves=3_200, batch=16, queries=8, peak=1e-2, bars=50, width=16, layers=1, heads=1, components=2)


@pytest.fixture(scope="module")
def trained():
    told = []
    params, borders = train(jax.random.key(0), TINY, lambda step, loss: told.append((step, loss)))
    return Extrapolator(params, jnp.asarray(borders), TINY), told


def test_a_tiny_network_beats_the_last_value(trained):
    """Paired over fresh curves: the mean advantage is beyond four standard errors at every cut-off."""
    fresh = LearningCurvePrior().sample(jax.random.key(100), 1600)
    for cutoff in (10, 20, 40, 80):
        last = last_value_log_densities(np.asarray(fresh), cutoff)
        gain = (trained[0].log_densities(fresh, cutoff) - last).mean(1)
        assert gain.mean() > 4 * gain.std() / len(gain) ** 0.5, cutoff


def test_progress_is_told(trained):
    steps, losses = zip(*trained[1], strict=True)
    assert steps == tuple(range(25, 201, 25))
    assert losses[-1] < losses[0]


def test_a_prediction_is_the_batchs(trained):
    extrapolator, _ = trained
    fresh = np.asarray(LearningCurvePrior().sample(jax.random.key(3), 3))
    bars = extrapolator.predict(fresh[1, :20])
    # The same float32 sums in programs of other shapes.
    np.testing.assert_allclose(
        bars.log_density(jnp.asarray(fresh[1, 20:])), extrapolator.log_densities(fresh, 20)[1], atol=1e-3
    )
    assert bars.mean().shape == (80,)


def test_bytes_and_back(trained):
    extrapolator, _ = trained
    again = Extrapolator.from_bytes(extrapolator.to_bytes())
    assert again.recipe == TINY
    prefix = np.linspace(0.2, 0.4, 15)
    np.testing.assert_array_equal(again.predict(prefix).logits, extrapolator.predict(prefix).logits)


def test_other_bytes_are_refused(trained):
    other = dataclasses.replace(trained[0], recipe=dataclasses.replace(TINY, width=32))
    for data in (other.to_bytes(), b"\x80", b""):
        with pytest.raises(ValueError, match="data must be an extrapolator's bytes"):
            Extrapolator.from_bytes(data)


@pytest.mark.parametrize("prefix", [np.zeros(0), np.zeros(100), np.array([0.1, np.inf])])
def test_a_bad_prefix_is_refused(trained, prefix):
    with pytest.raises(ValueError, match="prefix must be 1 to 99 finite values"):
        trained[0].predict(prefix)


def test_training_goes_on_bit_for_bit():
    key = jax.random.key(7)
    borders = jnp.asarray(borders_of(key, TINY.bars))
    whole = [
        jax.tree.map(np.array, state) for state, _ in itertools.islice(chunks(key, TINY, borders, begin(key, TINY)), 2)
    ]
    assert [int(state.step) for state in whole] == [25, 50]
    again, _ = next(chunks(key, TINY, borders, jax.tree.map(jnp.asarray, whole[0])))
    jax.tree.map(np.testing.assert_array_equal, again, whole[1])


def test_batches_hold_every_cutoff_and_a_later_time():
    values, cutoffs, times = draw_batch(jax.random.key(0), Recipe(batch=64, queries=200))
    assert values.shape == (64, 100)
    assert set(np.unique(cutoffs)) == set(range(1, 100))
    assert (times > cutoffs).all()
    assert int(times.max()) == 100
    # Uniform in 1, ..., 99: mean 50, variance (99^2 - 1) / 12.
    assert abs(float(cutoffs.mean()) - 50) < 4 * (9800 / 12 / cutoffs.size) ** 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"curves": 0}, "curves must be an int of at least 1, got 0"),
        ({"bars": 2}, "bars must be an int of at least 3, got 2"),
        ({"peak": 0.0}, r"peak must be a finite number above 0, got 0\.0"),
        ({"heads": 3}, r"heads must divide width \(64\), got 3"),
    ],
)
def test_a_bad_recipe_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**change)
