"""Sophia's row against optax and against its formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrstudy.optimizers import TABLE
from lrstudy.schedules import Constant
from lrstudy.training import init_state, make_train_step

ROW = TABLE["sophia"]
CURVATURE = jnp.float32([1.0, 10.0, 0.1])


def bowl(params, batch):
    return 0.5 * batch * jnp.sum(CURVATURE * params["kernel"] ** 2), {}


def trained(make, steps, peak=0.01):
    """Parameters after every update of the training step."""
    hparams = {"schedule": Constant(jnp.float32(peak))}
    state = init_state({"kernel": jnp.ones((1, 3))}, make(hparams), jax.random.key(0))
    step, found = jax.jit(make_train_step(bowl, make)), []
    for _ in range(steps):
        state, _ = step(state, jnp.float32(1), hparams)
        found.append(np.asarray(state.params["kernel"]))
    return found


def test_it_is_optaxs_in_the_training_step():
    settings = {**ROW.defaults, "update_interval": 2, "weight_decay": 0.1, "gamma": 10.0}
    ours = trained(lambda hparams: ROW.build(hparams["schedule"], **settings), 6)
    theirs = trained(lambda hparams: optax.contrib.sophia(hparams["schedule"], **settings), 6)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_of_a_diagonal_hessian_every_estimate_is_exact():
    """Signs square to one, so h is b2's mean of the curvature itself; the update is of the h before it."""
    rate, b1, b2, gamma = 0.1, 0.5, 0.75, 2.0
    settings = {**ROW.defaults, "b1": b1, "b2": b2, "gamma": gamma, "update_interval": 1, "weight_decay": 0.0}
    found = trained(lambda hparams: ROW.build(hparams["schedule"], **settings), 5, rate)
    w, mean, h = np.ones((1, 3)), np.zeros((1, 3)), np.zeros((1, 3))
    curvature = np.asarray(CURVATURE, np.float64)
    for t, after in enumerate(found, start=1):
        mean = b1 * mean + (1 - b1) * curvature * w
        step = np.clip(mean / (1 - b1**t) / np.maximum(gamma * h, 1e-8), -1, 1)
        h = b2 * h + (1 - b2) * curvature
        w = w - rate * step
        # Numbers of size one, some ten operations a step.
        np.testing.assert_allclose(after, w, rtol=0, atol=5 * 10 * 6e-8)


def test_lanes_of_rates_are_the_rates_alone():
    def train(peak):
        transform = ROW.build(Constant(peak), **{**ROW.defaults, "gamma": 10.0})
        params = {"kernel": jnp.ones((1, 3))}

        def step(carry, _):
            params, state = carry
            obj_fn = functools.partial(lambda params: bowl(params, 1.0)[0])
            updates, state = transform.update(jax.grad(obj_fn)(params), state, params, obj_fn=obj_fn)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, transform.init(params)), length=12)[0][0]["kernel"]

    peaks = jnp.float32([0.01, 0.003])
    together, alone = jax.jit(jax.vmap(train))(peaks), jax.jit(train)
    for lane, peak in enumerate(peaks):
        # Twelve steps of a hundredth, some ten operations each.
        np.testing.assert_allclose(together[lane], alone(peak), rtol=0, atol=12 * 10 * 6e-8)
