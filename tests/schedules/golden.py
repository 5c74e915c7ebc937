"""Published and independently recomputed rates, as tables: one row a schedule.

The tables are printed to nine significant digits, or exactly where fewer are shown. What is scaled by something else
than the schedule's peak, or printed otherwise, says so in its row.
"""

import math
from typing import NamedTuple

import jax
import numpy as np

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
    Schedule,
    StepDecay,
)

from .cases import highest
from .reference import expected_rates

FLOAT32 = 2e-7
"""Of the peak: float32 keeps 6e-8 of a rate near it, and a shape takes up to three roundings."""
FLOAT64 = 1e-12
DIGITS = 9
# Float32 holds the exponent -0.51 to 9.5e-9, which a rate at n tokens shows ln(n) times over: 2.6e-7 at 1e12 tokens.
EXPONENT = FLOAT32 + 9.5e-9 * math.log(1e12)


class Golden(NamedTuple):
    """A schedule, the steps and the printed rates.

    Attributes:
        table: number of the table in the collection.
        cut: digits after the decimal point at which the numbers are cut, not rounded; None: `DIGITS` significant ones.
        single: whether a float32 program printed the numbers.
        float32: largest error in float32 as a share of `scale`.
        scale: what errors are shares of; None: the schedule's peak.
    """

    table: str
    name: str
    schedule: Schedule
    steps: list[int]
    values: list[float]
    cut: int | None = None
    single: bool = False
    float32: float = FLOAT32
    scale: float | None = None

    def unit(self) -> float:
        """What errors are measured in."""
        return highest(self.schedule) if self.scale is None else self.scale

    def printed(self) -> np.ndarray:
        """How far each printed value may be from the exact one."""
        values = np.abs(np.array(self.values))
        if self.single:
            return np.full(len(values), FLOAT32 * self.unit())
        if self.cut is not None:
            return np.full(len(values), 10.0**-self.cut)
        return 0.5 * 10 ** (np.floor(np.log10(np.where(values > 0, values, 1))) + 1 - DIGITS)


RUN = {"peak": 1e-3, "total_steps": 100, "warmup_steps": 10}
CYCLES = {"peak": 1e-3, "ends": [100, 200, 400], "warmup_steps": 10}

SINGLE_STEPS = [0, 5, 10, 55, 99, 100]
EXPONENTIAL = [0, 0.0005, 0.001, 0.000316227766, 0.000102591437, 0.0001]
SINGLE = [
    ("cosine", Cosine(**RUN, end=1e-4), [0, 0.0005, 0.001, 0.00055, 0.000100274128, 0.0001]),
    ("linear", Linear(**RUN), [0, 0.0005, 0.001, 0.0005, 1.11111111e-05, 0]),
    ("linear to 1e-4", Linear(**RUN, end=1e-4), [0, 0.0005, 0.001, 0.00055, 0.00011, 0.0001]),
    ("polynomial", Polynomial(**RUN, end=1e-4, power=2), [0, 0.0005, 0.001, 0.000325, 0.000100111111, 0.0001]),
    ("exponential", Exponential(**RUN, end=1e-4), EXPONENTIAL),
    ("exponential WSD", WSD(**RUN, decay_steps=90, end=1e-4, shape="exponential"), EXPONENTIAL),
]

