"""What is read off two sets of shapes, and what is refused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from lrstudy.models import MLP, Transformer
from lrstudy.parametrization import ParamSpec, SpecError, infer_specs

READOUT = ("readout", {"role": "output"})


def tree(**shapes):
    """``a__kernel=(2, 3)`` is the shape of ``a/kernel``."""
    found = {}
    for name, shape in shapes.items():
        module, _, leaf = name.rpartition("__")
        found.setdefault(module, {})[leaf] = jax.ShapeDtypeStruct(shape, jnp.float32)
    return found


def shapes_of(module, inputs):
    return jax.eval_shape(module.init, jax.random.key(0), inputs)["params"]


def spec_of(base, target, overrides=(), leaf="kernel"):
    (found,) = infer_specs(tree(**{f"a__{leaf}": base}), tree(**{f"a__{leaf}": target}), overrides).values()
    return found


@pytest.mark.parametrize(
    ("leaf", "base", "target", "expected"),
    [
        ("kernel", (64, 8), (64, 32), ParamSpec("input", 1, 4)),
        ("embedding", (256, 8), (256, 32), ParamSpec("input", 1, 4)),
        ("kernel", (8, 8), (32, 32), ParamSpec("hidden", 4, 4)),
        ("kernel", (8, 16), (32, 128), ParamSpec("hidden", 4, 8)),
        ("bias", (8,), (32,), ParamSpec("bias", 1, 4)),
        ("scale", (8,), (32,), ParamSpec("norm", 1, 4)),
        ("bias", (10,), (10,), ParamSpec("scalar", 1, 1)),
        ("temperature", (), (), ParamSpec("scalar", 1, 1)),
        # Query and output of attention: heads that grow wider, heads that grow in number.
        ("kernel", (8, 2, 4), (32, 2, 16), ParamSpec("hidden", 4, 4)),
        ("kernel", (2, 4, 8), (2, 16, 32), ParamSpec("hidden", 4, 4)),
        ("kernel", (8, 2, 4), (32, 8, 4), ParamSpec("hidden", 4, 4)),
        ("kernel", (2, 4, 8), (8, 4, 32), ParamSpec("hidden", 4, 4)),
        # Heads that grow in number and width.
        ("kernel", (8, 2, 4), (32, 4, 8), ParamSpec("hidden", 4, 4)),
        ("kernel", (2, 4, 8), (4, 8, 32), ParamSpec("hidden", 4, 4)),
        ("bias", (2, 4), (4, 8), ParamSpec("bias", 1, 4)),
        # Stacked layers, and a norm's gain among them, which looks like a matrix.
        ("kernel", (6, 8, 16), (6, 32, 64), ParamSpec("hidden", 4, 4)),
        ("scale", (6, 8), (6, 32), ParamSpec("norm", 1, 4)),
        # Convolutions.
        ("kernel", (3, 3, 1, 8), (3, 3, 1, 32), ParamSpec("input", 1, 4)),
        ("kernel", (3, 3, 8, 8), (3, 3, 32, 32), ParamSpec("hidden", 4, 4)),
    ],
)
def test_shapes_say_what_a_tensor_is(leaf, base, target, expected):
    assert spec_of(base, target, leaf=leaf) == expected


def test_flax_kernels_are_in_by_out():
    """A port of mup takes the last axis for the fan-in, which is wrong as soon as the sides grow differently."""
    assert spec_of((8, 8), (16, 64)) == ParamSpec("hidden", 2, 8)


def test_the_readout_has_to_be_named():
    shapes = tree(readout__kernel=(8, 10)), tree(readout__kernel=(32, 10))
    with pytest.raises(
        SpecError, match=r'readout/kernel: its fan-in grew 4-fold .* \("readout/kernel", {"role": "output"}\)'
    ):
        infer_specs(*shapes)
    assert infer_specs(*shapes, [READOUT]) == {"readout/kernel": ParamSpec("output", 4, 1)}


def test_a_forgotten_width_is_found():
    """A feed-forward layer whose hidden width was not varied looks like a readout."""
    # What to do is named in the order of what is likely.
    message = r"up/kernel: its fan-in grew 4-fold and its fan-out did not\. Let the base .* hidden, .* or the readout"
    with pytest.raises(SpecError, match=message):
        infer_specs(tree(up__kernel=(8, 64), down__kernel=(64, 8)), tree(up__kernel=(32, 64), down__kernel=(64, 32)))


def test_a_single_key_value_head_of_fixed_size_needs_an_override():
    base, target = tree(key__kernel=(8, 1, 4)), tree(key__kernel=(32, 1, 4))
    with pytest.raises(SpecError, match="key/kernel: its fan-in grew 4-fold"):
        infer_specs(base, target)
    found = infer_specs(base, target, [("key", {"role": "hidden"})])
    assert found["key/kernel"] == ParamSpec("hidden", 4, 1)


def test_multi_query_attention_of_flax_is_refused_and_of_the_house_is_overridden():
    class Attention(nn.Module):
        heads: int

        @nn.compact
        def __call__(self, x):
            return nn.DenseGeneral((1, 4), name="key")(x)

    with pytest.raises(SpecError, match="key/kernel"):
        infer_specs(*(shapes_of(Attention(w // 4), jnp.zeros((1, w))) for w in (8, 16)))

    def model(width):
        return Transformer(11, 8, width=width, heads=width // 4, kv_heads=1)

    found = infer_specs(
        *(shapes_of(model(w), jnp.zeros((1, 8), jnp.int32)) for w in (8, 16)), model(16).spec_overrides()
    )
    assert found["block_0/attention/key/kernel"] == ParamSpec("hidden", 2, 1, in_stack=True)


def test_three_axes_that_grow_without_a_balance_are_ambiguous():
    with pytest.raises(SpecError, match=r"3 axes of \(16, 16, 16\) grew, by 2, 2, 2, .*in_axes"):
        spec_of((8, 8, 8), (16, 16, 16))
    assert spec_of((8, 8, 8), (16, 16, 16), [("a", {"in_axes": 2})]) == ParamSpec("hidden", 4, 2)
    assert spec_of((8, 8, 8), (16, 16, 16), [("a", {"m_in": 4, "m_out": 2, "role": "hidden"})]) == ParamSpec(
        "hidden", 4, 2
    )
    with pytest.raises(SpecError, match=r"in_axes must be in \[0, 3\], got 4"):
        spec_of((8, 8, 8), (16, 16, 16), [("a", {"in_axes": 4})])


def test_a_role_that_contradicts_the_shapes_is_refused():
    """One that a pattern catches by accident, such as a norm beside the readout, is found too."""
    hidden, into, out = ((8, 8), (16, 16)), ((5, 8), (5, 16)), ((8, 5), (16, 5))
    for shapes, role, message in (
        (hidden, "output", "a/kernel: m_out must be 1 for role output, got 2"),
        (into, "output", "a/kernel: m_out must be 1 for role output, got 2"),
        (out, "input", "a/kernel: m_in must be 1 for role input, got 2"),
        (out, "bias", "a/kernel: m_in must be 1 for role bias, got 2"),
        (into, "scalar", "a/kernel: m_out must be 1 for role scalar, got 2"),
    ):
        with pytest.raises(SpecError, match=message):
            spec_of(*shapes, [("a", {"role": role})])
    base, target = (tree(readout__kernel=(n, 5), readout_norm__scale=(n,)) for n in (8, 16))
    with pytest.raises(SpecError, match="readout_norm/scale: m_out must be 1 for role output, got 2"):
        infer_specs(base, target, [READOUT])


@pytest.mark.parametrize("value", [0, -2, float("nan"), float("inf"), "2"])
def test_a_growth_that_is_no_positive_number_is_refused(value):
    with pytest.raises(SpecError, match="a/kernel: m_in must be a finite positive number, got"):
        spec_of((8, 8), (16, 16), [("a", {"m_in": value})])


def test_both_sides_given_decide_the_role():
    assert spec_of((8, 8, 8), (16, 16, 16), [("a", {"m_in": 4, "m_out": 2})]) == ParamSpec("hidden", 4, 2)


def test_stacked_layers_must_be_as_many():
    """Growth of the layers' axis would be taken for that of the fan-in."""
    shapes = [{"blocks": tree(up__kernel=(n, 4 * n, 4 * n))} for n in (1, 2)]
    with pytest.raises(SpecError, match="blocks/up/kernel: base and target must stack as many layers, got 1 and 2"):
        infer_specs(*shapes)


