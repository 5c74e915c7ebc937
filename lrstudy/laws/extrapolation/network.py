"""A transformer that reads the beginning of a curve and says how its points go on.

The prior-fitted network of Adriaensen et al. 2023 (LC-PFN, arXiv 2310.20447, section 3 and appendix A): tokens (t, y)
and t through linear encoders, no positions beside t, bars as the output. Two things are ours, for a network that is
trained in minutes. A point of the context attends to the points before it alone, so one pass over a curve serves every
cut-off of it at once: a query says how much of the context it sees. And the logits of the bars start from a few normal
densities that sit near averages of the values that are seen: a curve goes on near where it is, which a plain classifier
of a thousand bars learns slowly.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lrstudy.laws.extrapolation.prior import LENGTH

_LEAST_SCALE = 2e-3
"""Of a normal density, a few bars: a narrower one could miss the middles of all, and float32 its parabola."""
_FIRST_SCALE = 0.1


class CurveTransformer(nn.Module):
    """Bars for points of a curve after its cut-off.

    A query attends to the context up to its cut-off and to itself, so queries do not see each other.

    Attributes:
        width: of a token.
        layers: residual blocks of attention and a feed-forward layer of twice the width.
        heads: of attention; must divide ``width``.
        components: normal densities that a query's logits start from.
    """

    width: int = 64
    layers: int = 3
    heads: int = 2
    components: int = 3

    @nn.compact
    def __call__(
        self,
        borders: Float[Array, " borders"],
        values: Float[Array, "batch length"],
        cutoffs: Int[Array, "batch queries"],
        times: Int[Array, "batch queries"],
    ) -> Float[Array, "batch queries bars"]:
        """Logits of the bars.

        Args:
            borders: of the bars, increasing.
            values: y_t of t = 1, ...; what lies after every cut-off is not looked at but must be finite.
            cutoffs: observed points T of each query, from 1 on.
            times: t > T that each query asks for.
        """
        batch, length = values.shape
        moments = jnp.arange(1, length + 1)
        encode = nn.Dense(self.width, name="time")
        context = encode(_standard(moments / (LENGTH + 1))[:, None])
        context = context + nn.Dense(self.width, name="value")(_standard(values)[..., None])
        queries = encode(_standard(times / (LENGTH + 1))[..., None])
        queries = queries + self.param("query", nn.initializers.normal(1.0), (self.width,))
        earlier = jnp.tril(jnp.ones((length, length), bool), -1)
        seen = moments <= cutoffs[..., None]
        every = jnp.concatenate([jnp.broadcast_to(earlier, (batch, length, length)), seen], 1)
        tokens = jnp.concatenate([context, queries], 1)
        for layer in range(self.layers - 1):
            tokens = _Block(self.heads, name=f"block_{layer}")(tokens, every)
        queries = _Block(self.heads, name=f"block_{self.layers - 1}")(tokens, seen)
        queries = nn.LayerNorm(name="final_norm")(queries)
        centres = self._averages(queries, tokens[:, :length], values, seen)
        mixture = _linear("mixture", 3 * self.components, queries).reshape(*centres.shape, 3)
        zeros = nn.initializers.zeros
        return _normal_masses(borders, centres, mixture) + _linear("bars", len(borders) - 1, queries, kernel_init=zeros)

    @nn.nowrap
    def _averages(self, queries: Array, context: Array, values: Array, seen: Array) -> Array:
        """For each component an average of the values that a query sees, by attention of its own."""
        width = self.components * (self.width // self.heads)
        query = _heads(_linear("pointer_query", width, queries), self.components)
        key = _heads(_linear("pointer_key", width, context), self.components)
        logits = jnp.where(seen[:, None], _scores(query, key), -jnp.inf)
        return jnp.moveaxis((nn.softmax(logits) @ values[:, None, :, None])[..., 0], 1, 2)


def _standard(share: Array) -> Array:
    """What is uniform in (0, 1), with mean 0 and deviation 1."""
    return (share - 0.5) * 12**0.5


def _linear(name: str, outputs: int, x: Array, **options: Any) -> Array:
    """A layer applied to the last axis of ``x``, the others flattened: XLA's gradient of it is then one product."""
    return nn.Dense(outputs, name=name, **options)(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], outputs)


