import jax
import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from lrstudy.laws.extrapolation import LearningCurvePrior
from lrstudy.laws.extrapolation.prior import is_curve

DRAWS = 8_000
# The published figures are of 2000 curves, so theirs is nearly all of the error; four standard errors of both together.
SHARE = 4 * (1 / 2000 + 1 / DRAWS) ** 0.5


@pytest.fixture(scope="module")
def drawn():
    prior = LearningCurvePrior()
    noiseless = jax.tree.map(np.asarray, prior.noiseless(jax.random.key(1), DRAWS))
    return noiseless, np.asarray(prior.sample(jax.random.key(1), DRAWS))


def plain(rng, n):
    """The prior written out with NumPy, a family a line."""
    t = np.arange(1, 101.0)

    def uniform(low, high):
        return rng.uniform(low, high, (n, 1))

    pow3 = uniform(0, 1.25) - uniform(-0.6, 0.6) * t ** -rng.lognormal(0, 2, (n, 1))
    ilog2 = uniform(0, 1) - uniform(-0.5, 0.5) / np.log(t + 1)
    a, b = uniform(0, 1), uniform(0, 2)
    janoschek = a - (a - b) * np.exp(-rng.lognormal(-2, 1, (n, 1)) * t ** rng.lognormal(0, 0.5, (n, 1)))
    y = uniform(0, 1) * pow3 + uniform(0, 1) * ilog2 + uniform(0, 1) * janoschek
    kept = (y[:, -1] > y[:, 0]) & (y >= 0).all(1) & (y <= 1).all(1)
    return y[kept], kept.mean()


def test_figures_of_the_prior(drawn):
    """Acceptance 20.3 %, mean y_1 .413, mean y_100 .612, median deviation .0174, of 2000 curves."""
    (curves, sigmas, acceptance), noisy = drawn
    # 2000 curves of some 9850 candidates; ours of four times the curves.
    assert abs(acceptance - 0.203) < 4 * (0.203 * 0.797 * (1 / 9850 + 1 / (DRAWS / 0.203))) ** 0.5
    for point, published in ((0, 0.413), (-1, 0.612)):
        assert abs(noisy[:, point].mean() - published) < SHARE * noisy[:, point].std()
    # The median of a normal sample has the deviation sqrt(pi / 2) of the mean's: ln sigma has deviation 1.
    assert abs(np.log(np.median(sigmas)) - np.log(0.0174)) < SHARE * (np.pi / 2) ** 0.5
    assert kstest(np.log(sigmas) + 4, "norm").pvalue > 1e-4
    assert curves.shape == noisy.shape == (DRAWS, 100)


def test_curves_are_those_of_a_plain_rejection(drawn):
    """Two samples of one distribution: Kolmogorov and Smirnov find no difference at any of several points."""
    (curves, _, acceptance), _ = drawn
    expected, share = plain(np.random.default_rng(0), 20_000)
    assert abs(acceptance - share) < 4 * (0.2 * 0.8 * (1 / 20_000 + 0.2 / DRAWS)) ** 0.5
    for point in (0, 1, 4, 20, 60, 99):
        assert ks_2samp(curves[:, point], expected[:, point]).pvalue > 1e-4
    rises = [np.diff(part[:, [0, 9, 49]], axis=1) for part in (curves, expected)]
    for step in (0, 1):
        assert ks_2samp(rises[0][:, step], rises[1][:, step]).pvalue > 1e-4


def test_noise_is_white_and_of_the_curves_own_size(drawn):
    (curves, sigmas, _), noisy = drawn
    errors = (noisy - curves) / sigmas[:, None]
    # float32 curves of size one: rounding is up to 6e-8 of noise above exp(-8) = 3e-4, far below the sampling error.
    assert abs(errors.mean()) < 4 / errors.size**0.5
    assert abs((errors**2).mean() - 1) < 4 * (2 / errors.size) ** 0.5
    assert abs((errors[:, 1:] * errors[:, :-1]).mean()) < 4 / errors.size**0.5


def test_every_curve_keeps_the_rule(drawn):
    (curves, _, _), _ = drawn
    assert is_curve(curves).all()


def test_the_rule():
    rising = np.linspace(0, 1, 100, dtype=np.float32)
    candidates = np.stack([rising, rising[::-1], rising - 1e-3, rising + 1e-3, np.where(rising == 1, np.nan, rising)])
    assert is_curve(candidates).tolist() == [True, False, False, False, False]
    assert not is_curve(np.full((1, 100), 0.5))[0]


def test_fewer_curves_are_the_first_of_more():
    prior, key = LearningCurvePrior(), jax.random.key(3)
    np.testing.assert_array_equal(prior.sample(key, 7), prior.sample(key, 600)[:7])
    assert not np.array_equal(prior.sample(key, 7), prior.sample(jax.random.key(4), 7))


@pytest.mark.parametrize("n", [0, -1, 2.0, True])
def test_a_count_that_is_none_is_refused(n):
    with pytest.raises(ValueError, match=rf"n must be a positive int, got {n!r}"):
        LearningCurvePrior().sample(jax.random.key(0), n)
