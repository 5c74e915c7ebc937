"""The runs that benchmarks of small models train: the 2-layer transformer of the text tasks, batch 8 x 64, AdamW."""

from collections.abc import Sequence

from experiments.river_valley import SCALES, parts
from lrstudy.study.config import Run
from lrstudy.study.plan import make_plan

LANES, BATCH_SIZE = 8, 8


def text_runs(width: int) -> Sequence[Run]:
    """Text runs of one width that differ in their seeds, long enough for every repeat."""
    fixed = {
        "schedule": "Constant",
        "schedule.peak": 0.003,
        "schedule.warmup_steps": 0,
        "steps": 100_000,
        "record_every": 10,
        "evaluate_every": 0,
        "clip_norm": None,
        "model.width": width,
        "task.batch_size": BATCH_SIZE,
    }
    seeds = {"seed": [{"seed": seed} for seed in range(LANES)]}
    [group] = make_plan({"text": parts(SCALES["cpu"])["text"].overridden(fixed, seeds)}).groups
    return group.runs
