import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from lrstudy.laws.extrapolation import CurveMixture, EffectiveSizeWarning, ImportanceSampler
from tests.laws.extrapolation.tiny import curves, sampler

# A float32 log likelihood of up to some hundred nats, and a few roundings of it.
CLOSE = {"rtol": 2e-5, "atol": 2e-4}


def by_hand(s, values, cutoff):
    """Bayes' rule over the draws, in float64 and with SciPy's normal density."""
    curves, sigmas = np.asarray(s.curves, np.float64), np.asarray(s.sigmas, np.float64)[:, None]
    logs = norm.logpdf(values, curves, sigmas)
    weights = logs[:, :cutoff].sum(1)
    weights = weights - logsumexp(weights)
    return weights, logsumexp(weights[:, None] + logs, axis=0)


@pytest.mark.parametrize("cutoff", [0, 1, 10, 60])
def test_bayes_rule_over_the_draws(cutoff):
    s = sampler(50)
    values = np.asarray(s.curves[3] + 0.05 * jnp.sin(jnp.arange(100.0)), np.float64)
    weights, densities = by_hand(s, values, cutoff)
    found, sizes = s.log_densities(jnp.asarray(values[None], jnp.float32), jnp.array([cutoff]))
    scale = np.abs(weights).max()
    np.testing.assert_allclose(
        s.log_weights(jnp.asarray(values, jnp.float32), cutoff), weights, atol=1e-5 * scale, rtol=0
    )
    np.testing.assert_allclose(found[0], densities, **CLOSE)
    np.testing.assert_allclose(sizes[0], 1 / np.exp(2 * weights).sum(), rtol=1e-3)


@pytest.mark.filterwarnings("ignore::lrstudy.laws.extrapolation.EffectiveSizeWarning")
def test_a_prediction_is_the_batchs():
    s = sampler(200)
    values = curves(5, 1)
    mixture = s.predict(np.asarray(values[0, :30]))
    found, sizes = s.log_densities(values, jnp.array([30]))
    np.testing.assert_allclose(mixture.log_density(values[0, 30:]), found[0, 30:], **CLOSE)
    np.testing.assert_allclose(mixture.effective_size, sizes[0], rtol=1e-5)


def test_what_is_not_observed_does_not_count():
    s = sampler(50)
    values = jnp.asarray(curves(5, 1)[0])
    other = values.at[20:].set(jnp.nan)
    np.testing.assert_array_equal(s.log_weights(values, 20), s.log_weights(other, 20))


def test_nothing_observed_leaves_the_prior():
    s = sampler(64)
    mixture = s.predict(np.zeros(0))
    np.testing.assert_allclose(mixture.effective_size, 64, rtol=1e-5)
    np.testing.assert_allclose(mixture.mean(), s.curves.mean(0), rtol=1e-5)


def test_values_that_no_draw_explains_give_numbers():
    """Log likelihoods of -1e9 a point are weighed all the same: the least bad draw has all the weight."""
    s = ImportanceSampler(jnp.zeros((2, 100)).at[1].set(0.1), jnp.array([1e-4, 1e-4]))
    with pytest.warns(EffectiveSizeWarning, match=r"of 2 draws 1\.0 explain the 40 observed values; draw more"):
        mixture = s.predict(np.full(40, 5.0))
    np.testing.assert_array_equal(jnp.exp(mixture.log_weights), [0, 1])
    assert np.isfinite(mixture.log_density(jnp.full(60, 0.1))).all()


def test_a_mixtures_probabilities():
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(5))
    means, sigmas = rng.uniform(size=(5, 3)), rng.uniform(0.01, 0.2, 5)
    arrays = [jnp.asarray(a, jnp.float32) for a in (np.log(weights), means, sigmas)]
    mixture = CurveMixture(*arrays)
    expected = weights @ norm.cdf(0.4, means, sigmas[:, None])
    np.testing.assert_allclose(mixture.cdf(0.4), expected, atol=1e-6)
    np.testing.assert_allclose(mixture.log_survival(0.4), np.log1p(-expected), atol=1e-5)
    np.testing.assert_allclose(mixture.mean(), weights @ means, rtol=1e-6)
    far = logsumexp(np.log(weights)[:, None] + norm.logsf(3.0, means, sigmas[:, None]), axis=0)
    np.testing.assert_allclose(mixture.log_survival(3.0), far, rtol=1e-4)


def test_the_posterior_is_calibrated():
    """Curves of the prior lie below their predictive median half of the time, and below its twentieth a twentieth."""
    drawn = sampler(8_000, 1)
    # Few points, for which so many draws are enough; the next point alone, so that cases are independent.
    s = ImportanceSampler(drawn.curves[:, :4], drawn.sigmas)
    fresh = curves(2, 300)[:, :4]
    ranks = np.asarray(_next_cdfs(s, fresh))
    for share in (0.05, 0.5, 0.95):
        # Three and a half standard errors: three shares, one in a thousand together.
        assert abs((ranks <= share).mean() - share) < 3.5 * (share * (1 - share) / len(ranks)) ** 0.5


@jax.jit
def _next_cdfs(s, curves):
    def one(curve):
        return CurveMixture(s.log_weights(curve, 3), s.curves[:, 3:], s.sigmas).cdf(curve[3])[0]

    return jax.lax.map(one, curves)


@pytest.mark.parametrize("prefix", [np.zeros(100), np.zeros((2, 3)), np.array([0.1, np.nan])])
def test_a_bad_prefix_is_refused(prefix):
    with pytest.raises(ValueError, match="prefix must be fewer than 100 finite values"):
        sampler(10).predict(prefix)
