"""The decoder that is measured: its size, its arithmetic, and that PyTorch's is the same one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.decoder_jax import JaxDecoder, model_of
from benchmarks.decoder_size import SIZES, Size, draw_tokens, peak_of

TINY = SIZES["tiny"]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_parameters_are_those_of_the_transformer(size):
    model = model_of(size)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, size.context), jnp.int32))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == size.parameters


def test_gpt2_small_and_its_arithmetic():
    # 124,439,808 parameters (Radford et al. 2019), less 12 x 11 x 768 + 768 of biases, and 47 rows of padding more.
    size = SIZES["124M"]
    assert size.parameters == 124_439_808 - 12 * 11 * 768 - 768 + 47 * 768
    assert size.flops_per_token == 6 * (size.parameters - 1024 * 768) + 12 * 12 * 768 * 1024


def test_the_arithmetic_is_what_xla_counts_of_the_products():
    # Of a size whose products outweigh all else; XLA counts two for a multiplication with an addition, as we do, and
    # the norms, the softmaxes and the update besides.
    size = Size(layers=1, width=128, heads=2, context=64, vocabulary=256)
    model = model_of(size, dtype="float32")
    tokens = jnp.zeros((4, size.context), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), tokens)["params"]

    def total(params, tokens):
        return jnp.sum(model.apply({"params": params}, tokens))

    compiled = jax.jit(jax.grad(total)).lower(params, tokens).compile()
    counted = compiled.cost_analysis()["flops"] / tokens.size
    assert 0.6 < counted / size.flops_per_token < 1.2


def test_peaks_are_found_in_a_devices_name():
    assert peak_of("NVIDIA H200") == 989e12
    assert peak_of("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_of("cpu") is None


def test_tokens_are_ids_and_low_ones_are_frequent():
    tokens = draw_tokens(TINY, 3, 5)
    assert tokens.shape == (3, 5, TINY.context + 1)
    assert tokens.min() >= 0
    assert tokens.max() < TINY.vocabulary
    assert np.median(tokens) < TINY.vocabulary / 8


def test_the_decoder_learns_how_frequent_tokens_are():
    decoder = JaxDecoder(TINY, draw_tokens(TINY, 8, 4))
    first, last = decoder(), [decoder() for _ in range(10)][-1]
    assert len(first) == 8
    assert np.mean(last) < np.mean(first) - 0.1
    assert decoder.parameters == TINY.parameters


def test_pytorchs_decoder_has_the_same_loss_for_the_same_parameters():
    pytest.importorskip("torch", reason="the extra `peers` has it")
    from benchmarks.decoder_peer import parity

    found = parity(TINY)
    # Both sum float32 products over at most 128 terms, two blocks deep; a mean of 64 losses near 5.
    assert found["torch"] == pytest.approx(found["jax"], rel=2e-6)
