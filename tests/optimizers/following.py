"""What the tests of rows that estimate their rate share."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrstudy.optimizers import TABLE, effective_lr


def followed(name, start, gradient, steps, *, learning_rate=1.0, loss=lambda x: jnp.float32(1), **changed):
    """Parameters after and the rate of every update, from one compiled step."""
    transform = TABLE[name].build(learning_rate, **{**TABLE[name].defaults, **changed})
    params = jnp.asarray(start)

    @jax.jit
    def step(params, state):
        given = optax.with_extra_args_support(transform).update
        updates, state = given(gradient(params), state, params, value=loss(params))
        return optax.apply_updates(params, updates), state

    state, places, rates = transform.init(params), [], []
    for _ in range(steps):
        params, state = step(params, state)
        places.append(np.asarray(params))
        rates.append(float(effective_lr(state)))
    return np.asarray(places), np.asarray(rates)


def valley(x):
    """The gradient of (x1^2 + 3 x2^2) / 2."""
    return jnp.asarray([1.0, 3.0], x.dtype) * x
