"""Projection to the initial norms against the specification's numbers and what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import TABLE, project_to_norm
from lrstudy.schedules import Linear

W = jnp.float32([[1, 2], [2, 4]])
U = jnp.float32([[-0.5, 0.5], [0, -0.5]])


def tree(seed):
    rng = np.random.default_rng(seed)
    shapes = {
        "blocks": {"kernel": (3, 4, 5), "norm": {"scale": (3, 4)}},
        "embedding": {"embedding": (7, 4)},
        "hidden": {"bias": (4,), "kernel": (6, 4)},
    }
    return jax.tree.map(lambda s: jnp.float32(rng.normal(size=s)), shapes, is_leaf=lambda x: isinstance(x, tuple))


def nap(learning_rate, **changed):
    return TABLE["nap"].build(learning_rate, **{**TABLE["nap"].defaults, **changed})


@pytest.mark.parametrize("rho", [None, 5.0, {"kernel": 5.0}])
def test_the_published_step(rho):
    transform = project_to_norm(rho=rho)
    params = {"kernel": W}
    updates, _ = transform.update({"kernel": U}, transform.init(params), params)
    expected = [[0.524142418, 2.620712092], [2.096569674, 3.668996929]]
    # Numbers of size four in float32, rounded a few times.
    np.testing.assert_allclose(W + updates["kernel"], expected, rtol=0, atol=1e-6)


def test_another_norm_is_reached_in_one_step():
    transform = project_to_norm(rho=2.0)
    params = {"kernel": W}
    updates, _ = transform.update({"kernel": U}, transform.init(params), params)
    np.testing.assert_allclose(jnp.linalg.norm(W + updates["kernel"]), 2, rtol=1e-6)


@pytest.mark.parametrize("inner", TABLE["nap"].choices["inner"])
def test_norms_stay_over_a_hundred_steps_and_vectors_are_free(inner):
    start, transform = tree(0), nap(Linear(0.3, 200), inner=inner)

    def step(carry, key):
        params, state = carry
        grads = jax.tree.map(lambda p: p + jax.random.normal(key, p.shape), params)
        updates, state = transform.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(0), 100)
    params = jax.jit(lambda p: jax.lax.scan(step, (p, transform.init(p)), keys)[0][0])(start)
    for layer in range(3):  # every layer of a stack for itself
        before, after = start["blocks"]["kernel"][layer], params["blocks"]["kernel"][layer]
        np.testing.assert_allclose(jnp.linalg.norm(after), jnp.linalg.norm(before), rtol=1e-6)
    for name, leaf in (("embedding", "embedding"), ("hidden", "kernel")):
        np.testing.assert_allclose(jnp.linalg.norm(params[name][leaf]), jnp.linalg.norm(start[name][leaf]), rtol=1e-6)
    for after, before in ((params["hidden"]["bias"], start["hidden"]["bias"]),
                          (params["blocks"]["norm"]["scale"], start["blocks"]["norm"]["scale"])):  # fmt: skip
        assert abs(jnp.linalg.norm(after) / jnp.linalg.norm(before) - 1) > 0.01


def angles(start, learning_rate, inner, steps):
    """The angle of every update of a loss that the scale of the parameters does not change."""
    target = jnp.float32(np.random.default_rng(1).normal(size=W.shape))
    gradient = jax.grad(lambda p: jnp.sum(p["kernel"] / jnp.linalg.norm(p["kernel"]) * target))
    params = {"kernel": start}
    transform = nap(learning_rate, inner=inner)
    state, update, turned = transform.init(params), jax.jit(transform.update), []
    for _ in range(steps):
        updates, state = update(gradient(params), state, params)
        moved = optax.apply_updates(params, updates)
        one, other = (x["kernel"] / jnp.linalg.norm(x["kernel"]) for x in (params, moved))
        turned.append(2 * np.arcsin(float(jnp.linalg.norm(one - other)) / 2))
        params = moved
    return np.asarray(turned), params["kernel"]


@pytest.mark.parametrize(("inner", "power"), [("sgd", 2), ("momentum", 2), ("adam", 1)])
def test_larger_weights_are_the_same_run_at_a_larger_rate(inner, power):
    factor = 4.0  # a power of two, so that only the gradient's norm rounds
    plain, last = angles(W, 0.05, inner, 10)
    scaled, larger = angles(factor * W, 0.05 * factor**power, inner, 10)
    # Angles from 1e-3 to 0.1 of unit vectors that are rounded at 1e-7.
    np.testing.assert_allclose(scaled, plain, rtol=0, atol=2e-6)
    np.testing.assert_allclose(larger, factor * last, rtol=1e-5)


def test_the_schedule_is_the_rate_of_turning():
    """A step of Adam without memory is the sign of the gradient, so that its angle follows from the rate."""
    schedule = Linear(0.01, 20)
    rates = np.asarray(schedule(np.arange(20)), np.float64)
    params = {"kernel": W}
    transform = nap(schedule, inner="adam", b1=0.0, b2=0.0)
    state = transform.init(params)
    for rate in rates:
        before = params["kernel"]
        # Mostly across the weights, whose norm is 5, and of length 2: signs of a gradient that is orthogonal to them.
        across = jnp.float32([[-before[0, 1], before[0, 0]], [-before[1, 1], before[1, 0]]])
        updates, state = transform.update({"kernel": across}, state, params)
        params = optax.apply_updates(params, updates)
        cosine = float(jnp.vdot(before, jnp.sign(across)) / (5 * 2))
        step = rate * np.asarray([2 * cosine, 2 * np.sqrt(1 - cosine**2)])  # along and across
        expected = np.arctan2(step[1], 5 - step[0])
        turned = 2 * np.arcsin(float(jnp.linalg.norm(params["kernel"] - before)) / 10)
        # Differences of numbers of size four in float32, over the norm.
        np.testing.assert_allclose(turned, expected, rtol=0, atol=5e-7)


def test_a_tensor_of_zeros_is_not_projected_nor_is_one_that_becomes_zero():
    params = {"kernel": jnp.zeros((2, 2)), "other": W}
    transform = project_to_norm()
    steps = {"kernel": U, "other": -W}
    updates, state = transform.update(steps, transform.init(params), params)
    np.testing.assert_array_equal(updates["kernel"], U)
    np.testing.assert_array_equal(updates["other"], -W)
    # From zero it comes back to its norm.
    updates, _ = transform.update({"kernel": U, "other": U}, state, {"kernel": U, "other": 0 * W})
    np.testing.assert_allclose(jnp.linalg.norm(updates["other"]), 5, rtol=1e-6)


def test_a_mask_says_which_tensors():
    params = {"bias": jnp.float32([3, 4]), "kernel": W}
    step = {"bias": jnp.float32([1, 1]), "kernel": U}
    for mask in ({"bias": True, "kernel": False}, lambda tree: {k: v.ndim == 1 for k, v in tree.items()}):
        transform = project_to_norm(mask=mask)
        updates, _ = transform.update(step, transform.init(params), params)
        np.testing.assert_allclose(jnp.linalg.norm(params["bias"] + updates["bias"]), 5, rtol=1e-6)
        np.testing.assert_array_equal(updates["kernel"], U)


def test_low_precision_keeps_its_type_and_a_norm_in_float32():
    params = {"kernel": W.astype(jnp.bfloat16)}
    transform = project_to_norm()
    state = transform.init(params)
    assert state.rho["kernel"].dtype == jnp.float32
    updates, _ = transform.update({"kernel": U.astype(jnp.bfloat16)}, state, params)
    assert updates["kernel"].dtype == jnp.bfloat16


def test_parameters_are_needed():
    transform = project_to_norm()
    with pytest.raises(ValueError, match="params must be given"):
        transform.update({"kernel": U}, transform.init({"kernel": W}))
