"""Every schedule once more, as its formula reads: plain floats, one step at a time, no care for rounding."""

import math

import numpy as np

from lrstudy.schedules import Schedule

from .formulas import FORMULAS, rex_sampled, share

PADDED = 512


def rates(schedule: Schedule, steps) -> np.ndarray:
    """The schedule at `steps`, asked for in blocks of one size so that a class compiles once."""
    steps = np.asarray(steps)
    blocks = [np.resize(block, PADDED) for block in np.split(steps, range(PADDED, len(steps), PADDED))]
    return np.concatenate([np.asarray(schedule(block)) for block in blocks])[: len(steps)]


def multiplier(shape: str, u: float, r: float, power: float, d: float) -> float:
    falls = {
        "linear": lambda: 1 - u,
        "cosine": lambda: (1 + math.cos(math.pi * u)) / 2,
        "1-sqrt": lambda: 1 - math.sqrt(u),
        "1-square": lambda: 1 - u**2,
        "mirror_cosine": lambda: 2 * (1 - u) - (1 + math.cos(math.pi * u)) / 2,
        "exp_to_zero": lambda: (math.exp(1 - u) - 1) / (math.e - 1),
        "polynomial": lambda: (1 - u) ** power,
        "rex": lambda: (1 - u) / ((1 - d) + d * (1 - u)),
    }
    if shape == "exponential":
        return r**u
    if shape == "inverse":
        return 1 / (u / r + (1 - u))
    return r + (1 - r) * falls[shape]()


def rise(style: str, since: int, length: int, low: float, high: float) -> float:
    parts = {"optax": since / length, "skip_zero": (since + 1) / length, "open": (since + 1) / (length + 1)}
    return low + (high - low) * parts[style]


def curve(schedule: Schedule, u: float, r: float) -> float:
    name = type(schedule).__name__
    if name in ("WSD", "WSDS"):
        return multiplier(schedule.shape, u, r, schedule.power, schedule.d)
    if name in ("Exponential", "Rex"):
        return multiplier(name.lower(), u, r, 0, getattr(schedule, "d", 0))
    if name == "Cosine":
        return r + (1 - r) * ((1 + math.cos(math.pi * u)) / 2) ** schedule.exponent
    if name == "Polynomial":
        return multiplier("polynomial", u, r, schedule.power, 0)
    return multiplier({"Linear": "linear", "CyclicCosine": "cosine"}[name], u, r, 0, 0)


def decay_start(schedule: Schedule, begin: int, end: int, cycle: int) -> int:
    name = type(schedule).__name__
    if name == "WSD":
        length = schedule.decay_steps
        return end - (share(schedule.decay_fraction, end) if length is None else length)
    if name == "WSDS":
        if schedule.decay_lengths is not None:
            return end - schedule.decay_lengths[cycle]
        whole = end if schedule.decay_relative_to == "total" else end - begin
        return end - share(schedule.decay_fraction, whole)
    return begin + schedule.rewarmup_steps if cycle else schedule.warmup_steps


def expected(schedule: Schedule, step: int) -> float:
    """The rate at one step, in float64."""
    step, name = max(step, 0), type(schedule).__name__
    if name in FORMULAS:
        return FORMULAS[name](schedule, step)
    if getattr(schedule, "samples", None):
        return rex_sampled(schedule, step)
    ends = getattr(schedule, "ends", (getattr(schedule, "total_steps", math.inf),))
    cycle = min(sum(step >= end for end in ends), len(ends) - 1)
    begin = (0, *ends)[cycle]
    peak = schedule.peak * getattr(schedule, "peak_decay", 1) ** cycle
    last = getattr(schedule, "end", 0.0)
    last = 0.1 * schedule.peak if last is None else last
    if getattr(schedule, "half_life", None):
        length = schedule.total_steps - schedule.warmup_steps - (schedule.endpoint == "inclusive")
        last = peak * 2 ** (-length / schedule.half_life)
    rising = schedule.rewarmup_steps if cycle else schedule.warmup_steps
    if step - begin < rising:
        low = last if cycle else schedule.init_value
        return rise(schedule.warmup_style, step - begin, rising, low, peak)
    if type(schedule).__name__ == "Constant":
        return peak
    start, stop = decay_start(schedule, begin, ends[cycle], cycle), ends[cycle]
    stop -= schedule.endpoint == "inclusive"
    if step >= stop:
        return last
    u = max(step - start, 0) / (stop - start)
    return peak * curve(schedule, u, last / peak)


def expected_rates(schedule: Schedule, steps) -> np.ndarray:
    return np.array([expected(schedule, int(step)) for step in steps])
