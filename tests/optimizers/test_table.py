"""Updates against the formulas of the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.optimizers import TABLE

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
