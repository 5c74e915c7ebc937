"""Published and independently recomputed values, to 2e-7 of the peak in float32.

Float32 keeps 6e-8 of a rate near the peak; a shape takes up to three roundings. The tables are printed to 9 digits.
"""

import math

import numpy as np
import pytest

from lrstudy.schedules import (
    WSD,
    WSDS,
    Cosine,
    CyclicCosine,
    Exponential,
    Infinite,
    InverseSqrt,
    Linear,
    Noam,
    OneCycle,
    Polynomial,
    Power,
    Rewarmed,
    Rex,
    Sampled,
    StepDecay,
    Tabulated,
)

from .cases import highest
from .reference import rates

FLOAT32 = 2e-7
RUN = {"peak": 1e-3, "total_steps": 100, "warmup_steps": 10}
CYCLES = {"peak": 1e-3, "ends": [100, 200, 400], "warmup_steps": 10}


def assert_golden(schedule, steps, values, tolerance=FLOAT32):
    np.testing.assert_allclose(rates(schedule, steps), values, rtol=0, atol=tolerance * highest(schedule))


SINGLE_STEPS = [0, 5, 10, 55, 99, 100]
SINGLE = {
    "cosine": (Cosine(**RUN, end=1e-4), [0, 0.0005, 0.001, 0.00055, 0.000100274128, 0.0001]),
    "linear": (Linear(**RUN), [0, 0.0005, 0.001, 0.0005, 1.11111111e-05, 0]),
    "linear to 1e-4": (Linear(**RUN, end=1e-4), [0, 0.0005, 0.001, 0.00055, 0.00011, 0.0001]),
    "polynomial": (Polynomial(**RUN, end=1e-4, power=2), [0, 0.0005, 0.001, 0.000325, 0.000100111111, 0.0001]),
    "exponential": (
        WSD(**RUN, decay_steps=90, end=1e-4, shape="exponential"),
        [0, 0.0005, 0.001, 0.000316227766, 0.000102591437, 0.0001],
    ),
}


@pytest.mark.parametrize("name", SINGLE)
def test_one_decay_over_the_whole_run(name):
    assert_golden(SINGLE[name][0], SINGLE_STEPS, SINGLE[name][1])


DECAY_STEPS = [80, 85, 90, 99, 100, 150]
DECAYS = {
    "linear": [0.001, 0.000775, 0.00055, 0.000145, 0.0001, 0.0001],
    "cosine": [0.001, 0.000868198052, 0.00055, 0.000105540247, 0.0001, 0.0001],
    "1-sqrt": [0.001, 0.00055, 0.000363603897, 0.000122788509, 0.0001, 0.0001],
    "1-square": [0.001, 0.00094375, 0.000775, 0.00018775, 0.0001, 0.0001],
    "mirror_cosine": [0.001, 0.000681801948, 0.00055, 0.000184459753, 0.0001, 0.0001],
    "exponential": [0.001, 0.000562341325, 0.000316227766, 0.000112201845, 0.0001, 0.0001],
    "inverse": [0.001, 0.000307692308, 0.000181818182, 0.000104712042, 0.0001, 0.0001],
}


@pytest.mark.parametrize("shape", DECAYS)
def test_wsd(shape):
    schedule = WSD(**RUN, decay_steps=20, end=1e-4, shape=shape)
    assert_golden(schedule, [0, 5, 10], [0, 0.0005, 0.001])
    assert_golden(schedule, DECAY_STEPS, DECAYS[shape])


def test_wsd_to_zero():
    assert_golden(WSD(**RUN, decay_steps=20), DECAY_STEPS, [0.001, 0.0005, 0.000292893219, 2.53205655e-05, 0, 0])


def test_moderate_decay_of_averaged_runs():
    schedule = WSD(3e-3, 100, warmup_steps=10, decay_steps=20, end=1e-3)
    assert_golden(schedule, [10, *DECAY_STEPS], [0.003, 0.003, 0.002, 0.00158578644, 0.00105064113, 0.001, 0.001])


def test_inclusive_endpoint():
    schedule = WSD(1.0, 100, decay_steps=20, shape="linear", endpoint="inclusive")
    assert_golden(schedule, [80, 85, 90, 99, 100], [1, 0.736842105263, 0.473684210526, 0, 0])


def test_exp_to_zero():
    schedule = WSD(1.0, 8, decay_steps=8, shape="exp_to_zero")
    assert_golden(schedule, [0, 2, 4, 6, 8], [1, 0.6500679912, 0.3775406688, 0.1652961767, 0])


CYCLE_STEPS = [0, 50, 90, 95, 99, 100, 180, 190, 199, 200, 360, 380, 399, 400]
FIRST_TWO = [0, 0.001, 0.001, 0.000181818182, 0.00010989011, 0.001, 0.001]
CYCLE_RATES = {
    "total": [*FIRST_TWO, 0.000181818182, 0.000104712042, 0.001, 0.001, 0.000181818182, 0.00010230179, 0.0001],
    "cycle": [*FIRST_TWO, 0.001, 0.00010989011, 0.001, 0.001, 0.001, 0.000104712042, 0.0001],
}


