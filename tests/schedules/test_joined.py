"""Schedules one after the other, and later."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.schedules import (
    WSD,
    Constant,
    Cosine,
    Infinite,
    Joined,
    Linear,
    Power,
    Sampled,
    Shifted,
    Tabulated,
    from_dict,
    join,
)

from .reference import rates

FIRST, SECOND, THIRD = Linear(1.0, 30, warmup_steps=5), Cosine(0.5, 40), Constant(0.125, warmup_steps=4)
STEPS = np.arange(-3, 120)


def test_every_schedule_counts_its_own_steps():
    whole = rates(join([FIRST, SECOND, THIRD], [20, 50]), STEPS[3:])
    np.testing.assert_array_equal(whole[:20], rates(FIRST, range(20)))
    np.testing.assert_array_equal(whole[20:50], rates(SECOND, range(30)))
    np.testing.assert_array_equal(whole[50:], rates(THIRD, range(70)))


def test_join_is_the_class():
    joined = join([FIRST, SECOND], [20])
    assert joined == Joined((FIRST, SECOND), (20,)) == Joined([FIRST, SECOND], np.array([20]))
    assert dataclasses.replace(joined, boundaries=[21])(20) == FIRST(20)


def test_joined_as_optax_joins():
    ours = join([FIRST, SECOND, THIRD], [20, 50])
    theirs = optax.join_schedules([FIRST, SECOND, THIRD], [20, 50])
    # optax gives a float step to no schedule before its boundary that ours would not clamp.
    steps = jnp.arange(120)
    np.testing.assert_array_equal(ours(steps), jax.vmap(theirs)(steps))


def test_a_shift_stands_at_the_beginning():
    shifted = rates(Shifted(FIRST, 10), STEPS)
    np.testing.assert_array_equal(shifted[:13], FIRST(0))
    np.testing.assert_array_equal(shifted[13:], rates(FIRST, range(110)))
    np.testing.assert_array_equal(rates(Shifted(FIRST, 0), STEPS), rates(FIRST, STEPS))
    np.testing.assert_array_equal(rates(Shifted(Shifted(FIRST, 4), 6), STEPS), shifted)


def test_joined_schedules_are_shifted_ones():
    joined, shifted = join([FIRST, SECOND], [20]), Shifted(SECOND, 20)
    np.testing.assert_array_equal(rates(joined, range(20, 120)), rates(shifted, range(20, 120)))


def test_steps_are_subtracted_as_integers():
    # Float32 cannot tell these steps apart.
    start = 2**30
    values = Shifted(Linear(1.0, 100), start)(start + np.arange(101))
    np.testing.assert_array_equal(values, rates(Linear(1.0, 100), range(101)))
    np.testing.assert_array_equal(join([THIRD, Linear(1.0, 100)], [start])(start + np.arange(101)), values)


def test_numbers_may_be_traced():
    def rate(peak, boundary, start, step):
        return join([Constant(peak), Shifted(Linear(peak, 30), start)], [boundary])(step)

    traced = jax.jit(rate)(0.3, 20, 7, STEPS)
    np.testing.assert_array_equal(traced, rate(0.3, 20, 7, STEPS))
    swept = jax.vmap(lambda boundary: rate(0.3, boundary, 7, STEPS))(jnp.array([20, 33]))
    np.testing.assert_array_equal(swept[1], rate(0.3, 33, 7, STEPS))


def test_a_later_start_lets_the_rate_fall_later():
    slope = jax.grad(lambda start: Shifted(Linear(1.0, 40), start)(30))(10.0)
    np.testing.assert_allclose(slope, 1 / 40, rtol=1e-6)
    # A boundary only decides; what follows it moves with it.
    slope = jax.grad(lambda boundary: Joined([THIRD, Linear(1.0, 40)], [boundary])(30))(jnp.float32(10))
    np.testing.assert_allclose(slope, 1 / 40, rtol=1e-6)


def test_schedules_of_schedules_are_written_whole():
    table = Tabulated([1.0, 0.0], total_steps=30)
    nested = join([Sampled(FIRST, 30, 3), Shifted(join([SECOND, table], [9]), 2)], [40])
    data = json.loads(json.dumps(nested.to_dict()))
    assert data["schedules"][1]["schedule"]["schedules"][0]["name"] == "Cosine"
    assert from_dict(data) == nested
    assert hash(from_dict(data)) == hash(nested)


def test_parts_know_their_fractions():
    by_fraction = join([FIRST, WSD(1.0, 40, decay_fraction=0.25)], [20])
    by_steps = join([FIRST, WSD(1.0, 40, decay_steps=10)], [20])
    np.testing.assert_array_equal(rates(by_fraction, STEPS), rates(by_steps, STEPS))


@pytest.mark.parametrize("start", [25, 50, 90])
def test_a_run_that_decides_later_when_to_anneal(start):
    endless = Infinite(3e-3, 1e-3, warmup_steps=5, cooldown_end=20, end=1e-4)
    annealed = dataclasses.replace(endless, anneal_start=start, anneal_end=start + 10)
    steps = np.arange(start + 30)
    values = rates(annealed, steps)
    np.testing.assert_array_equal(values[: start + 1], rates(endless, steps[: start + 1]))
    np.testing.assert_array_equal(values[start + 10 :], np.float32(1e-4))
    # A straight line in the logarithm, joined where the constant rate ends.
    line = np.exp(np.linspace(np.log(1e-3), np.log(1e-4), 11))
    np.testing.assert_allclose(values[start : start + 11], line, rtol=0, atol=2e-7 * 1e-3)


def test_a_power_schedule_inside_counts_tokens_in_floats():
    inner = Power(batch_size=1024, sequence_length=4096)
    steps = jnp.asarray([0, 511, 512, 513, 10_000, 1_000_000])
    for outer in (Shifted(inner, 7), join([THIRD, inner], [7])):
        np.testing.assert_array_equal(jax.jit(outer)(steps + 7), inner(steps))
