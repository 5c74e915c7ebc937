"""Every case against the formulas in plain float64."""

import jax
import numpy as np
import pytest

from lrstudy.schedules import WSD, Linear

from .cases import ALL, boundaries, highest, last_step
from .reference import expected_rates, rates


def steps_of(schedule):
    return sorted({*range(-3, last_step(schedule) + 5), *boundaries(schedule)})


@pytest.mark.parametrize("name", ALL)
def test_float32(name):
    schedule, steps = ALL[name], steps_of(ALL[name])
    values = rates(schedule, steps)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected_rates(schedule, steps), rtol=0, atol=2e-7 * highest(schedule))


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
    np.testing.assert_allclose(values, expected_rates(schedule, steps), rtol=0, atol=1e-12 * highest(schedule))


TAILS = {
    "linear": lambda v: v,
    "cosine": lambda v: np.sin(np.pi * v / 2) ** 2,
    "1-sqrt": lambda v: v / (1 + np.sqrt(1 - v)),
    "1-square": lambda v: v * (2 - v),
    "exp_to_zero": lambda v: np.expm1(v) / (np.e - 1),
    "polynomial": lambda v: v**2,
    "rex": lambda v: v / (0.5 + 0.5 * v),
}


@pytest.mark.parametrize("shape", TAILS)
def test_the_tail_keeps_its_relative_precision(shape):
    # From the share that is left; 1 - u, or a cosine near -1, would lose three digits here.
    left = np.arange(1, 20)
    schedule = WSD(1.0, 10_000, decay_steps=10_000, shape=shape)
    np.testing.assert_allclose(rates(schedule, 10_000 - left), TAILS[shape](left / 10_000), rtol=2e-6)


def test_single_steps_of_a_long_run_are_told_apart():
    total, decay = 2**30, 1000
    schedule = Linear(1.0, total, warmup_steps=total - decay)
    steps = np.arange(total - decay, total + 1)
    np.testing.assert_allclose(np.asarray(schedule(steps)), (total - steps) / decay, rtol=0, atol=2e-7)
