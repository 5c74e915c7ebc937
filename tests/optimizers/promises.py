"""What every transform promises, whether or not a row of the table is made of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrstudy.optimizers import with_float32_state

SHAPES = {
    "blocks": {"kernel": (3, 4, 5), "norm": {"scale": (3, 4)}},
    "embedding": {"embedding": (6, 4)},
    "hidden": {"bias": (4,), "kernel": (5, 4)},
    "readout": {"kernel": (4, 6)},
}

FEW = {"blocks": {"kernel": (3, 4, 5)}, "hidden": {"bias": (4,), "kernel": (5, 4)}}


def tree(seed, shapes=SHAPES, dtype=jnp.float32):
    """Normal numbers."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s), dtype), shapes, is_leaf=lambda x: type(x) is tuple)


def unstacked(params):
    """The same layers as tensors of their own."""
    rest = {k: v for k, v in params.items() if k != "blocks"}
    count = len(jax.tree.leaves(params["blocks"])[0])
    return rest | {f"block_{i}": jax.tree.map(lambda x, i=i: x[i], params["blocks"]) for i in range(count)}


def shapes_of(values):
    return jax.tree.map(lambda x: (x.shape, x.dtype.name), values)


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


def check_promises(build, numbers, shapes=FEW):
    """``build(**numbers)`` under jit, vmap, eval_shape, donation, low precision and a first gradient of zeros.

    A step of 0.1 is chained after it. Of the numbers, which are traced, two lanes are compared with each alone.
    """

    def made(numbers):
        return with_float32_state(optax.chain(build(**numbers), optax.scale(-0.1)))

    def train(numbers, params, grads):
        transform = made(numbers)

        def step(carry, sign):
            params, state = carry
            updates, state = transform.update(jax.tree.map(lambda g: sign.astype(g.dtype) * g, grads), state, params)
            return (optax.apply_updates(params, updates), state), updates

        return jax.lax.scan(step, (params, transform.init(params)), jnp.float32([0, 1, -1]))

    params, grads = tree(0, shapes), tree(1, shapes)
    wide = jax.tree.map(jnp.float32, numbers)
    state = made(numbers).init(params)
    _check_shapes(made, train, wide, params, state)

    alone = jax.jit(train)
    first = alone(wide, params, grads)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(first))
    moved = first[0][0]
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(params), strict=True))

    lanes = jax.tree.map(lambda x: x * jnp.float32([1, 0.5]), wide)
    together = jax.jit(jax.vmap(train, in_axes=(0 if lanes else None, None, None), axis_size=2))(lanes, params, grads)
    for lane in range(2):
        one = alone(jax.tree.map(lambda x: x[1], lanes), params, grads) if lane else first
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(one), strict=True):
            # Three updates of some ten operations on numbers of at most size ten, which two programs may fuse
            # elsewhere.
            np.testing.assert_allclose(a[lane], b, rtol=3 * 10 * 6e-8, atol=3 * 10 * 6e-8 * 10)

    _check_donation(made(numbers), params, grads, state)


def _check_shapes(made, train, numbers, params, state):
    expected = shapes_of(state)
    assert shapes_of(jax.eval_shape(made(numbers).init, params)) == expected
    low = jax.eval_shape(lambda: tree(0, jax.tree.map(lambda x: x.shape, params), jnp.bfloat16))
    # A loop carries parameters and state, so neither may change its type; state is that of float32 parameters.
    (moved, state), _ = jax.eval_shape(train, numbers, low, low)
    assert shapes_of(state) == expected
    assert shapes_of(moved) == shapes_of(low)


def _check_donation(transform, params, grads, state):
    @functools.partial(jax.jit, donate_argnums=(1, 2))
    def step(grads, state, params):
        updates, state = transform.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params, state = step(grads, state, params)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((params, state)))
