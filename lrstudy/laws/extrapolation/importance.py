"""What the prior's own posterior says of the rest of a curve: draws of the prior, weighted by how well they explain it.

The exact answer that a prior-fitted network approximates, up to the error of sampling: with N draws it is as good as
its effective sample size, which falls as more is observed, for few draws of a broad prior agree with many points of
little noise.
"""

import dataclasses
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import log_ndtr, ndtr
from jaxtyping import Array, Float, Int, Key

from lrstudy import pytrees
from lrstudy.laws.extrapolation.prior import LENGTH, LearningCurvePrior

LEAST_EFFECTIVE_SIZE = 20.0
"""Below so many effective draws a warning says that the answer is rough."""
_LOG_ROOT_2_PI = 0.5 * float(np.log(2 * np.pi))


class EffectiveSizeWarning(UserWarning):
    """Importance weights rest on few draws."""


@dataclasses.dataclass(frozen=True)
class ImportanceSampler:
    """Draws of the prior, each with noise of its own size; a pytree.

    Attributes:
        curves: without noise.
        sigmas: deviation of each curve's noise.
    """

    curves: Float[Array, "draws length"]
    sigmas: Float[Array, " draws"]

    @classmethod
    def draw(
        cls, key: Key[Array, ""], draws: int = 200_000, prior: LearningCurvePrior | None = None
    ) -> "ImportanceSampler":
        """A sampler of so many draws of the prior."""
        curves, sigmas, _ = (prior or LearningCurvePrior()).noiseless(key, draws)
        return cls(curves, sigmas)

    def log_weights(self, values: Float[Array, " length"], cutoff: int | Int[Array, ""]) -> Float[Array, " draws"]:
        """Logarithms of the posterior's weights of the draws, which add up to one.

        Args:
            values: a curve, of which the first ``cutoff`` points are looked at.
            cutoff: observed points, from 0 on.
        """
        seen = jnp.arange(self.curves.shape[1]) < cutoff
        squares = jnp.where(seen, (jnp.where(seen, values, 0) - self.curves) ** 2, 0).sum(1)
        log_likelihoods = -cutoff * jnp.log(self.sigmas) - 0.5 * squares / self.sigmas**2
        return jax.nn.log_softmax(log_likelihoods)

    def log_densities(
        self, values: Float[Array, "cases length"], cutoffs: Int[Array, " cases"]
    ) -> "tuple[Float[Array, 'cases length'], Float[Array, ' cases']]":
        """How likely each point of whole curves is, given their first points; all in log space.

        Args:
            values: whole curves.
            cutoffs: observed points of each.

        Returns:
            The log of the predictive density at every point, of which those after the cut-off are predictions; and the
            effective number of draws, 1 / sum of the squared weights.
        """
        return _log_densities(self, values, cutoffs)

    def predict(self, prefix: Float[Array, " observed"]) -> "CurveMixture":
        """The predictive distribution of every point after the prefix.

        Warns:
            EffectiveSizeWarning: the weights rest on few draws.
        """
        values = np.asarray(prefix, np.float32)
        observed = len(values)
        if values.ndim != 1 or not 0 <= observed < LENGTH or not np.isfinite(values).all():
            raise ValueError(f"prefix must be fewer than {LENGTH} finite values, got shape {values.shape}")
        log_weights = _jitted_weights(self, jnp.asarray(np.pad(values, (0, LENGTH - observed))), jnp.int32(observed))
        size = effective_size(log_weights)
        if size < LEAST_EFFECTIVE_SIZE:
            rest = f"of {len(self.sigmas)} draws {float(size):.1f} explain the {observed} observed values"
            warnings.warn(f"{rest}; draw more for an answer to rely on", EffectiveSizeWarning, stacklevel=2)
        return CurveMixture(log_weights, self.curves[:, observed:], self.sigmas)


@dataclasses.dataclass(frozen=True)
class CurveMixture:
    """For every point to come a mixture of normal densities, one a draw; a pytree.

    Attributes:
        log_weights: of the draws.
        means: of each draw's density at each point.
        sigmas: deviation of each draw's.
    """

    log_weights: Float[Array, " draws"]
    means: Float[Array, "draws points"]
    sigmas: Float[Array, " draws"]

    @property
    def effective_size(self) -> Float[Array, ""]:
        """The effective number of draws."""
        return effective_size(self.log_weights)

    def point(self, place: int) -> "CurveMixture":
        """That of one point."""
        return CurveMixture(self.log_weights, self.means[:, [place]], self.sigmas)

    def log_density(self, y: Float[Array, " points"]) -> Float[Array, " points"]:
        """The log density of one value a point."""
        return _mixed(self.log_weights, _log_normal(y, self.means, self.sigmas))

    def cdf(self, y: float | Float[Array, " points"]) -> Float[Array, " points"]:
        """The probability of values up to y."""
        return jnp.exp(self.log_weights) @ ndtr((y - self.means) / self.sigmas[:, None])

    def log_survival(self, y: float | Float[Array, " points"]) -> Float[Array, " points"]:
        """The log of the probability of values above y, exact where it is tiny."""
        return _mixed(self.log_weights, log_ndtr((self.means - y) / self.sigmas[:, None]))

    def mean(self) -> Float[Array, " points"]:
        """The expected values."""
        return jnp.exp(self.log_weights) @ self.means


pytrees.register(ImportanceSampler, {"curves", "sigmas"})
pytrees.register(CurveMixture, {"log_weights", "means", "sigmas"})


def effective_size(log_weights: Float[Array, " draws"]) -> Float[Array, ""]:
    """Kish's number of draws, 1 / sum w^2, of normalised weights."""
    return jnp.exp(-jax.nn.logsumexp(2 * log_weights))


@jax.jit
def _jitted_weights(sampler: ImportanceSampler, values: Array, cutoff: Array) -> Array:
    return sampler.log_weights(values, cutoff)


@functools.partial(jax.jit)
def _log_densities(sampler: ImportanceSampler, values: Array, cutoffs: Array) -> tuple[Array, Array]:
    def one(case: tuple[Array, Array]) -> tuple[Array, Array]:
        log_weights = sampler.log_weights(*case)
        return _mixed(log_weights, _log_normal(case[0], sampler.curves, sampler.sigmas)), effective_size(log_weights)

    return lax.map(one, (values, cutoffs))


def _log_normal(y: Array, means: Array, sigmas: Array) -> Array:
    return -0.5 * ((y - means) / sigmas[:, None]) ** 2 - jnp.log(sigmas)[:, None] - _LOG_ROOT_2_PI


def _mixed(log_weights: Array, logs: Array) -> Array:
    """The log of a weighted mean over draws."""
    return jax.nn.logsumexp(log_weights[:, None] + logs, axis=0)
