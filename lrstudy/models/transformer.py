"""A decoder transformer."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from lrstudy.models.attention import KERNELS, SelfAttention
from lrstudy.models.fields import check_name, check_positive, check_sizes
from lrstudy.models.products import flat_dot_general

NORMS = ("pre", "post", "peri")
DTYPES = ("float32", "bfloat16")


class Block(nn.Module):
    """Attention and a GELU feed-forward layer, each a residual branch.

    Attributes:
        heads: attention heads.
        kv_heads: heads of keys and values.
        expansion: hidden width of the feed-forward layer over the model's width.
        norm: ``pre``: x + f(N(x)); ``post``: N(x + f(x)); ``peri``: x + N'(f(N(x))).
        qk_norm: normalises queries and keys.
        rotary: turns positions into queries and keys.
        attention_scale: of the attention logits; ``None``: head width to the power -1/2.
        branch_scale: factor on both branches, after the output norm where there is one.
        dtype: of products and activations; ``None``: the parameters' own.
        attention_kernel: what computes attention, see ``SelfAttention``.
    """

    heads: int
    kv_heads: int
    expansion: int
    norm: str = "pre"
    qk_norm: bool = False
    rotary: bool = False
    attention_scale: float | None = None
    branch_scale: float = 1.0
    dtype: DTypeLike | None = None
    attention_kernel: str = "xla"

    @nn.compact
    def __call__(self, x: Float[Array, "batch seq width"]) -> Float[Array, "batch seq width"]:
        """Applies the two residual branches."""
        width = x.shape[-1]

        def feed_forward(h: Float[Array, "batch seq width"]) -> Float[Array, "batch seq width"]:
            dense = functools.partial(nn.Dense, use_bias=False, dtype=self.dtype, dot_general=flat_dot_general)
            h = dense(self.expansion * width, name="up")(h)
            return dense(width, name="down")(nn.gelu(h))

        attention = SelfAttention(
            heads=self.heads,
            kv_heads=self.kv_heads,
            qk_norm=self.qk_norm,
            rotary=self.rotary,
            scale=self.attention_scale,
            dtype=self.dtype,
            kernel=self.attention_kernel,
            name="attention",
        )
        x = self._add(x, "attention", attention)
        return self._add(x, "feed_forward", feed_forward)

    @nn.nowrap
    def _add(self, x: Array, name: str, branch: Callable[[Array], Array]) -> Array:
        """Adds a branch to the residual stream, with its norms."""
        norm = nn.LayerNorm(use_bias=False, dtype=self.dtype, name=f"{name}_norm")
        if self.norm == "post":
            return norm(x + self.branch_scale * branch(x))
        h = branch(norm(x))
        if self.norm == "peri":
            h = nn.LayerNorm(use_bias=False, dtype=self.dtype, name=f"{name}_out_norm")(h)
        return x + self.branch_scale * h


class Transformer(nn.Module):
    """Decoder transformer: learned positions, pre-norm blocks, untied readout (Radford et al. 2019 less the tying).

    The last three attributes are for a parametrization to decide. Applied with a mutable ``intermediates`` collection,
    every attention keeps its logits there as ``attention_logits`` (zero where a key lies after its query) and the
    largest of their magnitudes as ``attention_logits_max``.

    Attributes:
        vocabulary: number of token ids.
        context: longest sequence.
        width: residual width.
        layers: number of blocks.
        heads: attention heads; must divide ``width``.
        kv_heads: heads of keys and values (Ainslie et al. 2023, arXiv 2305.13245), a divisor of ``heads``; 0: as many.
        expansion: feed-forward width over ``width``.
        norm: where a block normalises: ``pre``; ``post`` (Vaswani et al. 2017), which leaves out the final norm, as
            blocks end in one; ``peri``, before and after a branch (Kim et al. 2025, arXiv 2502.02732).
        qk_norm: normalises queries and keys, each head alone.
        rotary: rotary positions in place of the learned table.
        tied: the embedding's table is the readout's, and logits are multiplied by ``logit_scale``.
        scan_layers: compiles one block and loops over it; its parameters are ``blocks``, the layer their first axis.
        remat: computes a block's activations again for the gradient rather than keep them.
        embedding_std: standard deviation of the initial embedding, at every width.
        dtype: of products and activations: ``float32``, or ``bfloat16``, which GPUs multiply many times faster; norms
            then still average in float32. Parameters, their gradients and the logits are float32 either way.
        attention_kernel: what computes attention: ``xla``; ``cudnn``, on an NVIDIA GPU and in bfloat16, which never
            holds the logits, but has no forward mode, so no Hessian.
        attention_scale: of the attention logits; ``None``: head width to the power -1/2.
        branch_scale: factor on every residual branch.
        logit_scale: factor on the logits of a tied readout.
    """

    vocabulary: int
    context: int
    width: int = 64
    layers: int = 2
    heads: int = 2
    kv_heads: int = 0
    expansion: int = 4
    norm: str = "pre"
    qk_norm: bool = False
    rotary: bool = False
    tied: bool = False
    scan_layers: bool = False
    remat: bool = False
    embedding_std: float = 0.125
    dtype: str = "float32"
    attention_kernel: str = "xla"
    attention_scale: float | None = None
    branch_scale: float = 1.0
    logit_scale: float = 1.0

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: a size is below its least, heads do not divide what they must, rotary positions meet an odd head
                width, the norm, the dtype or the kernel is unknown, the kernel does not take the dtype, or the
                embedding's deviation is not positive.
        """
        check_sizes(
            width=(self.width, 1), layers=(self.layers, 0), kv_heads=(self.kv_heads, 0), expansion=(self.expansion, 1)
        )
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"model.heads must divide model.width ({self.width}), got {self.heads!r}")
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"model.kv_heads must divide model.heads ({self.heads}), got {self.kv_heads!r}")
        if self.rotary and self.width // self.heads % 2:
            rule = f"divide model.width ({self.width}) into even head widths where model.rotary is set"
            raise ValueError(f"model.heads must {rule}, got {self.heads!r}")
        check_name("norm", self.norm, NORMS)
        check_name("dtype", self.dtype, DTYPES)
        check_name("attention_kernel", self.attention_kernel, KERNELS)
        if self.attention_kernel == "cudnn" and self.dtype != "bfloat16":
            raise ValueError(f"model.dtype must be bfloat16 where model.attention_kernel is cudnn, got {self.dtype!r}")
        check_positive("embedding_std", self.embedding_std)
        super().__post_init__()

    @nn.nowrap
    def spec_overrides(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """What a parametrization cannot infer from shapes: (regular expression over a tensor's path, fields).

        Keys and values that queries share have as many outputs at every width where heads and not head widths grow, but
        are hidden tensors all the same.
        """
        readout = ("^embedding/embedding$", {"tied": True}) if self.tied else ("^readout/kernel$", {"role": "output"})
        stack = ("^block", {"in_stack": True})
        shared = ("/attention/(key|value)/kernel$", {"role": "hidden"})
        grouped = self.kv_heads not in (0, self.heads)
        return (readout, *((stack,) if self.layers else ()), *((shared,) if self.layers and grouped else ()))

    @nn.compact
    def __call__(self, tokens: Int[Array, "batch seq"]) -> Float[Array, "batch seq vocabulary"]:
        """Next-token logits at every position.

        Raises:
            ValueError: the sequence is longer than the context.
        """
        if tokens.shape[-1] > self.context:
            raise ValueError(f"a sequence must have at most {self.context} tokens, got {tokens.shape[-1]}")
        spread = nn.initializers.normal(self.embedding_std)
        embedding = nn.Embed(self.vocabulary, self.width, embedding_init=spread, name="embedding")
        x = embedding(tokens)
        if not self.rotary:
            positions = self.param("positions", nn.initializers.normal(0.02), (self.context, self.width))
            x = x + positions[: tokens.shape[-1]]
        dtype = _layer_dtype(self.dtype)
        # Rows are looked up as they are and rounded then, so that the gradients of a frequent token add up in float32.
        x = self._blocks(x if dtype is None else x.astype(dtype))
        if self.norm != "post":
            x = nn.LayerNorm(use_bias=False, dtype=dtype, name="final_norm")(x)
        if self.tied:
            table = embedding.embedding
            logits = self.logit_scale * jnp.dot(x, (table if dtype is None else table.astype(dtype)).T)
        else:
            logits = nn.Dense(
                self.vocabulary, use_bias=False, dtype=dtype, dot_general=flat_dot_general, name="readout"
            )(x)
        return logits if dtype is None else logits.astype(jnp.float32)

    @nn.nowrap
    def _blocks(self, x: Array) -> Array:
        """All blocks, one after another."""
        # Inside a loop nothing can merge the second computation with the first; elsewhere that must be forbidden.
        block_type = nn.remat(Block, prevent_cse=not self.scan_layers) if self.remat else Block

        def block(name: str) -> nn.Module:
            return block_type(
                heads=self.heads,
                kv_heads=self.kv_heads or self.heads,
                expansion=self.expansion,
                norm=self.norm,
                qk_norm=self.qk_norm,
                rotary=self.rotary,
                attention_scale=self.attention_scale,
                branch_scale=self.branch_scale,
                dtype=_layer_dtype(self.dtype),
                attention_kernel=self.attention_kernel,
                name=name,
            )

        if self.scan_layers and self.layers:
            loop = nn.scan(
                lambda one, carry, _: (one(carry), None),
                variable_axes={"params": 0, "intermediates": 0},
                split_rngs={"params": True},
                length=self.layers,
            )
            return loop(block("blocks"), x, None)[0]
        for layer in range(self.layers):
            x = block(f"block_{layer}")(x)
        return x


def _layer_dtype(name: str) -> DTypeLike | None:
    """What layers compute in; ``None``: as their parameters are."""
    return None if name == "float32" else jnp.dtype(name)
