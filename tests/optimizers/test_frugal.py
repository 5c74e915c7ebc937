"""FRUGAL against the reference's numbers, and what a split must keep."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import frugal
from lrstudy.optimizers.frugal import KINDS, hidden_mask
from tests.optimizers.promises import check_promises, run, size_of, tree, unstacked

W = [[1, 2], [3, 4]]
G = ([[0.1, -0.2], [0.3, -0.4]], [[0.2, 0.1], [-0.1, 0.3]], [[-0.3, 0.2], [0.1, 0.1]])
KEY = jax.random.key(0)


def reference(weight_decay=0.0, **settings):
    split = frugal(optax.scale_by_adam(), density=0.5, gap=2, key=KEY, **settings)
    return optax.chain(split, optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(0.1))


def test_columns():
    """Rate 0.1, decay 0.01: column 0 has state for two updates, then column 1, whose count begins anew."""
    with jax.enable_x64(True):
        found = run(reference(0.01), jnp.asarray(W, float), [jnp.asarray(g) for g in G])
    assert [int(state[0].subspace[0]) for _, state in found] == [0, 0, 1]
    expected = (
        [[0.899, 2.098], [2.897, 4.096]],
        [[0.801582754, 1.995901942], [2.854081154, 3.991904259]],
        [[0.900781214, 1.893905997], [2.751227140, 3.887912512]],
    )
    for (params, _), after in zip(found, expected, strict=True):
        # Printed from float32, whose spacing at 4 is 5e-7.
        np.testing.assert_allclose(params, after, rtol=0, atol=5e-7)


def test_blocks():
    """Two matrices with the same gradients; the first has state for two updates, then the second."""
    start = {"v": jnp.asarray(W, float), "w": jnp.ones((2, 2))}
    with jax.enable_x64(True):
        start = jax.tree.map(lambda x: jnp.asarray(x, float), start)
        grads = [dict.fromkeys(start, jnp.asarray(g)) for g in G]
        found = run(reference(kind="block", order="ascending"), start, grads)
    first = (
        [[0.9, 2.1], [2.9, 4.1]],
        [[0.803481758, 2.126633644], [2.859978199, 4.108932495]],
        [[0.903481781, 2.026633739], [2.759978294, 4.008932590]],
    )
    second = ([[0.9, 1.1], [0.9, 1.1]], [[0.8, 1], [1, 1]], [[0.9, 0.9], [0.9, 0.9]])
    for (params, _), v, w in zip(found, first, second, strict=True):
        np.testing.assert_allclose(params["v"], v, rtol=0, atol=5e-7)
        np.testing.assert_allclose(params["w"], w, rtol=0, atol=5e-7)


def test_singular_directions():
    with jax.enable_x64(True):
        found = run(reference(kind="svd"), jnp.asarray(W, float), [jnp.asarray(g) for g in G[:2]])
    basis = found[0][1][0].subspace[:, 0]
    np.testing.assert_allclose(basis * jnp.sign(basis[1]), [-0.576048374, 0.817415655], rtol=0, atol=1e-7)
    expected = (
        [[1.042395115, 2.181741476], [2.842395067, 3.981741667]],
        [[0.897812724, 2.145004272], [2.731610060, 3.897045612]],
    )
    for (params, _), after in zip(found, expected, strict=True):
        np.testing.assert_allclose(params, after, rtol=0, atol=5e-7)


GRADS = [tree(seed) for seed in range(1, 6)]


@functools.cache
def updated(kind, *, free="sign", density=0.5, full="identity", gap=2, reset=True):
    """Directions and states for five gradients in turn."""
    direction = {"identity": optax.identity(), "adam": optax.scale_by_adam()}[full]
    transform = frugal(direction, free=free, density=density, kind=kind, gap=gap, reset=reset, key=KEY)

    def step(state, grads):
        steps, state = transform.update(grads, state)
        return state, (steps, state)

    stacked = jax.tree.map(lambda *g: jnp.stack(g), *GRADS)
    found = jax.jit(lambda params, grads: jax.lax.scan(step, transform.init(params), grads)[1])(tree(0), stacked)
    found = jax.tree.map(np.asarray, found)
    return [jax.tree.map(lambda x, i=i: x[i], found) for i in range(5)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_split_adds_up(kind):
    """With nothing done to either part they are the gradient."""
    for grads, (steps, _) in zip(GRADS, updated(kind, free="sgd"), strict=True):
        for step, gradient in zip(jax.tree.leaves(steps), jax.tree.leaves(grads), strict=True):
            # A projection there and back: sums of at most five products of numbers of at most size four.
            np.testing.assert_allclose(step, gradient, rtol=0, atol=5 * 4 * 6e-8)


@pytest.mark.parametrize("kind", ["columns", "rows", "randk"])
def test_as_many_are_selected_as_asked_for_in_every_layer_by_itself(kind):
    for grads, (steps, state) in zip(GRADS, updated(kind, free="none"), strict=True):
        for step, gradient in (
            *zip(steps["blocks"]["kernel"], grads["blocks"]["kernel"], strict=True),
            (steps["hidden"]["kernel"], grads["hidden"]["kernel"]),
        ):
            inside = np.asarray(step != 0)
            np.testing.assert_array_equal(step[inside], gradient[inside])
            lines = {"columns": inside.any(0), "rows": inside.any(1), "randk": inside.ravel()}[kind]
            assert lines.sum() == int(len(lines) * 0.5)
            if kind != "randk":
                assert inside.sum() == lines.sum() * inside.size // len(lines)
        chosen = np.asarray(state.subspace["blocks"]["kernel"])
        if kind == "randk":
            assert len(np.unique(np.sort(chosen), axis=0)) == 3


def test_random_directions_are_orthonormal_and_new_at_every_draw():
    bases = [state.subspace["blocks"]["kernel"] for _, state in updated("orth", free="sgd")]
    for basis in bases:
        for layer in basis:
            # A square of numbers of at most size one, summed over four.
            np.testing.assert_allclose(layer.T @ layer, np.eye(2), rtol=0, atol=4 * 2 * 6e-8)
    same = [bool((a == b).all()) for a, b in itertools.pairwise(bases)]
    assert same == [True, False, True, False]


@pytest.mark.parametrize("reset", [True, False])
def test_state_begins_anew_with_a_subspace_unless_it_is_to_stay(reset):
    found = updated("columns", full="adam", reset=reset)
    assert [int(s.inner.count) for _, s in found] == ([1, 2, 1, 2, 1] if reset else [1, 2, 3, 4, 5])
    assert [int(s.whole.count) for _, s in found] == [1, 2, 3, 4, 5]
    if reset:
        third, state = found[2]
        # The first step of Adam is the sign, and so is every step without state; a moment's error is 3e-5 of it.
        kernel = third["hidden"]["kernel"]
        np.testing.assert_allclose(kernel, np.sign(GRADS[2]["hidden"]["kernel"]), rtol=0, atol=5e-5)
        low = GRADS[2]["hidden"]["kernel"][:, state.subspace["hidden"]["kernel"]]
        np.testing.assert_allclose(state.inner.mu["hidden"]["kernel"], 0.1 * low, rtol=1e-6)


@functools.cache
def adam():
    plain = optax.scale_by_adam()
    state, update, found = plain.init(GRADS[0]), jax.jit(plain.update), []
    for grads in GRADS:
        steps, state = update(grads, state)
        found.append(steps)
    return found


@pytest.mark.parametrize("kind", ["columns", "block"])
def test_all_of_it_with_state_is_the_full_rule(kind):
    """Its first subspace stays for all five updates."""
    for (steps, _), plain in zip(updated(kind, full="adam", density=1.0, gap=10), adam(), strict=True):
        for one, other in zip(jax.tree.leaves(steps), jax.tree.leaves(plain), strict=True):
            # Two programs may round Adam's ratio of size one elsewhere.
            np.testing.assert_allclose(one, other, rtol=2e-6)


@pytest.mark.parametrize("kind", ["rows", "svd", "block"])
def test_tensors_that_are_not_split_have_the_full_rule(kind):
    assert hidden_mask(tree(0)) == {
        "blocks": {"kernel": True, "norm": {"scale": False}},
        "embedding": {"embedding": False},
        "hidden": {"bias": False, "kernel": True},
        "readout": {"kernel": False},
    }
    found = updated(kind, full="adam", density=0.0)
    assert size_of(found[-1][1]) == 2 * 4 * (12 + 24 + 4 + 24)
    # Checkpoints hold no arrays without entries.
    assert all(leaf.size for leaf in jax.tree.leaves(found[-1][1]))
    for grads, (steps, _), plain in zip(GRADS, found, adam(), strict=True):
        for name, leaf in (("embedding", "embedding"), ("hidden", "bias"), ("readout", "kernel")):
            np.testing.assert_allclose(steps[name][leaf], plain[name][leaf], rtol=2e-6)
        np.testing.assert_array_equal(steps["blocks"]["kernel"], np.sign(grads["blocks"]["kernel"]))


# Of three matrices of 4 x 5 and one of 5 x 4 and a density of one half.
ENTRIES = {
    "columns": 3 * 4 * 2 + 5 * 2,
    "rows": 3 * 2 * 5 + 2 * 4,
    "randk": 4 * 10,
    "svd": 3 * 2 * 5 + 5 * 2,
    "orth": 3 * 2 * 5 + 5 * 2,
    "block": 2 * 20,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stacked", [True, False])
def test_the_memory_is_that_of_the_subspace(kind, stacked):
    params = tree(0) if stacked else unstacked(tree(0))
    transform = frugal(optax.scale_by_adam(), density=0.5, kind=kind, key=KEY)
    state = jax.eval_shape(transform.init, params)

    def bytes_of(part):
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(part))

    assert bytes_of((state.inner.mu, state.inner.nu)) == 2 * 4 * ENTRIES[kind]
    assert bytes_of((state.whole.mu, state.whole.nu)) == 2 * 4 * (12 + 24 + 4 + 24)
    # Indices or directions, which have no moments.
    extra = {"columns": 4 * 2, "rows": 4 * 2, "randk": 40, "svd": 4 * 4 * 2, "orth": 4 * 4 * 2, "block": 2}[kind]
    assert bytes_of(state.subspace) == 4 * extra
    assert bytes_of(state) == bytes_of((state.inner, state.whole, state.subspace)) + 4


TURNS = {
    # Three of twelve layers have state: in the order of their numbers, not of their names.
    "descending": [[9, 10, 11], [6, 7, 8], [3, 4, 5], [0, 1, 2], [9, 10, 11], [6, 7, 8]],
    "mirror": [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [9, 10, 11], [6, 7, 8]],
}


@pytest.mark.parametrize(("order", "stacked"), [("descending", True), ("mirror", False)])
def test_blocks_take_turns_by_depth(order, stacked):
    layers = jnp.arange(1.0, 13)[:, None, None] * jnp.ones((12, 2, 2))
    params = {"blocks": {"kernel": layers}} if stacked else {f"block_{i}": layers[i] for i in range(12)}
    transform = frugal(optax.identity(), free="none", kind="block", gap=1, key=KEY, order=order)
    state, update = transform.init(params), jax.jit(transform.update)
    for turn in TURNS[order]:
        steps, state = update(params, state)
        moved = [steps["blocks"]["kernel"][i] if stacked else steps[f"block_{i}"] for i in range(12)]
        assert [i for i, step in enumerate(moved) if step.any()] == turn
        for i in turn:
            np.testing.assert_array_equal(moved[i], layers[i])


def test_random_blocks_of_different_sizes_share_a_vector_that_fits_any_of_them():
    params = {"a": jnp.ones((2, 2)), "b": jnp.ones((3, 4)), "c": jnp.ones((5, 2)), "d": jnp.ones((1, 2))}
    transform = frugal(optax.scale_by_adam(), free="none", kind="block", density=0.5, gap=1, key=KEY)
    state, update, drawn = transform.init(params), jax.jit(transform.update), set()
    assert state.inner.mu.shape == (22,)
    for _ in range(12):
        steps, state = update(params, state)
        moved = tuple(name for name in params if steps[name].any())
        assert len(moved) == 2
        for name in moved:
            np.testing.assert_allclose(steps[name], 1, rtol=5e-5)
        drawn.add(moved)
    assert len(drawn) > 2


@pytest.mark.parametrize("kind", ["columns", "svd", "block"])
def test_promises(kind):
    def build(free_scale, b1):
        full = optax.scale_by_adam(b1=b1)
        return frugal(full, density=0.5, gap=2, kind=kind, free_scale=free_scale, key=jax.random.key(1))

    check_promises(build, {"free_scale": 0.5, "b1": 0.9})


def test_the_key_may_be_a_lanes_own():
    def chosen(seed):
        transform = frugal(optax.identity(), density=0.5, key=jax.random.key(seed))
        return transform.update(tree(0), transform.init(tree(0)))[1].subspace

    drawn = jax.jit(jax.vmap(chosen))(jnp.arange(8))["blocks"]["kernel"]
    assert drawn.shape == (8, 3, 2)
    assert len(np.unique(drawn.reshape(8, -1), axis=0)) > 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"free": "adam"}, "free must be one of .*, got 'adam'"),
        ({"kind": "column"}, "kind must be one of .*, got 'column'"),
        ({"order": "up"}, "order must be one of .*, got 'up'"),
        ({"gap": 0}, "gap must be an int of at least 1, got 0"),
        ({"density": 1.5}, r"density must be a number in \[0, 1\], .*, got 1.5"),
        ({"free_scale": -1.0}, r"free_scale must be a number in \[0, inf\], got -1.0"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        frugal(optax.scale_by_adam(), **{"key": KEY, **settings})


def test_a_vector_has_no_columns():
    transform = frugal(optax.scale_by_adam(), key=KEY, mask={"bias": True})
    with pytest.raises(ValueError, match=r"^mask must choose tensors of at least two axes, got .* \(3,\) at 'bias'$"):
        transform.init({"bias": jnp.ones(3)})
