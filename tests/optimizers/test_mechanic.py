"""Mechanic around AdamW is that of optax, and says the scale that it learned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrstudy.schedules import Linear
from tests.optimizers.following import followed, valley


def test_it_is_optaxs_mechanize_of_adamw_with_its_scale_as_the_rate():
    schedule, steps = Linear(1.0, 40), 30
    with jax.enable_x64(True):
        base = optax.adamw(schedule, weight_decay=0.01)
        plain = optax.contrib.mechanize(base, weight_decay=0.02, s_init=1e-3, num_betas=4)
        # Vectors do not decay: one matrix.
        params = jnp.asarray([[1.0, -2.0]])
        settings = {"weight_decay": 0.01, "regularisation": 0.02, "initial_scale": 1e-3, "num_betas": 4}
        places, rates = followed("mechanic", params, valley, steps, learning_rate=schedule, **settings)
        state, update = plain.init(params), jax.jit(plain.update)
        for step in range(steps):
            updates, state = update(valley(params), state, params)
            params = optax.apply_updates(params, updates)
            np.testing.assert_allclose(places[step], params, rtol=1e-11)
            # The rate is reported in float32.
            np.testing.assert_allclose(rates[step], schedule(step) * state.s.sum(), rtol=2e-7)
    assert rates[-1] > 10 * rates[0]
