"""Muon on tensors of every shape against plain matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import TABLE
from lrstudy.optimizers.muon import dimension_numbers

RNG = np.random.default_rng(0)
ROW = TABLE["muon"]


def normal(*shape):
    return jnp.float32(RNG.normal(size=shape))


def updates_of(params, grads, learning_rate=0.1, **changed):
    """The updates of all gradients in turn, at parameters that stay where they are."""
    transform = ROW.build(learning_rate, **{**ROW.defaults, **changed})
    state, updates, update = transform.init(params), [], jax.jit(transform.update)
    for grad in grads:
        step, state = update(grad, state, params)
        updates.append(step)
    return updates


TREE = {
    "blocks": {
        "attention": {"out": {"kernel": (2, 3, 2, 4)}, "query": {"kernel": (2, 4, 3, 2)}},
        "attention_norm": {"scale": (2, 4)},
        "up": {"bias": (2, 8), "kernel": (2, 4, 8)},
    },
    "block_0": {
        "attention": {"key": {"kernel": (4, 1, 2)}, "out": {"kernel": (3, 2, 4)}, "value": {"kernel": (4, 1, 2)}},
        "up": {"kernel": (4, 8)},
    },
    "conv": {"bias": (5,), "kernel": (3, 3, 2, 5)},
    "embedding": {"embedding": (7, 4)},
    "positions": (6, 4),
    "readout": {"bias": (7,), "kernel": (4, 7)},
}
PARAMS = jax.tree.map(lambda s: normal(*s), TREE, is_leaf=lambda x: isinstance(x, tuple))


def test_which_tensors_are_muons_and_what_their_axes_are():
    assert dimension_numbers(PARAMS) == {
        "blocks": {
            "attention": {"out": {"kernel": ((1, 2), (3,))}, "query": {"kernel": ((1,), (2, 3))}},
            "attention_norm": {"scale": None},
            "up": {"bias": None, "kernel": ((1,), (2,))},
        },
        "block_0": {
            "attention": {
                "key": {"kernel": ((0,), (1, 2))},
                "out": {"kernel": ((0, 1), (2,))},
                "value": {"kernel": ((0,), (1, 2))},
            },
            "up": {"kernel": ((0,), (1,))},
        },
        "conv": {"bias": None, "kernel": ((0, 1, 2), (3,))},
        "embedding": {"embedding": None},
        "positions": None,
        "readout": {"bias": None, "kernel": None},
    }


@pytest.mark.parametrize("settings", [{}, {"beta": 0.5, "nesterov": False, "ns_steps": 3, "eps": 1e-3}])
def test_plain_matrices_are_those_of_optax(settings):
    params = {"down": {"kernel": normal(6, 3)}, "up": {"kernel": normal(3, 6)}}
    grads = [jax.tree.map(lambda p: normal(*p.shape), params) for _ in range(3)]
    plain = optax.contrib.muon(0.1, **settings)
    state = plain.init(params)
    for grad, update in zip(grads, updates_of(params, grads, **settings), strict=True):
        expected, state = plain.update(grad, state, params)
        for one, other in zip(jax.tree.leaves(update), jax.tree.leaves(expected), strict=True):
            # Five iterations that enlarge a rounding by 3.4 each, so by some 500 times 6e-8, of steps of size 0.1.
            np.testing.assert_allclose(one, other, rtol=0, atol=3e-6)


@pytest.fixture(scope="module")
def moved():
    grads = [jax.tree.map(lambda p: normal(*p.shape), PARAMS) for _ in range(2)]
    return grads, updates_of(PARAMS, grads)


def as_matrix(values, get, shape):
    return {"kernel": get(values).reshape(shape)}


ALIKE = {
    "query of a layer": (lambda t: t["blocks"]["attention"]["query"]["kernel"][1], (4, 6)),
    "out of a layer": (lambda t: t["blocks"]["attention"]["out"]["kernel"][0], (6, 4)),
    "up of a layer": (lambda t: t["blocks"]["up"]["kernel"][1], (4, 8)),
    "value": (lambda t: t["block_0"]["attention"]["value"]["kernel"], (4, 2)),
    "out": (lambda t: t["block_0"]["attention"]["out"]["kernel"], (6, 4)),
    "conv": (lambda t: t["conv"]["kernel"], (18, 5)),
}


@pytest.mark.parametrize("name", ALIKE)
def test_a_kernel_moves_like_the_matrix_that_it_is(name, moved):
    get, shape = ALIKE[name]
    grads, updates = moved
    alone = updates_of(as_matrix(PARAMS, get, shape), [as_matrix(g, get, shape) for g in grads])
    for update, matrix in zip(updates, alone, strict=True):
        np.testing.assert_allclose(get(update).reshape(shape), matrix["kernel"], rtol=0, atol=3e-6)


REST = {
    "embedding": lambda t: t["embedding"]["embedding"],
    "positions": lambda t: t["positions"],
    "readout": lambda t: t["readout"]["kernel"],
    "gains of stacked layers": lambda t: t["blocks"]["attention_norm"]["scale"],
    "biases of stacked layers": lambda t: t["blocks"]["up"]["bias"],
    "bias": lambda t: t["conv"]["bias"],
}


@pytest.mark.parametrize("name", REST)
def test_the_rest_is_adams(name, moved):
    get, (grads, updates) = REST[name], moved
    adam = optax.adam(0.1)
    state = adam.init(get(PARAMS))
    for grad, update in zip(grads, updates, strict=True):
        expected, state = adam.update(get(grad), state)
        # Two programs round the corrections of the moments apart.
        np.testing.assert_allclose(get(update), expected, rtol=0, atol=0.1 * 2e-6)


def test_the_factor_of_adam_leaves_matrices_alone():
    params = {"bias": normal(4), "kernel": normal(4, 4)}
    grads = [jax.tree.map(lambda p: normal(*p.shape), params)]
    (plain,), (scaled,) = updates_of(params, grads), updates_of(params, grads, adam_scale=0.25)
    np.testing.assert_array_equal(scaled["bias"], plain["bias"] / 4)
    np.testing.assert_array_equal(scaled["kernel"], plain["kernel"])


@pytest.mark.parametrize("shape", [(16, 16), (8, 32), (32, 8)])
def test_a_step_has_the_spectral_norm_that_its_shape_asks_for(shape):
    (update,) = updates_of({"kernel": jnp.zeros(shape)}, [{"kernel": normal(*shape)}], learning_rate=1.0)
    values = np.linalg.svd(update["kernel"], compute_uv=False) / np.sqrt(max(1, shape[1] / shape[0]))
    # The iteration takes singular values to about [0.5, 1.5], and small ones of a square matrix not all the way.
    assert 0.5 < values.max() < 1.5
    assert np.median(values) > 0.5


def test_kernels_and_embeddings_decay_beside_the_orthogonal_step():
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    (update,) = updates_of(PARAMS, [zeros], weight_decay=0.5)
    for get in (lambda t: t["embedding"]["embedding"], lambda t: t["block_0"]["up"]["kernel"]):
        np.testing.assert_allclose(get(update), -0.1 * 0.5 * get(PARAMS), rtol=1e-6)
    for get in (lambda t: t["conv"]["bias"], lambda t: t["blocks"]["attention_norm"]["scale"]):
        np.testing.assert_array_equal(get(update), 0 * get(PARAMS))
