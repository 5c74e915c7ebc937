"""The edge of stability, by running the optimizers on a quadratic just below and just above it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.curvature import thresholds

RATE = 0.1
NEAR = 0.01
"""Curvatures of 0.99 and 1.01 times the threshold are simulated."""
STEPS = int(np.ceil(np.log(1e4) / np.log(1 + 2 * NEAR)))
"""Enough to grow or shrink by 1e4: at the threshold s of rate times curvature one root of the characteristic polynomial
is -1, and it moves with s by 2 NEAR (gradient descent), 2 NEAR (1 + b) / (1 - b) (heavy ball, average) or
2 NEAR (1 + b) (1 + 2b) / (1 + 3b) (Nesterov), which is never less than 2 NEAR."""
CASES = [
    ("gd", 0.0),
    ("heavy_ball", 0.5),
    ("heavy_ball", 0.9),
    ("nesterov", 0.5),
    ("nesterov", 0.9),
    ("ema_momentum", 0.5),
    ("ema_momentum", 0.9),
    ("adam", 0.9),
    ("adam", 0.5),
    ("rmsprop", 0.0),
]


def transform_of(name, momentum):
    """With the preconditioner held at one, Adam is momentum by an average and RMSProp is gradient descent."""
    if name in ("ema_momentum", "adam"):
        return optax.chain(optax.ema(momentum, debias=False), optax.scale(-RATE))
    return optax.sgd(RATE, momentum=momentum or None, nesterov=name == "nesterov")


@pytest.mark.parametrize(("name", "momentum"), CASES)
def test_steps_are_bounded_below_and_diverge_above(name, momentum):
    transform = transform_of(name, momentum)

    def final(curvature):
        def step(carry, _):
            x, state = carry
            updates, state = transform.update(curvature * x, state, x)
            x = x + updates
            return (x, state), jnp.abs(x)

        x = jnp.float32(1)
        return jax.lax.scan(step, (x, transform.init(x)), None, length=STEPS)[1]

    edge = thresholds(name, RATE, momentum=momentum)
    below, above = jax.jit(jax.vmap(final))(jnp.asarray([(1 - NEAR) * edge, (1 + NEAR) * edge], jnp.float32))
    assert below[-1] < 1e-2
    assert above[-1] > 1e2


def test_the_numbers():
    assert thresholds("gd", 0.1) == pytest.approx(20)
    assert thresholds("adam", 1e-3, momentum=0.9) == pytest.approx(38e3)
    assert thresholds("rmsprop", 0.5) == pytest.approx(4)
    assert thresholds("nesterov", 1.0, momentum=0.9) == pytest.approx(1.357143, rel=1e-6)
    for name in ("heavy_ball", "nesterov", "ema_momentum"):
        assert thresholds(name, 0.1) == pytest.approx(thresholds("gd", 0.1))


def test_rates_may_be_arrays_and_traced():
    rates = jnp.asarray([0.1, 0.2])
    np.testing.assert_allclose(thresholds("gd", rates), [20, 10], rtol=1e-6)
    traced = jax.jit(lambda rate, b: thresholds("heavy_ball", rate, momentum=b))(rates, 0.9)
    np.testing.assert_allclose(traced, [38, 19], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "momentum", "message"),
    [
        (("sgd", 0.1), 0.0, "optimizer must be one of .* got 'sgd'"),
        (("gd", 0.0), 0.0, "learning_rate must be positive, got 0.0"),
        (("gd", float("nan")), 0.0, "learning_rate must be positive, got nan"),
        (("gd", np.asarray([0.1, -1])), 0.0, "learning_rate must be positive"),
        (("heavy_ball", 0.1), 1.0, r"momentum must be in \[0, 1\), got 1.0"),
        (("adam", 0.1), -0.1, r"momentum must be in \[0, 1\), got -0.1"),
        (("adam", 0.1), float("nan"), r"momentum must be in \[0, 1\), got nan"),
        (("gd", 0.1), 0.9, "momentum must be left out, gd has none, got 0.9"),
        (("rmsprop", 0.1), 0.9, "momentum must be left out, rmsprop has none, got 0.9"),
    ],
)
def test_bad_arguments(arguments, momentum, message):
    with pytest.raises(ValueError, match=message):
        thresholds(*arguments, momentum=momentum)
