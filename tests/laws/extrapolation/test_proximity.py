import numpy as np
import pytest

from lrstudy.laws.extrapolation.proximity import PowerCurve, fit_power, levels, stop_at

X = 5000.0 * np.arange(1, 31)


@pytest.mark.parametrize(("a", "b", "c"), [(0.4, 0.3, 0.95), (2.0, 0.8, 0.6), (500.0, 1.5, 0.9)])
def test_a_power_curve_is_its_own_fit(a, b, c):
    """Noiseless values: the least squares are zero, and the solver ends at 1e-12 of them."""
    a = a * X[0] ** b
    curve = PowerCurve(a, b, c)
    found = fit_power(X, curve(X))
    np.testing.assert_allclose([found.a, found.b, found.c], [a, b, c], rtol=1e-4)
    np.testing.assert_allclose(found(X), curve(X), rtol=1e-7)


def test_the_fit_does_not_depend_on_units():
    """Values in per cent and positions in thousands: the same curve."""
    rng = np.random.default_rng(0)
    y = 0.95 - 0.3 * np.arange(1, 31) ** -0.6 + 1e-3 * rng.normal(size=30)
    one, other = fit_power(X, y), fit_power(X / 1000, 100 * y)
    np.testing.assert_allclose([other.b, other.c], [one.b, 100 * one.c], rtol=1e-4)


def test_noise_moves_the_asymptote_little():
    """The fit's own covariance says how much: four deviations of the linearised estimate."""
    rng = np.random.default_rng(1)
    n, sigma = np.arange(1, 31.0), 1e-3
    y = 0.95 - 0.3 * n**-0.6 + sigma * rng.normal(size=30)
    jacobian = np.stack([-(n**-0.6), 0.3 * np.log(n) * n**-0.6, np.ones(30)], 1)
    deviation = sigma * np.linalg.inv(jacobian.T @ jacobian)[2, 2] ** 0.5
    assert abs(fit_power(n, y).c - 0.95) < 4 * deviation


def test_levels_of_an_exact_curve():
    """Every fit is the curve: the second prefix is the first whose asymptote has not moved, and is trusted."""
    curve = PowerCurve(0.3, 0.6, 0.95)
    n = np.arange(1, 31.0)
    found = levels(n, curve(n), first=5, every=5)
    assert found.points.tolist() == [5, 10, 15, 20, 25, 30]
    np.testing.assert_allclose(found.asymptotes, 0.95, rtol=1e-4)
    np.testing.assert_allclose(found.proximities, 0.3 * found.points**-0.6, rtol=1e-3)
    assert found.prediction == 1
    # 0.3 n^-0.6 <= 0.05 from n = 19.8 on.
    assert stop_at(found, 0.05) == 20
    assert stop_at(found, 0.03) is None


def test_no_stop_before_the_prediction_level():
    """A first prefix that looks finished: flat, then rising. Its own fit is near its asymptote but not trusted."""
    n = np.arange(1, 21.0)
    y = np.concatenate([np.full(5, 0.2), 0.9 - 0.7 * (n[5:] - 4) ** -0.7])
    found = levels(n, y, first=5, every=3, steady=0.01)
    assert found.proximities[0] <= 1e-6
    assert found.prediction > 0
    assert (stop_at(found, 0.05) or 99) > 5


def test_an_asymptote_above_the_ceiling_is_not_trusted():
    n = np.arange(1, 11.0)
    found = levels(n, 0.05 * n, first=5, every=1)
    assert found.prediction == len(found.points)
    assert stop_at(found, 10.0) is None


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="y must hold at least 4 values, one a position, got 3 for 3"):
        fit_power(np.arange(1, 4.0), np.zeros(3))
    with pytest.raises(ValueError, match="x must be above 0 and y finite"):
        fit_power(np.arange(4.0), np.zeros(4))
    with pytest.raises(ValueError, match="y must hold at least 5 values, got 4"):
        levels(np.arange(1, 5.0), np.zeros(4), first=5)
    with pytest.raises(ValueError, match=r"tau must be above 0, got 0\.0"):
        stop_at(levels(np.arange(1, 6.0), np.arange(5) / 10), 0.0)
