import math
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import norm

from lrstudy.laws.extrapolation.stopping import LossScale, backtest, binned, exceedance, should_stop


class Normal(NamedTuple):
    """Normal densities of the points to come."""

    means: np.ndarray
    sigma: float

    def cdf(self, y):
        return norm.cdf(y, self.means, self.sigma)


class Constant:
    """Predicts that a curve stays where it is."""

    def __init__(self, sigma=0.1):
        self.sigma, self.asked = sigma, []

    def predict(self, prefix):
        self.asked.append(len(prefix))
        return Normal(np.full(100 - len(prefix), prefix[-1]), self.sigma)


class Clairvoyant:
    """Knows the finished curves, and so is certain."""

    def __init__(self, curves):
        self.curves = curves

    def predict(self, prefix):
        [curve] = [c for c in self.curves if np.array_equal(c[: len(prefix)], prefix)]
        rest = np.pad(curve[len(prefix) :], (0, 100 - len(curve)), constant_values=curve[-1])
        return Normal(rest, 1e-6)


RISING = np.stack([top * (1 - np.exp(-np.arange(1, 51) / 10)) for top in (0.5, 0.9, 0.3, 0.7)])


def test_the_boundary_is_one_in_twenty():
    """Pr(y > best) = 0.05 where best lies 1.6448536 deviations above the mean."""
    prefix = np.full(10, 0.4)
    for z, stops in ((1.6448, False), (1.6449, True)):
        assert should_stop(Constant(), prefix, 0.4 + 0.1 * z) is stops
    assert should_stop(Constant(), prefix, 0.4, unlikely=0.51)


def test_one_likely_point_is_enough_to_go_on():
    class Late:
        def predict(self, prefix):
            means = np.zeros(90)
            means[29] = 1.0
            return Normal(means, 0.1)

    assert not should_stop(Late(), np.zeros(10), 0.5)
    assert not should_stop(Late(), np.zeros(10), 0.5, horizon=40)
    # Points past the end of the run do not count.
    assert should_stop(Late(), np.zeros(10), 0.5, horizon=39)


def test_many_unlikely_points_are_likely_together():
    """Two deviations below the best each of 90 points has a chance of 2.3 %; four deviations below all have 0.3 %."""
    prefix = np.full(10, 0.4)
    assert should_stop(Constant(), prefix, 0.6)
    assert not should_stop(Constant(), prefix, 0.6, over="any")
    assert should_stop(Constant(), prefix, 0.8, over="any")
    # 2.3 % of two points is 4.6 % together, of three 6.8 %.
    assert should_stop(Constant(), prefix, 0.6, horizon=12, over="any")
    assert not should_stop(Constant(), prefix, 0.6, horizon=13, over="any")
    with pytest.raises(ValueError, match="over must be 'each' or 'any', got 'all'"):
        should_stop(Constant(), prefix, 0.6, over="all")


def test_nothing_to_beat_and_nothing_left():
    assert not should_stop(Constant(), np.zeros(10), -math.inf)
    assert not should_stop(Constant(), np.zeros(10), 9.0, horizon=10)
    with pytest.raises(ValueError, match="horizon must be 1 to 100 points, got 101"):
        should_stop(Constant(), np.zeros(10), 9.0, horizon=101)


def test_exceedance_is_of_the_next_points():
    chances = exceedance(Normal(np.linspace(0, 1, 90), 0.1), 0.5, 20)
    np.testing.assert_allclose(chances, norm.sf(0.5, np.linspace(0, 1, 90)[:20], 0.1), atol=1e-12)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_losses_there_and_back(logarithmic):
    scale = LossScale(0.5, 4.0, logarithmic)
    losses = np.array([4.0, 3.0, 1.1, 0.5])
    curve = scale.to_curve(losses)
    assert (np.diff(curve) > 0).all()
    np.testing.assert_allclose(curve[[0, -1]], [0, 1], atol=1e-15)
    np.testing.assert_allclose(scale.to_losses(curve), losses, rtol=1e-14)
    np.testing.assert_array_equal(scale.to_curve(np.array([9.0, np.nan, np.inf, 0.1])), [0, 0, 0, 1])


