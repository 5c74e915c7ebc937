"""The plateau rule against a plain loop, and what optax does with traced numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import effective_lr, plateau
from lrstudy.schedules import Linear


def rates_of(losses, learning_rate=1.0, **settings):
    transform = plateau(optax.identity(), learning_rate, **settings)
    params = jnp.zeros(2)
    state, update = transform.init(params), jax.jit(transform.update)
    rates = []
    for loss in losses:
        updates, state = update(jnp.ones(2), state, params, value=jnp.float32(loss))
        rates.append(float(effective_lr(state)))
        np.testing.assert_array_equal(updates, -np.float32(rates[-1]) * np.ones(2, np.float32))
    return rates


def reference(losses, factor, patience, cooldown, accumulation, min_scale=0.0, rtol=1e-4):
    """The rule in words: means of losses; after ``patience`` of them without a better one the scale is cut."""
    scale, best, bad, cooling, heard, scales = 1.0, np.inf, 0, 0, [], []
    for loss in losses:
        heard.append(loss)
        if len(heard) == accumulation:
            mean, heard = np.mean(heard), []
            better = mean < (1 - rtol) * best
            best = mean if better else best
            bad = 0 if better else bad + 1
            if cooling:
                cooling, bad = cooling - 1, 0
            elif bad == patience:
                scale, bad, cooling = max(scale * factor, min_scale), 0, cooldown
        scales.append(scale)
    return scales


LOSSES = [3.0, 2.0, 2.5, 1.0, 1.5, 1.5, 1.5, 1.5, 1.5, 0.5, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.25, 4.0, 4.0, 4.0]


@pytest.mark.parametrize(
    "settings",
    [
        {"factor": 0.5, "patience": 2, "cooldown": 0, "accumulation": 1},
        {"factor": 0.5, "patience": 2, "cooldown": 3, "accumulation": 1},
        {"factor": 0.25, "patience": 1, "cooldown": 0, "accumulation": 4},
        {"factor": 0.25, "patience": 1, "cooldown": 0, "accumulation": 1, "min_scale": 0.125},
    ],
)
def test_the_rate_is_cut_when_the_loss_stops_falling(settings):
    expected = reference(LOSSES, **settings)
    assert len(set(expected)) > 2 or settings["cooldown"] or settings["accumulation"] > 1
    assert expected[-1] < 1
    # Factors are powers of two, so nothing rounds.
    assert rates_of(LOSSES, **settings) == expected


def test_a_schedule_is_what_is_scaled():
    schedule = Linear(0.5, 8)
    rates = rates_of([1.0] * 8, schedule, factor=0.5, patience=3, accumulation=1)
    assert rates == [float(schedule(k)) * (1 if k < 3 else 0.5 if k < 6 else 0.25) for k in range(8)]


def test_many_reductions_do_not_run_out_of_exponents():
    """optax's own scale would be zero after some 150 halvings; the halvings heard here are undone one by one."""
    rates = rates_of([1.0] * 300, factor=0.99, patience=1, accumulation=1)
    np.testing.assert_allclose(rates[-1], 0.99**299, rtol=300 * 6e-8)


def test_the_factor_may_be_traced_which_optax_refuses():
    def scale(factor, build):
        transform = build(factor)
        state = transform.init(jnp.zeros(2))
        for _ in range(3):
            updates, state = transform.update(jnp.ones(2), state, jnp.zeros(2), value=jnp.float32(1))
        return updates

    with pytest.raises(jax.errors.TracerBoolConversionError):
        jax.jit(lambda f: scale(f, lambda f: optax.contrib.reduce_on_plateau(factor=f, patience=1)))(0.5)
    lanes = jax.vmap(lambda f: scale(f, lambda f: plateau(optax.identity(), 1.0, factor=f, patience=1, accumulation=1)))
    np.testing.assert_array_equal(lanes(jnp.float32([0.5, 0.25]))[:, 0], [-0.25, -0.0625])