def test_later_overrides_win_and_fields_add_up():
    overrides = [("a", {"role": "input", "in_stack": True}), ("kernel$", {"role": "hidden"})]
    assert spec_of((8, 8), (16, 16), overrides) == ParamSpec("hidden", 2, 2, in_stack=True)


@pytest.mark.parametrize(
    ("base", "target", "overrides", "message"),
    [
        ({"a__kernel": (8, 8)}, {"b__kernel": (8, 8)}, [], "must hold the same tensors, got 'a/kernel' in one of them"),
        ({"a__kernel": (8, 8)}, {"a__kernel": (8, 8, 8)}, [], r"a/kernel: .* same rank, got \(8, 8\) and \(8, 8, 8\)"),
        ({"a__kernel": (0, 8)}, {"a__kernel": (8, 8)}, [], "a/kernel: shapes must not be empty"),
        (
            {"a__kernel": (8, 8)},
            {"a__kernel": (8, 8)},
            [READOUT],
            "must match a tensor, got 'readout'; there are a/kernel",
        ),
        ({"a__kernel": (8, 8)}, {"a__kernel": (8, 8)}, [("(", {})], r"must be a regular expression, got '\('"),
        (
            {"a__kernel": (8, 8)},
            {"a__kernel": (8, 8)},
            [("a", {"in_axes": "1"})],
            r"in_axes must be in \[0, 2\], got '1'",
        ),
        (
            {"a__kernel": (8, 8)},
            {"a__kernel": (8, 8)},
            [("a", {"tied": "yes"})],
            "tied must be true or false, got 'yes'",
        ),
        ({"a__kernel": (8, 8)}, {"a__kernel": (8, 8)}, [("a", {"rule": "output"})], "must set fields of .*got 'rule'"),
        ({"a__kernel": (8, 8)}, {"a__kernel": (8, 8)}, [("a", {"role": "head"})], "role must be one of .*got 'head'"),
    ],
)
def test_bad_shapes_and_overrides_are_refused(base, target, overrides, message):
    with pytest.raises(SpecError, match=message):
        infer_specs(tree(**base), tree(**target), overrides)


