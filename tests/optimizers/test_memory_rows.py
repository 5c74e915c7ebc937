"""Rows with less state than Adam, against what they are made of and against Adam itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.optimizers import TABLE
from lrstudy.optimizers.memory_rows import RESETS, block_of
from tests.optimizers.promises import SHAPES, size_of, tree, unstacked

RATE, STEPS = 0.1, 4
PARAMS = tree(0)
GRADS = [tree(seed) for seed in range(1, STEPS + 1)]


@functools.cache
def trainer(name, rate, changed):
    transform = TABLE[name].build(rate, **{**TABLE[name].defaults, **dict(changed)})

    @jax.jit
    def train(params, stacked):
        def step(state, one):
            updates, state = transform.update(one, state, params)
            return state, updates

        return jax.lax.scan(step, transform.init(params), stacked)[1]

    return train


def updates_of(name, params=PARAMS, grads=GRADS, rate=RATE, **changed):
    """The updates of all gradients in turn, at parameters that stay where they are."""
    train = trainer(name, rate, tuple(changed.items()))
    return jax.tree.map(np.asarray, train(params, jax.tree.map(lambda *x: jnp.stack(x), *grads)))


def assert_close(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        # Two programs: some ten operations on numbers of at most size ten, times the rate.
        np.testing.assert_allclose(a, b, rtol=0, atol=RATE * 10 * 10 * 6e-8)


def test_frugal_with_all_of_the_state_is_adamw():
    settings = {"b1": 0.8, "b2": 0.9, "weight_decay": 0.5}
    assert_close(updates_of("frugal_adamw", density_percent=100, **settings), updates_of("adamw", **settings))


def test_frugal_without_state_is_the_sign_of_hidden_kernels_and_adamw_of_the_rest():
    found = updates_of("frugal_adamw", density_percent=0, free_scale=0.5)
    expected = updates_of("adamw", weight_decay=0.0)
    hidden = (("blocks", "kernel"), ("hidden", "kernel"))
    for module, name in hidden:
        signs = np.stack([np.sign(grad[module][name]) for grad in GRADS])
        # One product of powers of two and the rate.
        np.testing.assert_allclose(found[module].pop(name), -RATE * 0.5 * signs, rtol=2e-7)
        expected[module].pop(name)
    assert_close(found, expected)


@pytest.mark.parametrize("stacked", [True, False])
def test_lisa_leaves_a_frozen_block_alone_its_decay_included(stacked):
    params = PARAMS if stacked else unstacked(PARAMS)
    grads = [grad if stacked else unstacked(grad) for grad in GRADS]
    found = updates_of("lisa_adamw", params, grads, gamma=1, period=2, weight_decay=0.5)
    kernels = [found["blocks"]["kernel"][:, i] if stacked else found[f"block_{i}"]["kernel"] for i in range(3)]
    moved = np.stack([np.abs(kernel).reshape(STEPS, -1).max(axis=1) > 0 for kernel in kernels])
    assert (moved.sum(axis=0) == 1).all()
    assert (moved[:, ::2] == moved[:, 1::2]).all()
    expected = updates_of("adamw", params, grads, weight_decay=0.5)
    for name in ("embedding", "hidden", "readout"):
        assert_close(found[name], expected[name])


def test_the_schedule_of_lisa_counts_all_updates():
    """Adam's first step is of the rate's size: a block that is drawn late takes the rate of that time."""
    grads = [PARAMS] * STEPS
    found = updates_of("lisa_adamw", PARAMS, grads, rate=lambda count: RATE * 2.0**-count, gamma=1, period=1)
    largest = np.abs(found["blocks"]["kernel"]).max(axis=(1, 2, 3))
    # The root of a square and a quotient of float32; 1 - b2 is off by 3e-5 of itself.
    np.testing.assert_allclose(largest, RATE * 2.0 ** -np.arange(STEPS), rtol=5e-5)


def test_lisa_wants_blocks():
    transform = TABLE["lisa_adamw"].build(RATE, **TABLE["lisa_adamw"].defaults)
    message = (
        r"lisa_adamw must have a model of blocks, named blocks or block_0, block_1, ..., got \['hidden', 'readout'\]"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        transform.init({name: PARAMS[name] for name in ("hidden", "readout")})
    with pytest.raises(ValueError, match=r"^gamma must be at most the number of layers 3, got 4"):
        TABLE["lisa_adamw"].build(RATE, **{**TABLE["lisa_adamw"].defaults, "gamma": 4}).init(PARAMS)


@pytest.mark.parametrize(
    ("path", "block"), [("block_0", 0), ("block_12", 12), ("blocks", None), ("block_", None), ("block_out", None)]
)
def test_the_block_of_a_path(path, block):
    assert block_of((jax.tree_util.DictKey(path), jax.tree_util.DictKey("kernel"))) == block
    assert block_of(()) is None


@pytest.mark.parametrize("which", RESETS)
def test_a_reset_that_never_comes_is_adamw_and_a_restart_is_adamw_again(which):
    settings = {"b1": 0.8, "b2": 0.9, "weight_decay": 0.5}
    assert_close(updates_of("reset_adamw", every=STEPS, which=which, **settings), updates_of("adamw", **settings))
    halves = [updates_of("adamw", grads=half, **settings) for half in (GRADS[:2], GRADS[2:])]
    again = jax.tree.map(lambda *x: np.concatenate(x), *halves)
    found = updates_of("reset_adamw", every=2, which=which, **settings)
    same = [np.allclose(a, b, atol=1e-3) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(again), strict=True)]
    assert all(same) == (which == "restart")


def bytes_of(name, **changed):
    build = TABLE[name].build(RATE, **{**TABLE[name].defaults, **changed})
    return size_of(build.init(PARAMS))


def test_what_is_not_kept_takes_no_memory():
    assert set(SHAPES) == {"blocks", "embedding", "hidden", "readout"}
    whole, ends = 2 * 4 * (60 + 12 + 24 + 24 + 20 + 4), 2 * 4 * (12 + 24 + 24 + 4)
    assert bytes_of("adamw") == bytes_of("reset_adamw") == whole
    assert bytes_of("frugal_adamw", density_percent=0) == ends
    # Of five columns and of four, half, rounded down.
    assert bytes_of("frugal_adamw", density_percent=50) == ends + 2 * 4 * (3 * 4 * 2 + 5 * 2)
    layer = 2 * 4 * (20 + 4)
    assert bytes_of("lisa_adamw", gamma=1) == whole - 2 * layer
    assert bytes_of("lisa_adamw", gamma=1, state="keep") == whole


def test_lanes_may_differ_in_their_draws():
    def first(draws):
        transform = TABLE["frugal_adamw"].build(RATE, **{**TABLE["frugal_adamw"].defaults, "draws": draws})
        return transform.update(GRADS[0], transform.init(PARAMS), PARAMS)[1][0].subspace["blocks"]["kernel"]

    drawn = jax.jit(jax.vmap(first))(jnp.arange(4.0))
    assert len({tuple(lane.ravel().tolist()) for lane in np.asarray(drawn)}) > 1
