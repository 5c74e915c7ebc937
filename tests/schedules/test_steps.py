"""What a step may be, and what becomes of a fraction of the steps."""

import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrstudy.schedules import WSD, WSDS, Linear, ScheduleError, steps_from_fraction
from lrstudy.schedules.steps import scaled_division, traced_share

from .cases import ALL, ENDLESS, boundaries, last_step
from .reference import rates, share


@pytest.fixture(scope="module")
def closed_over():
    """step -> the rate of every case, the cases being constants of one program."""
    return jax.jit(lambda step: {name: schedule(step) for name, schedule in ALL.items()})


@pytest.mark.parametrize("name", ALL)
def test_python_numpy_and_compiled_steps_give_the_same_bits(name, closed_over):
    schedule = ALL[name]
    for step in boundaries(schedule):
        rate = np.asarray(schedule(step))
        assert rate.dtype == np.float32
        assert rate.shape == ()
        assert np.asarray(schedule(np.int64(step))) == rate, step
        assert np.asarray(closed_over(jnp.int32(step))[name]) == rate, step


@pytest.mark.parametrize("name", [name for name in ALL if name not in ENDLESS])
def test_outside_the_run_the_rate_is_held(name):
    schedule, last = ALL[name], last_step(ALL[name])
    assert schedule(-1) == schedule(-(10**30)) == schedule(0)
    assert schedule(last) == schedule(last + 1) == schedule(2**31 - 1) == schedule(2**31) == schedule(10**30)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "uint32", "int64", "uint64"])
def test_every_integer_type(dtype):
    schedule = Linear(1.0, 120, warmup_steps=10)
    steps = np.array([0, 5, 10, 65, 120, np.iinfo(dtype).max], dtype)
    expected = [schedule(int(step)) for step in steps]
    np.testing.assert_array_equal(schedule(steps), expected)
    np.testing.assert_array_equal(schedule(steps.reshape(2, 3)), np.reshape(expected, (2, 3)))
    with jax.enable_x64(True):
        wide = jax.jit(schedule)(jnp.asarray(steps))
    np.testing.assert_allclose(wide, expected, rtol=0, atol=2e-7)


def test_signed_steps_below_the_range_of_int32():
    schedule = Linear(1.0, 100, warmup_steps=10, init_value=0.25)
    np.testing.assert_array_equal(schedule(np.array([-(2**63), -(2**31) - 1, -1])), 0.25)
    with jax.enable_x64(True):
        assert jax.jit(schedule)(jnp.asarray(-(2**40))) == 0.25


def test_empty_and_nested_shapes():
    schedule = ALL["WSDS"]
    assert schedule(np.zeros((0, 3), int)).shape == (0, 3)
    assert schedule(jnp.zeros((2, 1, 3), int)).shape == (2, 1, 3)


def test_a_class_compiles_once_for_all_its_numbers():
    with jax.checking_leaks():
        compiled = jax.jit(lambda s, t: s(t))
        for i in range(20):
            compiled(WSD(1e-3 + i, 100 + i, warmup_steps=i, decay_fraction=0.1 + 0.01 * i), jnp.int32(i))
        assert compiled._cache_size() == 1


@pytest.mark.parametrize(
    "step", [1.0, True, np.float32(1), np.bool_(1), None, "1", [1, 2], np.ones(3), np.ones(3, bool)]
)
def test_other_steps_are_refused(step):
    with pytest.raises(ScheduleError) as error:
        ALL["WSDS"](step)
    assert str(error.value) == f"WSDS: step must be an int or an array of ints, got {step!r}"


def test_a_traced_float_step_is_refused():
    with pytest.raises(ScheduleError, match="step must be an int or an array of ints"):
        jax.jit(ALL["Cosine"])(jnp.float32(1))


# ties, and what a truncation would get wrong: (fraction, steps, floor(fraction * steps + 1/2) of the decimal)
KNOWN = [
    (0.29, 100, 29),
    (0.57, 100, 57),
    (0.145, 100, 15),
    (0.285, 100, 29),
    (0.575, 100, 58),
    (0.005, 100, 1),
    (0.0005, 1000, 1),
    (0.115, 1000, 115),
    (0.1115, 1000, 112),
    (0.35, 10, 4),
    (0.15, 30, 5),
    (0.25, 2, 1),
    (1.0, 7, 7),
    (0.0, 7, 0),
    (0.1, 10**9, 10**8),
    (0.123457, 2**31 - 2, 265121888),
    (0.999999, 2**31 - 2, 2147481499),
]


