"""Every case against the formulas in plain float64."""

import jax
import numpy as np
import pytest

from lrstudy.schedules import Cosine, Linear, Polynomial

from .cases import ALL, boundaries, last_step
from .reference import expected_rates, rates


def steps_of(schedule):
    return sorted({*range(-3, last_step(schedule) + 5), *boundaries(schedule)})


@pytest.mark.parametrize("name", ALL)
def test_float32(name):
    schedule, steps = ALL[name], steps_of(ALL[name])
    values = rates(schedule, steps)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected_rates(schedule, steps), rtol=0, atol=2e-7 * schedule.peak)


@pytest.fixture(scope="module")
def in_float64():
    """Every case at its steps, from one program."""
    with jax.enable_x64(True):
        steps = {name: np.asarray(steps_of(schedule)) for name, schedule in ALL.items()}
        return jax.jit(lambda s: {name: s[name](steps[name]) for name in s})(ALL)


@pytest.mark.parametrize("name", ALL)
def test_float64(name, in_float64):
    schedule, steps, values = ALL[name], steps_of(ALL[name]), np.asarray(in_float64[name])
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected_rates(schedule, steps), rtol=0, atol=1e-12 * schedule.peak)


@pytest.mark.parametrize("schedule", [Cosine(1.0, 1000), Polynomial(1.0, 1000, power=2.0)])
def test_the_tail_keeps_its_relative_precision(schedule):
    # From the share that is left, (k/T)**2 and sin(pi k / 2T)**2 need no subtraction; 1 - u would lose three digits.
    left = np.arange(1, 20) / 1000
    exact = np.sin(np.pi * left / 2) ** 2 if isinstance(schedule, Cosine) else left**2
    np.testing.assert_allclose(rates(schedule, 1000 - np.arange(1, 20)), exact, rtol=2e-6)


def test_single_steps_of_a_long_run_are_told_apart():
    total, decay = 2**30, 1000
    schedule = Linear(1.0, total, warmup_steps=total - decay)
    steps = np.arange(total - decay, total + 1)
    np.testing.assert_allclose(np.asarray(schedule(steps)), (total - steps) / decay, rtol=0, atol=2e-7)
