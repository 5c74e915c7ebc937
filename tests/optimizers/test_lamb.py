"""LAMB from its moments in two forms against the chain that it is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrstudy.optimizers import decay_mask, scale_by_trust_ratio
from lrstudy.optimizers.lamb import lamb_direction
from tests.optimizers.promises import check_promises, run, tree

NUMBERS = {"b1": 0.9, "b2": 0.999, "eps": 1e-6, "weight_decay": 0.01}


def chained(b1, b2, eps, weight_decay):
    ratio = scale_by_trust_ratio("lamb", weight_decay=weight_decay, mask=decay_mask)
    return optax.chain(optax.scale_by_adam(b1, b2, eps), ratio)


def test_it_is_the_chain_of_adam_and_its_trust_ratio():
    """In float64, for stacks, embeddings and vectors: some dozen roundings of 1e-16 a step."""
    with jax.enable_x64(True):
        params, *grads = (jax.tree.map(lambda x: jnp.asarray(x, float), tree(seed)) for seed in range(5))
        ours, theirs = (
            run(optax.chain(make(**NUMBERS), optax.scale(-0.1)), params, grads) for make in (lamb_direction, chained)
        )
    for (own, (state, _)), (other, (expected, _)) in zip(ours, theirs, strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), own, other)
        # The state is of the chain's shape: either goes on from the other's checkpoint.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), state, expected)


def test_promises():
    check_promises(lamb_direction, NUMBERS)
