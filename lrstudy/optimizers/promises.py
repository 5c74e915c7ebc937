"""What every transform promises, as checks that one of a user's own can be put to."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.schedules.promises import promise

SHAPES = {"blocks": {"kernel": (3, 4, 5)}, "hidden": {"bias": (4,), "kernel": (5, 4)}}
"""Of the tensors that a transform is tried on unless others are given: stacked layers, a vector and a matrix."""

_STEP = -0.1
# Three updates of some ten operations on numbers of at most size ten, which two programs may fuse elsewhere.
_ROUNDING = 3 * 10 * 6e-8


def normal_tree(seed: int, shapes: Any, dtype: Any = jnp.float32) -> Any:
    """Normal numbers, in a tree of arrays.

    Args:
        seed: of the numbers.
        shapes: tree of tuples.
        dtype: of the arrays.
    """
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s), dtype), shapes, is_leaf=lambda x: type(x) is tuple)


def check_promises(
    build: Callable[..., optax.GradientTransformation], numbers: Mapping[str, Any], shapes: Any = None
) -> None:
    """``build(**numbers)`` under jit, vmap, eval_shape, donation, low precision and a first gradient of zeros.

    A step of -0.1 is chained after it, so it is to give directions of ascent. Of the numbers, which are traced, two
    lanes are compared with each alone.

    Args:
        build: of the transform.
        numbers: its hyperparameters.
        shapes: of the parameters, a tree of tuples; ``None``: ``SHAPES``.

    Raises:
        PromiseError: one is not kept. An error of JAX says that the transform does in Python what must be traced.
    """

    def made(numbers: Any) -> optax.GradientTransformation:
        return with_float32_state(optax.chain(build(**numbers), optax.scale(_STEP)))

    def train(numbers: Any, params: Any, grads: Any) -> Any:
        transform = made(numbers)

        def step(carry: Any, sign: Any) -> Any:
            params, state = carry
            updates, state = transform.update(jax.tree.map(lambda g: sign.astype(g.dtype) * g, grads), state, params)
            return (optax.apply_updates(params, updates), state), updates

        return jax.lax.scan(step, (params, transform.init(params)), jnp.float32([0, 1, -1]))

    shapes = SHAPES if shapes is None else shapes
    params, grads = normal_tree(0, shapes), normal_tree(1, shapes)
    wide = jax.tree.map(jnp.float32, dict(numbers))
    state = made(wide).init(params)
    _check_shapes(made, train, wide, params, state)

    alone = jax.jit(train)
    first = alone(wide, params, grads)
    finite = all(np.isfinite(x).all() for x in jax.tree.leaves(first))
    promise(finite, "updates and state must be finite, also after a first gradient of zeros")
    moved = zip(jax.tree.leaves(first[0][0]), jax.tree.leaves(params), strict=True)
    promise(any((a != b).any() for a, b in moved), "a gradient must move the parameters")

    lanes = jax.tree.map(lambda x: x * jnp.float32([1, 0.5]), wide)
    together = jax.jit(jax.vmap(train, in_axes=(0 if lanes else None, None, None), axis_size=2))(lanes, params, grads)
    for lane in range(2):
        one = alone(jax.tree.map(lambda x, lane=lane: x[lane], lanes), params, grads) if lane else first
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(one), strict=True):
            near = np.allclose(a[lane], b, rtol=_ROUNDING, atol=10 * _ROUNDING)
            promise(near, "two lanes of one program must train as each alone")

    _check_donation(made(numbers), params, grads, state)


def shapes_of(values: Any) -> Any:
    """Shape and type of every leaf."""
    return jax.tree.map(lambda x: (x.shape, x.dtype.name), values)


def _check_shapes(made: Callable[..., Any], train: Callable[..., Any], numbers: Any, params: Any, state: Any) -> None:
    expected = shapes_of(state)
    abstract = shapes_of(jax.eval_shape(made(numbers).init, params))
    promise(abstract == expected, "the state's shapes and types must be known without computing it (eval_shape)")
    low = jax.eval_shape(lambda: normal_tree(0, jax.tree.map(lambda x: x.shape, params), jnp.bfloat16))
    # A loop carries parameters and state, so neither may change its type; state is that of float32 parameters.
    (moved, state), _ = jax.eval_shape(train, numbers, low, low)
    promise(shapes_of(state) == expected, "the state of bfloat16 parameters must be that of float32 ones")
    promise(shapes_of(moved) == shapes_of(low), "updates must have the types of the parameters")


def _check_donation(transform: optax.GradientTransformation, params: Any, grads: Any, state: Any) -> None:
    @functools.partial(jax.jit, donate_argnums=(1, 2))
    def step(grads: Any, state: Any, params: Any) -> Any:
        updates, state = transform.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params, state = step(grads, state, params)
    finite = all(np.isfinite(x).all() for x in jax.tree.leaves((params, state)))
    promise(finite, "parameters and state must stay finite where their buffers are donated")
