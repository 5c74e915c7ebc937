import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from lrstudy.laws.extrapolation import Extrapolator, Recipe, train
from lrstudy.laws.extrapolation.bars import bar_of
from lrstudy.laws.extrapolation.stopping import should_stop
from lrstudy.laws.extrapolation.training import draw_batch
from tests.experiments.slow import takes_minutes
from tests.laws.extrapolation.tiny import TINY, curves


@pytest.fixture(scope="module")
def trained():
    told = []
    params, borders = train(jax.random.key(0), TINY, lambda step, loss: told.append((step, loss)))
    return Extrapolator(params, jnp.asarray(borders), TINY), told


def test_a_tiny_network_learns_to_read_the_context(trained):
    """Fresh curves, paired: it beats the best density that knows the time but not the context, by four errors.

    That density is the mean over the curves themselves of what lies in each bar at each time, which flatters it.
    """
    fresh = curves(100, 300)
    extrapolator, _ = trained
    bars, widths = np.asarray(bar_of(extrapolator.borders, fresh)), np.diff(extrapolator.borders)
    inside = (bars > 0) & (bars < TINY.bars - 1)
    for cutoff in (10, 20, 40, 80):
        shares = np.stack([np.bincount(bars[:, t], minlength=TINY.bars) for t in range(cutoff, 100)]) / len(fresh)
        rest, known = bars[:, cutoff:], inside[:, cutoff:]
        blind = np.log(shares[np.arange(100 - cutoff), rest] / widths[rest])
        # Tails have no one height; they are left out of both.
        gain = np.where(known, extrapolator.log_densities(fresh, cutoff) - blind, 0).mean(1)
        assert gain.mean() > 4 * gain.std() / len(gain) ** 0.5, cutoff


@takes_minutes
def test_a_small_network_beats_the_last_value():
    """Paired with a normal density around the last value, whose width at every time is the best for these very curves.

    Fresh curves, four standard errors at every cut-off. A width of each curve's own is a better guess where little is
    left; a network of the default size beats that too, as the command's table shows.
    """
    recipe = dataclasses.replace(TINY, curves=20_000, batch=32, bars=50, width=32, layers=2)
    params, borders = train(jax.random.key(0), recipe)
    extrapolator, fresh = Extrapolator(params, jnp.asarray(borders), recipe), curves(100, 600)
    for cutoff in (10, 20, 40, 80):
        distance = fresh[:, cutoff:] - fresh[:, cutoff - 1 : cutoff]
        last = norm.logpdf(distance, scale=np.sqrt((distance**2).mean(0)))
        gain = (extrapolator.log_densities(fresh, cutoff) - last).mean(1)
        assert gain.mean() > 4 * gain.std() / len(gain) ** 0.5, cutoff


def test_progress_is_told(trained):
    steps, losses = zip(*trained[1], strict=True)
    assert steps == (25, 50)
    assert losses[-1] < losses[0]


def test_a_prediction_is_the_batchs(trained):
    extrapolator, _ = trained
    fresh = curves(3, 3)
    bars = extrapolator.predict(fresh[1, :20])
    # The same float32 sums in programs of other shapes.
    np.testing.assert_allclose(
        bars.log_density(jnp.asarray(fresh[1, 20:])), extrapolator.log_densities(fresh, 20)[1], atol=1e-3
    )
    assert bars.mean().shape == (80,)


def test_a_network_says_when_to_stop(trained):
    """Nobody beats 3, far beyond what curves can reach, and everybody beats what is far below."""
    prefix = curves(3, 1)[0, :30]
    assert should_stop(trained[0], prefix, 3.0)
    assert not should_stop(trained[0], prefix, -2.0)


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


def test_batches_hold_every_cutoff_and_a_later_time():
    values, cutoffs, times = draw_batch(jax.random.key(0), Recipe(batch=600, queries=32))
    assert values.shape == (600, 100)
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
