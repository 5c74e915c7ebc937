"""Every schedule in one figure, drawn from their table.

``python -m lrstudy.study.figures.gallery`` draws the README's copy anew, ``--output=FILE`` another.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.schedules import TABLE, Constant, Cosine, Linear, Schedule
from lrstudy.study.arguments import Parser, check_output
from lrstudy.study.errors import ConfigError
from lrstudy.study.exit_codes import BAD_COMMAND, OK, RUN_FAILED
from lrstudy.study.figures.style import COLOURS, panels, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = Path("docs/schedules.svg")
COLUMNS = 5
LAST = 110
"""The step up to which schedules are drawn; those that have a length have one of 100."""
# What a class is given that asks for more, by the argument's name.
_NEEDED: dict[str, Any] = {
    "peak": 1.0,
    "peaks": (1.0, 0.8, 0.6),
    "ends": (25, 50, 100),
    "boundaries": (30, 60, 90),
    "constant": 0.4,
    "cooldown_end": 40,
    "end": 0.1,
    "model_width": 512,
    "batch_size": 64,
    "sequence_length": 40,
    "values": (0.1, 1.0, 0.6, 0.75, 0.3, 0.0),
    "schedule": Cosine(1.0, 75, warmup_steps=10),
    "start": 25,
    "samples": 10,
    "schedules": (Linear(1.0, 30, warmup_steps=10), Cosine(0.7, 30), Linear(0.4, 30), Constant(0.1)),
}
# What it is given wherever it takes it.
_SHOWN: dict[str, Any] = {
    "peak": 1.0,
    "warmup_steps": 10,
    "end": 0.1,
    "total_steps": 100,
    "decay_fraction": 0.2,
    "power": 2.0,
    "gamma": 0.5,
    "anneal_start": 75,
    "anneal_end": 100,
    "warmup_fraction": 0.1,
    "warmup_tokens": 25_600,
    "total_tokens": 256_000,
    "decay_tokens": 51_200,
}
# Arguments at whose steps a phase ends.
_MARKS = ("warmup_steps", "cooldown_end", "anneal_start", "anneal_end", "ends", "boundaries", "start", "total_steps")


def example(name: str) -> Schedule:
    """A schedule of the class in the table's row `name`, of a hundred steps where it has a length.

    Raises:
        KeyError: the class must be given an argument for which there is no value here yet.
    """
    cls, arguments = TABLE[name], {}
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING:
            arguments[field.name] = {**_SHOWN, **_NEEDED}[field.name]
        elif field.name in _SHOWN:
            arguments[field.name] = _SHOWN[field.name]
    return cls(**arguments)


def marks(schedule: Schedule) -> list[int]:
    """The steps inside the drawing at which a phase of the schedule ends, increasing."""
    steps = {0}
    for name in _MARKS:
        value = getattr(schedule, name, None)
        steps |= set(value) if isinstance(value, tuple) else {value or 0}
    branch = schedule.trunk()
    return sorted((steps | {branch[1] if branch else 0}) - {0})


def schedules() -> "Figure":
    """One panel for every row of the table: the rate against the step, dotted lines where phases end."""
    return drawn({name: example(name) for name in TABLE})


def drawn(examples: Mapping[str, Schedule]) -> "Figure":
    """One panel for each of some schedules.

    Args:
        examples: title to schedule; of each the first ``LAST`` steps are drawn.
    """
    columns = min(COLUMNS, len(examples))
    rows = math.ceil(len(examples) / columns)
    figure, axes = panels(rows, columns, width=9.0 * columns / COLUMNS, height=1.35)
    for axis, (name, schedule) in zip(axes.flat, examples.items(), strict=False):
        _draw(axis, name, schedule)
    for axis in axes.flat[len(examples) :]:
        axis.remove()
    figure.supxlabel("step (optimizer updates)", fontsize=9)
    figure.supylabel("learning rate", fontsize=9)
    return figure


def _draw(axis: "Axes", name: str, schedule: Schedule) -> None:
    """The panel of one schedule."""
    steps = np.arange(LAST + 1)
    rates = np.asarray(schedule(steps))
    axis.step(steps, rates, where="post", color=COLOURS[0], linewidth=1.3)
    for mark in marks(schedule):
        axis.axvline(mark, color="black", linewidth=0.6, linestyle=":", alpha=0.6)
    top = float(rates.max())
    axis.set(xlim=(0, LAST), ylim=(0, 1.08 * top), xticks=(0, 50, 100), yticks=(0, top))
    axis.set_yticklabels(["0", f"{top:.2g}"])
    axis.tick_params(labelsize=7, length=2)
    axis.grid(visible=False)
    axis.set_title(name, fontsize=9, loc="left", pad=3)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = Parser("lrstudy.study.figures.gallery", (__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=FILE, help="file to write (%(default)s)")
    output = parser.parse_args(argv).output
    try:
        check_output(output)
        save(schedules(), output)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_COMMAND
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return RUN_FAILED
    return OK


if __name__ == "__main__":
    sys.exit(main())
