"""Updates that are not of finite numbers are not made; what optax does without is in ``tests/faults``."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import finite_guard, with_float32_state
from tests.optimizers.promises import check_promises, run

PARAMS = {"bias": jnp.float32([-0.0, 1.0]), "kernel": jnp.float32([[0.5, -2.0], [3.0, 0.0]])}
GRADS = jax.tree.map(lambda x: x + 0.5, PARAMS)
BAD = {name: {**GRADS, "bias": jnp.float32([0.5, value])} for name, value in
       {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}.items()}  # fmt: skip


def bits(tree):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def stepped(transform, params, state, grads):
    updates, state = jax.jit(transform.update)(grads, state, params)
    return optax.apply_updates(params, updates), state


@pytest.mark.parametrize("inner", [optax.adamw(0.1), optax.sign_sgd(0.1)], ids=["adamw", "sign"])
def test_a_bad_gradient_changes_not_one_bit(inner):
    """Not even where the update would be finite, as a sign is; not the sign of a zero, nor a count."""
    transform = finite_guard(inner)
    params, state = stepped(transform, PARAMS, transform.init(PARAMS), GRADS)
    params = {**params, "bias": jnp.float32([-0.0, 0.0])}
    for number, bad in enumerate(BAD.values(), start=1):
        after, state_after = stepped(transform, params, state, bad)
        assert bits(after) == bits(params)
        assert bits(state_after.inner) == bits(state.inner)
        assert int(state_after.refused) == 1
        state = state_after._replace(refused=state.refused)
        assert number <= 3
    found = stepped(transform, params, state, GRADS)
    assert bits((found[0], found[1].inner)) == bits(stepped(inner, params, state.inner, GRADS))


def test_refused_updates_are_counted():
    transform = finite_guard(optax.sgd(0.1))
    sequence = [GRADS, BAD["nan"], BAD["inf"], GRADS, BAD["nan"]]
    assert [int(state.refused) for _, state in run(transform, PARAMS, sequence)] == [0, 1, 2, 2, 3]


def test_a_schedule_waits():
    transform = finite_guard(optax.sgd(lambda count: 1.0 + count))
    found = run(transform, PARAMS, [GRADS, BAD["nan"], GRADS])
    taken = [a[0]["kernel"] - b[0]["kernel"] for a, b in zip([(PARAMS,), *found], found, strict=False)]
    for step, rate in zip(taken, (1, 0, 2), strict=True):
        # Differences of numbers of at most size ten.
        np.testing.assert_allclose(step, rate * GRADS["kernel"], rtol=0, atol=2e-6)


def broken(where, value):
    """A transform whose second update or state is not finite."""

    def init(params):
        return {"count": jnp.int32(0), "best": jnp.float32(np.inf), "seen": optax.tree.zeros_like(params)}

    def update(updates, state, params=None):
        spoilt = jnp.where(state["count"] == 1, value, 0.0)
        seen = jax.tree.map(lambda g: g + spoilt * (where == "state"), updates)
        steps = jax.tree.map(lambda g: -g + spoilt * (where == "update"), updates)
        return steps, {"count": state["count"] + 1, "best": state["best"], "seen": seen}

    return optax.GradientTransformation(init, update)


@pytest.mark.parametrize("where", ["state", "update"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_would_become_of_update_or_state_counts_too(where, value):
    """What is infinite from the start, a best loss that was never seen, is no reason to refuse."""
    transform = finite_guard(broken(where, value))
    found = run(transform, PARAMS, [GRADS, GRADS])
    assert int(found[0][1].refused) == 0
    assert bits(found[0][0]) != bits(PARAMS)
    assert int(found[1][1].refused) == 1
    assert bits((found[1][0], found[1][1].inner)) == bits((found[0][0], found[0][1].inner))


def test_extra_arguments_reach_the_inside():
    inner = optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(),
        lambda updates, state, params=None, *, value: (jax.tree.map(lambda g: value * g, updates), state),
    )
    transform = finite_guard(inner)
    steps, _ = transform.update(GRADS, transform.init(PARAMS), value=2.0)
    np.testing.assert_array_equal(steps["kernel"], 2 * GRADS["kernel"])


@pytest.mark.parametrize("outside", [True, False])
def test_an_overflow_of_low_precision_is_seen_from_outside(outside):
    """A step of 1e5 is finite in float32 and infinite in float16."""
    inner = optax.sgd(1e5)
    transform = finite_guard(with_float32_state(inner)) if outside else with_float32_state(finite_guard(inner))
    params = jnp.float16([1.0])
    updates, _ = transform.update(jnp.float16([1.0]), transform.init(params), params)
    assert bool(np.isfinite(updates).all()) == outside


def test_lanes_are_guarded_one_by_one():
    transform = finite_guard(optax.adam(0.1))

    def step(value):
        grads = {**GRADS, "bias": jnp.stack([value, value])}
        updates, state = transform.update(grads, transform.init(PARAMS), PARAMS)
        return updates["kernel"], state.refused

    updates, refused = jax.jit(jax.vmap(step))(jnp.float32([1.0, np.nan, 2.0]))
    assert refused.tolist() == [0, 1, 0]
    assert [bool(u.any()) for u in updates] == [True, False, True]


def test_promises():
    check_promises(lambda b1: finite_guard(optax.scale_by_adam(b1=b1)), {"b1": 0.9})