RISE, DECAY_STEPS = [0, 0.0005, 0.001], [80, 85, 90, 99, 100, 150]
DECAYS = {
    "linear": [0.001, 0.000775, 0.00055, 0.000145, 0.0001, 0.0001],
    "cosine": [0.001, 0.000868198052, 0.00055, 0.000105540247, 0.0001, 0.0001],
    "1-sqrt": [0.001, 0.00055, 0.000363603897, 0.000122788509, 0.0001, 0.0001],
    "1-square": [0.001, 0.00094375, 0.000775, 0.00018775, 0.0001, 0.0001],
    "mirror_cosine": [0.001, 0.000681801948, 0.00055, 0.000184459753, 0.0001, 0.0001],
    "exponential": [0.001, 0.000562341325, 0.000316227766, 0.000112201845, 0.0001, 0.0001],
    "inverse": [0.001, 0.000307692308, 0.000181818182, 0.000104712042, 0.0001, 0.0001],
}
TO_ZERO = [0.001, 0.0005, 0.000292893219, 2.53205655e-05, 0, 0]
MODERATE = [0.003, 0.003, 0.002, 0.00158578644, 0.00105064113, 0.001, 0.001]
INCLUSIVE = [1, 0.736842105263, 0.473684210526, 0, 0]
WSDS_OF_TABLE = [
    *(
        (shape, WSD(**RUN, decay_steps=20, end=1e-4, shape=shape), [0, 5, 10, *DECAY_STEPS], [*RISE, *values])
        for shape, values in DECAYS.items()
    ),
    ("1-sqrt to 0", WSD(**RUN, decay_steps=20), DECAY_STEPS, TO_ZERO),
    ("moderate decay", WSD(3e-3, 100, warmup_steps=10, decay_steps=20, end=1e-3), [10, *DECAY_STEPS], MODERATE),
    (
        "inclusive",
        WSD(1.0, 100, decay_steps=20, shape="linear", endpoint="inclusive"),
        [80, 85, 90, 99, 100],
        INCLUSIVE,
    ),
    # The list of (j + 1) / D: what is read one step later is what a half-open phase has here.
    ("(j + 1) / D", WSD(1.0, 100, decay_steps=20, shape="linear"), [80, 81, 86, 100], [1, 0.95, 0.7, 0]),
    (
        "exp_to_zero",
        WSD(1.0, 8, decay_steps=8, shape="exp_to_zero"),
        [0, 2, 4, 6, 8],
        [1, 0.6500679912, 0.3775406688, 0.1652961767, 0],
    ),
]

CYCLE_STEPS = [0, 50, 90, 95, 99, 100, 180, 190, 199, 200, 360, 380, 399, 400]
FIRST_TWO = [0, 0.001, 0.001, 0.000181818182, 0.00010989011, 0.001, 0.001]
CYCLE_RATES = {
    "total": [*FIRST_TWO, 0.000181818182, 0.000104712042, 0.001, 0.001, 0.000181818182, 0.00010230179, 0.0001],
    "cycle": [*FIRST_TWO, 0.001, 0.00010989011, 0.001, 0.001, 0.001, 0.000104712042, 0.0001],
}
COSINE_STEPS = [10, 55, 99, 100, 150, 199, 200, 300, 399, 400]
COSINES = [0.001, 0.00055, 0.000100274128, 0.001, 0.00055, 0.000100222048, 0.001, 0.00055, 0.000100055515, 0.0001]

SMALL = {"batch_size": 128, "sequence_length": 1024, "warmup_tokens": 1e8, "total_tokens": 1e10, "decay_tokens": 1e9}
LARGE = {"batch_size": 1024, "sequence_length": 4096, "warmup_tokens": 1e9, "total_tokens": 1e12, "decay_tokens": 1e11}
SMALL_STEPS, SMALL_TAIL = [0, 381, 763, 3358, 10000, 50000, 68664], [72000, 76000, 76294]
SMALL_RATES = [0, 0.0099876864, 0.02, 0.02, 0.0114640982, 0.00504504677, 0.00429148954]
LARGE_STEPS = [100, 238, 239, 10000, 100000, 200000, 214577, 226497, 238418]
LARGE_RATES = [0.008388608, 0.019964887, 0.02, 0.0156604197, 0.00483953234, 0.0033984282, 0.0032786208]
POWERS = [
    ("128 x 1024", Power(**SMALL), SMALL_STEPS, SMALL_RATES),
    ("exp_to_zero", Power(**SMALL), SMALL_TAIL, [0.00188716208, 9.81028126e-05, 0]),
    ("linear", Power(**SMALL, shape="linear"), SMALL_TAIL, [0.00241530909, 0.000165341832, 0]),
    ("1024 x 4096", Power(**LARGE, shape="linear"), LARGE_STEPS, [*LARGE_RATES, 0.00163941898, 7.96362698e-08]),
]

