"""SAM, SAF's and MESA's terms against published numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import TABLE, mesa_loss, sam, sam_step, trajectory_loss
from lrstudy.schedules import Constant, Linear
from lrstudy.training import init_state, make_train_step

OLD, NEW = [[3.0, 2.0, 1.0], [1.0, 0.0, 0.0]], [[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]


def bowl(params, batch):
    """(x^2 + 10 y^2) / 2, times what the batch says."""
    return batch * 0.5 * (params["x"] ** 2 + 10 * params["y"] ** 2)


def test_sam_takes_the_published_steps():
    with jax.enable_x64(True):
        params, tx = {"x": jnp.asarray(1.0), "y": jnp.asarray(1.0)}, optax.sgd(0.1)
        step, state, places, losses = jax.jit(sam_step(bowl, tx, 0.05)), tx.init(params), [], []
        for _ in range(2):
            params, state, loss = step(params, state, jnp.asarray(1.0))
            places.append([float(params["x"]), float(params["y"])])
            losses.append(float(loss))
    np.testing.assert_allclose(places, [[0.899502481, -0.049751860], [0.805176901, 0.024200145]], rtol=0, atol=5.1e-10)
    # The loss is that at the parameters before the step.
    np.testing.assert_allclose(losses, [5.5, 0.5 * (0.899502481**2 + 10 * 0.049751860**2)], rtol=1e-8)


def test_the_row_takes_the_published_steps_in_training_and_its_schedule_counts_one_an_update():
    def make(hparams):
        return TABLE["sam"].build(hparams["schedule"], **{**TABLE["sam"].defaults, "rho": hparams["rho"]})

    hparams = {"schedule": Linear(0.1, 10**9), "rho": jnp.float32(0.05)}
    params = {"x": jnp.float32(1), "y": jnp.float32(1)}
    state = init_state(params, make(hparams), jax.random.key(0))
    step = jax.jit(make_train_step(lambda params, batch: (bowl(params, batch), {}), make))
    for expected in ([0.899502481, -0.049751860], [0.805176901, 0.024200145]):
        state, metrics = step(state, jnp.float32(1), hparams)
        # Some ten operations of float32 a step on numbers of at most size ten, times a rate of a tenth.
        np.testing.assert_allclose([state.params["x"], state.params["y"]], expected, rtol=0, atol=2 * 10 * 6e-8)
    assert metrics["learning_rate"] == hparams["schedule"](1)


@pytest.mark.parametrize("inner", ["sgd", "momentum", "adam"])
def test_the_row_is_the_step_around_its_inner_optimizer(inner):
    names = {"sgd": [], "momentum": ["momentum"], "adam": ["b1", "b2", "eps"]}[inner]
    row = TABLE["sam"]
    plain = TABLE[inner].build(0.1, **{**TABLE[inner].defaults, **{name: row.defaults[name] for name in names}})
    ours = row.build(0.1, **{**row.defaults, "inner": inner})
    params = {"x": jnp.float32(1), "y": jnp.float32(-2)}
    step, made = jax.jit(sam_step(bowl, plain, 0.05)), make_train_step(lambda p, b: (bowl(p, b), {}), lambda _: ours)
    made, (moved, state) = jax.jit(made), (params, plain.init(params))
    trained = init_state(params, ours, jax.random.key(0))
    for batch in (1.0, 0.5, 2.0):
        moved, state, loss = step(moved, state, jnp.float32(batch))
        trained, metrics = made(trained, jnp.float32(batch), {"schedule": Constant(0.1)})
        assert metrics["loss"] == pytest.approx(float(loss), rel=1e-6)
    for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(trained.params), strict=True):
        # Two programs, which may fuse elsewhere: three steps of some ten operations on numbers of size two.
        np.testing.assert_allclose(a, b, rtol=0, atol=3 * 10 * 2 * 6e-8)


def test_it_is_optaxs_opaque_mode():
    ours, params = sam(optax.adam(0.1), 0.05), {"x": jnp.float32(1), "y": jnp.float32(-2)}
    adversary = optax.chain(optax.contrib.normalize(), optax.sgd(0.05))
    theirs = optax.contrib.sam(optax.adam(0.1), adversary, opaque_mode=True)

    def grad_fn(at, _):
        return jax.grad(bowl)(at, 1.0)

    one, other = (tx.update(grad_fn(params, 0), tx.init(params), params, grad_fn=grad_fn)[0] for tx in (ours, theirs))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        # A norm is divided by before or after it is multiplied: a few roundings.
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_step_counts_as_one_pays_two_gradients_and_gives_the_loss_to_its_optimizer():
    calls = []

    def loss(params, batch):
        calls.append(batch)
        return bowl(params, batch)

    params = {"x": jnp.float32(1), "y": jnp.float32(1)}
    tx = TABLE["plateau"].build(Linear(0.1, 10), **{**TABLE["plateau"].defaults, "patience": 1, "accumulation": 1})
    _, state, _ = sam_step(loss, tx, 0.05)(params, tx.init(params), 1.0)
    assert len(calls) == 2
    assert state.schedule.count == 1
    assert state.listener.best_value == 5.5


def test_without_a_gradient_or_a_distance_it_is_the_plain_step():
    zero, params = {"x": jnp.zeros(2), "y": jnp.zeros(2)}, {"x": jnp.ones(2), "y": jnp.ones(2)}
    tx = optax.sgd(0.1)

    def loss(params, batch):
        return jnp.sum(bowl(params, batch))

    moved, _, value = sam_step(loss, tx, 0.05)(zero, tx.init(zero), 1.0)
    assert value == 0
    for new, old in zip(jax.tree.leaves(moved), jax.tree.leaves(zero), strict=True):
        np.testing.assert_array_equal(new, old)
    moved, _, _ = sam_step(loss, tx, 0.0)(params, tx.init(params), 1.0)
    np.testing.assert_allclose([moved["x"], moved["y"]], [[0.9, 0.9], [0, 0]], rtol=0, atol=1e-7)


@pytest.mark.parametrize(("term", "weight"), [(trajectory_loss, 0.3), (mesa_loss, 0.8)])
def test_terms_of_the_trajectory(term, weight):
    """Of weight one, at the temperature 5, the published number is that of a float32 program."""
    soft = [np.exp(np.asarray(z) / 5) / np.exp(np.asarray(z) / 5).sum(axis=-1, keepdims=True) for z in (NEW, OLD)]
    exact = 25 * np.mean(np.sum(soft[1] * np.log(soft[1] / soft[0]), axis=-1))
    with jax.enable_x64(True):
        new, old = jnp.asarray(NEW), jnp.asarray(OLD)
        np.testing.assert_allclose(term(new, old, weight=1.0), exact, rtol=1e-12)
        # There differences of logarithms are good to some 2e-8, which the square of T makes 25 times as large.
        np.testing.assert_allclose(term(new, old, weight=1.0), 0.834082425, rtol=0, atol=5e-7)
        np.testing.assert_allclose(term(new, old), weight * term(new, old, weight=1.0), rtol=1e-12)
        # Nothing is asked of the same outputs, and the teacher is not taught.
        assert abs(term(new, new)) < 1e-15
        assert not np.any(jax.grad(term, argnums=1)(new, old))
        slope = jax.grad(term)(new, old, weight=1.0)
    # T times the difference of the softened probabilities, a mean over two examples.
    np.testing.assert_allclose(slope, 5 * (soft[0] - soft[1]) / 2, rtol=1e-12, atol=1e-15)
