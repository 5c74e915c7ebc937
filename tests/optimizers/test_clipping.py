"""Clipping by one factor against optax's, number by number."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers.clipping import clip_by_global_norm
from tests.optimizers.promises import check_promises, tree

GRADS = tree(0)
NORM = float(optax.tree.norm(GRADS))
EPS = float(jnp.finfo(jnp.float32).eps)


def clipped(transform, grads=GRADS):
    return jax.jit(lambda grads: transform.update(grads, transform.init(grads))[0])(grads)


@pytest.mark.parametrize("share", [0.1, 0.9, 1.1, 10.0])
def test_clipping_is_that_of_optax_up_to_rounding(share):
    """A quotient and a product here, a quotient and a product there: each of them may round, half an eps of the result.

    What is not clipped is multiplied by one.
    """
    ours, theirs = (clipped(make(share * NORM)) for make in (clip_by_global_norm, optax.clip_by_global_norm))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2 * EPS if share < 1 else 0), ours, theirs)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_gradient_that_is_not_finite_is_not_hidden(bad):
    found = clipped(clip_by_global_norm(1.0), {"a": jnp.asarray([1.0, bad]), "b": jnp.ones(2)})
    assert np.isnan(found["a"][1])


def test_gradients_of_zero_stay_zero():
    assert not any(
        np.any(leaf) for leaf in jax.tree.leaves(clipped(clip_by_global_norm(1.0), optax.tree.zeros_like(GRADS)))
    )


def test_promises():
    check_promises(clip_by_global_norm, {"max_norm": 0.5})
