import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import Transformer
from tests.models import reference
from tests.models.cases import randomized

VOCABULARY, CONTEXT, BATCH = 11, 8, 3
BASE = Transformer(vocabulary=VOCABULARY, context=CONTEXT, width=16, layers=2, heads=4, expansion=2)
SCALES = {"attention_scale": 0.7, "branch_scale": 0.6, "logit_scale": 0.3}
OPTIONS = {
    "defaults": {},
    "grouped": {"kv_heads": 2},
    "one key head": {"kv_heads": 1},
    "normed queries": {"qk_norm": True},
    "rotary": {"rotary": True},
    "post": {"norm": "post", "branch_scale": 0.6},
    "peri": {"norm": "peri", "branch_scale": 0.6},
    "tied": {"tied": True, "logit_scale": 0.3},
    "scales": SCALES,
    "scanned": {"scan_layers": True},
    "remat": {"remat": True},
    "all": {
        "kv_heads": 2,
        "qk_norm": True,
        "rotary": True,
        "norm": "peri",
        "tied": True,
        "scan_layers": True,
        "remat": True,
        **SCALES,
    },
}


def of(**options):
    return dataclasses.replace(BASE, parent=None, **options)


MODELS = {name: of(**options) for name, options in OPTIONS.items()}


@functools.cache
def params(name="defaults"):
    return randomized(MODELS[name], jax.ShapeDtypeStruct((1, CONTEXT), jnp.int32))


def tokens(length=CONTEXT):
    return np.random.default_rng(0).integers(0, VOCABULARY, (BATCH, length), np.int32)


@functools.cache
def apply(name):
    return jax.jit(MODELS[name].apply)


def logits(x, name="defaults"):
    return np.asarray(apply(name)({"params": params(name)}, x))


@pytest.mark.parametrize("length", [1, 5, CONTEXT])
@pytest.mark.parametrize("name", ["defaults", "all"])
def test_equals_plain_numpy_at_every_length(name, length):
    x = tokens(length)
    expected = np.stack([reference.transformer(params(name), row, MODELS[name])[0] for row in x])
    # Float32 keeps 6e-8 of a number below 10: some thirty such errors, one for every sum on the way to a logit.
    np.testing.assert_allclose(logits(x, name), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"defaults", "all"}))
def test_every_option_equals_plain_numpy(name):
    expected = np.stack([reference.transformer(params(name), row, MODELS[name])[0] for row in tokens()])
    np.testing.assert_allclose(logits(tokens(), name), expected, rtol=0, atol=2e-5)


def gradients(model, own):
    return jax.jit(jax.grad(lambda p, x: jnp.sum(jnp.square(model.apply({"params": p}, x)))))(own, tokens())


def test_the_result_is_float32_of_a_score_a_token():
    assert logits(tokens()).shape == (BATCH, CONTEXT, VOCABULARY)
    assert logits(tokens()).dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"width": 8, "heads": n}, rf"heads must divide model\.width \(8\), got {n}") for n in (3, 9, 0)),
        ({"heads": 4, "kv_heads": 3}, r"kv_heads must divide model\.heads \(4\), got 3"),
        ({"heads": 4, "kv_heads": 8}, r"kv_heads must divide model\.heads \(4\), got 8"),
        ({"kv_heads": -1}, "kv_heads must be an int of at least 0, got -1"),
        (
            {"width": 12, "heads": 4, "rotary": True},
            r"heads must divide model\.width \(12\) into even head widths where model\.rotary is set, got 4",
        ),
        (
            {"norm": "perry"},
            r"norm must be one of \['pre', 'post', 'peri'\] \(nearest: 'peri'\), got 'perry'",
        ),
        (
            {"dtype": "float16"},
            r"dtype must be one of \['float32', 'bfloat16'\] \(nearest: 'bfloat16'\), got 'float16'",
        ),
        (
            {"attention_kernel": "flash"},
            r"attention_kernel must be one of \['xla', 'cudnn'\], got 'flash'",
        ),
        (
            {"attention_kernel": "cudnn"},
            r"dtype must be bfloat16 where model\.attention_kernel is cudnn, got 'float32'",
        ),
        *(
            ({"embedding_std": x}, f"embedding_std must be a positive finite number, got {x}")
            for x in (0.0, -1.0, float("inf"), float("nan"))
        ),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=rf"^model\.{message}$"):
        Transformer(VOCABULARY, CONTEXT, **options)


def test_a_sequence_longer_than_the_context_is_refused():
    model = Transformer(VOCABULARY, CONTEXT - 1, width=8, heads=2)
    with pytest.raises(ValueError, match=f"at most {CONTEXT - 1} tokens, got {CONTEXT}"):
        jax.eval_shape(model.init, jax.random.key(0), tokens())


@pytest.mark.parametrize("t", range(CONTEXT))
@pytest.mark.parametrize("name", ["defaults", "post", "all"])
def test_a_token_changes_its_own_and_later_positions_only(name, t):
    x = tokens()
    changed = x.copy()
    changed[:, t] = (x[:, t] + 1) % VOCABULARY
    same = (logits(x, name) == logits(changed, name)).all(axis=-1)
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


@pytest.mark.parametrize("name", ["defaults", "post", "all"])
def test_every_parameter_has_a_gradient(name):
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients(MODELS[name], params(name))):
        assert bool(jnp.any(gradient != 0)), jax.tree_util.keystr(path)


def test_initial_predictions_are_spread_over_the_vocabulary():
    model = Transformer(vocabulary=256, context=16, layers=0)
    x = np.random.default_rng(1).integers(0, 256, (8, 16), np.int32)
    scores, _ = jax.jit(model.init_with_output)(jax.random.key(0), x)
    # The readout sees inputs of unit mean square and weights of variance 1 / width, so logits have variance one. Its
    # 64 * 256 weights alone give that an error of sqrt(2 / (64 * 256)) = 0.011; the 128 inputs, some of them alike, add
    # to it. Ten of those:
    assert abs(float(jnp.var(scores)) - 1) < 0.11
