"""What an update is told beside its gradient: a loss that has this gradient at these parameters."""

import jax
import jax.numpy as jnp


def surroundings(grads, params):
    """The extra arguments of ``update`` for the loss 1 + <g, p - w> + |p - w|^2 / 2: of value one and gradient g at w.

    Its Hessian is the identity.
    """

    def moved(at):
        return jax.tree.map(lambda p, w: p - w.astype(p.dtype), at, params)

    def grad_fn(at, _):
        return jax.tree.map(lambda m, g: g.astype(m.dtype) + m, moved(at), grads)

    def obj_fn(at):
        terms = jax.tree.map(lambda m, g: jnp.sum(m * g.astype(m.dtype)) + jnp.sum(m * m) / 2, moved(at), grads)
        return 1 + sum(jax.tree.leaves(terms))

    return {"value": jnp.float32(1), "grad_fn": grad_fn, "obj_fn": obj_fn}
