"""D-Adaptation and Prodigy against published numbers and optax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import TABLE, effective_lr
from lrstudy.schedules import Linear
from tests.optimizers.following import followed, valley

PLACES = {
    False: [
        [0.9683772284, 1.9683772284],
        [0.9259223886, 1.9259003213],
        [0.8489025360, 1.8490064639],
        [0.6219601668, 1.6251526732],
    ],
    True: [
        [0.99000000158, 1.99000000158],
        [0.98000274860, 1.98000134066],
        [0.97001010285, 1.97000491512],
        [0.96002394416, 1.96001162455],
    ],
}
ESTIMATES = {False: [0.01, 0.01562558997, 0.04711841757, 0.13248885187], True: [0.01, 0.01, 0.01, 0.01261132117]}


@pytest.mark.parametrize("corrected", [False, True])
def test_prodigy_takes_the_published_steps(corrected):
    """From (1, 2) along 2 p (1, 1/2) with a first estimate of 0.01: places, and the estimate after every update."""
    settings = {"initial_rate": 0.01, "bias_correction": corrected}
    with jax.enable_x64(True):
        slopes = jnp.asarray([2.0, 1.0])
        places, rates = followed("prodigy", [1.0, 2.0], lambda p: slopes * p, 5, **settings)
    # To one unit of the last digit printed; a rate is the estimate before its update.
    np.testing.assert_allclose(places[:4], PLACES[corrected], rtol=0, atol=1e-10)
    np.testing.assert_allclose(rates[1:], ESTIMATES[corrected], rtol=1e-7)


def optaxs(transform, start, steps):
    params, places = jnp.asarray(start), []
    state, update = transform.init(params), jax.jit(transform.update)
    for _ in range(steps):
        updates, state = update(valley(params), state, params)
        params = optax.apply_updates(params, updates)
        places.append(params)
    return np.asarray(places)


PLAIN = {
    "dadapt_adamw": (optax.contrib.dadapt_adamw, {}),
    "prodigy": (
        functools.partial(optax.contrib.prodigy, estim_lr_coef=4.0),
        {"coefficient": 4.0, "bias_correction": True},
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_both_are_those_of_optax_under_a_schedule(name):
    schedule, steps = Linear(1.0, 12), 10
    plain, settings = PLAIN[name]
    with jax.enable_x64(True):
        expected = optaxs(plain(schedule, estim_lr0=0.1), [1.0, -2.0], steps)
        places, rates = followed(name, [1.0, -2.0], valley, steps, learning_rate=schedule, initial_rate=0.1, **settings)
    np.testing.assert_allclose(places, expected, rtol=1e-12)
    # The first rate is the first guess times the schedule; later ones grow with the estimate.
    assert rates[0] == np.float32(0.1)
    assert rates.max() > 0.2


@pytest.mark.parametrize("name", PLAIN)
def test_a_warmup_may_begin_at_zero(name):
    """There optax sums up nothing, divides by it, and is not a number from then on."""
    _, rates = followed(name, [1.0, -2.0], valley, 6, learning_rate=Linear(1.0, 12, warmup_steps=3), initial_rate=0.1)
    assert rates[0] == 0
    assert np.isfinite(rates).all()
    assert rates.max() >= 0.1


def test_the_parameters_must_be_given():
    transform = TABLE["prodigy"].build(1.0, **TABLE["prodigy"].defaults)
    with pytest.raises(ValueError, match=r"^params must be given: the rate is estimated from how far they have moved$"):
        transform.update(jnp.ones(2), transform.init(jnp.ones(2)))


@pytest.mark.parametrize("name", ["dadapt_adamw", "prodigy"])
def test_nothing_is_estimated_from_nothing_and_all_from_what_follows(name):
    """Two gradients of zero and a rate of zero leave the first guess; without the guard it is NaN for ever."""
    transform = TABLE[name].build(1.0, **TABLE[name].defaults)
    params, update = jnp.float32([1, -2]), jax.jit(transform.update)
    state = transform.init(params)
    for _ in range(2):
        updates, state = update(jnp.zeros(2), state, params)
        np.testing.assert_array_equal(updates, [0, 0])
        assert float(effective_lr(state)) == np.float32(1e-6)
    for _ in range(40):
        updates, state = update(valley(params), state, params)
        params = optax.apply_updates(params, updates)
    assert float(effective_lr(state)) > 1e-3
    # What is not finite is not hidden: it ends the run.
    updates, _ = update(jnp.float32([np.nan, 0]), state, params)
    assert np.isnan(updates).any()
