"""Which of several runs are given up: chances against closed forms, and the bound against what happens."""

import math
from typing import NamedTuple

import jax
import numpy as np
import pytest
from scipy.stats import norm

from lrstudy.laws.extrapolation import LENGTH, Bars, ImportanceSampler
from lrstudy.laws.extrapolation.racing import (
    _LEVELS,
    PredictiveStop,
    chances_of_best,
    ending,
    least_likely,
    observed_points,
    replay,
)

CELL = float(_LEVELS[1] - _LEVELS[0])


class Normal(NamedTuple):
    """Normal densities of the points to come."""

    means: jax.Array
    sigma: float

    def cdf(self, y):
        return jax.scipy.stats.norm.cdf(y, self.means, self.sigma)

    def point(self, place):
        return Normal(self.means[place : place + 1], self.sigma)


class Stays:
    """Predicts that a curve stays where it is, give or take."""

    def __init__(self, sigma):
        self.sigma = sigma

    def predict(self, prefix):
        return Normal(jax.numpy.full(LENGTH - len(prefix), prefix[-1]), self.sigma)


def endings(means, sigma):
    return norm.cdf(_LEVELS, np.asarray(means)[:, None], sigma)


def test_of_two_normal_endings_the_chance_is_that_of_their_difference():
    """Pr(a > b) = Phi((m_a - m_b) / (sigma sqrt 2)); a cell is a hundredth of sigma, whose square is the error."""
    found = chances_of_best(endings([0.5, 0.45], 0.05))
    expected = norm.cdf(0.05 / (0.05 * math.sqrt(2)))
    np.testing.assert_allclose(found, [expected, 1 - expected], atol=(CELL / 0.05) ** 2)


def test_alike_runs_have_equal_chances_that_add_up_to_one():
    np.testing.assert_allclose(chances_of_best(endings([0.4] * 7, 0.1)), 1 / 7, atol=(CELL / 0.1) ** 2)


def test_many_unlike_runs_beside_simulation():
    rng, means, sigma = np.random.default_rng(0), np.array([0.3, 0.5, 0.52, 0.6, 0.45]), 0.08
    draws = 200_000
    drawn = np.bincount((means + sigma * rng.standard_normal((draws, 5))).argmax(1), minlength=5) / draws
    # Four standard errors of a share.
    np.testing.assert_allclose(chances_of_best(endings(means, sigma)), drawn, atol=4 * 0.5 / math.sqrt(draws))


def test_what_lies_beyond_the_levels_is_not_lost():
    np.testing.assert_allclose(chances_of_best(endings([-3.0, 0.5], 0.1)), [0, 1], atol=1e-12)
    np.testing.assert_allclose(chances_of_best(endings([9.0, 0.5], 0.1)), [1, 0], atol=1e-12)


def test_only_rivals_count():
    """The second run is measured by the first alone, the first by nobody, the third by both."""
    rivals = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0]], bool)
    found = chances_of_best(endings([0.5, 0.6, 0.9], 0.1), rivals)
    np.testing.assert_allclose(found[:2], [1, norm.cdf(0.1 / (0.1 * math.sqrt(2)))], atol=(CELL / 0.1) ** 2)
    np.testing.assert_allclose(found[2], chances_of_best(endings([0.5, 0.6, 0.9], 0.1))[2], rtol=1e-12)


def test_as_many_are_given_up_as_the_bound_allows():
    chances = np.array([0.02, 0.5, 0.01, 0.44, 0.03])
    assert least_likely(chances, 0.031).tolist() == [True, False, True, False, False]
    assert least_likely(chances, 0.0).sum() == 0
    assert least_likely(chances, 0.061).sum() == 3


