"""What the options of the transformer have to do with each other, and what they cost."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import Transformer
from lrstudy.models.attention import rotate
from tests.models import reference
from tests.models.test_transformer import BATCH, CONTEXT, MODELS, OPTIONS, apply, gradients, logits, of, params, tokens


def stacked(tree):
    """The same weights for scanned blocks."""
    blocks = [tree[f"block_{layer}"] for layer in range(sum(k.startswith("block_") for k in tree))]
    others = {k: v for k, v in tree.items() if not k.startswith("block_")}
    return {**others, "blocks": jax.tree.map(lambda *x: np.stack(x), *blocks)}


def assert_same(first, second, rtol):
    """Equal up to rounding, relative to the largest entry of a tensor."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max())


def equations(jaxpr):
    """The primitive of every equation, those inside of others included."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(value, "eqns"):
                yield from equations(value)


def products(model, differentiated=False, **options):
    """Matrix products in the program of a model; those of a loop count once."""

    def total(own):
        return sum(jnp.sum(x) for x in jax.tree.leaves(model.apply({"params": own}, jnp.asarray(tokens()), **options)))

    shapes = jax.eval_shape(model.init, jax.random.key(0), tokens())["params"]
    jaxpr = jax.make_jaxpr(jax.grad(total) if differentiated else total)(shapes)
    return collections.Counter(equations(jaxpr))["dot_general"]


def test_scanned_blocks_compute_what_blocks_one_by_one_do():
    scanned = stacked(params())
    # A few roundings of 6e-8 on the way to a logit, and the sums of a gradient over positions and examples.
    assert_same(apply("scanned")({"params": scanned}, tokens()), logits(tokens()), 2e-6)
    assert_same(gradients(MODELS["scanned"], scanned), stacked(gradients(MODELS["defaults"], params())), 1e-5)


def test_scanned_blocks_start_unlike_each_other_with_the_spread_of_a_single_one():
    model = of(scan_layers=True, width=128)
    kernel = np.asarray(jax.jit(model.init)(jax.random.key(0), tokens())["params"]["blocks"]["up"]["kernel"])
    assert (kernel[0] != kernel[1]).all()
    # The fan-in is 128 and not that of the stack; five standard errors of a standard deviation.
    assert kernel.std() == pytest.approx(128**-0.5, rel=5 / np.sqrt(2 * kernel.size))


def test_a_loop_holds_one_block_and_no_loop_is_of_no_blocks():
    # Query, key, value, scores, mixing, out, up and down; the readout comes after.
    assert [products(of(layers=n)) for n in (0, 2, 5)] == [1, 17, 41]
    assert [products(of(layers=n, scan_layers=True)) for n in (0, 2, 5)] == [1, 9, 9]


def test_remat_changes_no_number_and_computes_blocks_twice():
    assert_same(logits(tokens(), "remat"), logits(tokens()), 0)
    assert_same(gradients(MODELS["remat"], params()), gradients(MODELS["defaults"], params()), 1e-6)
    for scan in (False, True):
        plain, remat = (products(of(scan_layers=scan, remat=r), differentiated=True) for r in (False, True))
        assert remat >= plain + 7


def test_keys_of_every_head_are_plain_attention():
    model = of(kv_heads=4)
    assert model != MODELS["defaults"]
    assert_same(jax.jit(model.apply)({"params": params()}, tokens()), logits(tokens()), 0)


def test_grouped_queries_are_heads_with_equal_keys_and_values():
    def repeat(path, x):
        return np.repeat(x, 2, axis=1) if {"key", "value"} & {key.key for key in path} else x

    own = jax.tree_util.tree_map_with_path(repeat, params("grouped"))
    assert_same(logits(tokens(), "grouped"), apply("defaults")({"params": own}, tokens()), 2e-6)


def test_rotation_keeps_lengths_and_turns_the_first_plane_by_one_radian_a_position():
    x = np.random.default_rng(0).normal(size=(BATCH, CONTEXT, 3, 6)).astype(np.float32)
    turned = np.asarray(rotate(jnp.asarray(x)))
    np.testing.assert_array_equal(turned[:, 0], x[:, 0])
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-6)
    angle = np.angle((turned[..., 0] + 1j * turned[..., 3]) / (x[..., 0] + 1j * x[..., 3]))
    wanted = np.broadcast_to(np.arange(CONTEXT)[None, :, None], angle.shape)
    # Angles of up to seven radians in float32.
    np.testing.assert_allclose(np.exp(1j * angle), np.exp(1j * wanted), rtol=0, atol=3e-6)


def test_products_of_rotated_vectors_depend_on_their_distance_alone():
    rng = np.random.default_rng(0)
    length = 40
    query, key = (np.broadcast_to(rng.normal(size=8).astype(np.float32), (1, length, 1, 8)) for _ in range(2))
    scores = np.asarray(jnp.einsum("bthd,bshd->ts", rotate(jnp.asarray(query)), rotate(jnp.asarray(key))))
    for distance in range(1 - length, length):
        diagonal = np.diagonal(scores, distance)
        # An angle of 40 radians is known to 2e-6, and a product is of about eight such terms.
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=0, atol=3e-5)
    assert np.unique(scores[:, 0].round(3)).size > length // 2


def sown(name, **options):
    model = MODELS[name]
    run = jax.jit(lambda own, x: model.apply({"params": own}, x, mutable=["intermediates"], **options))
    out, variables = run(params(name), tokens())
    np.testing.assert_allclose(out, logits(tokens(), name), rtol=0, atol=2e-5)
    return variables["intermediates"]


@pytest.mark.parametrize("name", ["defaults", "grouped", "all"])
def test_the_attention_logits_that_are_kept_are_those_of_the_reference(name):
    expected = [reference.transformer(params(name), row, MODELS[name])[1] for row in tokens()]
    kept = sown(name)
    for layer in range(2):
        own = kept["blocks"]["attention"] if "blocks" in kept else kept[f"block_{layer}"]["attention"]
        (scores,), (largest,) = own["attention_logits"], own["attention_logits_max"]
        if "blocks" in kept:
            scores, largest = scores[layer], largest[layer]
        wanted = np.stack([row[layer] for row in expected])
        np.testing.assert_allclose(scores, wanted, rtol=0, atol=2e-5)
        assert float(largest) == pytest.approx(np.abs(wanted).max(), rel=1e-5)


def test_a_coordinate_check_sees_every_tensor_of_a_block():
    kept = sown("defaults", capture_intermediates=True)
    for name in ("block_0", "block_1"):
        attention = kept[name]["attention"]
        assert {"query", "key", "value", "out", "attention_logits", "__call__"} <= attention.keys()
        assert {"up", "down", "attention_norm", "feed_forward_norm", "__call__"} <= kept[name].keys()
    assert {"embedding", "readout"} <= kept.keys()


def test_logits_are_computed_once_whether_or_not_they_are_kept():
    assert products(MODELS["defaults"], mutable=["intermediates"]) == 17
    assert products(MODELS["defaults"]) == 17


def operand_types(jaxpr):
    """The types that every matrix product multiplies."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield from (variable.aval.dtype for variable in equation.invars)
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(value, "eqns"):
                yield from operand_types(value)


