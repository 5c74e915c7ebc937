"""Bugs of published schedules, as regression tests; the names are those of the projects that have or had them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.schedules import (
    SHAPES,
    WSD,
    WSDS,
    Constant,
    Cosine,
    CyclicCosine,
    Infinite,
    Linear,
    OneCycle,
    Polynomial,
    Power,
    ScheduleError,
    Shifted,
    from_dict,
    steps_from_fraction,
)

from .reference import rates


def test_optax_constant_rate_without_warmup_is_zero_for_ever():
    np.testing.assert_array_equal(rates(Constant(0.5), [0, 1, 100]), 0.5)
    for schedule in (Linear(0.5, 10), Cosine(0.5, 10), WSDS(0.5, [10]), CyclicCosine(0.5, [10])):
        assert rates(schedule, [0]) == 0.5


@pytest.mark.parametrize("shape", ["1-sqrt", "polynomial"])
def test_optax_gradient_of_the_branch_that_is_not_taken(shape):
    def rate(peak, step):
        return WSD(peak, 100, decay_steps=20, shape=shape, power=0.5)(step)

    slopes = jax.vmap(jax.grad(rate), in_axes=(None, 0))(1.0, jnp.array([-3, 0, 79, 80, 90, 100, 101]))
    np.testing.assert_array_equal(np.asarray(slopes)[[0, 1, 2, 3, 5, 6]], [1, 1, 1, 1, 0, 0])
    assert 0 < slopes[4] < 1


def test_levanter_a_warmup_of_one_is_all_of_the_run():
    np.testing.assert_array_equal(rates(Linear(1.0, 100, warmup_steps=1), [0, 1]), [0, 1])
    with pytest.raises(ScheduleError, match=r"warmup_steps must be an int, got 0\.5"):
        Linear(1.0, 100, warmup_steps=0.5)


@pytest.mark.parametrize(("fraction", "length"), [(0.29, 29), (0.57, 57)])
def test_epfml_a_truncated_fraction_loses_a_step(fraction, length):
    assert steps_from_fraction(fraction, 100) == length
    assert WSD(1.0, 100, decay_fraction=fraction).trunk()[1] == 100 - length


def test_levanter_phases_that_overlap_make_the_rate_jump():
    with pytest.raises(ScheduleError, match=r"^WSD: decay_fraction must be"):
        WSD(1.0, 100, warmup_steps=10, decay_fraction=0.95)
    with pytest.raises(ScheduleError, match=r"^WSDS: warmup_steps must be"):
        WSDS(1.0, [100, 1000], warmup_steps=200)


def test_levanter_inverse_repeats_its_first_step():
    decay = rates(WSDS(1.0, [300, 700, 1000], decay_relative_to="cycle"), range(270, 300))
    assert (np.diff(decay) < 0).all()


def test_lingua_inverse_misses_its_end_and_wraps_around():
    schedule = WSD(1.0, 1000, decay_steps=100, shape="inverse", end=0.1)
    np.testing.assert_allclose(rates(schedule, [999]), 1 / (0.99 / 0.1 + 0.01), rtol=1e-6)
    np.testing.assert_array_equal(rates(schedule, [1000, 1001]), np.float32(0.1))


@pytest.mark.parametrize("shape", SHAPES)
def test_kozistr_cooldowns_ignore_the_end_until_they_jump_to_it(shape):
    decay = rates(WSD(1.0, 1000, decay_steps=500, shape=shape, end=0.5), range(500, 1003))
    assert (np.diff(decay) <= 0).all()
    assert np.abs(np.diff(decay)).max() < 0.03, "1-sqrt starts with the largest step, 0.5 * sqrt(1/500)"
    assert decay[-1] == 0.5


def test_kozistr_a_polynomial_grows_past_its_peak():
    assert rates(Polynomial(0.01, 100, warmup_steps=4, power=0.5), range(102)).max() == np.float32(0.01)


def test_epfml_an_exponential_to_zero_is_zero_at_once():
    with pytest.raises(ScheduleError, match=r"^WSD: end must be positive for exponential decay, got 0\.0$"):
        WSD(1.0, 100, decay_steps=20, shape="exponential")


@pytest.mark.parametrize("total", [1, 2, 3])
def test_optax_boundaries_of_a_tiny_run_collapse_to_nan(total):
    for schedule in (
        Linear(1.0, total),
        Cosine(1.0, total, warmup_steps=total - 1),
        WSD(1.0, total, decay_steps=1),
        CyclicCosine(1.0, range(1, total + 1)),
    ):
        values = rates(schedule, range(-1, total + 2))
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values[-2:], 0)
        np.testing.assert_array_equal(rates(schedule, [schedule.warmup_steps]), 1)


def test_bert_the_first_update_is_lost():
    assert rates(Linear(1.0, 100, warmup_steps=10), [0]) == 0
    np.testing.assert_allclose(rates(Linear(1.0, 100, warmup_steps=10, warmup_style="skip_zero"), [0]), 0.1)
    np.testing.assert_allclose(rates(Linear(1.0, 100, warmup_steps=9, warmup_style="open"), [0]), 0.1)


def test_optax_a_cosine_is_even_in_the_step():
    schedule = Cosine(1.0, 10)
    np.testing.assert_array_equal(rates(schedule, [-5, -1]), 1)
    assert schedule(5) != schedule(-5)


def test_optax_a_schedule_is_asked_for_at_counts_from_one():
    asked = []

    def listening(count):
        asked.append(int(count))
        return Linear(1.0, 10)(count)

    transform = optax.sgd(listening)
    state = transform.init(jnp.zeros(1))
    for _ in range(3):
        _, state = transform.update(jnp.ones(1), state)
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("ends", [[300, 600, 900, 1000], [333, 1000], [999, 1000]])
def test_levanter_cycles_that_do_not_divide_the_run(ends):
    # Cycles are named by their ends: none is longer than asked for, and each ends where it should.
    schedule = CyclicCosine(1.0, ends, end=0.25, endpoint="inclusive", peak_decay=1.0)
    begins = np.array([0, *ends[:-1]])
    np.testing.assert_array_equal(rates(schedule, begins[np.diff([0, *ends]) > 1]), 1)
    np.testing.assert_array_equal(rates(schedule, np.array(ends) - 1), 0.25)


def test_fabian_a_warmup_from_above_zero_has_an_uneven_last_step():
    # From 0.1 to 0.5 in four steps of 0.1, where the code had three of 0.1125 and one of 0.0625.
    rising = rates(Constant(0.5, warmup_steps=4, init_value=0.1), range(6))
    np.testing.assert_allclose(rising, [0.1, 0.2, 0.3, 0.4, 0.5, 0.5], rtol=0, atol=1e-7)


def test_many_a_resumed_run_restarts_or_shifts_its_schedule():
    schedule = WSD(0.5, 10, warmup_steps=2, decay_steps=4)
    transform = optax.sgd(schedule)

    def applied(transform, state, updates):
        found = []
        for _ in range(updates):
            update, state = transform.update(jnp.ones(1), state)
            found.append(-float(update[0]))
        return found, state

    straight, _ = applied(transform, transform.init(jnp.zeros(1)), 10)
    np.testing.assert_array_equal(straight, rates(schedule, range(10)))
    first, state = applied(transform, transform.init(jnp.zeros(1)), 7)
    # What a checkpoint holds: the count in the optimizer's state, and the schedule as data.
    restored = jax.tree.map(np.array, state)
    again = optax.sgd(from_dict(json.loads(json.dumps(schedule.to_dict()))))
    rest, _ = applied(again, restored, 3)
    assert first + rest == straight


def test_open_clip_a_longer_run_makes_the_rate_jump_when_it_resumes():
    # A cosine of another length has another past; a WSD of another length shares its trunk until it decays.
    assert abs(Cosine(1.0, 100)(80) - Cosine(1.0, 200)(80)) > 0.5
    short, long = WSD(1.0, 100, decay_steps=10), WSD(1.0, 200, decay_steps=20)
    assert short.trunk()[0] == long.trunk()[0]
    np.testing.assert_array_equal(rates(short, range(91)), rates(long, range(91)))
    # A new schedule from here on is said to begin here, whatever the count.
    fresh = Cosine(1.0, 100)
    np.testing.assert_array_equal(rates(Shifted(fresh, 80), range(80, 180)), rates(fresh, range(100)))


def test_hugging_face_siblings_disagree_by_one_step():
    run = {"peak": 1.0, "warmup_steps": 10}
    whole = {"shape": "linear", "end": 0.25}
    siblings = [
        Linear(**run, total_steps=100, end=0.25),
        Cosine(**run, total_steps=100, end=0.25),
        Polynomial(**run, total_steps=100, end=0.25, power=2),
        WSD(**run, total_steps=100, decay_steps=90, **whole),
        WSDS(**run, ends=[100], decay_lengths=[89], **whole),
        CyclicCosine(**run, ends=[100], end=0.25),
    ]
    for schedule in siblings:
        np.testing.assert_array_equal(rates(schedule, [0, 10, 100]), [0, 1, 0.25])
        np.testing.assert_allclose(rates(schedule, range(10)), np.arange(10) / 10, rtol=0, atol=1e-7)
        assert rates(schedule, [99]) > 0.25


def test_levanter_power_counts_tokens_in_int32():
    # 1024 sequences of 4096 tokens pass 2**31 tokens at step 512.
    schedule = Power(batch_size=1024, sequence_length=4096)
    values = np.asarray(jax.jit(lambda s, t: s(t))(schedule, jnp.asarray([511, 512, 513, 1000, 10_000, 1_000_000])))
    assert np.isfinite(values).all()
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(values[-1], 1024 * 4 * (1e6 * 1024 * 4096) ** -0.51, rtol=1e-6)


def test_optax_one_cycle_of_a_tiny_run_is_nan():
    assert np.isfinite(rates(OneCycle(1.0, 3, pct_final=None), range(5))).all()
    with pytest.raises(ScheduleError, match=r"^OneCycle: pct_start must be such that"):
        OneCycle(1.0, 1, pct_final=None)
    with pytest.raises(ScheduleError, match=r"^OneCycle: total_steps must be such that"):
        OneCycle(1.0, 3)


def test_infinite_reference_divides_zero_by_zero_and_falls_below_its_end():
    schedule = Infinite(3e-4, 1.65e-4, cooldown_end=40, anneal_start=40, anneal_end=60, end=3e-5)
    np.testing.assert_array_equal(rates(schedule, [0, 60, 61, 10_000]), np.float32([3e-4, 3e-5, 3e-5, 3e-5]))