def test_nothing_is_stored_with_the_parameters():
    """Arrays serve as well as shapes, and come back as they were."""
    params = MLP(3, width=4).init(jax.random.key(0), jnp.zeros((1, 5)))["params"]
    before = jax.tree.structure(params)
    specs = infer_specs(params, shapes_of(MLP(3, width=8), jnp.zeros((1, 5))), [READOUT_KERNEL])
    assert jax.tree.structure(params) == before
    assert specs["readout/bias"] == ParamSpec("scalar", 1, 1)
    assert {type(leaf).__name__ for leaf in jax.tree.leaves(params)} == {"ArrayImpl"}


READOUT_KERNEL = ("readout/kernel", {"role": "output"})


@pytest.mark.parametrize(
    "options", [{}, {"scan_layers": True, "tied": True}, {"kv_heads": 2, "rotary": True, "norm": "peri"}]
)
def test_every_tensor_of_the_transformer_has_its_role(options):
    def model(width):
        return Transformer(11, 8, width=width, heads=4, **options)

    found = infer_specs(
        *(shapes_of(model(w), jnp.zeros((1, 8), jnp.int32)) for w in (16, 64)), model(64).spec_overrides()
    )
    for path, spec in found.items():
        leaf = path.rpartition("/")[2]
        expected = {"scale": "norm", "embedding": "input", "positions": "input"}.get(leaf, "hidden")
        assert spec.role == ("output" if path == "readout/kernel" else expected), path
        assert spec.in_stack == path.startswith("block"), path
        assert spec.tied == (path == "embedding/embedding" and options.get("tied", False)), path
        assert {spec.m_in, spec.m_out} <= {1, 4}, path
