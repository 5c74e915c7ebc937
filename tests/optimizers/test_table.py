"""Updates against the formulas of the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import TABLE, decay_mask, effective_lr
from tests.optimizers.surroundings import surroundings

RNG = np.random.default_rng(0)
PARAMS = {
    "bias": jnp.float32(RNG.normal(size=3)),
    "kernel": jnp.float32(RNG.normal(size=(3, 2))),
    "scale": jnp.float32(RNG.normal()),
    "stack": jnp.float32(RNG.normal(size=(2, 2, 2))),
}
MATRICES = {"kernel", "stack"}
GRADS = [{k: jnp.float32(RNG.normal(size=v.shape)) for k, v in PARAMS.items()} for _ in range(4)]


def updates_of(name, learning_rate, **changed):
    """The updates of all gradients in turn, at parameters that stay where they are."""
    transform = TABLE[name].build(learning_rate, **{**TABLE[name].defaults, **changed})
    state, updates, update = transform.init(PARAMS), [], jax.jit(transform.update)
    for grads in GRADS:
        step, state = update(grads, state, PARAMS)
        updates.append({k: np.asarray(v) for k, v in step.items()})
    return updates


def double(tree):
    return {k: np.asarray(v, np.float64) for k, v in tree.items()}


@pytest.mark.parametrize("rate", [0.1, 3.0, 1e-20])
def test_sgd_is_the_rate_times_the_gradient(rate):
    for update, grads in zip(updates_of("sgd", rate), GRADS, strict=True):
        for k, g in grads.items():
            # One product, so one rounding: equal to the last bit.
            np.testing.assert_array_equal(update[k], -np.float32(rate) * np.asarray(g))


def test_the_rate_scales_the_update_of_sgd_exactly():
    base = updates_of("sgd", 0.1)
    # Powers of two do not round.
    for power in (-3, 1, 10):
        for update, reference in zip(updates_of("sgd", 0.1 * 2.0**power), base, strict=True):
            for k, value in update.items():
                np.testing.assert_array_equal(value, reference[k] * np.float32(2.0**power))


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum(nesterov):
    rate, momentum = 0.1, 0.8
    trace = dict.fromkeys(PARAMS, 0.0)
    for update, grads in zip(updates_of("momentum", rate, momentum=momentum, nesterov=nesterov), GRADS, strict=True):
        for k, g in double(grads).items():
            trace[k] = momentum * trace[k] + g
            direction = g + momentum * trace[k] if nesterov else trace[k]
            # A sum of at most five terms of size one in float32.
            np.testing.assert_allclose(update[k], -rate * direction, rtol=0, atol=rate * 2e-6)


def adam(rate, b1, b2, eps):
    """Algorithm 1 of Kingma & Ba 2015 in float64."""
    mean, square = dict.fromkeys(PARAMS, 0.0), dict.fromkeys(PARAMS, 0.0)
    for t, grads in enumerate(GRADS, start=1):
        update = {}
        for k, g in double(grads).items():
            mean[k] = b1 * mean[k] + (1 - b1) * g
            square[k] = b2 * square[k] + (1 - b2) * g * g
            update[k] = -rate * mean[k] / (1 - b1**t) / (np.sqrt(square[k] / (1 - b2**t)) + eps)
        yield update


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("numbers", [{}, {"b1": 0.5, "b2": 0.75, "eps": 0.125}])
def test_adam(name, numbers):
    rate = 0.01
    undecayed = {"weight_decay": 0.0} if name == "adamw" else {}
    expected = adam(rate, **{"b1": 0.9, "b2": 0.999, "eps": 1e-8, **numbers})
    for update, reference in zip(updates_of(name, rate, **numbers, **undecayed), expected, strict=True):
        for k, value in update.items():
            # 1 - b2 in float32 is off by half a unit of b2, 3e-8 / 0.001 of itself, and by half of that under the root;
            # updates are at most a few times the rate.
            np.testing.assert_allclose(value, reference[k], rtol=0, atol=rate * 5e-5)


@pytest.mark.parametrize("decay", [1e-4, 0.5])
def test_adamw_decays_matrices_only_and_apart_from_the_gradient(decay):
    rate = 0.1
    for update, plain in zip(updates_of("adamw", rate, weight_decay=decay), updates_of("adam", rate), strict=True):
        for k, value in update.items():
            if k in MATRICES:
                # Float32 rounds sums of size one at 6e-8, three times.
                decayed = plain[k] - rate * decay * np.asarray(PARAMS[k], np.float64)
                np.testing.assert_allclose(value, decayed, rtol=0, atol=rate * 2e-7 * 5)
            else:
                np.testing.assert_array_equal(value, plain[k])


def test_lion_takes_the_published_steps():
    transform = TABLE["lion"].build(0.1, b1=0.9, b2=0.99, weight_decay=0.01)
    params = {"kernel": jnp.float32([[3, 4]])}
    state = transform.init(params)
    expected = [[2.897, 3.996], [2.994103, 3.892004], [3.091108897, 3.788111996]]
    for grad, after in zip([[0.6, 0], [-0.1, 0.2], [-0.1, 0]], expected, strict=True):
        updates, state = transform.update({"kernel": jnp.float32([grad])}, state, params)
        params = optax.apply_updates(params, updates)
        # Numbers of size four in float32, rounded twice a step.
        np.testing.assert_allclose(params["kernel"], [after], rtol=0, atol=2e-6)


@pytest.mark.parametrize("settings", [{}, {"b1": 0.5, "b2": 0.75, "weight_decay": 0.5}])
def test_lion_is_that_of_optax(settings):
    plain = optax.lion(0.1, **{"b1": 0.9, "b2": 0.99, "weight_decay": 0.0, **settings}, mask=decay_mask)
    state, update = plain.init(PARAMS), jax.jit(plain.update)
    for grads, ours in zip(GRADS, updates_of("lion", 0.1, **settings), strict=True):
        expected, state = update(grads, state, PARAMS)
        for k, value in ours.items():
            np.testing.assert_array_equal(value, expected[k])


@pytest.mark.parametrize("factored", [128, 2])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("settings", [{}, {"decay_rate": 0.5, "clipping_threshold": 0.5}])
def test_adafactor_without_decay_is_that_of_optax(factored, scaled, settings):
    settings = {**settings, "min_dim_size_to_factor": factored, "multiply_by_parameter_scale": scaled}
    plain = optax.adafactor(0.1, **settings)
    state, update = plain.init(PARAMS), jax.jit(plain.update)
    for grads, ours in zip(GRADS, updates_of("adafactor", 0.1, **settings), strict=True):
        expected, state = update(grads, state, PARAMS)
        for k, value in ours.items():
            # The rate is multiplied in before the parameter's scale there, after it here: one rounding each.
            np.testing.assert_allclose(value, expected[k], rtol=3e-6, atol=0)


def test_adafactors_decay_follows_the_rate_which_optaxs_does_not():
    rate, decay = 0.1, 0.5
    for update, plain in zip(
        updates_of("adafactor", rate, weight_decay=decay), updates_of("adafactor", rate), strict=True
    ):
        for k, value in update.items():
            # A sum of two numbers of at most size one.
            decayed = plain[k] - rate * decay * np.asarray(PARAMS[k]) * (k in MATRICES)
            np.testing.assert_allclose(value, decayed, rtol=0, atol=2e-7)
    transform = optax.adafactor(rate, weight_decay_rate=decay)
    zeros = {k: jnp.zeros_like(v) for k, v in PARAMS.items()}
    step, _ = jax.jit(transform.update)(zeros, transform.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(step["kernel"], -decay * PARAMS["kernel"])


@pytest.mark.parametrize("scaled", [True, False])
def test_adafactor_moves_a_tensor_of_zeros_by_a_thousandth_of_the_rate(scaled):
    transform = TABLE["adafactor"].build(0.1, **{**TABLE["adafactor"].defaults, "multiply_by_parameter_scale": scaled})
    params = {"kernel": jnp.zeros((3, 2))}
    updates, _ = transform.update({"kernel": GRADS[0]["kernel"]}, transform.init(params), params)
    # The first ratio is the sign of the gradient.
    expected = -np.sign(GRADS[0]["kernel"]) * 0.1 * (1e-3 if scaled else 1)
    np.testing.assert_allclose(updates["kernel"], expected, rtol=1e-6)


def test_decay_acts_on_kernels_and_embeddings_whether_layers_are_stacked_or_not():
    one, two, three = jnp.zeros(2), jnp.zeros((2, 2)), jnp.zeros((2, 2, 2))
    params = {
        "blocks": {"norm": {"bias": two, "scale": two}, "up": {"bias": two, "kernel": three}},
        "embedding": {"embedding": two},
        "final_norm": {"scale": one},
        "hidden": {"bias": one, "kernel": two},
        "positions": two,
        "gain": jnp.zeros(()),
    }
    assert decay_mask(params) == {
        "blocks": {"norm": {"bias": False, "scale": False}, "up": {"bias": False, "kernel": True}},
        "embedding": {"embedding": True},
        "final_norm": {"scale": False},
        "hidden": {"bias": False, "kernel": True},
        "positions": True,
        "gain": False,
    }
    assert decay_mask(two) is True
    assert decay_mask([one, {"bias": two}]) == [False, {"bias": False}]


@pytest.mark.parametrize("settings", [{}, {"beta": 0.5, "weight_decay": 0.5}])
def test_signum_is_that_of_optax_with_a_decay(settings):
    settings = {"beta": 0.9, "weight_decay": 0.0, **settings}
    plain = optax.signum(0.1, settings["beta"])
    state, update = plain.init(PARAMS), jax.jit(plain.update)
    for grads, ours in zip(GRADS, updates_of("signum", 0.1, **settings), strict=True):
        expected, state = update(grads, state, PARAMS)
        for k, value in ours.items():
            decayed = expected[k] - 0.1 * settings["weight_decay"] * np.asarray(PARAMS[k]) * (k in MATRICES)
            # A sum of two numbers of size one tenth, rounded three times.
            np.testing.assert_allclose(value, decayed, rtol=0, atol=3e-8)


# A trust ratio scales the decay with the step.
INSIDE = {"lamb", "lars"}
# LISA trains blocks, which these parameters have none of.
WITH_BLOCKS = {"lisa_adamw"}
DECAYING = [n for n, row in TABLE.items() if "weight_decay" in row.defaults and n not in INSIDE | WITH_BLOCKS]


@pytest.mark.parametrize("name", DECAYING)
def test_every_decay_is_of_the_same_tensors_and_follows_the_rate_that_was_applied(name):
    rate, decay = 0.1, 0.5
    params = {"bias": jnp.ones((2, 2)), "kernel": jnp.ones((2, 2)), "scale": jnp.ones((2, 2)), "vector": jnp.ones(2)}
    grads = jax.tree.map(jnp.ones_like, params)

    def update(weight_decay):
        transform = TABLE[name].build(rate, **{**TABLE[name].defaults, "weight_decay": weight_decay})
        given = surroundings(grads, params)
        return optax.with_extra_args_support(transform).update(grads, transform.init(params), params, **given)

    (step, state), (plain, _) = jax.jit(lambda: (update(decay), update(0.0)))()
    adapted = effective_lr(state)
    applied = rate if adapted is None else float(adapted)
    assert 0 < applied <= rate * (1 + 1e-6)
    for k, value in step.items():
        # Differences of numbers of size one; mechanic's and schedule-free's updates are themselves such differences.
        np.testing.assert_allclose(value - plain[k], -applied * decay * (k == "kernel"), rtol=0, atol=4e-7, err_msg=k)


def test_lamb_is_that_of_optax_layer_by_layer_and_spares_vectors():
    rate, decay = 0.1, 0.5
    plain = optax.lamb(rate, eps=1e-6, weight_decay=decay)
    kernels = {"kernel": PARAMS["kernel"], **{f"layer {i}": PARAMS["stack"][i] for i in range(2)}}
    transform = TABLE["lamb"].build(rate, **{**TABLE["lamb"].defaults, "weight_decay": decay})
    params = {**PARAMS, "blocks": {"stack": PARAMS["stack"]}}
    state, update, expected = transform.init(params), jax.jit(transform.update), plain.init(kernels)
    adams = updates_of("adam", rate, eps=1e-6)
    for grads, free in zip(GRADS, adams, strict=True):
        ours, state = update({**grads, "blocks": {"stack": grads["stack"]}}, state, params)
        layers = {"kernel": grads["kernel"], **{f"layer {i}": grads["stack"][i] for i in range(2)}}
        theirs, expected = plain.update(layers, expected, kernels)
        # Norms of six numbers and products of numbers of size one.
        np.testing.assert_allclose(ours["kernel"], theirs["kernel"], rtol=0, atol=2e-6)
        for i in range(2):
            np.testing.assert_allclose(ours["blocks"]["stack"][i], theirs[f"layer {i}"], rtol=0, atol=2e-6)
        for k in ("bias", "scale"):
            np.testing.assert_array_equal(ours[k], free[k])


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_is_momentum_of_steps_with_a_ratio_of_their_own(nesterov):
    numbers = {"momentum": 0.8, "nesterov": nesterov, "coefficient": 0.1, "weight_decay": 0.5}
    trace = dict.fromkeys(PARAMS, 0.0)
    for update, grads in zip(updates_of("lars", 0.1, **numbers), GRADS, strict=True):
        for k, g in double(grads).items():
            w, scaled = np.asarray(PARAMS[k], np.float64), g
            if k in MATRICES:
                ratio = 0.1 * np.linalg.norm(w) / (np.linalg.norm(g) + 0.5 * np.linalg.norm(w))
                scaled = ratio * (g + 0.5 * w)
            step = -0.1 * scaled
            trace[k] = 0.8 * trace[k] + step
            # Sums of a few numbers of at most size one.
            np.testing.assert_allclose(update[k], step + 0.8 * trace[k] if nesterov else trace[k], rtol=0, atol=1e-6)


FAMILIES = {
    "adafactor": {"adafactor", "lamb", "lars"},
    "adam": {
        "adam", "adamw", "ademamix", "cocob", "dadapt_adamw", "frugal_adamw", "galore", "lisa_adamw", "mechanic",
        "momo_adam", "nadamw", "perp_adamw", "prodigy", "reset_adamw", "schedule_free_adamw", "sophia",
    },
    "lion": {"lion", "signum"},
    "muon": {"muon"},
    "sgd": {
        "dog", "dowg", "ema_momentum", "fedhyper", "hypergradient", "momentum", "momo", "nap", "plateau",
        "sam", "schedule_free_sgd", "sgd",
    },
}  # fmt: skip


def test_families():
    for family, members in FAMILIES.items():
        assert {name for name, row in TABLE.items() if row.family({}) == family} == members
    for name in ("hypergradient", "nap", "plateau", "sam"):
        for inner, family in (("sgd", "sgd"), ("momentum", "sgd"), ("adam", "adam")):
            assert TABLE[name].family({**TABLE[name].defaults, "inner": inner}) == family
    # Without the parameter's size a step of Adafactor is of the rate's size, like one of Adam's.
    assert TABLE["adafactor"].family({"multiply_by_parameter_scale": False}) == "adam"
