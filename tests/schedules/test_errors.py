"""Every bad argument, word for word."""

import dataclasses

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
    CyclicCosine,
    Exponential,
    Infinite,
    InverseSqrt,
    Joined,
    Linear,
    Noam,
    OneCycle,
    Polynomial,
    Power,
    Rewarmed,
    Rex,
    Sampled,
    ScheduleError,
    Shifted,
    StepDecay,
    Tabulated,
    steps_from_fraction,
)

NAN, INF = float("nan"), float("inf")
POSITIVE = "a finite positive number"
STYLES, ENDPOINTS = "one of ['optax', 'skip_zero', 'open']", "one of ['exclusive', 'inclusive']"
ENDS = "a non-empty sequence of strictly increasing positive ints"


def assert_refused(call, message):
    with pytest.raises(ScheduleError) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize("peak", [0, 0.0, -1e-3, NAN, INF, -INF, 1e39, 10**400, True, "1", None, 1j, [1.0]])
def test_peak(peak):
    assert_refused(lambda: Constant(peak), f"Constant: peak must be {POSITIVE}, got {peak!r}")
    assert_refused(lambda: WSDS(peak, [10]), f"WSDS: peak must be {POSITIVE}, got {peak!r}")


@pytest.mark.parametrize("total", [0, -3, 1.0, True, "10", None, np.float64(10)])
def test_total_steps(total):
    assert_refused(lambda: Linear(1.0, total), f"Linear: total_steps must be a positive int, got {total!r}")


def test_too_many_steps_for_int32():
    assert_refused(lambda: Linear(1.0, 2**31), "Linear: total_steps must be less than 2**31 - 1, got 2147483648")
    assert_refused(lambda: WSDS(1.0, [5, 2**40]), f"WSDS: ends must be less than 2**31 - 1, got {[5, 2**40]!r}")
    assert Linear(1.0, 2**31 - 2)(2**31 - 2) == 0


