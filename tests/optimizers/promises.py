"""Trees that transforms are tested on, beside the promises of the library (``lrstudy.optimizers.promises``)."""

import jax
import jax.numpy as jnp
import optax

from lrstudy.optimizers.promises import check_promises, normal_tree, shapes_of

__all__ = ["SHAPES", "check_promises", "run", "shapes_of", "size_of", "tree", "unstacked"]

SHAPES = {
    "blocks": {"kernel": (3, 4, 5), "norm": {"scale": (3, 4)}},
    "embedding": {"embedding": (6, 4)},
    "hidden": {"bias": (4,), "kernel": (5, 4)},
    "readout": {"kernel": (4, 6)},
}


def tree(seed, shapes=SHAPES, dtype=jnp.float32):
    """Normal numbers."""
    return normal_tree(seed, shapes, dtype)


def unstacked(params):
    """The same layers as tensors of their own."""
    rest = {k: v for k, v in params.items() if k != "blocks"}
    count = len(jax.tree.leaves(params["blocks"])[0])
    return rest | {f"block_{i}": jax.tree.map(lambda x, i=i: x[i], params["blocks"]) for i in range(count)}


def size_of(state):
    """Bytes of all floating-point numbers."""
    return sum(x.nbytes for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating))


def run(transform, params, grads):
    """Parameters and states after every update."""
    state, update, found = transform.init(params), jax.jit(transform.update), []
    for grad in grads:
        updates, state = update(grad, state, params)
        params = optax.apply_updates(params, updates)
        found.append((params, state))
    return found