@pytest.mark.parametrize("relative_to", CYCLE_RATES)
def test_wsds(relative_to):
    assert_golden(WSDS(**CYCLES, decay_relative_to=relative_to), CYCLE_STEPS, CYCLE_RATES[relative_to])


def test_cyclic_cosine():
    steps = [10, 55, 99, 100, 150, 199, 200, 300, 399, 400]
    values = [0.001, 0.00055, 0.000100274128, 0.001, 0.00055, 0.000100222048, 0.001, 0.00055, 0.000100055515, 0.0001]
    assert_golden(CyclicCosine(**CYCLES, end=1e-4), steps, values)


@pytest.mark.parametrize(
    ("d", "values"),
    [
        (0.5, [0.1, 0.0888888889, 0.075, 0.0571428571, 0.0333333333, 0.00198019802, 0]),
        (0.9, [0.1, 0.0975609756, 0.09375, 0.0869565217, 0.0714285714, 0.00917431193, 0]),
    ],
)
def test_rex_shape(d, values):
    schedule = WSD(0.1, 100, decay_steps=100, shape="rex", d=d)
    assert_golden(schedule, [0, 20, 40, 60, 80, 99, 100], values)


def test_rex_of_a_third_party():
    # kozistr/pytorch_optimizer prints six digits, cut and not rounded.
    schedule = WSD(1.0, 5, decay_steps=5, shape="rex")
    assert_golden(schedule, [1, 2, 3, 4, 5], [0.888888, 0.749999, 0.571428, 0.333333, 0], tolerance=1.1e-6)


HUGGING_FACE_STEPS = [0, 5, 10, 70, 80, 90, 99, 100]
HUGGING_FACE = {
    "linear": [0.1, 0.55, 1, 1, 0.7, 0.4, 0.13, 0.1],
    "cosine": [0.1, 0.55, 1, 1, 0.775, 0.325, 0.102465147, 0.1],
    "1-sqrt": [0.1, 0.55, 1, 1, 0.480384758, 0.265153077, 0.115127128, 0.1],
}


@pytest.mark.parametrize("shape", HUGGING_FACE)
def test_hugging_face_wsd(shape):
    schedule = WSD(1.0, 100, warmup_steps=10, decay_steps=30, shape=shape, end=0.1, init_value=0.1)
    assert_golden(schedule, HUGGING_FACE_STEPS, HUGGING_FACE[shape])


@pytest.mark.parametrize(
    ("schedule", "values", "digits"),
    [
        (Linear(10.0, 10, warmup_steps=2), [0, 5, 10, 8.75, 7.5, 6.25, 5, 3.75, 2.5, 1.25], 2),
        (Cosine(10.0, 10, warmup_steps=2), [0, 5, 10, 9.61, 8.53, 6.91, 5, 3.08, 1.46, 0.38], 2),
        (
            Polynomial(10.0, 10, warmup_steps=2, power=2, end=1e-7),
            [0, 5, 10, 7.656, 5.625, 3.906, 2.5, 1.406, 0.625, 0.156],
            3,
        ),
    ],
)
def test_hugging_face_lists(schedule, values, digits):
    # Lists of their test suite, cut (not rounded) after so many digits.
    behind = rates(schedule, range(10)) - values
    slack = FLOAT32 * schedule.peak
    assert (behind >= -slack).all()
    assert (behind < 10.0**-digits + slack).all()


def test_optax_cosine_exponent():
    schedule = Cosine(0.1, 100, exponent=2)
    assert_golden(schedule, [0, 10, 50, 75, 100], [0.1, 0.0951655358, 0.025, 0.00214466127, 0])


def test_half_life_is_an_exponential():
    half_life, decay = 5.0, 20
    schedule = WSD(1.0, 100, decay_steps=decay, shape="exponential", end=2 ** (-decay / half_life))
    assert_golden(schedule, [80, 85, 90, 95, 100], [math.pow(0.5, k) for k in range(5)])


def test_exponential():
    schedule = Exponential(**RUN, end=1e-4)
    assert_golden(schedule, SINGLE_STEPS, [0, 0.0005, 0.001, 0.000316227766, 0.000102591437, 0.0001])
    halving = Exponential(1.0, 100, half_life=5.0)
    assert_golden(halving, [0, 5, 10, 20, 100, 200], [1, 0.5, 0.25, 2**-4, 2**-20, 2**-20])


REX_STEPS = [0, 20, 40, 60, 80, 99, 100]
REX = [
    ({}, [0.1, 0.0888888889, 0.075, 0.0571428571, 0.0333333333, 0.00198019802, 0]),
    ({"d": 0.9}, [0.1, 0.0975609756, 0.09375, 0.0869565217, 0.0714285714, 0.00917431193, 0]),
    ({"samples": 4}, [0.1, 0.1, 0.0857142857, 0.0666666667, 0.04, 0.04, 0]),
]


@pytest.mark.parametrize(("options", "values"), REX)
def test_rex(options, values):
    assert_golden(Rex(0.1, 100, **options), REX_STEPS, values)