REX_STEPS = [0, 20, 40, 60, 80, 99, 100]
REX_HALF = [0.1, 0.0888888889, 0.075, 0.0571428571, 0.0333333333, 0.00198019802, 0]
REX_NINE_TENTHS = [0.1, 0.0975609756, 0.09375, 0.0869565217, 0.0714285714, 0.00917431193, 0]
REX_SAMPLED = [0.1, 0.1, 0.0857142857, 0.0666666667, 0.04, 0.04, 0]
REXES = [
    ("d = 1/2", Rex(0.1, 100), REX_HALF),
    ("d = 9/10", Rex(0.1, 100, d=0.9), REX_NINE_TENTHS),
    ("WSD, d = 1/2", WSD(0.1, 100, decay_steps=100, shape="rex", d=0.5), REX_HALF),
    ("WSD, d = 9/10", WSD(0.1, 100, decay_steps=100, shape="rex", d=0.9), REX_NINE_TENTHS),
    ("4 samples", Rex(0.1, 100, samples=4), REX_SAMPLED),
]

COOLED = {"peak": 3e-4, "constant": 1.65e-4, "warmup_steps": 10, "cooldown_end": 40, "end": 3e-5}
COOLDOWNS = {"cosine": 2.325e-4, "linear": 2.325e-4, "inv_sqrt": 1.85629523e-4}
INFINITE_STEPS = [5, 10, 25, 40, 60, 80, 90, 100, 120]

STAGE_STEPS = [1, 50, 99, 100, 101, 110, 150, 199, 200]
STAGES = [3e-5, 0.000188442504, 3.00822384e-05, 3e-5, 5.7e-5, 3e-4, 0.000188442504, 3.00822384e-05, 3e-5]

ONE_CYCLE_STEPS = [0, 15, 30, 60, 85, 100]
INVERSE_STEPS = [500, 1000, 2000, 4000, 16000]
NOAM = [1.74692811e-07, 0.000349385621, 0.000698771243, 0.000349385621]

HUGGING_FACE_STEPS = [0, 5, 10, 70, 80, 90, 99, 100]
HUGGING_FACE = {
    "linear": [0.1, 0.55, 1, 1, 0.7, 0.4, 0.13, 0.1],
    "cosine": [0.1, 0.55, 1, 1, 0.775, 0.325, 0.102465147, 0.1],
    "1-sqrt": [0.1, 0.55, 1, 1, 0.480384758, 0.265153077, 0.115127128, 0.1],
}
TEN = list(range(10))
LISTS = [
    ("linear", Linear(10.0, 10, warmup_steps=2), [0, 5, 10, 8.75, 7.5, 6.25, 5, 3.75, 2.5, 1.25], 2),
    ("cosine", Cosine(10.0, 10, warmup_steps=2), [0, 5, 10, 9.61, 8.53, 6.91, 5, 3.08, 1.46, 0.38], 2),
    (
        "polynomial",
        Polynomial(10.0, 10, warmup_steps=2, power=2, end=1e-7),
        [0, 5, 10, 7.656, 5.625, 3.906, 2.5, 1.406, 0.625, 0.156],
        3,
    ),
]

