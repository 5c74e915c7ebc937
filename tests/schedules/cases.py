"""Schedules that between them use every class, shape, style and option."""

import itertools

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
    Schedule,
    Shifted,
    StepDecay,
    Tabulated,
)

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
    "Exponential": Exponential(PEAK, 200, warmup_steps=17, end=END),
    "Exponential-half-life": Exponential(PEAK, 200, warmup_steps=17, half_life=31.5, endpoint="inclusive"),
    "Rex": Rex(PEAK, 200, warmup_steps=17, end=END, d=0.9, warmup_style="open"),
    "Rex-sampled": Rex(PEAK, 200, warmup_steps=17, samples=7),
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

COOLED = {"peak": PEAK, "constant": 1e-3, "warmup_steps": 17, "cooldown_end": 80, "end": END}
TOKENS = {"batch_size": 64, "sequence_length": 128, "warmup_tokens": 3e5, "total_tokens": 3e6}
OTHER: dict[str, Schedule] = {
    "StepDecay": StepDecay(PEAK, [60, 120, 180], warmup_steps=17),
    "StepDecay-factors": StepDecay(PEAK, [60, 61], factors=[0.5, 3.0]),
    "OneCycle": OneCycle(PEAK, 200),
    "OneCycle-cosine": OneCycle(PEAK, 200, pct_start=0.145, pct_final=None, div=10, final_div=1),
    "InverseSqrt": InverseSqrt(PEAK, warmup_steps=17),
    "InverseSqrt-end": InverseSqrt(PEAK, timescale=12.5, end=1e-3),
    "Noam": Noam(512, 40, scale=0.5),
    "Power": Power(PEAK, **TOKENS, decay_tokens=6e5),
    "Power-linear": Power(1.0, **TOKENS, decay_tokens=2.7e6, shape="linear"),
    "Power-endless": Power(PEAK, batch_size=8, sequence_length=16, warmup_tokens=0, a=2.0, b=-0.6),
    "Infinite": Infinite(**COOLED),
    "Infinite-annealed": Infinite(**COOLED, cooldown="inv_sqrt", anneal_start=120, anneal_end=200),
    "Infinite-at-once": Infinite(**COOLED, cooldown="linear", anneal_start=80, anneal_end=81),
    "Rewarmed": Rewarmed(PEAK, [60, 200], warmup_fraction=0.145, start_value=END),
    "Rewarmed-peaks": Rewarmed([PEAK, END], [60, 200], warmup_fraction=0.1, end_ratio=0.5),
    "Sampled": Sampled(Cosine(PEAK, 200, warmup_steps=17), 200, 7),
    "Shifted": Shifted(Cosine(PEAK, 140, warmup_steps=9), 60),
    "Shifted-fraction": Shifted(WSD(PEAK, 140, warmup_steps=9, decay_fraction=0.145), 60),
    "Joined": Joined([Constant(PEAK, warmup_steps=17), Linear(1e-3, 119, end=END), Constant(END)], [61, 180]),
    "Joined-nested": Joined([Sampled(Cosine(PEAK, 60), 60, 7), Shifted(Rex(PEAK, 120, samples=5), 20)], [60]),
    "Tabulated": Tabulated([PEAK, 1e-3, 2e-3, 0.0]),
    "Tabulated-stretched": Tabulated([1.0, 0.25, 0.75], total_steps=200, scale=PEAK),
    "Tabulated-held": Tabulated([PEAK, 1e-3, 2e-3, 0.0], total_steps=200, mode="hold"),
}
ENDLESS = ("InverseSqrt", "Noam", "Power-endless")
"""Those whose rate never ceases to fall."""
MARKS = (0, 1, 3, 6, 9, 17, 20, 29, 40, 60, 61, 69, 80, 81, 120, 146, 170, 180, 199, 200, 293, 366)
"""Steps at which one of the others changes phase."""

PHASED = SINGLE | CYCLIC
ALL = PHASED | OTHER


def highest(schedule: Schedule) -> float:
    """The scale of a schedule's rates, by which errors are measured."""
    return getattr(schedule, "peak", PEAK)


def last_step(schedule: Schedule) -> int:
    """The step from which the schedule is held; of those that never are, one far out."""
    if schedule in OTHER.values():
        return 400
    ends = getattr(schedule, "ends", None) or (getattr(schedule, "total_steps", schedule.warmup_steps),)
    return ends[-1]


def boundaries(schedule: Schedule) -> list[int]:
    """Steps at, just before and just after every change of phase, and far outside."""
    if schedule in OTHER.values():
        near = {mark + offset for mark, offset in itertools.product(MARKS, (-1, 0, 1))}
        return sorted(near | {-5, 4000})
    marks = {0, schedule.warmup_steps, last_step(schedule), *getattr(schedule, "ends", ())}
    marks |= {last_step(schedule) - length for length in (60, 29) if last_step(schedule) >= length}
    marks |= {end + getattr(schedule, "rewarmup_steps", 0) for end in getattr(schedule, "ends", ())}
    near = {mark + offset for mark, offset in itertools.product(marks, (-2, -1, 0, 1, 2))}
    return sorted(near | {-5, 10 * last_step(schedule), 2**31 - 1})
