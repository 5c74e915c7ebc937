"""The exponential forecast of AutoLRS against closed forms."""

import numpy as np
import pytest

from lrstudy.study.forecast import FASTEST, SLOWEST, fit_exponential, forecast, smooth

STEPS = np.arange(100.0)
# The bounded minimisation stops at sqrt(float64 eps) = 1.5e-8 of log(-b) = -3.9, which moves b by 6e-8 of itself, and a
# and c by less than ten times that.
FITTED = 1e-6


def curve(a, b, c, x=STEPS):
    return a * np.exp(b * x) + c


@pytest.mark.parametrize(
    ("a", "b", "c"), [(2.0, -0.02, 0.5), (1.0, -0.02, 0.5), (2.3, -0.3, 0.1), (5.0, -0.004, -1.0), (-1.5, -0.05, 4.0)]
)
def test_noiseless_losses_give_their_curve_back(a, b, c):
    found = fit_exponential(STEPS, curve(a, b, c))
    assert found.b == pytest.approx(b, rel=FITTED)
    # A slow curve is nearly a line within the stretch: a and c are then known only as far as their sum is.
    conditioning = 1 / min(1.0, abs(b) * 99)
    assert found.a == pytest.approx(a, rel=FITTED * 10 * conditioning)
    assert found.c == pytest.approx(c, rel=FITTED * 10 * conditioning * max(1, abs(a / c)))
    assert found(50.0) == pytest.approx(curve(a, b, c, 50.0), rel=FITTED)


def test_the_forecast_of_the_published_example():
    losses = curve(1.0, -0.02, 0.5)
    assert forecast(losses, 150) == pytest.approx(0.549787, abs=1e-6)
    assert forecast(losses, 1000) == pytest.approx(0.5, abs=1e-6)


def test_positions_may_be_shifted_and_spaced():
    found = fit_exponential(40 + 5 * STEPS, curve(2.0, -0.02, 0.5, 40 + 5 * STEPS))
    assert (found.a, found.b, found.c) == pytest.approx((2.0, -0.02, 0.5), rel=10 * FITTED)
    assert forecast(curve(2.0, -0.02, 0.5, 5 * STEPS), 150, spacing=5) == pytest.approx(curve(2, -0.02, 0.5, 150))


@pytest.mark.parametrize(("rounds", "asymptote"), [(0, 0.455446), (10, 0.351)])
def test_smoothing_biases_the_asymptote_as_the_authors_program_does(rounds, asymptote):
    """2 exp(-0.02 x) + 0.5: the authors' program finds these asymptotes without rounds and with its ten of three."""
    found = fit_exponential(STEPS, smooth(STEPS, curve(2.0, -0.02, 0.5), rounds=rounds, dropped=3))
    # Splines of SciPy's versions, and the two programs' optimisers, differ by far less than the bias.
    assert found.c == pytest.approx(asymptote, rel=0.01)
    if rounds == 0:
        assert (found.a, found.b) == pytest.approx((2.02721, -0.0189408), rel=0.01)


def test_training_losses_are_smoothed_by_ten_rounds():
    """Far to the right the forecast is the asymptote: exp(-0.017 * 5000) is nothing."""
    assert forecast(curve(2.0, -0.02, 0.5), 5000, smoothing="train") == pytest.approx(0.351, rel=0.01)


def test_an_outlier_of_the_first_half_is_left_out_and_one_of_the_second_is_not():
    clean = 3.0 - 0.01 * STEPS  # a line, which a quadratic spline meets exactly
    for place, moved in ((20, False), (80, True)):
        spoilt = clean.copy()
        spoilt[place] += 5.0
        change = np.abs(smooth(STEPS, spoilt, rounds=1, dropped=1) - clean).max()
        assert (change > 0.1) == moved
        if not moved:
            assert change < 1e-12


def test_smoothing_keeps_enough_points_however_many_rounds():
    losses = curve(1.0, -0.2, 0.5, np.arange(5.0))
    assert np.isfinite(smooth(np.arange(5.0), losses, rounds=100, dropped=2)).all()


@pytest.mark.parametrize("smoothing", ["none", "train", "validation"])
def test_noise_is_averaged(smoothing):
    """A fit to 400 points misses the asymptote by much less than a point misses the curve."""
    rng = np.random.default_rng(0)
    x = np.arange(400.0)
    losses = curve(2.0, -0.02, 0.5, x) + 0.1 * rng.standard_normal(400)
    # The last 200 points alone, whose curve is within 0.04 of the asymptote, know it to 0.1 / sqrt(200) = 0.007; the
    # parabola of the smoothing is a model error of the size of the fall itself.
    assert forecast(losses, 4000, smoothing=smoothing) == pytest.approx(0.5, abs=0.03 if smoothing == "none" else 0.5)


@pytest.mark.parametrize("smoothing", ["none", "train", "validation"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_forecasts_the_worst(bad, smoothing):
    losses = curve(1.0, -0.02, 0.5)
    losses[70] = bad
    assert forecast(losses, 1000, smoothing=smoothing) == np.inf


@pytest.mark.parametrize("smoothing", ["none", "train", "validation"])
def test_constant_losses_stay(smoothing):
    assert forecast(np.full(40, 1.25), 1e6, smoothing=smoothing) == pytest.approx(1.25, rel=1e-12)


def test_a_straight_line_is_followed_as_far_as_the_slowest_curve_goes():
    """The tangent of the slowest curve: slope times its time constant times (1 - exp(-horizon / time constant))."""
    losses = 5.0 - 0.01 * STEPS
    constant = SLOWEST * 99
    expected = 5.0 - 0.01 * constant * (1 - np.exp(-1000 / constant))
    # A curve of time constant T leaves its tangent by (99 / T)^2 / 2 = half a percent of the fall over the stretch.
    assert forecast(losses, 1000) == pytest.approx(expected, abs=0.05 * abs(5.0 - expected))
    assert forecast(losses, 1000) < losses[-1]


def test_rising_losses_forecast_more_than_was_seen():
    for losses in (1.0 + 0.01 * STEPS, np.exp(0.05 * STEPS), curve(-1.0, -0.05, 4.0)):
        assert forecast(losses, 1000) > losses[-1]


def test_a_drop_at_the_first_point_is_over_at_once():
    losses = np.full(30, 1.0)
    losses[0] = 2.0
    found = fit_exponential(np.arange(30.0), losses)
    assert found.b == pytest.approx(-FASTEST, rel=0.1)
    # What is left of the curve at the second point, exp(-FASTEST), is balanced by the other 28 points.
    assert found(300.0) == pytest.approx(1.0, abs=2 * np.exp(-FASTEST) / 28)


def test_too_few_losses_show_no_trend():
    assert forecast(np.asarray([3.0, 2.0]), 1000) == 2.0
    with pytest.raises(ValueError, match="at least one value"):
        forecast(np.empty(0), 10)
    with pytest.raises(ValueError, match="at least 3 values"):
        fit_exponential(np.arange(2.0), np.asarray([3.0, 2.0]))
    with pytest.raises(ValueError, match="must be finite, got"):
        fit_exponential(STEPS, np.where(STEPS == 3, np.nan, STEPS))
    with pytest.raises(ValueError, match="smoothing must be one of"):
        forecast(STEPS, 10, smoothing="median")
