"""Causal self-attention, and the rotary embedding of positions."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lrstudy.models.products import flat_dot_general

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
        dense = functools.partial(nn.DenseGeneral, use_bias=False, dtype=self.dtype, dot_general=flat_dot_general)
        query = dense((self.heads, head_width), name="query")(x)
        key = dense((self.kv_heads, head_width), name="key")(x)
        value = dense((self.kv_heads, head_width), name="value")(x)
        if self.qk_norm:
            query = nn.LayerNorm(use_bias=False, dtype=self.dtype, name="q_norm")(query)
            key = nn.LayerNorm(use_bias=False, dtype=self.dtype, name="k_norm")(key)
        if self.rotary:
            query, key = rotate(query), rotate(key)
        group = self.heads // self.kv_heads
        key, value = jnp.repeat(key, group, axis=-2), jnp.repeat(value, group, axis=-2)
        scale = head_width**-0.5 if self.scale is None else self.scale
        logits = _logits(query, key, scale)  # which cuDNN never holds: a compiled program leaves out what nobody uses
        visible = jnp.tril(jnp.ones(logits.shape[-2:], bool))
        if self.is_mutable_collection("intermediates"):
            shown = jnp.where(visible, logits, 0)
            self.sow("intermediates", "attention_logits", shown)
            self.sow("intermediates", "attention_logits_max", jnp.max(jnp.abs(shown)))
        if self.kernel == "cudnn":
            mixed = jax.nn.dot_product_attention(query, key, value, scale=scale, is_causal=True, implementation="cudnn")
        else:
            weights = jax.nn.softmax(jnp.where(visible, logits, -jnp.inf)).astype(value.dtype)
            # Not jax.nn.dot_product_attention, whose layout XLA's CPU compiler does badly by: the gradient of its
            # softmax was a seventh of a step at width 32.
            mixed = jnp.einsum("bhts,bshd->bthd", weights, value)
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


def _logits(
    query: Float[Array, "batch seq heads head_width"], key: Float[Array, "batch seq heads head_width"], scale: float
) -> Float[Array, "batch heads seq seq"]:
    """What the softmax is taken of where a key is visible; summed in float32 at least."""
    at_least_32_bits = jnp.promote_types(query.dtype, jnp.float32)
    return scale * jnp.einsum("bthd,bshd->bhts", query, key, preferred_element_type=at_least_32_bits)