ROWS: list[Golden] = [
    *(Golden("G1", name, schedule, SINGLE_STEPS, values) for name, schedule, values in SINGLE),
    *(Golden("G2", *row) for row in WSDS_OF_TABLE),
    *(
        Golden("G3", of, WSDS(**CYCLES, decay_relative_to=of), CYCLE_STEPS, values)
        for of, values in CYCLE_RATES.items()
    ),
    Golden("G4", "cyclic cosine", CyclicCosine(**CYCLES, end=1e-4), COSINE_STEPS, COSINES),
    *(Golden("G5", *row, float32=EXPONENT) for row in POWERS),
    *(Golden("G6", name, schedule, REX_STEPS, values) for name, schedule, values in REXES),
    Golden("G6", "sampled from outside", Sampled(Rex(0.1, 100), 100, 4), REX_STEPS, REX_SAMPLED, scale=0.1),
    *(
        Golden(
            "G7",
            cooldown,
            Infinite(**COOLED, cooldown=cooldown, anneal_start=80, anneal_end=100),
            INFINITE_STEPS,
            [1.5e-4, 3e-4, middle, 1.65e-4, 1.65e-4, 1.65e-4, 7.03562364e-05, 3e-5, 3e-5],
        )
        for cooldown, middle in COOLDOWNS.items()
    ),
    Golden("G8", "rewarmed", Rewarmed(3e-4, [100, 200], warmup_fraction=0.1), STAGE_STEPS, STAGES, scale=3e-4),
    Golden(
        "G9", "30-60-90", StepDecay(0.1, [30, 60, 90]), [29, 30, 59, 60, 89, 90], [0.1, 0.01, 0.01, 0.001, 0.001, 1e-4]
    ),
    Golden("G10", "linear", OneCycle(0.01, 100), ONE_CYCLE_STEPS, [4e-4, 0.0052, 0.01, 0.00476363636, 4e-4, 4e-8]),
    Golden(
        "G10",
        "cosine",
        OneCycle(0.01, 100, pct_final=None),
        ONE_CYCLE_STEPS,
        [4e-4, 0.0052, 0.01, 0.00611262022, 0.00109087822, 4e-8],
    ),
    Golden(
        "G11",
        "timescale 1000",
        InverseSqrt(1e-3, warmup_steps=1000),
        INVERSE_STEPS,
        [0.0005, 0.001, 0.000707106781, 0.0005, 0.00025],
    ),
    Golden(
        "G11",
        "timescale 1e4",
        InverseSqrt(1e-3, warmup_steps=1000, timescale=1e4),
        INVERSE_STEPS,
        [0.0005, 0.001, 0.000953462589, 0.000877058019, 0.000632455532],
    ),
    Golden("G11", "noam", Noam(512, 4000), [0, 1999, 3999, 15999], NOAM, scale=6.98771243e-4),
    *(
        Golden(
            "G12",
            shape,
            WSD(1.0, 100, warmup_steps=10, decay_steps=30, shape=shape, end=0.1, init_value=0.1),
            HUGGING_FACE_STEPS,
            values,
        )
        for shape, values in HUGGING_FACE.items()
    ),
    *(Golden("G12", f"list of {name}", schedule, TEN, values, cut=cut) for name, schedule, values, cut in LISTS),
    Golden(
        "G13",
        "kozistr's REX",
        Rex(1.0, 5),
        [1, 2, 3, 4, 5],
        [0.888888, 0.749999, 0.571428, 0.333333, 0],
        cut=6,
    ),
    Golden(
        "G13",
        "optax's one cycle",
        OneCycle(1000.0, 10, pct_final=0.7, div=10, final_div=100),
        list(range(12)),
        [100, 400, 700, 1000, 775, 550, 325, 100, 67, 34, 1, 1],
    ),
    Golden(
        "G13",
        "optax's cosine exponent",
        Cosine(0.1, 100, exponent=2),
        [0, 10, 50, 75, 100],
        [0.1, 0.0951655358, 0.025, 0.00214466127, 0],
        single=True,
    ),
]


def exact(row: Golden) -> np.ndarray:
    """The formula of the row's schedule in plain float64, at the row's steps."""
    return expected_rates(row.schedule, row.steps)


def in_float64(rows: list[Golden]) -> list[np.ndarray]:
    """The rates of every row under x64, from one program."""
    with jax.enable_x64(True):
        found = jax.jit(lambda schedules: [s(np.array(row.steps)) for s, row in zip(schedules, rows, strict=True)])(
            [row.schedule for row in rows]
        )
    return [np.asarray(values) for values in found]