@pytest.mark.parametrize(("fraction", "total", "length"), KNOWN)
def test_known_fractions(fraction, total, length):
    assert share(fraction, total) == length
    assert steps_from_fraction(fraction, total) == length
    assert steps_from_fraction(np.float32(fraction), np.int64(total)) == length
    traced = jax.jit(traced_share)
    assert traced(jnp.float32(fraction), jnp.int32(total)) == length
    assert traced(fraction, total) == length
    with jax.enable_x64(True):
        assert traced(jnp.float64(fraction), jnp.int64(total).astype(jnp.int32)) == length


@pytest.mark.parametrize(("fraction", "total", "length"), [row for row in KNOWN if row[2] > 0 and row[1] < 2000])
def test_a_schedule_decays_by_known_fractions_closed_over_and_passed_in(fraction, total, length):
    steps = jnp.arange(-2, 3) + total - length
    by_steps = WSD(1.0, total, decay_steps=length, shape="linear")
    by_fraction = WSD(1.0, total, decay_fraction=fraction, shape="linear")
    expected = np.asarray(by_steps(steps))
    np.testing.assert_array_equal(by_fraction(steps), expected)
    np.testing.assert_array_equal(jax.jit(by_fraction)(steps), expected)
    swept = jax.vmap(lambda f: WSD(1.0, total, decay_fraction=f, shape="linear")(steps))(jnp.full(3, fraction))
    np.testing.assert_array_equal(swept, np.tile(expected, (3, 1)))
    assert by_fraction.trunk() == by_steps.trunk()


@settings(deadline=None, max_examples=200)
@given(st.floats(0, 1), st.integers(1, 2**31 - 2))
def test_any_fraction_is_the_same_number_of_steps_everywhere(fraction, total):
    length = steps_from_fraction(fraction, total)
    assert length == jax.jit(traced_share)(jnp.float32(fraction), jnp.int32(total))
    # Six decimals: off by at most half a millionth of the run beside the rounding itself, plus float32's own error.
    assert abs(length - fraction * total) <= 0.5 + 0.6e-6 * total


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**6), st.integers(1, 2**31 - 2))
def test_six_decimals_round_half_up_exactly(millionths, total):
    exact = math.floor(fractions.Fraction(millionths, 10**6) * total + fractions.Fraction(1, 2))
    assert steps_from_fraction(millionths / 10**6, total) == exact


def test_a_float_number_of_steps_takes_the_fraction_too():
    schedule = jax.tree.map(jnp.float32, WSD(1.0, 100, decay_fraction=0.145, shape="linear"))
    np.testing.assert_array_equal(
        rates(schedule, range(101)), rates(WSD(1.0, 100, decay_fraction=0.145, shape="linear"), range(101))
    )


@pytest.mark.parametrize("relative_to", ["total", "cycle"])
def test_cycles_round_like_single_decays(relative_to):
    ends = [10, 35, 105]
    wholes = ends if relative_to == "total" else [10, 25, 70]
    lengths = [steps_from_fraction(0.15, whole) for whole in wholes]
    assert lengths == [2, {"total": 5, "cycle": 4}[relative_to], {"total": 16, "cycle": 11}[relative_to]]
    by_fraction = WSDS(1.0, ends, decay_fraction=0.15, decay_relative_to=relative_to)
    by_lengths = WSDS(1.0, ends, decay_lengths=lengths)
    np.testing.assert_array_equal(rates(by_fraction, range(110)), rates(by_lengths, range(110)))


def test_optax_applies_the_schedule_at_the_count_before_the_update():
    schedule = WSD(0.5, 6, warmup_steps=2, decay_steps=2, shape="linear")
    transform = optax.sgd(schedule)
    params = jnp.float32(0)
    state = transform.init(params)
    applied = []
    for _ in range(7):
        updates, state = transform.update(jnp.float32(-1), state, params)
        applied.append(float(updates))
    assert applied == [0, 0.25, 0.5, 0.5, 0.5, 0.25, 0]


@pytest.mark.parametrize("whole", [1, 2, 3, 1000, 2**24 + 1, 2**31 - 2])
def test_scaled_division_is_exact_where_products_overflow(whole):
    rng = np.random.default_rng(whole)
    over = np.unique([0, whole, whole - 1, *rng.integers(0, whole + 1, 30)]).astype(np.int32)
    for parts in (0, 1, 7, 2**30 - 1, 2**31 - 2):
        quotient, rest = scaled_division(over, parts, whole)
        assert quotient.dtype == rest.dtype == np.int32
        expected = [divmod(int(value) * parts, whole) for value in over]
        np.testing.assert_array_equal(np.stack([quotient, rest], axis=1), expected)


def test_scaled_division_of_floats_has_the_slope_of_its_rest():
    slope = jax.grad(lambda over: scaled_division(over, 3.0, 10.0)[1])(5.0)
    assert slope == 3
