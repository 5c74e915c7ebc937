"""Transforms that break a promise are found by the checks that every transform is put to."""

import jax
import jax.numpy as jnp
import optax
import pytest

from lrstudy.optimizers.promises import check_promises
from lrstudy.schedules.promises import PromiseError


def normalised():
    return optax.stateless(lambda grads, _: jax.tree.map(lambda g: g / jnp.sqrt(jnp.sum(g * g)), grads))


def still():
    return optax.stateless(lambda grads, _: jax.tree.map(jnp.zeros_like, grads))


def wide_updates():
    """Updates of another type than the parameters', which a loop cannot carry on."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params), lambda grads, state, params=None: (grads, (state,))
    )


def branching(momentum):
    """Decides in Python by a number that is traced."""
    return optax.trace(momentum) if momentum > 0 else optax.identity()


def test_a_gradient_of_zeros_must_leave_all_finite():
    with pytest.raises(PromiseError, match="first gradient of zeros"):
        check_promises(normalised, {})


def test_something_must_move():
    with pytest.raises(PromiseError, match="must move"):
        check_promises(still, {})


def test_a_state_must_keep_its_structure():
    with pytest.raises(TypeError, match="carry"):
        check_promises(wide_updates, {})


def test_numbers_must_not_be_looked_at_in_python():
    with pytest.raises(jax.errors.TracerBoolConversionError):
        check_promises(branching, {"momentum": 0.9})


def test_a_state_whose_type_follows_the_parameters_is_given_float32_ones():
    check_promises(optax.trace, {"decay": 0.9})