def test_rex_sampled_from_outside():
    found = rates(Sampled(Rex(0.1, 100), 100, 4), REX_STEPS)
    np.testing.assert_allclose(found, REX[2][1], rtol=0, atol=FLOAT32 * 0.1)


@pytest.mark.parametrize(
    ("cooldown", "middle"), [("cosine", 2.325e-4), ("linear", 2.325e-4), ("inv_sqrt", 1.85629523e-4)]
)
def test_infinite(cooldown, middle):
    schedule = Infinite(
        3e-4, 1.65e-4, warmup_steps=10, cooldown_end=40, cooldown=cooldown, anneal_start=80, anneal_end=100, end=3e-5
    )
    steps = [5, 10, 25, 40, 60, 80, 90, 100, 120]
    assert_golden(schedule, steps, [1.5e-4, 3e-4, middle, 1.65e-4, 1.65e-4, 1.65e-4, 7.03562364e-05, 3e-5, 3e-5])


def test_rewarmed():
    steps = [1, 50, 99, 100, 101, 110, 150, 199, 200]
    values = [3e-5, 0.000188442504, 3.00822384e-05, 3e-5, 5.7e-5, 3e-4, 0.000188442504, 3.00822384e-05, 3e-5]
    found = rates(Rewarmed(3e-4, [100, 200], warmup_fraction=0.1), steps)
    np.testing.assert_allclose(found, values, rtol=0, atol=FLOAT32 * 3e-4)


def test_thirty_sixty_ninety():
    assert_golden(StepDecay(0.1, [30, 60, 90]), [29, 30, 59, 60, 89, 90], [0.1, 0.01, 0.01, 0.001, 0.001, 0.0001])


def test_one_cycle():
    steps = [0, 15, 30, 60, 85, 100]
    assert_golden(OneCycle(0.01, 100), steps, [0.0004, 0.0052, 0.01, 0.00476363636, 0.0004, 4e-8])
    cosine = [0.0004, 0.0052, 0.01, 0.00611262022, 0.00109087822, 4e-8]
    assert_golden(OneCycle(0.01, 100, pct_final=None), steps, cosine)
    optax = OneCycle(1000.0, 10, pct_final=0.7, div=10, final_div=100)
    assert_golden(optax, range(12), [100, 400, 700, 1000, 775, 550, 325, 100, 67, 34, 1, 1])


def test_inverse_sqrt():
    steps = [500, 1000, 2000, 4000, 16000]
    assert_golden(InverseSqrt(1e-3, warmup_steps=1000), steps, [0.0005, 0.001, 0.000707106781, 0.0005, 0.00025])
    slow = InverseSqrt(1e-3, warmup_steps=1000, timescale=1e4)
    assert_golden(slow, steps, [0.0005, 0.001, 0.000953462589, 0.000877058019, 0.000632455532])


def test_noam():
    values = [1.74692811e-07, 0.000349385621, 0.000698771243, 0.000349385621]
    np.testing.assert_allclose(rates(Noam(512, 4000), [0, 1999, 3999, 15999]), values, rtol=0, atol=FLOAT32 * 7e-4)


SMALL = {"batch_size": 128, "sequence_length": 1024, "warmup_tokens": 1e8, "total_tokens": 1e10, "decay_tokens": 1e9}
LARGE = {"batch_size": 1024, "sequence_length": 4096, "warmup_tokens": 1e9, "total_tokens": 1e12, "decay_tokens": 1e11}
# Float32 holds the exponent -0.51 to 9.5e-9, which a rate at n tokens shows ln(n) times over: 2.6e-7 at 1e12 tokens.
EXPONENT = FLOAT32 + 9.5e-9 * math.log(1e12)


def test_power():
    steps = [0, 381, 763, 3358, 10000, 50000, 68664, 72000, 76000, 76294]
    values = [0, 0.0099876864, 0.02, 0.02, 0.0114640982, 0.00504504677, 0.00429148954]
    assert_golden(Power(**SMALL), steps, [*values, 0.00188716208, 9.81028126e-05, 0], tolerance=EXPONENT)
    linear = Power(**SMALL, shape="linear")
    assert_golden(linear, [72000, 76000, 76294], [0.00241530909, 0.000165341832, 0], tolerance=EXPONENT)


def test_power_of_a_large_run():
    steps = [100, 238, 239, 10000, 100000, 200000, 214577, 226497, 238418]
    values = [0.008388608, 0.019964887, 0.02, 0.0156604197, 0.00483953234, 0.0033984282, 0.0032786208]
    schedule = Power(**LARGE, shape="linear")
    assert_golden(schedule, steps, [*values, 0.00163941898, 7.96362698e-08], tolerance=EXPONENT)


def test_tabulated():
    table = [1.0, 0.5, 0.0]
    np.testing.assert_array_equal(rates(Tabulated(table), [0, 1, 2, 9]), [1, 0.5, 0, 0])
    np.testing.assert_array_equal(rates(Tabulated(table, total_steps=5), range(6)), [1, 0.75, 0.5, 0.25, 0, 0])
    held = Tabulated(table, total_steps=5, mode="hold", scale=2.0)
    np.testing.assert_array_equal(rates(held, range(6)), [2, 2, 1, 1, 0, 0])