FACTORS = "a sequence of finite positive numbers, one for each of boundaries"
PEAKS = "a finite positive number, or one for each of boundaries"
RATES = "a sequence of at least two finite rates, none below 0"
SCHEDULES = "a sequence of at least two schedules"
NODES = "such that 0 < pct_start < pct_final < 1 and the boundaries differ by at least one step"
ROOM_OF_TOKENS = "in (0, total_tokens - warmup_tokens]"
RUN = {"peak": 1.0, "total_steps": 100}
TOKENS = {"batch_size": 8, "sequence_length": 16}
COOLED = {"peak": 1.0, "constant": 0.5, "cooldown_end": 9, "end": 0.1}
VALUES = [
    (Constant, {"peak": 1.0, "warmup_steps": -1}, "warmup_steps", "a non-negative int"),
    (Constant, {"peak": 1.0, "warmup_steps": 2.5}, "warmup_steps", "a non-negative int"),
    (Constant, {"peak": 1.0, "init_value": 1.1}, "init_value", "in [0, peak]"),
    (Constant, {"peak": 1.0, "init_value": -0.1}, "init_value", "in [0, peak]"),
    (Constant, {"peak": 1.0, "init_value": NAN}, "init_value", "a finite number"),
    (Constant, {"peak": 1.0, "init_value": None}, "init_value", "a finite number"),
    (Constant, {"peak": 1.0, "warmup_style": "optx"}, "warmup_style", STYLES),
    (Constant, {"peak": 1.0, "warmup_style": 3}, "warmup_style", STYLES),
    (Cosine, {**RUN, "warmup_steps": 100}, "warmup_steps", "in [0, total_steps)"),
    (Cosine, {**RUN, "warmup_steps": -1}, "warmup_steps", "in [0, total_steps)"),
    (Cosine, {**RUN, "warmup_steps": 10.0}, "warmup_steps", "an int"),
    (Cosine, {**RUN, "warmup_steps": True}, "warmup_steps", "an int"),
    (Cosine, {**RUN, "warmup_steps": None}, "warmup_steps", "an int"),
    (Cosine, {**RUN, "end": 1.5}, "end", "in [0, peak]"),
    (Cosine, {**RUN, "end": -1}, "end", "in [0, peak]"),
    (Cosine, {**RUN, "end": "0"}, "end", "a finite number"),
    (Cosine, {**RUN, "exponent": 0}, "exponent", POSITIVE),
    (Cosine, {**RUN, "endpoint": "closed"}, "endpoint", ENDPOINTS),
    (Polynomial, {**RUN, "power": -2}, "power", POSITIVE),
    (WSD, {**RUN, "decay_steps": 0}, "decay_steps", "in [1, total_steps - warmup_steps]"),
    (WSD, {**RUN, "decay_steps": 91, "warmup_steps": 10}, "decay_steps", "in [1, total_steps - warmup_steps]"),
    (WSD, {**RUN, "decay_steps": 9.0}, "decay_steps", "an int"),
    (WSD, {**RUN, "decay_steps": "9"}, "decay_steps", "an int"),
    (WSD, {**RUN}, "decay_steps", "given if and only if decay_fraction is not"),
    (
        WSD,
        {**RUN, "decay_steps": 9, "decay_fraction": 0.1},
        "decay_steps",
        "given if and only if decay_fraction is not",
    ),
    (WSD, {**RUN, "decay_fraction": 0}, "decay_fraction", "in (0, 1]"),
    (WSD, {**RUN, "decay_fraction": 20}, "decay_fraction", "in (0, 1]"),
    (WSD, {**RUN, "decay_fraction": True}, "decay_fraction", "a finite number"),
    (WSD, {**RUN, "decay_steps": 9, "shape": "exponential", "end": -1}, "end", "positive for exponential decay"),
    (WSD, {**RUN, "decay_steps": 9, "shape": "exponential", "end": 2}, "end", "in [0, peak]"),
    (WSD, {**RUN, "decay_steps": 9, "shape": "inverse", "end": 0}, "end", "positive for inverse decay"),
    (WSD, {**RUN, "decay_steps": 9, "shape": "sqrt"}, "shape", f"one of {list(SHAPES)}"),
    (WSD, {**RUN, "decay_steps": 9, "shape": ["linear"]}, "shape", f"one of {list(SHAPES)}"),
    (WSD, {**RUN, "decay_steps": 9, "power": 0}, "power", POSITIVE),
    (WSD, {**RUN, "decay_steps": 9, "d": 1}, "d", "in [0, 1)"),
    (WSD, {**RUN, "decay_steps": 9, "d": -0.1}, "d", "in [0, 1)"),
    (WSDS, {"peak": 1.0, "ends": []}, "ends", ENDS),
    (WSDS, {"peak": 1.0, "ends": 100}, "ends", ENDS),
    (WSDS, {"peak": 1.0, "ends": "100"}, "ends", ENDS),
    (WSDS, {"peak": 1.0, "ends": [100, 200.0]}, "ends", ENDS),
    (WSDS, {"peak": 1.0, "ends": [100, True]}, "ends", ENDS),
    (WSDS, {"peak": 1.0, "ends": [0, 10]}, "ends", ENDS),
    (WSDS, {"peak": 1.0, "ends": [10, 10]}, "ends", ENDS),
    (CyclicCosine, {"peak": 1.0, "ends": (20, 10)}, "ends", ENDS),
    (WSDS, {"peak": 1.0, "ends": [100], "warmup_steps": 90}, "warmup_steps", "in [0, ends[0] - decay_lengths[0])"),
    (WSDS, {"peak": 1.0, "ends": [100], "end": 2.0}, "end", "in [0, peak]"),
    (WSDS, {"peak": 1.0, "ends": [100], "end": 0.0}, "end", "positive for inverse decay"),
    (WSDS, {"peak": 1.0, "ends": [100], "rewarmup_steps": -1}, "rewarmup_steps", "a non-negative int"),
    (WSDS, {"peak": 1.0, "ends": [100], "decay_relative_to": "run"}, "decay_relative_to", "one of ['total', 'cycle']"),
    (WSDS, {"peak": 1.0, "ends": [100], "decay_fraction": None}, "decay_fraction", "a finite number"),
    (
        WSDS,
        {"peak": 1.0, "ends": [100], "decay_lengths": 5},
        "decay_lengths",
        "a sequence of ints, one for each of ends",
    ),
    (
        WSDS,
        {"peak": 1.0, "ends": [9, 99], "decay_lengths": [5]},
        "decay_lengths",
        "a sequence of ints, one for each of ends",
    ),
    (CyclicCosine, {"peak": 1.0, "ends": [100], "warmup_steps": 100}, "warmup_steps", "in [0, ends[0])"),
    (CyclicCosine, {"peak": 1.0, "ends": [100], "peak_decay": 0}, "peak_decay", "in (0, 1]"),
    (CyclicCosine, {"peak": 1.0, "ends": [100], "peak_decay": 1.5}, "peak_decay", "in (0, 1]"),
    (CyclicCosine, {"peak": 1.0, "ends": [100], "end": 1.5}, "end", "in [0, peak]"),
    (Exponential, {**RUN, "end": 0.0}, "end", "positive for exponential decay"),
    (Exponential, {**RUN, "end": 0.1, "half_life": 5.0}, "end", "left out if half_life is given"),
    (Exponential, {**RUN, "half_life": 0}, "half_life", POSITIVE),
    (Rex, {**RUN, "d": 1.0}, "d", "in [0, 1)"),
    (Rex, {**RUN, "samples": 0}, "samples", "a positive int"),
    (StepDecay, {"peak": 1.0, "boundaries": [5, 5]}, "boundaries", ENDS),
    (StepDecay, {"peak": 1.0, "boundaries": [5], "gamma": 0}, "gamma", POSITIVE),
    (StepDecay, {"peak": 1.0, "boundaries": [5], "warmup_steps": 6}, "warmup_steps", "in [0, boundaries[0]]"),
    (StepDecay, {"peak": 1.0, "boundaries": [5, 9], "factors": [0.1]}, "factors", FACTORS),
    (StepDecay, {"peak": 1.0, "boundaries": [5], "factors": [0.0]}, "factors", FACTORS),
    (StepDecay, {"peak": 1.0, "boundaries": [5], "factors": 0.5}, "factors", FACTORS),
    (OneCycle, {**RUN, "pct_start": 0.0}, "pct_start", "in (0, 1)"),
    (OneCycle, {**RUN, "pct_start": 0.9}, "pct_final", NODES),
    (OneCycle, {**RUN, "div": 0.5}, "div", "at least 1"),
    (InverseSqrt, {"peak": 1.0, "timescale": 0}, "timescale", POSITIVE),
    (InverseSqrt, {"peak": 1.0, "end": 2.0}, "end", "in [0, peak]"),
    (Noam, {"model_width": 0, "warmup_steps": 5}, "model_width", "a positive int"),
    (Noam, {"model_width": 8, "warmup_steps": 0}, "warmup_steps", "a positive int"),
    (Power, {**TOKENS, "b": 0.5}, "b", "below 0"),
    (Power, {**TOKENS, "a": 0}, "a", POSITIVE),
    (Power, {**TOKENS, "batch_size": 1.5}, "batch_size", "a positive int"),
    (Power, {**TOKENS, "warmup_tokens": -1}, "warmup_tokens", "at least 0"),
    (Power, {**TOKENS, "decay_tokens": 1e8}, "total_tokens", "given if decay_tokens is"),
    (Power, {**TOKENS, "total_tokens": 2e9, "decay_tokens": 2e9}, "decay_tokens", ROOM_OF_TOKENS),
    (Infinite, {**COOLED, "constant": 2.0}, "constant", "in (0, peak]"),
    (Infinite, {**COOLED, "end": 0.6}, "end", "in (0, constant]"),
    (Infinite, {**COOLED, "warmup_steps": 9}, "warmup_steps", "in [0, cooldown_end)"),
    (Infinite, {**COOLED, "cooldown": "sine"}, "cooldown", "one of ['cosine', 'inv_sqrt', 'linear']"),
    (Infinite, {**COOLED, "anneal_start": 20}, "anneal_end", "given if and only if anneal_start is"),
    (Infinite, {**COOLED, "anneal_start": 8, "anneal_end": 20}, "anneal_start", "at least cooldown_end"),
    (Infinite, {**COOLED, "anneal_start": 20, "anneal_end": 20}, "anneal_end", "more than anneal_start"),
    (Rewarmed, {"peaks": [1.0], "boundaries": [5, 9]}, "peaks", PEAKS),
    (Rewarmed, {"peaks": [1.0, 0.0], "boundaries": [5, 9]}, "peaks", PEAKS),
    (Rewarmed, {"peaks": 1.0, "boundaries": [5], "end_ratio": 1.5}, "end_ratio", "in [0, 1]"),
    (Rewarmed, {"peaks": 1.0, "boundaries": [5], "start_value": 1.5}, "start_value", "in [0, peaks[0]]"),
    (
        Rewarmed,
        {"peaks": 1.0, "boundaries": [5, 7], "warmup_fraction": 0.8},
        "warmup_fraction",
        "such that every stage is longer than its warmup",
    ),
    (Sampled, {"schedule": Constant(1.0), "total_steps": 4, "samples": 5}, "samples", "in [1, total_steps]"),
    (Sampled, {"schedule": 1.0, "total_steps": 4, "samples": 2}, "schedule", "a schedule"),
    (Shifted, {"schedule": "WSD", "start": 4}, "schedule", "a schedule"),
    (Shifted, {"schedule": Constant(1.0), "start": -1}, "start", "a non-negative int"),
    (Shifted, {"schedule": Constant(1.0), "start": 1.0}, "start", "a non-negative int"),
    (Joined, {"schedules": [Constant(1.0)], "boundaries": []}, "schedules", SCHEDULES),
    (Joined, {"schedules": Constant(1.0), "boundaries": [5]}, "schedules", SCHEDULES),
    (Joined, {"schedules": [Constant(1.0), 0.1], "boundaries": [5]}, "schedules", SCHEDULES),
    (Joined, {"schedules": [Constant(1.0)] * 2, "boundaries": []}, "boundaries", ENDS),
    (Joined, {"schedules": [Constant(1.0)] * 2, "boundaries": 5}, "boundaries", ENDS),
    (Joined, {"schedules": [Constant(1.0)] * 3, "boundaries": [5, 5]}, "boundaries", ENDS),
    (Joined, {"schedules": [Constant(1.0)] * 3, "boundaries": (5,)}, "boundaries", "one fewer than schedules"),
    (Tabulated, {"values": [1.0]}, "values", RATES),
    (Tabulated, {"values": [1.0, -1.0]}, "values", RATES),
    (Tabulated, {"values": [1.0, NAN]}, "values", RATES),
    (Tabulated, {"values": "fast"}, "values", RATES),
    (Tabulated, {"values": [1.0, 0.0], "total_steps": 1}, "total_steps", "an int of at least 2"),
    (Tabulated, {"values": [1.0, 0.0], "mode": "cubic"}, "mode", "one of ['linear', 'hold']"),
]