def test_the_best_is_stopped_no_more_often_than_the_risk():
    """Endings drawn from the very forecasts; four standard errors of a share above the risk."""
    rng, sigma, races, runs = np.random.default_rng(1), 0.1, 2_000, 6
    lost = 0
    for _ in range(races):
        means = rng.uniform(0.3, 0.7, runs)
        stopped = least_likely(chances_of_best(endings(means, sigma)), 0.05)
        lost += stopped[np.argmax(means + sigma * rng.standard_normal(runs))]
    assert lost / races <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / races)
    assert lost > 0


def test_forecasts_of_the_network_and_of_the_sampler_have_endings():
    borders = jax.numpy.linspace(0.0, 1.0, 11)
    bars = Bars(borders, jax.numpy.zeros((3, 10)).at[1, 5].set(100.0))
    found = ending(bars, 2)
    np.testing.assert_allclose(np.interp([0.5, 0.55, 0.6], _LEVELS, found), [0, 0.5, 1], atol=1e-3)
    mixture = ImportanceSampler(jax.numpy.full((40, LENGTH), 0.5), jax.numpy.full(40, 0.1)).predict(np.full(10, 0.5))
    np.testing.assert_allclose(ending(mixture, 90), norm.cdf(_LEVELS, 0.5, 0.1), atol=1e-5)


def test_losses_that_stay_behind_are_given_up_and_ties_are_not():
    losses = np.array([[4.0, 2.0], [4.0, 1.0], [4.0, 1.0], [4.0, np.nan]])
    stopped = PredictiveStop().gives_up(Stays(0.02), losses, observed=1, points=10)
    assert stopped.tolist() == [True, False, False, True]
    none = np.zeros((4, 4), bool)
    assert not PredictiveStop().gives_up(Stays(0.02), losses, observed=1, points=10, rivals=none).any()


@pytest.mark.parametrize("first", [0.0, -1.0, math.inf, math.nan])
def test_without_a_scale_nothing_is_stopped(first):
    losses = np.array([[first, 2.0], [first, 1.0]])
    assert not PredictiveStop().gives_up(Stays(0.01), losses, observed=1, points=10).any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"risk": 0.0}, r"early_stop.risk must be in \(0, 1\), got 0.0"),
        ({"risk": math.nan}, r"early_stop.risk must be in \(0, 1\), got nan"),
        ({"best": math.inf}, "early_stop.best must be finite, got inf"),
        ({"worst": -1.0}, r"early_stop.worst must be above early_stop.best \(0.0\), got -1.0"),
        ({"logarithmic": True}, "early_stop.best must be above 0 on a logarithmic scale, got 0.0"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        PredictiveStop(**fields)


def test_decisions_come_after_a_tenth_a_fifth_two_and_four_fifths():
    assert observed_points(100) == (10, 20, 40, 80)
    assert observed_points(10) == (1, 2, 4, 8)


def test_a_replay_trains_what_is_stopped_no_further():
    """One run leads from the start; another overtakes it after the last decision, which no forecast here foresees."""
    leads, late, behind = np.full(11, 1.0), np.full(11, 2.0), np.full(11, 3.0)
    late[-1] = 0.5
    losses = np.stack([leads, late, behind])
    losses[:, 0] = 4.0
    found = replay(PredictiveStop(), Stays(0.02), losses)
    assert (found.trained.tolist(), found.best_stopped, found.regret) == ([10, 1, 1], True, 0.5)
    free = replay(PredictiveStop(), Stays(0.02), losses, lambda observed: np.zeros((3, 3), bool))
    assert (free.trained.tolist(), free.best_stopped, free.regret) == ([10, 10, 10], False, 0.0)
    # What diverges is no run to be stopped, and wins nothing.
    gone = np.concatenate([losses, np.where(np.arange(11) < 1, 4.0, np.nan)[None]])
    assert replay(PredictiveStop(), Stays(0.02), gone).trained.tolist() == [10, 1, 1, 10]
    with pytest.raises(ValueError, match="at most 100 points after the first, got 101"):
        replay(PredictiveStop(), Stays(0.02), np.ones((2, 102)))
