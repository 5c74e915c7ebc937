"""LISA by hand, against every layer's own optimizer, and the memory that it is for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import lisa
from tests.optimizers.promises import SHAPES, check_promises, run, size_of, tree, unstacked

PERIOD = 2
# Draws layer 2 of four, then layer 0.
KEY = jax.random.key(29)


def layer_of(path):
    name = jax.tree_util.keystr(path[:1], simple=True)
    return int(name.removeprefix("block_")) if name.startswith("block_") else None


def as_layers(params):
    """The layers of either tree on a first axis."""
    if "blocks" in params:
        return params["blocks"]["kernel"]
    return jnp.stack([params[f"block_{i}"]["kernel"] for i in range(4)])


def start(stacked):
    params = {"blocks": {"kernel": jnp.zeros((4, 2, 2))}, "readout": {"kernel": jnp.zeros((2, 3))}}
    return params if stacked else unstacked(params)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("state", ["keep", "reset"])
def test_two_layers_in_turn(stacked, state):
    """SGD at the rate 1 with gradients of one: layer 2 for two updates, then layer 0, and the ends at every one."""
    params = start(stacked)
    transform = lisa(optax.sgd(1.0), layer_of, gamma=1, period=PERIOD, state=state, key=KEY)
    ones = jax.tree.map(jnp.ones_like, params)
    found = run(transform, params, [ones] * 4)
    assert [int(s.active[0]) for _, s in found] == [2, 2, 0, 0]
    expected = ([0, 0, -1, 0], [0, 0, -2, 0], [-1, 0, -2, 0], [-2, 0, -2, 0])
    for updates, ((moved, _), layers) in enumerate(zip(found, expected, strict=True), start=1):
        np.testing.assert_array_equal(as_layers(moved)[:, 0, 0], layers)
        np.testing.assert_array_equal(moved["readout"]["kernel"], -updates)


ADAMW = optax.adamw(0.1, weight_decay=0.5)
UPDATE = jax.jit(ADAMW.update)


def alone(params, grads):
    state = ADAMW.init(params)
    for grad in grads:
        updates, state = UPDATE(grad, state, params)
        params = optax.apply_updates(params, updates)
    return params


@functools.cache
def trained(state, stacked=True, steps=7):
    """AdamW with a large decay, two layers of three at a time; states and parameters."""
    params, grads = tree(0), [tree(seed) for seed in range(1, steps + 1)]
    if not stacked:
        params, grads = unstacked(params), [unstacked(g) for g in grads]
    transform = lisa(ADAMW, layer_of, gamma=2, period=PERIOD, state=state, key=jax.random.key(2))
    return run(transform, params, grads)


@pytest.mark.parametrize("state", ["keep", "reset"])
def test_every_layer_has_its_own_optimizer_while_it_is_drawn(state):
    """A frozen layer has neither update nor decay nor count; what is not a layer is always trained."""
    found = trained(state)
    drawn = [sorted(np.asarray(s.active).tolist()) for _, s in found]
    assert drawn[0] == drawn[1]
    assert drawn[2] == drawn[3]
    assert len({tuple(pair) for pair in drawn}) > 1
    assert all(len(set(pair)) == 2 for pair in drawn)
    rest = [{k: v for k, v in tree(seed).items() if k != "blocks"} for seed in range(8)]
    for expected, moved in zip(*map(jax.tree.leaves, (alone(rest[0], rest[1:]), {k: found[-1][0][k] for k in rest[0]})),
                               strict=True):  # fmt: skip
        # Seven updates of 0.1, each good to a few roundings, of numbers of size one.
        np.testing.assert_allclose(moved, expected, rtol=0, atol=2e-6)
    for layer in range(3):
        params = jax.tree.map(lambda x, layer=layer: x[layer], tree(0)["blocks"])
        active = [i for i, pair in enumerate(drawn) if layer in pair]
        grads = [jax.tree.map(lambda x, layer=layer: x[layer], tree(i + 1)["blocks"]) for i in active]
        pieces = [grads] if state == "keep" else [
            [g for g, i in zip(grads, active, strict=True) if i // PERIOD == turn]
            for turn in sorted({i // PERIOD for i in active})
        ]  # fmt: skip
        for piece in pieces:
            params = alone(params, piece)
        for expected, moved in zip(*map(jax.tree.leaves, (params, found[-1][0]["blocks"])), strict=True):
            np.testing.assert_allclose(moved[layer], expected, rtol=0, atol=2e-6)
    (counts, *_), (always, *_) = found[-1][1].layers, found[-1][1].always
    assert int(always.count) == 7
    if state == "keep":
        assert counts.count.tolist() == [sum(layer in pair for pair in drawn) for layer in range(3)]
    else:
        assert counts.count.tolist() == [1, 1]


@pytest.mark.parametrize("state", ["keep", "reset"])
def test_stacked_or_not_layers_are_trained_alike(state):
    stacked, single = trained(state)[-1][0], trained(state, stacked=False)[-1][0]
    for one, other in zip(*map(jax.tree.leaves, (unstacked(stacked), single)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize(("state", "layers"), [("reset", 2), ("keep", 12)])
def test_the_memory_is_that_of_the_layers_that_are_trained(stacked, state, layers):
    """Both moments of two layers of twelve and of the ends; nothing is forgotten at the price of all twelve."""
    shapes = {**SHAPES, "blocks": {"kernel": (12, 4, 5), "norm": {"scale": (12, 4)}}}
    params = tree(0, shapes) if stacked else unstacked(tree(0, shapes))
    transform = lisa(optax.scale_by_adam(), layer_of, gamma=2, state=state, key=KEY)
    ends = 6 * 4 + 4 + 5 * 4 + 4 * 6
    assert size_of(transform.init(params)) == 2 * 4 * (layers * (4 * 5 + 4) + ends)


def test_draws_are_uniform():
    """Of a thousand, two of three at a time: every layer two thirds of the time."""

    def drawn(count):
        transform = lisa(optax.identity(), layer_of, period=1, key=KEY)
        state = transform.init(tree(0))._replace(count=count)
        return transform.update(tree(0), state)[1].active

    found = np.asarray(jax.jit(jax.vmap(drawn))(jnp.arange(1000)))
    counts = np.bincount(found.ravel(), minlength=3)
    # Four standard deviations of a sum of a thousand draws with chance 2/3: 4 sqrt(1000 * 2/9) = 60.
    assert abs(counts - 2000 / 3).max() < 60


@pytest.mark.parametrize("state", ["keep", "reset"])
def test_promises(state):
    def build(b1, weight_decay):
        inner = optax.chain(optax.scale_by_adam(b1=b1), optax.add_decayed_weights(weight_decay))
        return lisa(inner, layer_of, gamma=2, period=PERIOD, state=state, key=jax.random.key(1))

    check_promises(build, {"b1": 0.9, "weight_decay": 0.1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"state": "drop"}, r"state must be one of \['keep', 'reset'\], got 'drop'"),
        ({"period": 0}, "period must be an int of at least 1, got 0"),
        ({"gamma": 0}, "gamma must be an int of at least 1, got 0"),
        ({"gamma": 5}, "gamma must be at most the number of layers 4, got 5"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        lisa(optax.identity(), layer_of, **{"key": KEY, **settings}).init(start(stacked=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_4": {"kernel": jnp.zeros((2, 3))}}, "layer_of must give layers that are alike, got the shapes .*"),
        ({"block_7": {"kernel": jnp.zeros((2, 2))}}, r"layer_of must number layers from 0 on, got \[0, 1, 2, 3, 7\]"),
        ({"blocks": {"kernel": jnp.zeros((3, 2))}}, r"layer_of must give as many layers as are stacked, got \[3, 4\]"),
    ],
)
def test_layers_that_are_not_alike(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        lisa(optax.identity(), layer_of, key=KEY).init(start(stacked=False) | change)
