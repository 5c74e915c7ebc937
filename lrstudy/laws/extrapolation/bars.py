"""A density of many bars between fixed borders, each of the same mass under the prior, with half-normal tails.

The Riemann distribution of prior-fitted networks (Müller et al. 2022, Transformers can do Bayesian inference, arXiv
2112.10510, section 4): a network that chooses bars is a classifier, and its density is theirs over their widths.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, erfinv
from jaxtyping import Array, Float, Int

from lrstudy import pytrees

_HALF_NORMAL_MEDIAN = 0.674489750196081743
"""Of a standard half-normal: the normal's third quartile. A tail puts half its mass on the width of its bar."""
_LOG_HALF_NORMAL = 0.5 * math.log(2 / math.pi)


def equal_mass_borders(values: Float[np.ndarray, " values"], bars: int) -> Float[np.ndarray, " borders"]:
    """Borders between which equally many of the values lie; the outermost are the least and the largest value.

    Args:
        values: draws of what is to be predicted, all finite.
        bars: at least 3, the outer two being the tails.

    Returns:
        bars + 1 borders, float32.

    Raises:
        ValueError: too few bars, or values that are too few or too equal to lie between so many borders.
    """
    if isinstance(bars, bool) or not isinstance(bars, int) or bars < 3:
        raise ValueError(f"bars must be an int of at least 3, got {bars!r}")
    values = np.asarray(values, np.float64).ravel()
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    borders = np.quantile(values, np.linspace(0, 1, bars + 1)).astype(np.float32)
    if not (np.diff(borders) > 0).all():
        raise ValueError(f"values must fill {bars} bars of equal mass, got {len(values)} values with ties")
    return borders


@dataclasses.dataclass(frozen=True)
class Bars:
    """Distributions over the real line; a pytree, whose leading axes are any number of distributions.

    The first and the last bar are half-normal tails that start at their inner border and go on beyond the outer one.

    Attributes:
        borders: increasing.
        logits: of the bars; they need not be normalised.
    """

    borders: Float[Array, " borders"]
    logits: Float[Array, "*shape bars"]

    def log_density(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The log density of one value under each distribution."""
        return log_density(self.borders, self.logits, y)

    def point(self, place: int) -> "Bars":
        """One of the distributions along the last of the leading axes, which is kept."""
        return Bars(self.borders, self.logits[..., [place], :])

    def cdf(self, y: float | Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The probability of values up to y, one for each distribution or one for all."""
        y = jnp.broadcast_to(y, self.logits.shape[:-1])
        bar = bar_of(self.borders, y)
        probabilities = jax.nn.softmax(self.logits)
        own = jnp.take_along_axis(probabilities, bar[..., None], -1)[..., 0]
        below = jnp.where(jnp.arange(self.logits.shape[-1]) < bar[..., None], probabilities, 0).sum(-1)
        widths = jnp.diff(self.borders)
        inside = (y - self.borders[bar]) / widths[bar]
        left_scale, right_scale = _tail_scales(self.borders)
        left = 1 - erf((self.borders[1] - y) / (left_scale * math.sqrt(2)))
        right = erf((y - self.borders[-2]) / (right_scale * math.sqrt(2)))
        last = self.logits.shape[-1] - 1
        share = jnp.where(bar == 0, left, jnp.where(bar == last, right, inside))
        return jnp.clip(below + own * share, 0, 1)

    def quantile(self, p: float | Float[Array, ""]) -> Float[Array, "*shape"]:
        """The value below which the probability is p, in (0, 1); the median is that of 0.5."""
        probabilities = jax.nn.softmax(self.logits)
        last = self.logits.shape[-1] - 1
        upto = jnp.cumsum(probabilities, -1)
        bar = jnp.clip((upto < p).sum(-1), 0, last)
        own = jnp.take_along_axis(probabilities, bar[..., None], -1)[..., 0]
        share = jnp.clip((p - (jnp.take_along_axis(upto, bar[..., None], -1)[..., 0] - own)) / own, 0, 1)
        left_scale, right_scale = _tail_scales(self.borders)
        # A share of exactly 0 or 1 in a tail is a rounding; it would be infinitely far.
        tail = jnp.clip(share, 1e-6, 1 - 1e-6)
        left = self.borders[1] - left_scale * math.sqrt(2) * erfinv(1 - tail)
        right = self.borders[-2] + right_scale * math.sqrt(2) * erfinv(tail)
        inside = self.borders[bar] + share * jnp.diff(self.borders)[bar]
        return jnp.where(bar == 0, left, jnp.where(bar == last, right, inside))

    def mean(self) -> Float[Array, "*shape"]:
        """The expected value."""
        left_scale, right_scale = _tail_scales(self.borders)
        middles = (self.borders[1:] + self.borders[:-1]) / 2
        tail = math.sqrt(2 / math.pi)
        middles = middles.at[0].set(self.borders[1] - tail * left_scale)
        middles = middles.at[-1].set(self.borders[-2] + tail * right_scale)
        return jax.nn.softmax(self.logits) @ middles


pytrees.register(Bars, {"borders", "logits"})


def bar_of(borders: Float[Array, " borders"], y: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """Which bar a value lies in; beyond the borders it is a tail."""
    return jnp.searchsorted(borders[1:-1], y, side="right")


def log_density(
    borders: Float[Array, " borders"], logits: Float[Array, "*shape bars"], y: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The log density of a value under bars, for the gradient with respect to the logits."""
    bar = bar_of(borders, y)
    chosen = jnp.take_along_axis(logits, bar[..., None], -1)[..., 0] - jax.nn.logsumexp(logits, axis=-1)
    left_scale, right_scale = _tail_scales(borders)
    left = _log_half_normal(borders[1] - y, left_scale)
    right = _log_half_normal(y - borders[-2], right_scale)
    inside = -jnp.log(jnp.diff(borders))[bar]
    return chosen + jnp.where(bar == 0, left, jnp.where(bar == len(borders) - 2, right, inside))


def _tail_scales(borders: Float[Array, " borders"]) -> tuple[Array, Array]:
    """Scales of the two half-normals: half of a tail's mass lies between its two borders."""
    return (borders[1] - borders[0]) / _HALF_NORMAL_MEDIAN, (borders[-1] - borders[-2]) / _HALF_NORMAL_MEDIAN


def _log_half_normal(distance: Array, scale: Array) -> Array:
    return _LOG_HALF_NORMAL - jnp.log(scale) - 0.5 * (distance / scale) ** 2