def _normal_masses(borders: Array, centres: Array, mixture: Array) -> Array:
    """Log masses, up to a constant, that a mixture of normal densities puts on bars, taken at their middles.

    Args:
        borders: of the bars.
        centres: shape (..., components), what a component is near.
        mixture: shape (..., components, 3): its shift, log scale and log weight.
    """
    middles, widths = (borders[1:] + borders[:-1]) / 2, jnp.diff(borders)
    shift, log_scale, log_weight = jnp.moveaxis(mixture, -1, 0)
    scale = _FIRST_SCALE * jnp.exp(log_scale) + _LEAST_SCALE
    precision, mean = scale**-2, centres + _FIRST_SCALE * shift
    # Log densities are parabolas: as a product of three coefficients and three powers their gradient is a product too,
    # where a sum over every bar would be slow on a CPU.
    constant = log_weight - jnp.log(scale) - 0.5 * precision * mean**2
    parabolas = jnp.stack([constant, precision * mean, -0.5 * precision], -1)
    powers = jnp.stack([jnp.ones_like(middles), middles, middles**2])
    heights = jnp.moveaxis(parabolas, -2, 0).reshape(-1, 3) @ powers
    heights = heights.reshape(mixture.shape[-2], *mixture.shape[:-2], len(middles))
    # Like logsumexp over the components, in fewer passes.
    top = lax.stop_gradient(functools.reduce(jnp.maximum, list(heights)))
    return top + jnp.log(sum(jnp.exp(height - top) for height in heights)) + jnp.log(widths)


class _Block(nn.Module):
    """Attention and a feed-forward layer, each a residual branch behind its norm.

    Attributes:
        heads: of attention.
    """

    heads: int

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "batch tokens width"], seen: Bool[Array, "batch kept length"]
    ) -> Float[Array, "batch kept width"]:
        """The last tokens after both branches.

        Args:
            tokens: the context and the queries.
            seen: what of the context is attended to, beside itself, by each of the tokens that are kept.
        """
        width, length = tokens.shape[-1], seen.shape[-1]
        kept = slice(tokens.shape[1] - seen.shape[1], None)
        normed = nn.LayerNorm(name="attention_norm")(tokens)
        query = _heads(_linear("query", width, normed[:, kept], use_bias=False), self.heads)
        key = _heads(_linear("key", width, normed, use_bias=False), self.heads)
        value = _heads(_linear("value", width, normed, use_bias=False), self.heads)
        own = key[:, :, kept], value[:, :, kept]
        mixed = _attend(query, key[:, :, :length], value[:, :, :length], own, seen)
        tokens = tokens[:, kept] + _linear("out", width, _merged(mixed), use_bias=False)
        hidden = nn.gelu(_linear("up", 2 * width, nn.LayerNorm(name="feed_norm")(tokens)))
        return tokens + _linear("down", width, hidden)


def _merged(x: Array) -> Array:
    x = jnp.moveaxis(x, 1, 2)
    return x.reshape(*x.shape[:2], -1)


def _heads(x: Array, heads: int) -> Array:
    return jnp.moveaxis(x.reshape(*x.shape[:-1], heads, -1), 2, 1)


def _scores(query: Array, key: Array) -> Array:
    return (query @ jnp.swapaxes(key, -1, -2)) * query.shape[-1] ** -0.5


def _attend(query: Array, key: Array, value: Array, own: tuple[Array, Array], seen: Array) -> Array:
    """Attention of every token to what it sees of the context and to itself."""
    logits = jnp.where(seen[:, None], _scores(query, key), -jnp.inf)
    self_logit = (query * own[0]).sum(-1, keepdims=True) * query.shape[-1] ** -0.5
    top = lax.stop_gradient(jnp.maximum(logits.max(-1, keepdims=True), self_logit))
    weights, self_weight = jnp.exp(logits - top), jnp.exp(self_logit - top)
    return (weights @ value + self_weight * own[1]) / (weights.sum(-1, keepdims=True) + self_weight)
