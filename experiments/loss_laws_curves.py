"""The curves of the study of loss laws as a small file, which ships with it: laws can be fitted without training.

python -m experiments.loss_laws_curves --workdir=runs/loss_laws --output=curves.csv

writes those of a finished study, ``shipped_curves`` reads those that ship: the means over the deciding seeds of the
cpu preset.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments import loss_laws as study
from experiments import loss_laws_measures as measures
from lrstudy.laws import Curve, read_curves
from lrstudy.study.arguments import Parser, check_output, exit_code
from lrstudy.study.config import resolve
from lrstudy.study.records import load
from lrstudy.study.workdir import Workdir, replacing

SHIPPED = Path(__file__).with_name("loss_laws_curves.csv")


def shipped_curves() -> dict[str, Curve]:
    """The nine curves by name, with their schedules; see ``loss_laws_measures.FITTED`` and ``PREDICTED``."""
    scale = study.SCALES["cpu"]
    schedules = {}
    for name in (*measures.FITTED, *measures.PREDICTED):
        config = dataclasses.replace(study.base(scale), **study.run_of(scale, name))
        schedules[name] = resolve(config).schedule
    return read_curves(SHIPPED, schedules=schedules, warmup_steps=scale.steps // 20)


def write_curves(curves: Mapping[str, Curve], path: Path) -> None:
    """Curves as one csv file with the columns run, step, lr, loss, in the order of names."""
    lines = ["run,step,lr,loss"]
    for name, curve in sorted(curves.items()):
        columns = (curve.steps, curve.learning_rates, curve.losses)
        lines += [f"{name},{step},{rate:.8g},{loss:.6f}" for step, rate, loss in zip(*columns, strict=True)]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = Parser("experiments.loss_laws_curves", (__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="the study's folder")
    parser.add_argument("--output", type=Path, required=True, help="csv file to write")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    given = _parser().parse_args(argv)

    def write() -> None:
        check_output(given.output)
        write_curves(measures.curves_of(load(Workdir(given.workdir)).part("curves")), given.output)

    return exit_code(write)


if __name__ == "__main__":
    sys.exit(main())
