"""Models under a parametrization: what they start from and what they compute."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import MLP, ConvNet, ResNet, Transformer
from lrstudy.parametrization import TABLE, Parametrization, Parametrized, rules_of
from lrstudy.parametrization.specs import flat

INPUTS = {"mlp": jnp.zeros((1, 64)), "image": jnp.zeros((1, 64)), "text": jnp.zeros((1, 8), jnp.int32)}
EVERY = {
    "mlp": (MLP(10, width=32), INPUTS["mlp"]),
    "convnet": (ConvNet(10, width=32), INPUTS["image"]),
    "resnet": (ResNet(10, width=32), INPUTS["image"]),
    "transformer": (Transformer(11, 8, width=32, heads=4), INPUTS["text"]),
    "tied": (Transformer(11, 8, width=32, heads=4, tied=True, scan_layers=True, norm="peri"), INPUTS["text"]),
}


def scaled(model, inputs, name="mup", **settings):
    def shapes(module):
        return jax.eval_shape(module.init, jax.random.key(0), inputs)["params"]

    return TABLE[name](**{"zero_readout": False, "zero_query": False, **settings}).scale(model, shapes)


def params_of(model, inputs):
    return flat(jax.jit(model.init)(jax.random.key(3), inputs)["params"])


@pytest.mark.parametrize("which", EVERY)
@pytest.mark.parametrize("name", TABLE)
def test_factors_are_those_of_the_rules_and_one_in_the_base_model(which, name):
    model, inputs = EVERY[which]
    base = scaled(model, inputs, name, base_width=32, base_layers=None)
    assert {factor for _, *factors in base.model.factors for factor in factors} == {1.0}
    own = scaled(model, inputs, name, base_width=8)
    found = rules_of("adam", own.specs, parametrization=name)
    assert own.model.factors == tuple((path, rule.mult, rule.init) for path, rule in found.items())


@pytest.mark.parametrize("which", ["mlp", "tied"])
def test_the_base_model_is_the_model_itself(which):
    model, inputs = EVERY[which]
    own = scaled(model, inputs, base_width=32).model
    params = params_of(own, inputs)
    for path, leaf in params_of(model, inputs).items():
        np.testing.assert_array_equal(params[path], leaf)
    variables = jax.jit(model.init)(jax.random.key(3), inputs)
    np.testing.assert_array_equal(jax.jit(own.apply)(variables, inputs), jax.jit(model.apply)(variables, inputs))


@pytest.mark.parametrize(("which", "name"), [("mlp", "mup"), ("mlp", "ntk"), ("tied", "mean_field")])
def test_initial_tensors_and_what_the_module_sees_carry_their_factors(which, name):
    model, inputs = EVERY[which]
    own = scaled(model, inputs, name, base_width=8).model
    one, other = params_of(own, inputs), params_of(model, inputs)
    effective = flat(own.effective(jax.jit(own.init)(jax.random.key(3), inputs)["params"]))
    for path, mult, init in own.factors:
        # One multiplication in float32.
        np.testing.assert_allclose(one[path], other[path] * init, rtol=2e-7)
        np.testing.assert_allclose(effective[path], one[path] * mult, rtol=2e-7)


def test_the_two_classes_start_from_two_functions():
    """Every member of a class computes the same function at initialisation."""
    model, inputs = EVERY["mlp"]
    x = jax.random.normal(jax.random.key(1), (5, 64))

    def function(name, **settings):
        own = scaled(model, inputs, name, base_width=8, **settings).model
        return np.asarray(jax.jit(lambda key: own.apply(own.init(key, inputs), x))(jax.random.key(3)))

    feature, kernel = function("mup"), function("sp")
    # Four products of float32 on the way, relative to scores of size one.
    for other in (function("mup", form="t3"), function("mup", form="t9"), function("mean_field")):
        np.testing.assert_allclose(other, feature, rtol=0, atol=5e-6)
    for name in ("sp_per_layer", "ntk", "ntk_per_layer"):
        np.testing.assert_allclose(function(name), kernel, rtol=0, atol=5e-6)
    # The readout of size 1/m in place of m^-1/2.
    np.testing.assert_allclose(feature, kernel / 2, rtol=0, atol=5e-6)


def test_readout_and_query_start_at_zero():
    model, inputs = EVERY["transformer"]
    own = scaled(model, inputs, base_width=8, zero_readout=True, zero_query=True)
    zero = {path for path, leaf in params_of(own.model, inputs).items() if not np.any(leaf)}
    assert zero == {"readout/kernel", "block_0/attention/query/kernel", "block_1/attention/query/kernel"}
    normed = scaled(Transformer(11, 8, width=32, heads=4, qk_norm=True), inputs, zero_query=True, zero_readout=True)
    assert normed.model.zero == ("readout/kernel",)


def test_the_readout_that_starts_at_zero_is_known_by_its_role():
    class Model(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            return nn.Dense(3, name="head")(nn.Dense(self.width, name="readout_width")(x))

        @nn.nowrap
        def spec_overrides(self):
            return (("^head/kernel$", {"role": "output"}),)

    for base_width in (4, 8):
        found = params_of(
            scaled(Model(8), INPUTS["mlp"], base_width=base_width, zero_readout=True).model, INPUTS["mlp"]
        )
        assert {path for path, leaf in found.items() if path.endswith("kernel") and not np.any(leaf)} == {"head/kernel"}


def test_options_of_init_reach_the_module():
    class Model(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x, *, twice):
            x = nn.Dense(self.width, name="one")(x)
            return nn.Dense(self.width, name="two")(x) if twice else x

    inputs = INPUTS["mlp"]
    shapes = jax.eval_shape(lambda key: Model(4).init(key, inputs, twice=True), jax.random.key(0))["params"]
    own = TABLE["mup"](base_width=4).scale(Model(4), lambda module: shapes).model
    assert set(jax.eval_shape(lambda key: own.init(key, inputs, twice=True), jax.random.key(0))["params"]) == {
        "one",
        "two",
    }


def test_the_model_gets_its_scales():
    model, inputs = EVERY["transformer"]
    assert scaled(model, inputs, base_width=16).model.module.attention_scale == 4**-0.5 * 4 / 8
    assert scaled(model, inputs, base_width=16, base_heads=2).model.module.attention_scale == 8**-0.5
    assert scaled(model, inputs, "sp", base_width=16).model.module.attention_scale == 8**-0.5
    deep = scaled(model, inputs, base_width=32, base_layers=1, alpha=0.5)
    assert deep.model.module.branch_scale == 2**-0.5
    assert deep.depth_multiplier == 2
    tied, inputs = EVERY["tied"]
    assert scaled(tied, inputs, base_width=8).model.module.logit_scale == 0.25


def test_a_model_under_a_parametrization_is_a_static_value():
    model, inputs = EVERY["mlp"]
    one, other = (scaled(model, inputs, base_width=8).model for _ in range(2))
    assert (one, hash(one)) == (other, hash(other))
    assert one != scaled(model, inputs, base_width=16).model
    assert isinstance(one, Parametrized)


def test_intermediates_are_those_of_the_module():
    model, inputs = EVERY["transformer"]
    own = scaled(model, inputs, base_width=8).model

    def both(key):
        return own.apply(own.init(key, inputs), inputs, mutable=["intermediates"])

    _, found = jax.eval_shape(both, jax.random.key(0))
    assert "block_0" in found["intermediates"]


@pytest.mark.parametrize(
    ("which", "settings", "message"),
    [
        ("convnet", {"base_layers": 1}, r"parametrization\.base_layers must be left out: ConvNet has no branch_scale"),
        ("mlp", {"base_layers": 1}, r"parametrization\.base_layers must be left out: MLP has no branch_scale"),
        ("mlp", {"base_heads": 2}, r"parametrization\.base_heads must be left out: MLP has no heads"),
        (
            "transformer",
            {"base_width": 30},
            r"parametrization\.base_width must give a base model: model\.heads must divide",
        ),
    ],
)
def test_a_base_model_that_cannot_be_is_refused(which, settings, message):
    with pytest.raises(ValueError, match=message):
        scaled(*EVERY[which], **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_width": 0}, "base_width must be an int of at least 1, got 0"),
        ({"base_layers": 0}, "base_layers must be an int of at least 1, got 0"),
        ({"alpha": float("nan")}, "alpha must be finite, got nan"),
        ({"decay_exponent": float("inf")}, "decay_exponent must be finite, got inf"),
        ({"decay": "decoupled"}, "decay must be one of .* got 'decoupled'"),
        ({"form": "t8"}, "form must be one of .* got 't8'"),
    ],
)
def test_bad_fields_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TABLE["mup"](**settings)


def test_the_table_is_that_of_the_rules():
    from lrstudy.parametrization import PARAMETRIZATIONS

    assert tuple(TABLE) == PARAMETRIZATIONS
    assert all(issubclass(row, Parametrization) for row in TABLE.values())
