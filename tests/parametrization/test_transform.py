"""Optimizers under a parametrization: plain at the base width, and by hand elsewhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy import optimizers
from lrstudy.optimizers import TABLE
from lrstudy.parametrization import ParamSpec, infer_specs, rules_of, transform
from lrstudy.parametrization.transform import scale_by_tree
from lrstudy.schedules import Cosine, Shifted, Tabulated

M = 4
SPECS = {
    "hidden/bias": ParamSpec("bias", 1, M),
    "hidden/kernel": ParamSpec("hidden", M, M),
    "input/kernel": ParamSpec("input", 1, M),
    "readout/kernel": ParamSpec("output", M, 1),
}
BASE_SPECS = {path: spec._replace(m_in=1, m_out=1) for path, spec in SPECS.items()}
SHAPES = {"hidden": {"bias": (8,), "kernel": (8, 8)}, "input": {"kernel": (5, 8)}, "readout": {"kernel": (8, 3)}}
ROWS = [name for name, row in TABLE.items() if row.scaled]


def tree(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s), jnp.float32), SHAPES, is_leaf=lambda s: type(s) is tuple
    )


def train(tx, steps=3, grads=None):
    """Parameters after a few updates with the same gradients."""

    def step(carry, grad):
        params, state = carry
        updates, state = optax.with_extra_args_support(tx).update(grad, state, params, value=jnp.float32(1))
        return (optax.apply_updates(params, updates), state), None

    grads = grads or jax.tree.map(lambda *g: jnp.stack(g), *(tree(10 + i) for i in range(steps)))
    params = tree(0)
    return jax.jit(lambda p, g: jax.lax.scan(step, (p, tx.init(p)), g)[0])(params, grads)


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ROWS)
def test_at_the_base_width_it_is_the_plain_optimizer_bit_for_bit(name):
    settings = {"weight_decay": 0.1} if "weight_decay" in TABLE[name].defaults else {}
    plain = TABLE[name].build(Cosine(0.1, 10), **{**TABLE[name].defaults, **settings})
    eps = TABLE[name].defaults.get("eps", 1e-8)
    assert_equal(train(transform(name, BASE_SPECS, Cosine(0.1, 10), eps=eps, **settings)), train(plain))


@pytest.mark.parametrize("name", ["adamw", "sgd", "lion", "momentum"])
def test_the_base_width_is_optax(name):
    plain = {
        "adamw": optax.adamw(0.1, weight_decay=0.2, mask=optimizers.decay_mask),
        "sgd": optax.sgd(0.1),
        "lion": optax.lion(0.1, weight_decay=0.2, mask=optimizers.decay_mask),
        "momentum": optax.sgd(0.1, momentum=0.9),
    }[name]
    settings = {"weight_decay": 0.2} if name in ("adamw", "lion") else {}
    assert_equal(train(transform(name, BASE_SPECS, 0.1, **settings))[0], train(plain)[0])


def adam_by_hand(grads, params, factors, eps, rate, decay):
    """Two moments and a ratio for every tensor, in float64."""
    result = {}
    for path, spec_rate in factors.items():
        module, leaf = path.split("/")
        p = np.asarray(params[module][leaf], np.float64)
        m = v = np.zeros_like(p)
        for t, grad in enumerate(np.asarray(grads[module][leaf], np.float64), 1):
            m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
            ratio = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + eps[path])
            p = p - rate * (spec_rate * ratio + decay * (p.ndim > 1) * p)
        result[path] = p
    return result


@pytest.mark.parametrize("scale_eps", [True, False])
@pytest.mark.parametrize("name", ["mup", "sp_per_layer", "ntk"])
def test_every_tensor_has_its_rate_epsilon_and_decay(name, scale_eps):
    """Adam's epsilon of the size of the gradients, so that its factor shows."""
    grads = jax.tree.map(lambda *g: jnp.stack(g), *(tree(10 + i) for i in range(3)))
    tx = transform("adamw", SPECS, 0.1, parametrization=name, eps=0.5, weight_decay=0.2, scale_eps=scale_eps)
    found, _ = train(tx, grads=grads)
    rule = rules_of("adamw", SPECS, parametrization=name)
    factors = {path: rule[path].lr for path in SPECS}
    eps = {path: 0.5 * (rule[path].eps if scale_eps else 1) for path in SPECS}
    expected = adam_by_hand(grads, tree(0), factors, eps, 0.1, 0.2)
    for path, value in expected.items():
        module, leaf = path.split("/")
        # Three updates of some twenty float32 operations on numbers below 4.
        np.testing.assert_allclose(found[module][leaf], value, rtol=0, atol=2e-5)


