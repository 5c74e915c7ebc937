"""Causal self-attention, and the rotary embedding of positions."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

ROTARY_BASE = 10_000.0
KERNELS = ("xla", "cudnn")


class SelfAttention(nn.Module):
    """Causal multi-head self-attention without biases.

    Attributes:
        heads: number of heads; must divide the width of the input.
        kv_heads: heads of keys and values, a divisor of ``heads``; each serves ``heads / kv_heads`` queries in a row.
        qk_norm: normalises queries and keys, each head alone, before positions are turned in (Wortsman et al. 2024,
            arXiv 2309.14322).
        rotary: turns positions into queries and keys, see ``rotate``.
        scale: of the logits; ``None``: head width to the power -1/2.
        dtype: of products and activations; ``None``: the parameters' own.
        kernel: ``xla``; ``cudnn``, which never holds the logits, on an NVIDIA GPU and in bfloat16. The latter has a
            gradient but no forward mode, so no Hessian.
    """

    heads: int
    kv_heads: int
    qk_norm: bool = False
    rotary: bool = False
    scale: float | None = None
    dtype: DTypeLike | None = None
    kernel: str = "xla"

    @nn.compact
    def __call__(self, x: Float[Array, "batch seq width"]) -> Float[Array, "batch seq width"]:
        """Mixes positions; position t sees positions 0..t."""
        width = x.shape[-1]
        head_width = width // self.heads
        dense = functools.partial(nn.DenseGeneral, use_bias=False, dtype=self.dtype)
        query = dense((self.heads, head_width), name="query")(x)
        key = dense((self.kv_heads, head_width), name="key")(x)
        value = dense((self.kv_heads, head_width), name="value")(x)
        if self.qk_norm:
            query = nn.LayerNorm(use_bias=False, dtype=self.dtype, name="q_norm")(query)
            key = nn.LayerNorm(use_bias=False, dtype=self.dtype, name="k_norm")(key)
        if self.rotary:
            query, key = rotate(query), rotate(key)
        scale = head_width**-0.5 if self.scale is None else self.scale
        if self.is_mutable_collection("intermediates"):
            logits = visible_logits(query, key, scale)
            self.sow("intermediates", "attention_logits", logits)
            self.sow("intermediates", "attention_logits_max", jnp.max(jnp.abs(logits)))
        mixed = jax.nn.dot_product_attention(
            query, key, value, scale=scale, is_causal=True, implementation="cudnn" if self.kernel == "cudnn" else "xla"
        )
        return dense(width, axis=(-2, -1), name="out")(mixed)


def rotate(x: Float[Array, "batch seq heads head_width"]) -> Float[Array, "batch seq heads head_width"]:
    """Rotary embedding (Su et al. 2021, arXiv 2104.09864): the product of two depends on their distance alone.

    Component i of the first half and of the second are the plane that position t turns by the angle
    t * 10000^(-2 i / head_width).
    """
    length, half = x.shape[-3], x.shape[-1] // 2
    frequencies = ROTARY_BASE ** (-jnp.arange(half) / half)
    angles = jnp.arange(length)[:, None, None] * frequencies
    cos, sin = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def visible_logits(
    query: Float[Array, "batch seq heads head_width"], key: Float[Array, "batch seq kv_heads head_width"], scale: float
) -> Float[Array, "batch heads seq seq"]:
    """What the softmax is taken of, and zero where a key lies after its query."""
    key = jnp.repeat(key, query.shape[-2] // key.shape[-2], axis=-2)
    # Summed in float32 at least, as the softmax has them.
    summed = jnp.promote_types(query.dtype, jnp.float32)
    return jnp.tril(scale * jnp.einsum("bthd,bshd->bhts", query, key, preferred_element_type=summed))