@pytest.mark.parametrize("name", ["defaults", "all"])
def test_bfloat16_multiplies_in_it_and_gives_float32_logits_and_gradients(name):
    model = of(**OPTIONS[name], dtype="bfloat16")
    own = params(name)
    assert set(operand_types(jax.make_jaxpr(model.apply)({"params": own}, tokens()).jaxpr)) == {jnp.dtype(jnp.bfloat16)}
    scores = jax.jit(model.apply)({"params": own}, tokens())
    assert scores.dtype == np.float32
    assert {x.dtype for x in jax.tree.leaves(gradients(model, own))} == {jnp.dtype(jnp.float32)}
    # A rounding is off by 2^-9 at most, and some dozen lie between a token and its scores, in series: their sum bounds
    # the error; half a rounding of it must be there, or nothing was rounded.
    error = np.abs(scores - logits(tokens(), name)).max() / np.abs(logits(tokens(), name)).max()
    assert 2**-10 < error < 24 * 2**-9


def test_float32_rounds_nothing():
    assert set(operand_types(jax.make_jaxpr(MODELS["all"].apply)({"params": params("all")}, tokens()).jaxpr)) == {
        jnp.dtype(jnp.float32)
    }


@pytest.mark.parametrize("width", [32, 256])
def test_initial_spreads(width):
    model = Transformer(256, 64, width=width, layers=1, kv_heads=1)
    own = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 64), jnp.int32))["params"]
    block = own["block_0"]
    expected = {
        # Alike at every width.
        "embedding": (own["embedding"]["embedding"], 0.125),
        "positions": (own["positions"], 0.02),
        # By what a unit sums over.
        **{name: (block["attention"][name]["kernel"], width**-0.5) for name in ("query", "key", "value", "out")},
        "up": (block["up"]["kernel"], width**-0.5),
        "down": (block["down"]["kernel"], (4 * width) ** -0.5),
        "readout": (own["readout"]["kernel"], width**-0.5),
    }
    for name, (tensor, std) in expected.items():
        assert float(jnp.std(tensor)) == pytest.approx(std, rel=5 / np.sqrt(2 * tensor.size)), name


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"kv_heads": 1}, -2 * 2 * 3 * 4 * 16),
        ({"kv_heads": 4}, 0),
        ({"qk_norm": True}, 2 * 2 * 4),
        ({"rotary": True}, -CONTEXT * 16),
        ({"norm": "post"}, -16),
        ({"norm": "peri"}, 2 * 2 * 16),
        ({"tied": True}, -11 * 16),
        ({"scan_layers": True, "remat": True, "branch_scale": 0.5, "attention_scale": 1.0}, 0),
    ],
)
def test_what_an_option_adds_to_the_parameters(options, change):
    def size(model):
        return sum(x.size for x in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0), tokens())))

    assert size(of(**options)) - size(of()) == change


@pytest.mark.parametrize("width", [32, 64, 128, 256, 512, 1024, 2048, 4096])
def test_every_width_plans(width):
    for scan in (False, True):
        model = Transformer(256, 64, width=width, layers=3, heads=4, scan_layers=scan, rotary=True, tied=True)
        shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64), jnp.int32))
        # Four square matrices of attention, eight of the feed-forward layer and two norms; the table and the last norm.
        count = 3 * (12 * width**2 + 2 * width) + 257 * width
        assert sum(x.size for x in jax.tree.leaves(shapes)) == count