def after_one_step_without_gradients(**settings):
    tx = transform("adamw", SPECS, 0.1, weight_decay=0.5, **settings)
    params = tree(0)
    updates, _ = jax.jit(tx.update)(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    moved = optax.apply_updates(params, updates)
    return {
        p: np.asarray(moved[p.split("/")[0]][p.split("/")[1]] / params[p.split("/")[0]][p.split("/")[1]]) for p in SPECS
    }


def test_a_coupled_decay_is_that_of_the_base_model_in_every_tensor():
    for ratio in after_one_step_without_gradients(decay_mask="all").values():
        np.testing.assert_allclose(ratio, 1 - 0.1 * 0.5, rtol=3e-7)


def test_an_independent_decay_is_the_schedules_share_of_its_peak():
    tx = {"decay": "independent", "decay_mask": "all"}
    for ratio in after_one_step_without_gradients(**tx).values():
        np.testing.assert_allclose(ratio, 0.5, rtol=3e-7)
    half = transform("adamw", SPECS, lambda count: 0.05, weight_decay=0.5, peak=0.1, **tx)
    params = tree(0)
    updates, _ = half.update(jax.tree.map(jnp.zeros_like, params), half.init(params), params)
    for update, param in zip(jax.tree.leaves(updates), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(update, -0.25 * param, rtol=3e-7)


def test_kernels_alone_decay_by_default():
    ratios = after_one_step_without_gradients()
    np.testing.assert_array_equal(ratios["hidden/bias"], 1)
    for path in ("hidden/kernel", "input/kernel", "readout/kernel"):
        np.testing.assert_allclose(ratios[path], 0.95, rtol=3e-7)


def test_a_factor_after_the_decay_would_let_it_fade():
    """The order that other projects have: scaling what adamw returns decays hidden tensors by 1 - rate decay / m."""
    factors = {path: rule.lr for path, rule in rules_of("adamw", SPECS, parametrization="mup").items()}
    wrong = optax.chain(optax.adamw(0.1, weight_decay=0.5), scale_by_tree(factors))
    params = tree(0)
    updates, _ = wrong.update(jax.tree.map(jnp.zeros_like, params), wrong.init(params), params)
    np.testing.assert_allclose(updates["hidden"]["kernel"], -0.1 * 0.5 / M * params["hidden"]["kernel"], rtol=3e-7)


def test_a_decay_may_fall_with_the_width():
    ratios = after_one_step_without_gradients(decay_exponent=-1.0, decay_mask="all")
    np.testing.assert_allclose(ratios["hidden/kernel"], 1 - 0.05 / M, rtol=3e-7)
    np.testing.assert_allclose(ratios["input/kernel"], 0.95, rtol=3e-7)


@pytest.mark.parametrize("name", ["sgd", "adam", "momentum", "hypergradient", "plateau"])
def test_rows_without_a_decay_of_their_own_can_decay_too(name):
    params = tree(0)
    tx = transform(name, SPECS, 0.1, weight_decay=0.5)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optax.with_extra_args_support(tx).update(zeros, tx.init(params), params, value=jnp.float32(1))
    np.testing.assert_allclose(updates["hidden"]["kernel"], -0.05 * params["hidden"]["kernel"], rtol=3e-7)
    np.testing.assert_array_equal(updates["hidden"]["bias"], 0)


@pytest.mark.parametrize("name", ["sgd", "lion", "hypergradient", "plateau", "momentum"])
def test_factors_of_the_rate_multiply_the_direction(name):
    plain = transform(name, BASE_SPECS, 0.1)
    scaled = transform(name, SPECS, 0.1, parametrization="sp_per_layer")
    found = rules_of(name, SPECS, parametrization="sp_per_layer")
    params, grads = tree(0), tree(1)
    one, other = (
        optax.with_extra_args_support(tx).update(grads, tx.init(params), params, value=jnp.float32(1))[0]
        for tx in (plain, scaled)
    )
    for path, rule in found.items():
        module, leaf = path.split("/")
        np.testing.assert_allclose(other[module][leaf], one[module][leaf] * rule.lr, rtol=3e-7)


def test_numbers_may_be_traced_and_lanes_are_batched():
    @jax.jit
    @jax.vmap
    def moved(rate, decay, eps):
        tx = transform("adamw", SPECS, Cosine(rate, 10), weight_decay=decay, eps=eps, decay="independent")
        return train(tx)[0]["hidden"]["kernel"]

    lanes = moved(jnp.array([0.1, 0.2]), jnp.array([0.0, 0.5]), jnp.array([1e-8, 1e-2]))
    for lane, (rate, decay, eps) in enumerate([(0.1, 0.0, 1e-8), (0.2, 0.5, 1e-2)]):
        own = train(transform("adamw", SPECS, Cosine(rate, 10), weight_decay=decay, eps=eps, decay="independent"))[0]
        # Other programs fuse in other places: three updates of twenty operations.
        np.testing.assert_allclose(lanes[lane], own["hidden"]["kernel"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "build",
    [
        lambda: transform("adamm", SPECS, 0.1),
        lambda: transform("adamw", SPECS, 0.1, decay="decoupled"),
        lambda: transform("adamw", SPECS, 0.1, decay_mask="matrices"),
        lambda: transform("adamw", SPECS, 0.1, parametrization="mu"),
    ],
)
def test_unknown_names_are_refused(build):
    with pytest.raises(ValueError, match="must be one of"):
        build()


def test_an_independent_decay_needs_a_peak():
    independent = functools.partial(transform, "adamw", SPECS, weight_decay=0.1, decay="independent")
    with pytest.raises(ValueError, match="peak must be given for an independent decay under Tabulated"):
        independent(Tabulated((0.1, 0.2)))
    independent(Tabulated((0.1, 0.2)), peak=0.2)
    independent(Shifted(Cosine(0.1, 10), 3))


def test_a_parameter_without_a_spec_is_named():
    tx = transform("sgd", {**SPECS, "other/kernel": SPECS["hidden/kernel"]}, 0.1)
    params = {"unknown": {"kernel": jnp.ones((2, 2))}}
    with pytest.raises(ValueError, match="specs must hold every parameter, got none for 'unknown/kernel'"):
        tx.init(params)
    # Where no factor acts either.
    with pytest.raises(ValueError, match="specs must hold every parameter"):
        transform("adamw", {}, 0.1).init(params)


def test_muon_must_know_the_readout_too():
    specs = {"head/kernel": SPECS["readout/kernel"]}
    with pytest.raises(ValueError, match=r"a readout must have one of the names .* under muon, got 'head/kernel'"):
        transform("muon", specs, 0.1)
    assert transform("adamw", specs, 0.1)


def test_gains_that_are_not_called_so_are_known_by_their_role():
    params = {"blocks": {"gamma": jnp.ones((3, 4)), "up": {"kernel": jnp.ones((3, 4, 4))}}}
    shapes = {"blocks": {"gamma": jnp.ones((3, 2)), "up": {"kernel": jnp.ones((3, 2, 2))}}}
    specs = infer_specs(shapes, params, [("gamma", {"role": "norm"})])
    for decay in ("coupled", "independent"):
        tx = transform("adamw", specs, 0.1, weight_decay=0.5, decay=decay)
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        np.testing.assert_array_equal(updates["blocks"]["gamma"], 0)
        np.testing.assert_allclose(updates["blocks"]["up"]["kernel"], -0.05 if decay == "coupled" else -0.5, rtol=3e-7)


@pytest.mark.parametrize("rate", [0.0, jnp.float32(0)])
def test_an_independent_decay_under_a_rate_of_zero_is_none(rate):
    tx = transform("adamw", SPECS, rate, weight_decay=0.5, decay="independent")
    params = tree(0)
    updates, _ = jax.jit(tx.update)(tree(1), tx.init(params), params)
    for update in jax.tree.leaves(updates):
        np.testing.assert_array_equal(update, 0)


def test_a_decay_needs_the_parameters():
    tx = transform("sgd", SPECS, 0.1, weight_decay=0.1)
    with pytest.raises(ValueError, match="params must be given"):
        tx.update(tree(1), tx.init(tree(0)))


def test_scanned_layers_keep_one_factor_a_tensor():
    shapes = {"blocks": {"up": {"kernel": jnp.ones((3, 2, 2))}, "norm": {"scale": jnp.ones((3, 2))}}}
    wide = {"blocks": {"up": {"kernel": jnp.ones((3, 4, 4))}, "norm": {"scale": jnp.ones((3, 4))}}}
    specs = infer_specs(shapes, wide, [("^blocks", {"in_stack": True})])
    tx = transform("adamw", specs, 1.0, weight_decay=1.0, depth_multiplier=2, alpha=1.0)
    zeros = jax.tree.map(jnp.zeros_like, wide)
    updates, _ = tx.update(zeros, tx.init(wide), wide)
    np.testing.assert_array_equal(updates["blocks"]["up"]["kernel"], -1)
    np.testing.assert_array_equal(updates["blocks"]["norm"]["scale"], 0)
