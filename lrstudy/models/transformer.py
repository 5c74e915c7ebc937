"""A pre-norm decoder transformer."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Int

from lrstudy.models.sizes import check_sizes


class SelfAttention(nn.Module):
    """Causal multi-head self-attention without biases.

    Attributes:
        heads: number of heads; must divide the width of the input.
    """

    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch seq width"]) -> Float[Array, "batch seq width"]:
        """Mixes positions; position t sees positions 0..t."""
        width = x.shape[-1]
        head_width = width // self.heads
        qkv = nn.DenseGeneral((3, self.heads, head_width), use_bias=False, name="qkv")(x)
        query, key, value = (qkv[..., i, :, :] for i in range(3))
        mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        return nn.DenseGeneral(width, axis=(-2, -1), use_bias=False, name="out")(mixed)


class Block(nn.Module):
    """Attention and a GELU feed-forward layer, each normalised before and added after.

    Attributes:
        heads: attention heads.
        expansion: hidden width of the feed-forward layer over the model's width.
    """

    heads: int
    expansion: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch seq width"]) -> Float[Array, "batch seq width"]:
        """Applies the two residual branches."""
        width = x.shape[-1]
        h = nn.LayerNorm(use_bias=False, name="attention_norm")(x)
        x = x + SelfAttention(self.heads, name="attention")(h)
        h = nn.LayerNorm(use_bias=False, name="feed_forward_norm")(x)
        h = nn.Dense(self.expansion * width, use_bias=False, name="up")(h)
        return x + nn.Dense(width, use_bias=False, name="down")(nn.gelu(h))


class Transformer(nn.Module):
    """Decoder transformer: learned positions, pre-norm blocks, untied readout (Radford et al. 2019 less the tying).

    Attributes:
        vocabulary: number of token ids.
        context: longest sequence.
        width: residual width.
        layers: number of blocks.
        heads: attention heads; must divide ``width``.
        expansion: feed-forward width over ``width``.
    """

    vocabulary: int
    context: int
    width: int = 64
    layers: int = 2
    heads: int = 2
    expansion: int = 4

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            ValueError: one of them is below its least, or the heads do not divide the width.
        """
        check_sizes(width=(self.width, 1), layers=(self.layers, 0), expansion=(self.expansion, 1))
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"model.heads must divide model.width ({self.width}), got {self.heads!r}")
        super().__post_init__()

    @nn.compact
    def __call__(self, tokens: Int[Array, "batch seq"]) -> Float[Array, "batch seq vocabulary"]:
        """Next-token logits at every position.

        Raises:
            ValueError: the sequence is longer than the context.
        """
        if tokens.shape[-1] > self.context:
            raise ValueError(f"a sequence must have at most {self.context} tokens, got {tokens.shape[-1]}")
        x = nn.Embed(self.vocabulary, self.width, name="embedding")(tokens)
        positions = self.param("positions", nn.initializers.normal(0.02), (self.context, self.width))
        x = x + positions[: tokens.shape[-1]]
        for layer in range(self.layers):
            x = Block(self.heads, self.expansion, name=f"block_{layer}")(x)
        x = nn.LayerNorm(use_bias=False, name="final_norm")(x)
        return nn.Dense(self.vocabulary, use_bias=False, name="readout")(x)
