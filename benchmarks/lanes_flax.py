"""The transformer of the text tasks as flax's own layers make it: what one writes without this project."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Int


class Block(nn.Module):
    """Attention and a feed-forward layer, each after a norm."""

    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch seq width"]) -> Float[Array, "batch seq width"]:
        """Adds both to the residual stream."""
        width = x.shape[-1]
        x = x + Attention(self.heads, name="attention")(nn.LayerNorm(use_bias=False, name="attention_norm")(x))
        h = nn.LayerNorm(use_bias=False, name="feed_forward_norm")(x)
        h = nn.gelu(nn.Dense(4 * width, use_bias=False, name="up")(h))
        return x + nn.Dense(width, use_bias=False, name="down")(h)


class Attention(nn.Module):
    """Causal self-attention by ``jax.nn.dot_product_attention``."""

    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch seq width"]) -> Float[Array, "batch seq width"]:
        """Mixes positions."""
        width = x.shape[-1]
        shape = (self.heads, width // self.heads)
        query, key, value = (nn.DenseGeneral(shape, use_bias=False, name=name)(x) for name in ("query", "key", "value"))
        mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        return nn.DenseGeneral(width, axis=(-2, -1), use_bias=False, name="out")(mixed)


class FlaxTransformer(nn.Module):
    """The same parameters, by the same names, and the same function as this project's model at its defaults."""

    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int

    @nn.compact
    def __call__(self, tokens: Int[Array, "batch seq"]) -> Float[Array, "batch seq vocabulary"]:
        """Next-token logits."""
        x = nn.Embed(self.vocabulary, self.width, name="embedding")(tokens)
        x = x + self.param("positions", nn.initializers.normal(0.02), (self.context, self.width))
        for layer in range(self.layers):
            x = Block(self.heads, name=f"block_{layer}")(x)
        x = nn.LayerNorm(use_bias=False, name="final_norm")(x)
        return nn.Dense(self.vocabulary, use_bias=False, name="readout")(x)