@pytest.mark.parametrize(("cls", "arguments", "name", "rule"), VALUES)
def test_values(cls, arguments, name, rule):
    default = next((f.default for f in dataclasses.fields(cls) if f.name == name), None)
    given = arguments.get(name, None if default is dataclasses.MISSING else default)
    assert_refused(lambda: cls(**arguments), f"{cls.__name__}: {name} must be {rule}, got {given!r}")


def test_a_default_that_breaks_the_rule_of_the_shape():
    message = "WSD: end must be positive for exponential decay, got 0.0"
    assert_refused(lambda: WSD(1.0, 100, decay_steps=9, shape="exponential"), message)


ARGUMENTS = ["peak", "warmup_steps", "init_value", "warmup_style", "total_steps", "end", "endpoint"]
REWARMUP = "in [0, ends[i] - ends[i - 1]) for every cycle i after the first"
STEPS_OF = "such that its number of steps is in"
ROOM = "[1, ends[i] - ends[i - 1] - rewarmup_steps] for every cycle i"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: WSD(1.0, 100, warmup_steps=10, decay_fraction=0.95),
            f"WSD: decay_fraction must be {STEPS_OF} [1, total_steps - warmup_steps], got 0.95",
        ),
        (
            lambda: WSD(1.0, 100, decay_fraction=0.001),
            f"WSD: decay_fraction must be {STEPS_OF} [1, total_steps - warmup_steps], got 0.001",
        ),
        (
            lambda: WSDS(1.0, [100, 110], decay_fraction=0.2),
            f"WSDS: decay_fraction must be {STEPS_OF} {ROOM}, got 0.2",
        ),
        (
            lambda: WSDS(1.0, [100, 200], decay_lengths=[10, 60], rewarmup_steps=41),
            f"WSDS: decay_lengths must be in {ROOM}, got [10, 60]",
        ),
        (
            lambda: WSDS(1.0, [100], decay_lengths=[10], decay_fraction=0.2),
            "WSDS: decay_fraction must be None if decay_lengths is given, got 0.2",
        ),
        (
            lambda: CyclicCosine(1.0, [50, 60], rewarmup_steps=10),
            f"CyclicCosine: rewarmup_steps must be {REWARMUP}, got 10",
        ),
        (
            lambda: CyclicCosine(1.0, [50, 60, 70], peak_decay=0.5, end=0.3),
            "CyclicCosine: end must be in [0, peak * peak_decay**(len(ends) - 1)], got 0.3",
        ),
        (
            lambda: Linear(1.0, total_step=10),
            f"Linear: argument must be one of {ARGUMENTS} (nearest: 'total_steps'), got 'total_step'",
        ),
    ],
)
def test_arguments_that_do_not_fit_together(call, message):
    assert_refused(call, message)


