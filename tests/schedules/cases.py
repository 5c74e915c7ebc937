"""Schedules that between them use every class, shape, style and option."""

import itertools

from lrstudy.schedules import SHAPES, WSD, WSDS, Constant, Cosine, CyclicCosine, Linear, Polynomial, Schedule

STYLES = ("optax", "skip_zero", "open")
ENDPOINTS = ("exclusive", "inclusive")
PEAK, END = 3e-3, 1e-4


def _wsd(shape: str, style: str, endpoint: str) -> WSD:
    return WSD(
        PEAK,
        200,
        warmup_steps=17,
        decay_steps=60,
        shape=shape,
        end=END,
        power=2.5,
        d=0.9,
        init_value=2e-4,
        warmup_style=style,
        endpoint=endpoint,
    )


def _options(shape: str, i: int) -> str:
    return f"WSD-{shape}-{STYLES[i % 3]}-{ENDPOINTS[i % 2]}"


SINGLE: dict[str, Schedule] = {
    "Constant": Constant(PEAK, warmup_steps=17),
    "Constant-open": Constant(PEAK, warmup_steps=17, init_value=1e-4, warmup_style="open"),
    "Linear": Linear(PEAK, 200, end=END, endpoint="inclusive"),
    "Cosine": Cosine(PEAK, 200, warmup_steps=17, exponent=2.5, endpoint="inclusive"),
    "Polynomial": Polynomial(PEAK, 200, warmup_steps=17, end=END, power=0.7, warmup_style="skip_zero"),
    "WSD-fraction": WSD(PEAK, 200, warmup_steps=17, decay_fraction=0.145),
} | {_options(shape, i): _wsd(shape, STYLES[i % 3], ENDPOINTS[i % 2]) for i, shape in enumerate(SHAPES)}

CYCLIC: dict[str, Schedule] = {
    "WSDS": WSDS(PEAK, [100, 200, 400], warmup_steps=10),
    "WSDS-lengths": WSDS(
        PEAK, [60, 200, 400], decay_lengths=[7, 30, 40], shape="1-sqrt", end=0, rewarmup_steps=20, endpoint="inclusive"
    ),
    "WSDS-one": WSDS(PEAK, [300], warmup_steps=10, shape="linear", rewarmup_steps=400),
    "CyclicCosine": CyclicCosine(PEAK, [100, 200, 400], warmup_steps=10, end=END),
    "CyclicCosine-decayed": CyclicCosine(
        PEAK, [100, 150, 400], warmup_steps=10, rewarmup_steps=5, peak_decay=0.5, warmup_style="open"
    ),
}

ALL = SINGLE | CYCLIC


def last_step(schedule: Schedule) -> int:
    """The step from which the schedule is held."""
    ends = getattr(schedule, "ends", None) or (getattr(schedule, "total_steps", schedule.warmup_steps),)
    return ends[-1]


def boundaries(schedule: Schedule) -> list[int]:
    """Steps at, just before and just after every change of phase, and far outside."""
    marks = {0, schedule.warmup_steps, last_step(schedule), *getattr(schedule, "ends", ())}
    marks |= {last_step(schedule) - length for length in (60, 29) if last_step(schedule) >= length}
    marks |= {end + getattr(schedule, "rewarmup_steps", 0) for end in getattr(schedule, "ends", ())}
    near = {mark + offset for mark, offset in itertools.product(marks, (-2, -1, 0, 1, 2))}
    return sorted(near | {-5, 10 * last_step(schedule), 2**31 - 1})
