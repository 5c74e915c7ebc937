"""Many schedules as one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.schedules import (
    SHAPES,
    WSD,
    WSDS,
    Constant,
    Cosine,
    Joined,
    Linear,
    Sampled,
    ScheduleError,
    Shifted,
    stack,
)

from .cases import ALL
from .reference import rates

LANES = 64
OTHERS = [name for name in ALL if not name.startswith("WSD-")]


STEPS = np.arange(410)


def lanes(stacked, steps):
    return jax.vmap(lambda s, t: s(t), in_axes=(0, None))(stacked, steps)


def many(shape: str) -> list[WSD]:
    rng = np.random.default_rng(0)
    schedules = []
    for _ in range(LANES):
        total = int(rng.integers(60, 400))
        warmup, decay = int(rng.integers(0, total // 3)), float(rng.uniform(0.02, 0.6))
        peak = float(10 ** rng.uniform(-5, 0))
        schedules.append(WSD(peak, total, warmup_steps=warmup, decay_fraction=decay, shape=shape, end=0.03 * peak))
    return schedules


@pytest.fixture(scope="module")
def together():
    """The lanes of every shape and of three of every other case, from one program."""
    stacks = {shape: stack(many(shape)) for shape in SHAPES} | {name: stack([ALL[name]] * 3) for name in OTHERS}
    return jax.jit(lambda s: {name: lanes(s[name], STEPS) for name in s})(stacks)


@pytest.mark.parametrize("shape", SHAPES)
def test_lanes_equal_the_schedules_alone(shape, together):
    alone = np.stack([rates(schedule, STEPS) for schedule in many(shape)])
    # One unit in the last place: a vector loop may order the products of a shape's constants in another way.
    np.testing.assert_array_max_ulp(np.asarray(together[shape]), alone, maxulp=1)


@pytest.mark.parametrize("name", OTHERS)
def test_every_class_stacks(name, together):
    alone = rates(ALL[name], STEPS)
    # A vector loop has exponentials, logarithms and reciprocals of its own, each good to two units; a half-life puts
    # one exponential, of a number in (-1, 0], after one reciprocal.
    ulps = 4 if name.startswith(("Power", "Exponential-half-life", "Noam")) else 1
    np.testing.assert_array_max_ulp(np.asarray(together[name]), np.stack([alone] * 3), maxulp=ulps)


def test_leaves_are_arrays_of_the_types_that_programs_use():
    stacked = stack([WSDS(1e-3, [10, 20]), WSDS(1, [30, 40])])
    assert stacked.ends[1].tolist() == [20, 40]
    for leaf in jax.tree.leaves(stacked):
        assert isinstance(leaf, np.ndarray)
        assert leaf.dtype in (np.int32, np.float32)
    with jax.enable_x64(True):
        assert stack([Constant(1.0)]).peak.dtype == np.float64


def test_stacks_stack():
    row = stack([Constant(1.0), Constant(2.0)])
    grid = stack([row, row, row])
    assert grid.peak.shape == (3, 2)
    rate = jax.vmap(jax.vmap(lambda s: s(0)))(grid)
    np.testing.assert_array_equal(rate, [[1, 2]] * 3)


def test_arrays_and_numbers_stack():
    stacked = stack([Constant(jnp.float32(1.0)), Constant(2.0)])
    assert isinstance(stacked.peak, jax.Array)
    np.testing.assert_array_equal(stacked.peak, [1, 2])


def test_joined_schedules_stack_with_what_they_are_made_of():
    pairs = [Joined([Constant(peak), Shifted(Linear(peak, 10 * i), 2)], [5 * i]) for i, peak in ((1, 0.5), (2, 0.25))]
    stacked = stack(pairs)
    assert stacked.schedules[1].schedule.total_steps.tolist() == [10, 20]
    found = jax.jit(lanes)(stacked, STEPS[:40])
    np.testing.assert_array_equal(found, np.stack([rates(pair, STEPS[:40]) for pair in pairs]))


WSD_, COSINE = WSD(1.0, 10, decay_steps=2), Cosine(1.0, 10)
REFUSED = [
    ([], "schedules must be a non-empty sequence of schedules, got []"),
    ([1], "schedules must be a non-empty sequence of schedules, got [1]"),
    ([WSD_, COSINE], f"schedules[1] must be a WSD like schedules[0], got {COSINE!r}"),
    (
        [WSD_, WSD(1.0, 10, decay_steps=2, shape="linear")],
        "schedules[1].shape must be '1-sqrt' as in schedules[0], got 'linear'",
    ),
    (
        [WSD_, WSD_, WSD(1.0, 10, decay_fraction=0.2)],
        "schedules[2].decay_steps must be a number as in schedules[0], got None",
    ),
    (
        [WSDS(1.0, [100]), WSDS(1.0, [100], end=0.2)],
        "schedules[1].end must be None as in schedules[0], got 0.2",
    ),
    (
        [WSDS(1.0, [100, 200]), WSDS(1.0, [100])],
        "schedules[1].ends must be of 2 elements as in schedules[0], got (100,)",
    ),
    (
        [Sampled(COSINE, 10, 2), Sampled(Linear(1.0, 10), 10, 2)],
        f"schedules[1].schedule must be a Cosine like schedules[0], got {Linear(1.0, 10)!r}",
    ),
    (
        [Joined([WSD_, COSINE], [5]), Joined([WSD_, WSD_], [5])],
        f"schedules[1].schedules[1] must be a Cosine like schedules[0], got {WSD_!r}",
    ),
    (
        [Joined([COSINE, WSD_], [5]), Joined([COSINE, WSD(1.0, 10, decay_steps=2, shape="linear")], [5])],
        "schedules[1].schedules[1].shape must be '1-sqrt' as in schedules[0], got 'linear'",
    ),
    (
        [Joined([WSD_, WSD_], [5]), Joined([WSD_, WSD_, WSD_], [5, 6])],
        f"schedules[1].schedules must be of 2 elements as in schedules[0], got {(WSD_, WSD_, WSD_)!r}",
    ),
    (
        [Constant(1.0), Constant(np.ones(3))],
        "schedules[1].peak must be of the shape that it has in schedules[0], got array([1., 1., 1.])",
    ),
]


@pytest.mark.parametrize(("schedules", "message"), REFUSED)
def test_what_does_not_stack(schedules, message):
    with pytest.raises(ScheduleError) as error:
        stack(schedules)
    assert str(error.value) == f"stack: {message}"


def test_one_schedule_is_no_sequence():
    with pytest.raises(ScheduleError, match="a non-empty sequence of schedules"):
        stack(COSINE)
