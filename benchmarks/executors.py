"""Which executor trains lanes fastest on this machine, beside one run after the other.

python -m benchmarks.executors [--repeats=7] [--lanes=8] [--steps=10] [--sizes=32x8,64x16,128x16]
"""

import functools
import re
import statistics
from collections.abc import Callable, Sequence

import jax
from absl import app, flags

from benchmarks.timing import interleaved, ratios, record, table
from experiments.river_valley import SCALES, parts
from lrstudy.study.config import Run, make_transform
from lrstudy.study.plan import make_plan
from lrstudy.training.lanes import spread
from lrstudy.training.layout import Layout
from lrstudy.training.program import abstract_lanes, empty_lanes, make_program, make_window, stack

REPEATS = flags.DEFINE_integer("repeats", 7, "interleaved repeats", lower_bound=1)
LANES = flags.DEFINE_integer("lanes", 8, "lanes of a program", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 10, "steps of a call", lower_bound=1)
SIZES = flags.DEFINE_list("sizes", ["32x8", "64x16", "128x16"], "width x batch size of the transformer, one or more")


def text_runs(width: int, batch_size: int, count: int) -> Sequence[Run]:
    """Text runs of one width and batch size that differ in their seeds."""
    fixed = {
        "schedule": "Constant",
        "schedule.peak": 0.003,
        "schedule.warmup_steps": 0,
        "steps": STEPS.value,
        "evaluate_every": 0,
    }
    sizes = {"model.width": width, "task.batch_size": batch_size}
    seeds = {"seed": [{"seed": seed} for seed in range(count)]}
    part = parts(SCALES["cpu"])["text"].overridden({**fixed, **sizes}, seeds)
    [group] = make_plan({"text": part}).groups
    return group.runs


def trained(runs: Sequence[Run], executor: str) -> Callable[[], None]:
    """A call that trains the runs as lanes for ``--steps`` steps from their initialisation; compiled already."""
    transform_of = functools.partial(make_transform, runs[0])
    hparams = stack([run.hyperparameters for run in runs])
    program = spread(make_program(transform_of), Layout(executor))
    data, window = jax.device_put(runs[0].task.load()), make_window(0, STEPS.value, fresh=True)
    held = [empty_lanes(abstract_lanes(hparams, transform_of))]

    def train() -> None:
        held[0], _ = jax.block_until_ready(program(held[0], hparams, data, window))

    train()
    return train


def sizes() -> list[tuple[int, int]]:
    """Widths and batch sizes.

    Raises:
        app.UsageError: they are not two positive numbers each.
    """
    found = [re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", size) for size in SIZES.value]
    if not all(found):
        raise app.UsageError(f"sizes must be width x batch size, such as 64x16, got {','.join(SIZES.value)!r}")
    return [(int(one[1]), int(one[2])) for one in found if one]


def main(argv: list[str]) -> None:
    """Measures and records."""
    del argv
    rows, numbers = [], {}
    for width, batch_size in sizes():
        runs = text_runs(width, batch_size, LANES.value)
        alone = trained(runs[:1], "map")

        def in_turn(alone: Callable[[], None] = alone) -> None:
            for _ in range(LANES.value):
                alone()

        candidates = {"one run after the other": in_turn, "map": trained(runs, "map"), "vmap": trained(runs, "vmap")}
        seconds = interleaved(candidates, REPEATS.value)
        for name, values in seconds.items():
            median, low, high = ratios(values, seconds["one run after the other"])
            milliseconds = 1000 * statistics.median(values) / (STEPS.value * LANES.value)
            size = f"{width}, batch {batch_size}"
            numbers[f"{size}, {name}"] = {"ms_per_lane_and_step": milliseconds, "over_one_after_the_other": median}
            rows.append([size, name, f"{milliseconds:.2f}", f"{median:.3f}", f"{low:.3f} to {high:.3f}"])
    title = f"{LANES.value} lanes of the byte-level transformer, {REPEATS.value} interleaved repeats"
    columns = ("width", "executor", "ms per lane and step (median)", "over one after the other", "range")
    record("executors", "Executors of lanes", table(title, columns, rows), numbers)


if __name__ == "__main__":
    app.run(main)
