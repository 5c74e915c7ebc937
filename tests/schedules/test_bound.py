"""The convex bound on a schedule's loss, against printed values and against the formula term by term."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from lrstudy.schedules import WSD, Constant, Cosine, Linear, ScheduleError, best_peak, bound
from lrstudy.schedules.bound import bound_terms

NAMES = ("constant", "linear", "WSD linear", "WSD 1-sqrt", "cosine", "1 / sqrt(t)")
# steps -> shape -> best peak, bound there, bound at peak 1; D = G = 1
PRINTED = {
    10: [
        (0.161606609, 0.618786575, 1.96448413),
        (0.271544049, 0.669571593, 1.32380592),
        (0.150275125, 0.70046961, 2.38325553),
        (0.133268863, 0.80745878, 3.0832398),
        (0.24598462, 0.739144511, 1.59332926),
        (0.326519995, 0.609958348, 1.03361089),
    ],
    100: [
        (0.040234437, 0.248543306, 3.09368876),
        (0.0972552145, 0.203608416, 1.05667477),
        (0.0495442035, 0.223027579, 2.25631873),
        (0.052426806, 0.218713199, 2.09162416),
        (0.0946945059, 0.209114352, 1.11405349),
        (0.238749505, 0.225313589, 0.498758653),
    ],
    400: [
        (0.0181758951, 0.137544808, 3.78496485),
        (0.0495631307, 0.100629865, 1.01766234),
        (0.0253736614, 0.109323012, 2.15564863),
        (0.0268461376, 0.107288147, 1.99964466),
        (0.0482418869, 0.103385906, 1.07403048),
        (0.212085582, 0.122264273, 0.30120802),
    ],
}
BOUNDS = {steps: dict(zip(NAMES, rows, strict=True)) for steps, rows in PRINTED.items()}
# A unit of the ninth digit: one of the printed numbers is off by 0.56 of one.
PRECISION = 1e-8
# share of the decay -> best bounds of WSD linear and 1-sqrt over 400 steps, to eight decimals
COOLDOWNS = {
    0.1: (0.11613591, 0.11362546),
    0.2: (0.10932301, 0.10728815),
    0.4: (0.10376161, 0.10272258),
    0.6: (0.10156693, 0.10157684),
    0.8: (0.10076607, 0.10169464),
    1.0: (0.10062987, 0.1012426),
}


def schedules(steps: int) -> dict:
    return {
        "constant": Constant(1.0),
        "linear": Linear(1.0, steps),
        "WSD linear": WSD(1.0, steps, decay_fraction=0.2, shape="linear"),
        "WSD 1-sqrt": WSD(1.0, steps, decay_fraction=0.2),
        "cosine": Cosine(1.0, steps),
    }


def shapes(steps: int) -> dict[str, np.ndarray]:
    """The rates of every shape; float64 if called under x64."""
    of_schedules = {name: np.asarray(schedule(np.arange(steps))) for name, schedule in schedules(steps).items()}
    return of_schedules | {"1 / sqrt(t)": 1 / np.sqrt(np.arange(1, steps + 1))}


@pytest.fixture(scope="module")
def in_float64():
    with jax.enable_x64(True):
        return {steps: shapes(steps) for steps in BOUNDS}


def by_definition(eta, norms, distance) -> float:
    """Every sum as it is printed, in quadratic time."""
    cost = eta**2 * norms**2
    whole = math.fsum(eta)
    last = [eta[k] / math.fsum(eta[k + 1 :]) * math.fsum(cost[k:]) / math.fsum(eta[k:]) for k in range(len(eta) - 1)]
    return (distance**2 + math.fsum(cost)) / (2 * whole) + math.fsum(last) / 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", BOUNDS)
def test_golden(steps, name, in_float64):
    shape = in_float64[steps][name]
    best = best_peak(shape, steps)
    np.testing.assert_allclose([best, bound(best * shape), bound(shape)], BOUNDS[steps][name], rtol=PRECISION)


@pytest.mark.parametrize("fraction", COOLDOWNS)
def test_golden_lengths_of_the_decay(fraction):
    with jax.enable_x64(True):
        rates = [
            np.asarray(WSD(1.0, 400, decay_fraction=fraction, shape=shape)(np.arange(400)))
            for shape in ("linear", "1-sqrt")
        ]
    found = [bound(best_peak(shape, 400) * shape) for shape in rates]
    np.testing.assert_allclose(found, COOLDOWNS[fraction], rtol=0, atol=0.51e-8)


def test_golden_terms():
    terms = bound_terms(Linear(1.0, 10), total_steps=10)
    # Ten float32 rates; the sum is printed to ten digits.
    np.testing.assert_allclose(terms, [0.0909090909, 0.35, 0.8828968254], rtol=3e-7)
    wsd = WSD(1.0, 10, decay_steps=2, shape="linear")
    np.testing.assert_allclose(bound_terms(wsd, total_steps=10), [0.0526315789, 0.4868421053, 1.8437818460], rtol=2e-9)


@pytest.mark.parametrize("steps", [1, 2, 7, 300])
def test_a_constant_rate_has_harmonic_numbers(steps):
    rate, norm, distance = 0.3, 2.5, 1.7
    harmonic = sum(1 / k for k in range(1, steps))
    expected = distance**2 / (2 * rate * steps), rate * norm**2 / 2, rate / 2 * norm**2 * harmonic
    np.testing.assert_allclose(bound_terms(np.full(steps, rate), G=norm, D=distance), expected, rtol=1e-13)


def test_the_formula_with_a_norm_for_every_step():
    rng = np.random.default_rng(0)
    eta, norms = rng.uniform(0, 1, 200), rng.uniform(0.5, 3, 200)
    eta[[0, 50, 120]] = 0
    np.testing.assert_allclose(bound(eta, G=norms, D=4.0), by_definition(eta, norms, 4.0), rtol=1e-12)


def test_updates_of_rate_zero_at_the_end_change_nothing():
    eta = np.linspace(1, 0, 11)
    assert bound(eta) == bound(eta[:-1]) == bound([*eta, 0, 0])
    assert bound([*eta, 0], G=np.arange(1, 13)) == bound(eta[:-1], G=np.arange(1, 11))


@pytest.mark.parametrize("name", ["constant", "cosine", "WSD 1-sqrt"])
def test_a_schedule_is_read_at_its_steps(name):
    schedule, steps = schedules(100)[name], 100
    rates = np.asarray(schedule(np.arange(steps)))
    assert bound(schedule, total_steps=steps) == bound(rates) == bound(rates.tolist())
    assert best_peak(schedule, steps) == best_peak(rates, steps) == best_peak([*rates, 1.0], steps)


def test_no_other_peak_is_better():
    shape = Cosine(3e-3, 300, warmup_steps=30)
    peak = best_peak(shape, 300, G=2.0, D=5.0)
    bounds = [
        bound(dataclasses.replace(shape, peak=peak * factor), total_steps=300, G=2.0, D=5.0)
        for factor in (0.97, 1.0, 1.03)
    ]
    assert bounds[1] < min(bounds[0], bounds[2])
    # At the optimum the two kinds of terms are equal, and the bound is 2 sqrt(t1 (t2 + t3)). Float32 rates.
    first, *others = bound_terms(dataclasses.replace(shape, peak=peak), total_steps=300, G=2.0, D=5.0)
    np.testing.assert_allclose(first, sum(others), rtol=1e-6)
    np.testing.assert_allclose(best_peak(dataclasses.replace(shape, peak=1.0), 300, G=2.0, D=5.0), peak, rtol=1e-6)


def test_a_million_steps_are_no_matter():
    # The quadratic formula would need 10**12 terms; ten constants of harmonic numbers are known without it.
    steps = 10**6
    harmonic = math.log(steps - 1) + 0.5772156649015329 + 0.5 / (steps - 1)
    expected = 1 / (2 * steps) + 0.5 + 0.5 * harmonic
    np.testing.assert_allclose(bound(np.ones(steps)), expected, rtol=1e-11)


RATES = "a sequence of finite rates, none below 0 and not all 0"
NORMS = "a finite positive number, or one for each of rates"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bound([1, -1]), f"bound: rates must be {RATES}, got [1, -1]"),
        (lambda: bound([0, 0]), f"bound: rates must be {RATES}, got [0, 0]"),
        (lambda: bound([]), f"bound: rates must be {RATES}, got []"),
        (lambda: bound(1.0), f"bound: rates must be {RATES}, got 1.0"),
        (lambda: bound("fast"), f"bound: rates must be {RATES}, got 'fast'"),
        (lambda: bound([1.0, math.nan]), f"bound: rates must be {RATES}, got [1.0, nan]"),
        (lambda: bound([1.0, 1.0], G=[1.0]), f"bound: G must be {NORMS}, got [1.0]"),
        (lambda: bound([1.0], G=0), f"bound: G must be {NORMS}, got 0"),
        (lambda: bound([1.0], G="big"), f"bound: G must be {NORMS}, got 'big'"),
        (lambda: bound([1.0], D=-1), "bound: D must be a finite number of at least 0, got -1"),
        (lambda: bound(Constant(1.0)), "bound: total_steps must be a positive int, got None"),
        (lambda: best_peak([1.0], 1, D=0), "best_peak: D must be a finite positive number, got 0"),
        (lambda: best_peak([1.0], 2), "best_peak: shape must be at least total_steps rates, got 1"),
        (lambda: best_peak([1.0], 0), "best_peak: total_steps must be a positive int, got 0"),
        (lambda: best_peak([0.0, 1.0], 1), f"best_peak: shape must be {RATES}, got [0.0, 1.0]"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ScheduleError) as error:
        call()
    assert str(error.value) == message
