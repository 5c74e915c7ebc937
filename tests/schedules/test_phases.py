"""What holds at the joints between phases and in between, for every case and for schedules at random."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrstudy.schedules import SHAPES, WSD, WSDS, Constant, Cosine, CyclicCosine, Linear, Polynomial, Power, stack

from .cases import CYCLIC, ENDPOINTS, PHASED, SINGLE, STYLES, last_step
from .reference import rates

DECAYING = {name: schedule for name, schedule in SINGLE.items() if hasattr(schedule, "total_steps")}


def jumps(schedule) -> np.ndarray:
    return np.diff(rates(schedule, range(last_step(schedule) + 2)))


@pytest.mark.parametrize("name", PHASED)
def test_the_peak_is_exact_where_the_warmup_ends(name):
    schedule = PHASED[name]
    assert rates(schedule, [schedule.warmup_steps]) == np.float32(schedule.peak)


@pytest.mark.parametrize("name", DECAYING)
def test_the_end_is_exact_and_not_early(name):
    schedule = DECAYING[name]
    last = schedule.total_steps - (schedule.endpoint == "inclusive")
    before, at, held = rates(schedule, [last - 1, last, last + 9])
    assert before > at == held
    if getattr(schedule, "half_life", None) is None:
        assert at == np.float32(schedule.end)


TO_ZERO = [name for name, shape in SHAPES.items() if not shape.positive_end]


@pytest.mark.parametrize("shape", TO_ZERO)
def test_tokens_of_any_size_end_exactly_and_not_early(shape):
    """Batch and length at random: float32 rounds the tokens of a step twice and the total once."""
    draws = np.random.default_rng(0).integers([1, 1, 100], [4096, 8192, 1_000_000], size=(300, 3))
    sizes = np.concatenate([[[1237, 3331, 123_457], [1024, 4096, 1_000_000]], draws])
    runs = [
        Power(batch_size=int(n), sequence_length=int(s), warmup_tokens=0, total_tokens=int(t * n * s),
              decay_tokens=0.1 * float(t * n * s), shape=shape)
        for n, s, t in sizes
    ]  # fmt: skip
    total = sizes[:, 2].astype(np.int32)
    before, at, held = np.asarray(jax.jit(lambda s, t: s(t))(stack(runs), total + np.int32([[-1], [0], [9]])))
    np.testing.assert_array_equal(at, 0)
    np.testing.assert_array_equal(held, 0)
    assert (before > 0).all()
    # And where the numbers are constants of the program or each operation stands alone.
    assert runs[0](total[0]) == jax.jit(runs[0])(total[0]) == 0 < runs[0](total[0] - 1)


def test_a_decay_of_less_than_the_rounding_of_the_tokens_still_ends():
    schedule = Power(batch_size=1000, sequence_length=1000, warmup_tokens=0, total_tokens=1e9, decay_tokens=10)
    before, at = rates(schedule, [999, 1000])
    assert before > at == 0


@pytest.mark.parametrize("name", CYCLIC)
def test_cycles_end_and_begin_exactly(name):
    schedule = CYCLIC[name]
    end = np.float32(schedule.end_rate())
    for i, step in enumerate(schedule.ends[:-1], 1):
        begin = step + schedule.rewarmup_steps
        np.testing.assert_allclose(schedule(begin), schedule.peak * getattr(schedule, "peak_decay", 1) ** i, rtol=1e-7)
        if schedule.endpoint == "inclusive":
            assert schedule(step - 1) == end
        if schedule.rewarmup_steps and schedule.warmup_style == "optax":
            assert schedule(step) == end
    assert schedule(schedule.ends[-1]) == end


@pytest.mark.parametrize("name", PHASED)
def test_never_above_the_peak_nor_below_the_end(name):
    schedule = PHASED[name]
    values = rates(schedule, range(last_step(schedule) + 2))
    assert values.max() == np.float32(schedule.peak)
    assert values.min() >= min(np.float32(schedule.init_value), rates(schedule, [last_step(schedule)])[0])


@pytest.mark.parametrize("name", SINGLE)
def test_up_once_then_down(name):
    schedule, steps = SINGLE[name], jumps(SINGLE[name])
    rising = schedule.warmup_steps - (schedule.warmup_style == "skip_zero")
    assert (steps[:rising] > 0).all()
    assert (steps[max(rising, 0) :] <= 0).all()


@pytest.mark.parametrize("name", CYCLIC)
def test_up_only_where_a_cycle_begins(name):
    schedule = CYCLIC[name]
    rising = set(range(schedule.warmup_steps))
    for end in schedule.ends[:-1]:
        rising |= set(range(end - 1, end + schedule.rewarmup_steps))
    assert set(np.flatnonzero(jumps(schedule) > 0)) <= rising


@pytest.mark.parametrize("style", STYLES)
def test_warmup_styles(style):
    schedule = Constant(1.0, warmup_steps=4, warmup_style=style)
    expected = {
        "optax": [0, 0.25, 0.5, 0.75, 1],
        "skip_zero": [0.25, 0.5, 0.75, 1, 1],
        "open": [0.2, 0.4, 0.6, 0.8, 1],
    }
    np.testing.assert_allclose(rates(schedule, range(5)), expected[style], rtol=0, atol=1e-7)


@pytest.mark.parametrize("style", STYLES)
def test_a_warmup_from_the_peak_is_flat(style):
    assert (rates(Constant(0.3, warmup_steps=7, init_value=0.3, warmup_style=style), range(9)) == np.float32(0.3)).all()


def test_an_inclusive_decay_of_one_step_is_at_its_end():
    schedule = WSD(1.0, 10, decay_steps=1, endpoint="inclusive")
    np.testing.assert_array_equal(rates(schedule, [8, 9, 10]), [1, 0, 0])


@pytest.mark.parametrize("shape", SHAPES)
def test_an_end_at_the_peak_is_constant(shape):
    assert (rates(WSD(0.7, 50, decay_steps=40, shape=shape, end=0.7), range(52)) == np.float32(0.7)).all()


@pytest.mark.parametrize("shape", ["inverse", "exponential"])
def test_no_end_above_zero_is_too_small(shape):
    values = rates(WSD(1.0, 50, decay_steps=50, shape=shape, end=1e-30), range(51))
    assert np.isfinite(values).all()
    assert values[-1] == np.float32(1e-30)


def test_equal_curves_under_several_names():
    steps = range(-1, 203)
    run = {"peak": 3e-3, "total_steps": 200, "warmup_steps": 20, "end": 1e-4}
    line = rates(Linear(**run), steps)
    np.testing.assert_array_equal(rates(WSD(**run, decay_steps=180, shape="linear"), steps), line)
    np.testing.assert_allclose(rates(Polynomial(**run), steps), line, rtol=0, atol=2e-7 * 3e-3)
    np.testing.assert_allclose(rates(WSD(**run, decay_steps=180, shape="rex", d=0), steps), line, rtol=0, atol=6e-10)
    half_wave = rates(Cosine(**run), steps)
    one_cycle = rates(CyclicCosine(3e-3, [200], warmup_steps=20, end=1e-4), steps)
    np.testing.assert_allclose(one_cycle, half_wave, rtol=0, atol=2e-7 * 3e-3)
    single = rates(WSD(**run, decay_fraction=0.25, shape="inverse"), steps)
    np.testing.assert_array_equal(
        rates(WSDS(3e-3, [200], warmup_steps=20, decay_fraction=0.25, end=1e-4), steps), single
    )


def test_the_default_end_of_wsds_follows_the_peak():
    for peak in (1e-3, 1.0):
        np.testing.assert_allclose(WSDS(peak, [100])(100), 0.1 * peak, rtol=1e-7)


@st.composite
def runs(draw):
    """Keyword arguments of a WSD at random; at most 500 steps, so that two blocks hold them."""
    total = draw(st.integers(2, 500))
    warmup = draw(st.integers(0, total - 1))
    peak = draw(st.floats(1e-8, 1e3))
    return {
        "peak": peak,
        "total_steps": total,
        "warmup_steps": warmup,
        "decay_steps": draw(st.integers(1, total - warmup)),
        "end": peak * draw(st.sampled_from([1.0, 0.5, 0.1, 1e-3, 1e-7])),
        "init_value": peak * draw(st.sampled_from([0, 0.01, 1.0])),
        "power": draw(st.floats(0.05, 20)),
        "d": draw(st.floats(0, 0.999)),
    }


OPTIONS = itertools.cycle(itertools.product(STYLES, ENDPOINTS))


@pytest.mark.parametrize(("shape", "options"), list(zip(SHAPES, OPTIONS, strict=False)))
@settings(deadline=None, max_examples=40)
@given(run=runs())
def test_any_wsd_rises_stays_and_falls(shape, options, run):
    schedule = WSD(**run, shape=shape, warmup_style=options[0], endpoint=options[1])
    warmup, total, start = schedule.warmup_steps, schedule.total_steps, schedule.total_steps - schedule.decay_steps
    # An inclusive decay of one step is at its end at once: then no step is left that has the peak.
    shown = schedule.decay_steps > 1 or options[1] == "exclusive"
    values = rates(schedule, np.minimum(np.arange(512), total + 1))
    steps = np.diff(values)
    assert np.isfinite(values).all()
    assert (steps[: max(warmup - (not shown), 0)] >= 0).all()
    assert (values[warmup:start] == np.float32(schedule.peak)).all()
    assert (steps[start:] <= 0).all()
    assert values[total] == values[total + 1] == np.float32(schedule.end)
    assert values.max() <= np.float32(schedule.peak)
    if shown:
        assert values[start] == np.float32(schedule.peak)
