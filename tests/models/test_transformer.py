import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import Transformer
from tests.models import reference

VOCABULARY, CONTEXT, BATCH = 11, 8, 3
MODEL = Transformer(vocabulary=VOCABULARY, context=CONTEXT, width=12, layers=2, heads=3, expansion=2)


@functools.cache
def params():
    """Random everywhere: the initial norm scales are all one, which would hide a scale that is not used."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), jax.ShapeDtypeStruct((1, CONTEXT), jnp.int32))["params"]
    return jax.tree.map(lambda x: np.float32((x.ndim == 1) + 0.3 * rng.normal(size=x.shape)), shapes)


def tokens(length=CONTEXT):
    return np.random.default_rng(0).integers(0, VOCABULARY, (BATCH, length), np.int32)


APPLY = jax.jit(MODEL.apply)


def logits(x):
    return np.asarray(APPLY({"params": params()}, x))


@pytest.mark.parametrize("length", [1, 5, CONTEXT])
def test_equals_plain_numpy_at_every_length(length):
    x = tokens(length)
    expected = np.stack([reference.transformer(params(), row, MODEL.layers) for row in x])
    # Float32 keeps 6e-8 of a number below 10: some thirty such errors, one for every sum on the way to a logit.
    np.testing.assert_allclose(logits(x), expected, rtol=0, atol=2e-5)


def test_the_result_is_float32_of_a_score_a_token():
    assert logits(tokens()).shape == (BATCH, CONTEXT, VOCABULARY)
    assert logits(tokens()).dtype == np.float32


def test_heads_that_do_not_divide_the_width_are_refused():
    for heads in (3, 9, 0):
        with pytest.raises(ValueError, match=rf"model\.heads must divide model\.width \(8\), got {heads}"):
            Transformer(VOCABULARY, CONTEXT, width=8, heads=heads)


def test_a_sequence_longer_than_the_context_is_refused():
    model = Transformer(VOCABULARY, CONTEXT - 1, width=8, heads=2)
    with pytest.raises(ValueError, match=f"at most {CONTEXT - 1} tokens, got {CONTEXT}"):
        jax.eval_shape(model.init, jax.random.key(0), tokens())


@pytest.mark.parametrize("t", range(CONTEXT))
def test_a_token_changes_its_own_and_later_positions_only(t):
    x = tokens()
    changed = x.copy()
    changed[:, t] = (x[:, t] + 1) % VOCABULARY
    same = (logits(x) == logits(changed)).all(axis=-1)
    assert same[:, :t].all()
    # Every later position attends to t with a weight above zero, and random values differ.
    assert not same[:, t:].any()


def test_a_prefix_has_the_logits_that_it_has_in_the_whole():
    # The programs differ in shape, so sums may be taken in another order: the bound of the NumPy comparison.
    np.testing.assert_allclose(logits(tokens()[:, :5]), logits(tokens())[:, :5], rtol=0, atol=2e-5)


def test_permuting_the_batch_permutes_the_outputs():
    order = np.array([2, 0, 1])
    np.testing.assert_array_equal(logits(tokens()[order]), logits(tokens())[order])


def test_equal_tokens_differ_by_their_position():
    row = logits(np.zeros((BATCH, CONTEXT), np.int32))[0]
    assert len(np.unique(row, axis=0)) == CONTEXT


@pytest.mark.parametrize(
    "model",
    [
        Transformer(vocabulary=256, context=64),
        Transformer(vocabulary=7, context=5, width=12, layers=3, heads=4, expansion=1),
        Transformer(vocabulary=7, context=5, width=12, layers=0, heads=2),
    ],
    ids=["defaults", "small", "no blocks"],
)
def test_parameter_count(model):
    shapes = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, model.context), jnp.int32))
    v, c, w, e = model.vocabulary, model.context, model.width, model.expansion
    block = w + 3 * w * w + w * w + w + 2 * e * w * w
    # Embedding and readout are two matrices (untied), positions are learned, no layer has a bias.
    expected = 2 * v * w + c * w + model.layers * block + w
    assert sum(x.size for x in jax.tree.leaves(shapes)) == expected
    assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}


def test_a_published_parameter_count():
    # GPT-2 small has 124,439,808 parameters (Radford et al. 2019). It ties the readout to the embedding, and has biases
    # in every layer and norm: per block 3w + w + 4w + w in layers and 2w in norms, and w in the final norm.
    v, w, layers = 50257, 768, 12
    model = Transformer(vocabulary=v, context=1024, width=w, layers=layers, heads=12)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 1024), jnp.int32))
    count = sum(x.size for x in jax.tree.leaves(shapes))
    assert count - v * w + layers * 11 * w + w == 124_439_808


def test_every_parameter_has_a_gradient():
    def loss(p):
        return jnp.sum(jnp.square(APPLY({"params": p}, tokens())))

    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params())):
        assert bool(jnp.any(gradient != 0)), jax.tree_util.keystr(path)


def test_initial_predictions_are_spread_over_the_vocabulary():
    model = Transformer(vocabulary=256, context=16, layers=0)
    x = np.random.default_rng(1).integers(0, 256, (8, 16), np.int32)
    scores, _ = jax.jit(model.init_with_output)(jax.random.key(0), x)
    # The readout sees inputs of unit mean square and weights of variance 1 / width, so logits have variance one. Its
    # 64 * 256 weights alone give that an error of sqrt(2 / (64 * 256)) = 0.011; the 128 inputs, some of them alike, add
    # to it. Ten of those:
    assert abs(float(jnp.var(scores)) - 1) < 0.11