def test_a_logarithmic_scale_makes_equal_ratios_equal_steps():
    curve = LossScale(0.25, 4.0, logarithmic=True).to_curve(np.array([4.0, 2.0, 1.0, 0.5, 0.25]))
    np.testing.assert_allclose(curve, np.arange(5) / 4, atol=1e-15)


@pytest.mark.parametrize(
    ("best", "worst", "logarithmic"), [(1, 1, False), (2, 1, False), (0, 1, True), (0, math.inf, False)]
)
def test_bad_bounds_are_refused(best, worst, logarithmic):
    with pytest.raises(ValueError, match="best must be"):
        LossScale(best, worst, logarithmic)


def test_bins_are_means():
    np.testing.assert_array_equal(binned(np.arange(10.0), 4), [1, 4, 6.5, 8.5])
    np.testing.assert_array_equal(binned(np.arange(3.0), 3), [0, 1, 2])
    with pytest.raises(ValueError, match="bins must be 1 to 3, one a value at most, got 4"):
        binned(np.arange(3.0), 4)


def test_a_clairvoyant_stops_what_loses_at_once_and_nothing_else():
    """In the order 0.5, 0.9, 0.3, 0.7 the first two are trained whole, the others for a tenth of 50 points."""
    done = backtest(Clairvoyant(RISING), RISING, [[0, 1, 2, 3], [1, 0, 2, 3], [2, 0, 3, 1]])
    assert done.trained.tolist() == [50 + 50 + 5 + 5, 50 + 5 + 5 + 5, 200]
    assert done.possible.tolist() == [200, 200, 200]
    assert not done.best_stopped.any()
    np.testing.assert_array_equal(done.regret, 0)
    assert done.saved == 1 - (110 + 65 + 200) / 600


def test_a_budget_goes_further_with_stopping():
    """After 60 points: alone the second run is ten points old, with stopping the best one is whole by then."""
    order = [[1, 0, 2, 3], [2, 1, 0, 3]]
    done = backtest(Clairvoyant(RISING), RISING, order, budget=60)
    assert done.trained.tolist() == [60, 60]
    top = RISING[1].max()
    np.testing.assert_allclose(done.regret, [0, top - RISING[1, 9]])
    np.testing.assert_allclose(done.regret_without, [0, top - RISING[1, 9]])
    four = backtest(Clairvoyant(RISING), RISING, [[0, 2, 3, 1]], budget=155)
    assert four.trained.tolist() == [155]
    # 50 + 5 + 50 + 50 against 50 + 50 + 50 + 5.
    np.testing.assert_allclose(four.regret, 0)
    np.testing.assert_allclose(four.regret_without, top - RISING[3].max())


def test_a_wrong_predictor_is_told_of():
    """Who takes every curve for flat stops the late winner, and the backtest says so."""
    late = np.stack([np.full(50, 0.5), np.where(np.arange(50) < 25, 0.1, 0.9)])
    done = backtest(Constant(0.01), late, [[0, 1], [1, 0]], cutoffs=[10, 20])
    assert done.best_stopped.tolist() == [True, False]
    np.testing.assert_allclose(done.regret, [0.4, 0])
    assert done.trained.tolist() == [50 + 10, 50 + 10]


def test_a_prefix_is_asked_about_once():
    predictor = Constant()
    backtest(predictor, RISING, [[0, 1, 2, 3]] * 5, cutoffs=[10])
    assert sorted(predictor.asked) == [10] * 3


def test_curves_longer_than_the_priors_are_refused():
    with pytest.raises(ValueError, match="curves must have at most 100 points, got 101; see binned"):
        backtest(Constant(), np.zeros((2, 101)), [[0, 1]])
