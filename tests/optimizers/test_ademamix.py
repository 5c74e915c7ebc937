"""AdEMAMix with its warmups against the paper's formulas in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.optimizers.ademamix import ademamix_direction

GRADS = np.random.default_rng(0).normal(size=(6, 3))


def test_both_numbers_are_warmed_up_as_published():
    b1, b2, b3, alpha, eps, steps = 0.9, 0.99, 0.999, 5.0, 1e-8, 4
    with jax.enable_x64(True):
        transform = ademamix_direction(b1=b1, b2=b2, b3=b3, slow_weight=alpha, eps=eps, warmup_steps=steps)
        state, update = transform.init(jnp.zeros(3)), jax.jit(transform.update)
        fast = slow = square = np.zeros(3)
        for t, grad in enumerate(GRADS, start=1):
            found, state = update(jnp.asarray(grad), state)
            done = t / steps
            weight = min(done * alpha, alpha)
            logs = math.log(b1), math.log(b3)
            decay = min(math.exp(logs[0] * logs[1] / ((1 - done) * logs[1] + done * logs[0])), b3) if done < 1 else b3
            fast, slow = b1 * fast + (1 - b1) * grad, decay * slow + (1 - decay) * grad
            square = b2 * square + (1 - b2) * grad**2
            expected = (fast / (1 - b1**t) + weight * slow) / (np.sqrt(square / (1 - b2**t)) + eps)
            # The slow decay is a float32, good to 6e-8; four of them are in the slow mean, which weighs five times.
            np.testing.assert_allclose(found, expected, rtol=0, atol=4 * 5 * 6e-8 * np.abs(expected).max())
