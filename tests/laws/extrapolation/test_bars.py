import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from lrstudy.laws.extrapolation import Bars, equal_mass_borders

BORDERS = np.array([-0.3, 0.0, 0.1, 0.4, 0.5, 1.1], np.float32)
LOGITS = np.array([0.3, -1.0, 2.0, 0.5, -0.4], np.float32)


def at(y):
    """One distribution at many values."""
    y = jnp.asarray(y, jnp.float32)
    return Bars(jnp.asarray(BORDERS), jnp.broadcast_to(jnp.asarray(LOGITS), (*y.shape, 5))), y


@jax.jit
def log_density(y):
    return at(y)[0].log_density(y)


def density(y):
    return np.exp(np.asarray(log_density(jnp.asarray(y, jnp.float32)), np.float64))


def integrals(f):
    """Over every bar and both tails alone."""
    stops = [-4.0, *BORDERS.tolist()[1:-1], 6.0]
    return [quad(f, low, high, epsabs=1e-6, limit=20)[0] for low, high in itertools.pairwise(stops)]


def test_the_density_integrates_to_one_and_to_the_cdf():
    """Of float32 densities quadrature is good to 1e-5; every bar and both tails are integrated alone."""
    parts = integrals(lambda y: float(density(y)))
    masses = np.asarray(jax.nn.softmax(LOGITS))
    np.testing.assert_allclose(parts, masses, atol=1e-5)
    bars, y = at(BORDERS[1:-1])
    np.testing.assert_allclose(bars.cdf(y), np.cumsum(masses)[:-1], atol=1e-6)


def test_one_value_for_all_distributions():
    bars = Bars(jnp.asarray(BORDERS), jnp.stack([LOGITS, LOGITS[::-1], jnp.zeros(5)]))
    np.testing.assert_array_equal(bars.cdf(0.3), bars.cdf(jnp.full(3, 0.3)))


def test_half_of_a_tail_lies_between_its_borders():
    masses = np.asarray(jax.nn.softmax(LOGITS))
    bars, y = at([BORDERS[0], BORDERS[-1]])
    np.testing.assert_allclose(bars.cdf(y), [masses[0] / 2, 1 - masses[-1] / 2], atol=1e-6)


def test_the_derivative_of_the_cdf_is_the_density():
    points = np.array([-0.7, -0.31, -0.05, 0.02, 0.3, 0.45, 0.8, 1.2, 1.6], np.float32)
    bars, y = at(points)
    slope = jax.vmap(jax.grad(lambda z, logits: Bars(jnp.asarray(BORDERS), logits).cdf(z)))(y, bars.logits)
    # Both are a few float32 roundings of numbers of size one.
    np.testing.assert_allclose(slope, density(points), rtol=2e-5)


@pytest.mark.parametrize("p", [0.001, 0.05, 0.2, 0.5, 0.77, 0.95, 0.9999])
def test_a_quantile_is_where_the_cdf_is(p):
    bars, _ = at(0.0)
    np.testing.assert_allclose(bars.cdf(bars.quantile(p)), p, atol=1e-6)


def test_the_mean_is_the_densitys():
    parts = integrals(lambda y: y * float(density(y)))
    np.testing.assert_allclose(at(0.0)[0].mean(), sum(parts), atol=2e-5)


def test_borders_hold_equal_masses():
    values = np.random.default_rng(0).normal(size=1000)
    borders = equal_mass_borders(values, 50)
    counts = np.histogram(values, borders.astype(np.float64))[0]
    # Quantiles between order statistics: a bar has one more or less; rounding of the outermost may lose them.
    assert counts.min() >= 18
    assert counts.max() <= 22
    np.testing.assert_allclose(borders[[0, -1]], [values.min(), values.max()], rtol=1e-7)


def test_a_bar_is_a_share_of_what_it_was_made_of():
    """Under equal logits the cdf of bars is the sample's own."""
    values = np.random.default_rng(1).uniform(size=5000)
    bars = Bars(jnp.asarray(equal_mass_borders(values, 100)), jnp.zeros((9, 100)))
    points = np.linspace(0.1, 0.9, 9)
    shares = (values[:, None] <= points).mean(0)
    # A bar's hundredth is linear within, so off by what the sample's own count of 50 is: 0.5 sqrt(50) of 5000.
    np.testing.assert_allclose(bars.cdf(jnp.asarray(points, jnp.float32)), shares, atol=2e-3)


@pytest.mark.parametrize(
    ("values", "bars", "message"),
    [
        (np.arange(10.0), 2, "bars must be an int of at least 3, got 2"),
        (np.ones(10), 3, "values must fill 3 bars of equal mass, got 10 values with ties"),
        (np.array([0.0, np.nan, 1.0]), 3, "values must be finite"),
    ],
)
def test_bad_borders_are_refused(values, bars, message):
    with pytest.raises(ValueError, match=message):
        equal_mass_borders(values, bars)