@pytest.mark.parametrize(
    ("fraction", "total", "message"),
    [
        (1.5, 10, "fraction must be in [0, 1], got 1.5"),
        (NAN, 10, "fraction must be in [0, 1], got nan"),
        ("0.5", 10, "fraction must be in [0, 1], got '0.5'"),
        (True, 10, "fraction must be in [0, 1], got True"),
        (0.5, 10.0, "total_steps must be a positive int, got 10.0"),
        (0.5, 0, "total_steps must be a positive int, got 0"),
    ],
)
def test_steps_from_fraction(fraction, total, message):
    assert_refused(lambda: steps_from_fraction(fraction, total), f"steps_from_fraction: {message}")


def test_limits_are_allowed():
    assert WSD(1.0, 100, warmup_steps=10, decay_steps=90)(10) == 1
    assert WSD(1.0, 1, decay_fraction=1.0)(1) == 0
    assert WSDS(1.0, [100, 200], warmup_steps=89, decay_lengths=[10, 60], rewarmup_steps=40)(140) == 1
    assert CyclicCosine(1.0, [50, 60], warmup_steps=49, rewarmup_steps=9)(59) == 1
    assert Constant(1.0, init_value=1.0, warmup_steps=3)(0) == 1


@pytest.mark.parametrize("bad", [np.array([True]), np.array(["a"]), jnp.array([1j])])
def test_arrays_must_hold_numbers(bad):
    assert_refused(lambda: Constant(bad), f"Constant: peak must be {POSITIVE}, got {bad!r}")


def test_values_of_arrays_are_not_checked_but_those_beside_them_are():
    assert Linear(jnp.float32(-1.0), jnp.int32(-5)).peak == -1
    assert_refused(
        lambda: Linear(jnp.float32(1.0), 100, warmup_steps=100),
        "Linear: warmup_steps must be in [0, total_steps), got 100",
    )
    with pytest.raises(ScheduleError, match=r"end must be in \[0, peak\], got -1.0"):
        jax.jit(lambda peak: Linear(peak, 100, end=-1.0)(0))(1.0)


def test_errors_are_value_errors():
    assert issubclass(ScheduleError, ValueError)
