"""Hypergradient descent against published sequences and a float64 reference."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import TABLE, effective_lr, hypergradient
from lrstudy.schedules import Constant, Linear


def trajectory(transform, start, gradient, steps):
    """Parameters after and the rate of every update."""
    params = jnp.asarray(start, jnp.float32)
    state, update = transform.init(params), jax.jit(transform.update)
    places, rates = [], []
    for _ in range(steps):
        updates, state = update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
        places.append(np.asarray(params))
        rates.append(float(effective_lr(state)))
    return np.asarray(places), np.asarray(rates)


@pytest.mark.parametrize("learning_rate", [0.01, Constant(0.01)])
def test_sgd_hd_on_an_ill_conditioned_quadratic(learning_rate):
    """f = (x1^2 + 10 x2^2) / 2 from (1, 1), rate 0.01, beta 1e-4: worked out in float64."""
    transform = TABLE["hypergradient"].build(learning_rate, **{**TABLE["hypergradient"].defaults, "beta": 1e-4})
    curvature = jnp.float32([1, 10])
    _, rates = trajectory(transform, [1.0, 1.0], lambda x: curvature * x, 6)
    expected = [0.01, 0.019099, 0.0257481191, 0.0297764024, 0.0319157815, 0.0329786914]
    # Each rate is a sum of products of numbers near one: a few float32 roundings of 6e-8, relative.
    np.testing.assert_allclose(rates, expected, rtol=2e-6)


def test_sgd_hd_on_a_parabola():
    """f = x^2 / 2 from 5, rate 0.1, beta 0.001."""
    transform = hypergradient(optax.identity(), 0.1, beta=0.001)
    places, rates = trajectory(transform, 5.0, lambda x: x, 4)
    np.testing.assert_allclose(places, [4.5, 3.94875, 3.394861305, 2.873156559], rtol=1e-6)
    np.testing.assert_allclose(rates, [0.1, 0.1225, 0.140269375, 0.153674834], rtol=1e-6)


def reference(kind, rate, beta, start, curvature, steps, low=0.0, high=math.inf):
    """The published recursion on a diagonal quadratic, in float64."""
    x, previous, rates = np.asarray(start, float), np.zeros(len(start)), []
    for _ in range(steps):
        g = curvature * x
        slope = g @ previous
        if kind == "cos":
            slope = slope / (np.linalg.norm(g) * np.linalg.norm(previous)) if previous.any() else 0.0
        rate = np.clip(rate + beta * slope if kind == "add" else rate * (1 + beta * slope), low, high)
        x, previous = x - rate * g, g
        rates.append(rate)
    return rates


@pytest.mark.parametrize("kind", ["add", "mul", "cos"])
@pytest.mark.parametrize("bounds", [(0.0, math.inf), (0.012, 0.02)])
def test_every_rule_is_the_published_one_under_a_constant_schedule(kind, bounds):
    """The rate rises from 0.01 while gradients agree."""
    curvature, start, beta = np.asarray([1.0, 15.0]), [1.0, 0.3], {"add": 3e-4, "mul": 0.02, "cos": 0.3}[kind]
    transform = hypergradient(optax.identity(), Constant(0.01), beta=beta, kind=kind, bounds=bounds)
    _, rates = trajectory(transform, start, lambda x: jnp.float32(curvature) * x, 12)
    expected = reference(kind, 0.01, beta, start, curvature, 12, *bounds)
    # Errors of 6e-8 a step, carried along twelve steps; a cosine that changes sign may double one.
    np.testing.assert_allclose(rates, expected, rtol=2e-5)
    assert len(set(np.round(rates, 6))) > 2


def test_a_rate_at_a_bound_leaves_it_as_soon_as_it_is_pushed_back():
    """Aligned gradients push the rate up for ten steps; opposed ones must lower it at once, nothing being summed up."""
    transform = hypergradient(optax.identity(), 0.1, beta=5.0, bounds=(0.0, 0.2))
    signs = iter([*[1.0] * 10, -1.0])
    _, rates = trajectory(transform, [0.0], lambda _: jnp.float32([next(signs) / 10]), 11)
    np.testing.assert_allclose(rates[-2], 0.2, rtol=1e-6)
    # beta <g, g'> = 5 * -0.01.
    np.testing.assert_allclose(rates[-1], 0.15, rtol=1e-6)


@pytest.mark.parametrize("kind", ["add", "mul"])
def test_a_schedule_is_what_is_adapted(kind):
    schedule = Linear(0.1, 10)
    transform = hypergradient(optax.identity(), schedule, beta=0.0, kind=kind)
    _, rates = trajectory(transform, [1.0], lambda x: x, 10)
    np.testing.assert_array_equal(rates, [float(schedule(k)) for k in range(10)])
    gradients = iter([1.0, 1.0, 0.0])
    transform = hypergradient(optax.identity(), schedule, beta=0.5, kind=kind)
    _, rates = trajectory(transform, [1.0], lambda _: jnp.float32([next(gradients)]), 3)
    adapted = {"add": [0.1, 0.09 + 0.5, 0.08 + 0.5], "mul": [0.1, 0.09 * 1.5, 0.08 * 1.5]}[kind]
    np.testing.assert_allclose(rates, adapted, rtol=1e-6)


def test_adam_hd_uses_the_previous_direction_of_adam():
    """Baydin et al. 2018, algorithm 5: the derivative for the rate is -<g_t, u_{t-1}>, u Adam's corrected ratio."""
    gradients = [np.asarray(g) for g in ([1.0, -2.0], [0.5, 1.0], [-1.0, 0.25])]
    b1, b2, eps, beta, rate = 0.9, 0.999, 1e-8, 0.003, 0.01
    mean, square, previous, expected = np.zeros(2), np.zeros(2), np.zeros(2), []
    for t, g in enumerate(gradients, start=1):
        rate += beta * (g @ previous)
        mean, square = b1 * mean + (1 - b1) * g, b2 * square + (1 - b2) * g * g
        previous = mean / (1 - b1**t) / (np.sqrt(square / (1 - b2**t)) + eps)
        expected.append(rate)
    numbers = {**TABLE["hypergradient"].defaults, "inner": "adam", "beta": beta}
    feed = iter(gradients)
    _, rates = trajectory(
        TABLE["hypergradient"].build(0.01, **numbers), [0.0, 0.0], lambda _: jnp.float32(next(feed)), 3
    )
    # Adam's ratio in float32 is good to 5e-5 (1 - b2 is off by 3e-5 of itself), and it adds 0.003 * 2 to 0.01.
    np.testing.assert_allclose(rates, expected, rtol=5e-5)
    assert rates[2] < rates[0] < 0.0101
