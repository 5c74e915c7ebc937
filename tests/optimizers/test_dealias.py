"""States that own their arrays; what optax does without is in ``tests/faults``."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import dealias
from tests.optimizers.promises import check_promises

PARAMS = {"bias": jnp.float32([0.25, 1.0]), "kernel": jnp.float32([[0.5, -2.0], [3.0, 1.0]])}


def pointers(tree):
    return [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(tree)]


NESTED = optax.contrib.mechanize(optax.contrib.prodigy())
KEEPERS = {"prodigy": optax.contrib.prodigy(), "both": NESTED, "adam": optax.adam(0.1)}


@pytest.mark.parametrize("name", KEEPERS)
def test_no_two_arrays_share_memory(name):
    """Mechanic around Prodigy: both keep the initial parameters."""
    raw = KEEPERS[name]
    state = dealias(raw).init(PARAMS)
    places = pointers((PARAMS, state))
    assert len(set(places)) == len(places)
    plain = raw.init(PARAMS)
    if name != "adam":
        assert set(pointers(plain)) & set(pointers(PARAMS))
    assert jax.tree.structure(state) == jax.tree.structure(plain)
    jax.tree.map(np.testing.assert_array_equal, state, plain)


def test_the_parameters_may_change_hands():
    """Nothing of the state is lost with the parameters it was made from."""
    params = jax.tree.map(jnp.copy, PARAMS)
    state = dealias(optax.contrib.prodigy()).init(params)
    for leaf in jax.tree.leaves(params):
        leaf.delete()
    jax.tree.map(np.testing.assert_array_equal, state.params0, PARAMS)


def test_updates_are_those_of_the_transform():
    transform = dealias(optax.contrib.momo(0.1))
    raw = optax.contrib.momo(0.1)
    found = transform.update(PARAMS, transform.init(PARAMS), PARAMS, value=jnp.float32(1))
    expected = raw.update(PARAMS, raw.init(PARAMS), PARAMS, value=jnp.float32(1))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_inside_a_program_there_is_nothing_to_share():
    state = jax.jit(dealias(NESTED).init)(PARAMS)
    places = pointers((PARAMS, state))
    assert len(set(places)) == len(places)


def test_promises():
    def build(eps):
        return dealias(optax.contrib.dog(eps=eps))

    check_promises(build, {"eps": 1e-8})
