"""StableMax against published numbers, and where float32 gives the reference's form up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.stablemax import log_stablemax, stablemax_cross_entropy

LOGITS = [[2.0, -1.0, 0.0], [-3.0, 0.5, 10.0]]
LABELS = [0, 1]
LOGS = [[-0.405465108, -2.197224577, -1.504077397], [-3.931825633, -2.140066164, -0.147635999]]
SLOPE = [[-0.0555556, 0.0277778, 0.1111111], [0.00245098, -0.29411765, 0.03921569]]


def mean_loss(logits):
    return jnp.mean(stablemax_cross_entropy(logits, jnp.asarray(LABELS)))


@pytest.mark.parametrize("x64", [False, True])
def test_published_numbers(x64):
    with jax.enable_x64(x64):
        logits = jnp.asarray(LOGITS)
        logs, loss, slope = log_stablemax(logits), mean_loss(logits), jax.grad(mean_loss)(logits)
    # All digits printed; in float32 sums of a few numbers of at most size four.
    np.testing.assert_allclose(logs, LOGS, rtol=0, atol=5.1e-10 if x64 else 1e-6)
    np.testing.assert_allclose(loss, 1.272765636, rtol=0, atol=5.1e-10 if x64 else 5e-7)
    # The gradient that was printed is of the first example as half the mean has it: rounded at seven and eight places.
    np.testing.assert_allclose(slope, SLOPE, rtol=0, atol=5.1e-8)


def test_a_small_loss_keeps_its_digits_in_float32_and_the_plain_form_does_not():
    """One logit at 1e8: the loss is log(1 + 2 / (1e8 + 1)), about 2e-8, half a last bit of one."""
    logits, label = jnp.float32([1e8, 0, 0]), jnp.int32(0)
    exact = np.log1p(2 / (1e8 + 1))
    loss, slope = jax.value_and_grad(stablemax_cross_entropy)(logits, label)
    np.testing.assert_allclose(loss, exact, rtol=1e-6)
    # The derivative for the label's logit is -(sum of the others) / s_y^2 to first order.
    np.testing.assert_allclose(slope, [-2e-16, 1e-8, 1e-8], rtol=1e-6)
    scores = logits + 1
    assert -jnp.log(scores[0] / jnp.sum(scores)) == 0
    with jax.enable_x64(True):
        scores = jnp.asarray([1e8, 0, 0]) + 1
        # The reference computes in float64, where this loss still has eight digits.
        np.testing.assert_allclose(-jnp.log(scores[0] / jnp.sum(scores)), exact, rtol=1e-8)


def test_scores_meet_smoothly_at_zero():
    slope = jax.grad(lambda x: log_stablemax(jnp.stack([x, jnp.float32(0)]))[0])
    for x in (-1e-6, 0.0, 1e-6):
        np.testing.assert_allclose(slope(x), 0.5, rtol=1e-5)
