"""Low-rank products that are factored anew."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import refactor_lowrank

B = jnp.float32([[1, 0], [2, 1], [0, 3]])
A = jnp.float32([[1, 2, 0], [0, 1, 1]])
EPS = 6e-8


def layers(seed, *lead):
    """Factors of rank 3 of a 20 x 30 matrix, and a tensor beside them."""
    rng = np.random.default_rng(seed)

    def make(*shape):
        return jnp.float32(rng.normal(size=(*lead, *shape)))

    return {"B": make(20, 3), "A": make(3, 30), "bias": make(30)}


def trained(params, transform):
    """A state that holds something of every tensor."""
    _, state = transform.update(params, transform.init(params), params)
    return state


def test_the_published_factors():
    params = {"B": B, "A": A}
    state = trained(params, optax.scale_by_adam())
    (new, _), product = refactor_lowrank(10)(params, state, 10), B @ A
    # Sums of at most three products of numbers of at most size three, a few times over.
    np.testing.assert_allclose(new["B"] @ new["A"], product, rtol=0, atol=4 * 3 * 9 * EPS)
    np.testing.assert_allclose(jnp.linalg.norm(new["B"]), 3.047264721, rtol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(new["A"]), 3.047264721, rtol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(new["B"] @ new["A"]), 7.280109889, rtol=1e-6)
    singular = [6.866281586, 2.419540696]
    # Columns of B and rows of A are orthogonal, and a singular value is the square of their length.
    np.testing.assert_allclose(new["B"].T @ new["B"], np.diag(singular), rtol=0, atol=4 * 3 * 9 * EPS)
    np.testing.assert_allclose(new["A"] @ new["A"].T, np.diag(singular), rtol=0, atol=4 * 3 * 9 * EPS)


@functools.cache
def refactor():
    return jax.jit(refactor_lowrank(5))


@pytest.mark.parametrize("lead", [(), (4,)])
def test_the_product_stays_factors_are_balanced_and_their_state_is_fresh(lead):
    params = {"deep": {"one": layers(0, *lead)}, "two": layers(1, *lead)}
    state = trained(params, optax.adamw(0.1))
    new, fresh = refactor()(params, state, 5)
    for old, moved, mu, was in (
        (params["two"], new["two"], fresh[0].mu["two"], state[0].mu["two"]),
        (params["deep"]["one"], new["deep"]["one"], fresh[0].mu["deep"]["one"], state[0].mu["deep"]["one"]),
    ):
        size = np.linalg.norm(old["B"], axis=(-2, -1)) * np.linalg.norm(old["A"], axis=(-2, -1))
        error = np.abs(moved["B"] @ moved["A"] - old["B"] @ old["A"]).max(axis=(-2, -1))
        # Two orthogonalisations, a decomposition and two products, each backward stable: a small multiple of the
        # rank and of the sides' rounding, relative to |B| |A|.
        assert (error < 5 * 3 * EPS * size).all()
        norms = [np.linalg.norm(moved[name], axis=(-2, -1)) for name in "BA"]
        np.testing.assert_allclose(*norms, rtol=30 * EPS)
        np.testing.assert_array_equal(moved["bias"], old["bias"])
        assert was["B"].any()
        assert not mu["B"].any()
        assert not mu["A"].any()
        np.testing.assert_array_equal(mu["bias"], was["bias"])
    assert not fresh[0].nu["two"]["A"].any()
    assert int(fresh[0].count) == 1


@pytest.mark.parametrize("count", [0, 4, 6])
def test_between_its_times_nothing_changes(count):
    params = {"deep": {"one": layers(0)}, "two": layers(1)}
    state = trained(params, optax.adamw(0.1))
    jax.tree.map(np.testing.assert_array_equal, refactor()(params, state, count), (params, state))


def test_a_product_of_lower_rank_is_left_alone():
    """LoRA's B is zero at the start: balanced, both factors would be zero for ever. Of a stack it is one layer."""
    params = layers(0, 4)
    params["B"] = params["B"].at[1].set(0.0)
    params["A"] = params["A"].at[2, 1].set(params["A"][2, 0])
    state = trained(layers(0, 4), optax.trace(0.9))
    new, fresh = refactor()(params, state, 5)
    for layer in range(4):
        stays = layer in (1, 2)
        assert bool((new["A"][layer] == params["A"][layer]).all()) == stays
        assert bool((new["B"][layer] == params["B"][layer]).all()) == stays
        assert bool(fresh.trace["A"][layer].any()) == stays
    wide = {"B": jnp.ones((2, 3)), "A": jnp.ones((3, 2))}
    jax.tree.map(np.testing.assert_array_equal, refactor_lowrank(1)(wide, optax.EmptyState(), 1)[0], wide)


def test_a_state_that_does_not_begin_at_zero_is_that_of_the_new_factors():
    transform = optax.contrib.schedule_free(optax.sgd(0.1), 0.1)
    params = layers(0)
    new, state = refactor_lowrank(1, init=transform.init)(params, trained(params, transform), 1)
    np.testing.assert_array_equal(state.z["B"], new["B"])
    assert not np.array_equal(state.z["bias"], new["bias"])


def test_training_goes_on_in_a_jitted_step():
    """The loss after a refactorisation is what it was, and falls on; names of factors are free."""
    target = jnp.float32(np.random.default_rng(3).normal(size=(6, 2)) @ np.random.default_rng(4).normal(size=(2, 5)))

    def loss(p):
        return jnp.mean((p["lora_a"] @ p["lora_b"] - target) ** 2)

    transform = optax.adam(0.05)
    balance = refactor_lowrank(20, factors=("lora_a", "lora_b"))

    def step(carry, _):
        params, state, count = carry
        updates, state = transform.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
        before = loss(params)
        params, state = balance(params, state, count + 1)
        return (params, state, count + 1), (before, loss(params), optax.tree.norm(state[0].mu))

    rng = np.random.default_rng(5)
    params = {"lora_a": 10 * rng.normal(size=(6, 2)), "lora_b": 0.1 * rng.normal(size=(2, 5))}
    params = jax.tree.map(jnp.float32, params)
    train = jax.jit(lambda p: jax.lax.scan(step, (p, transform.init(p), 0), length=60))
    _, (before, after, moments) = train(params)
    # Residuals of size one are sums of a few products, and the mean square is good to some of their roundings.
    np.testing.assert_allclose(after, before, rtol=2e-5)
    assert [i + 1 for i in range(60) if moments[i] == 0] == [20, 40, 60]
    assert after[-1] < 0.5 * after[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kernel": A}, r"factors must be names of tensors, got \('B', 'A'\), which are not there"),
        ({"x": {"B": B}}, r"factors must have the shapes .*, got \(3, 2\) and \(\) at 'x'"),
        ({"x": {"B": B, "A": B}}, r"factors must have the shapes .*, got \(3, 2\) and \(3, 2\) at 'x'"),
    ],
)
def test_parameters_without_factors(params, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        refactor_lowrank(1)(params, optax.EmptyState(), 1)


def test_bad_period():
    with pytest.raises(ValueError, match=r"^every must be an int of at least 1, got -1$"):
        refactor_lowrank(-1)
