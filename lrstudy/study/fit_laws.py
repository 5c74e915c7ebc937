"""``python -m lrstudy.study.fit_laws``: loss curves in, fitted laws out, with what they say of the curves left out.

python -m lrstudy.study.fit_laws --curves=FOLDER_OR_FILE --fit=cosine,constant --warmup_steps=100 --figure=laws.svg

Curves are csv, parquet or jsonl files with the columns ``step, lr, loss`` (and ``run``, if a file holds several). The
curves that ``--fit`` names are fitted, the others predicted. The rates between logged steps are interpolated, unless
``--schedules=FILE`` gives the schedule: a JSON object of curve name to what ``Schedule.to_dict`` gives. With
``--best=STEPS`` it also writes the schedule that the first law likes best, as ``--config.schedule.values=@FILE`` reads
it.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.laws import (
    AnnealingLaw,
    ConvexBound,
    Curve,
    Fit,
    FunctionalScalingLaw,
    LawError,
    MultiPowerLaw,
    best_schedule,
    read_curves,
)
from lrstudy.laws.scores import SCORES, average
from lrstudy.schedules import Schedule, from_dict
from lrstudy.study.arguments import Parser, check_output
from lrstudy.study.errors import ConfigError, one_of
from lrstudy.study.exit_codes import BAD_COMMAND, OK, RUN_FAILED
from lrstudy.study.workdir import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = (".svg", ".png", ".pdf")

LAWS = {
    "annealing": AnnealingLaw,
    "multi_power": MultiPowerLaw,
    "functional_scaling": FunctionalScalingLaw,
    "convex_bound": ConvexBound,
}


def fit_laws(
    curves: Mapping[str, Curve], fitted: Sequence[str], laws: Sequence[str], **settings: Any
) -> dict[str, Fit[Any]]:
    """Laws by name, fitted to the curves that are named.

    Raises:
        ConfigError: no such curve or law.
        LawError: a curve that cannot be fitted.
    """
    for name in fitted:
        if name not in curves:
            raise one_of("fit", name, tuple(curves))
    for name in laws:
        if name not in LAWS:
            raise one_of("laws", name, tuple(LAWS))
    return {name: LAWS[name].fit({n: curves[n] for n in fitted}, **settings) for name in laws}


def report(fits: Mapping[str, Fit[Any]], curves: Mapping[str, Curve], fitted: Sequence[str], warmup: str) -> str:
    """Parameters with their intervals, and the scores of every curve, as text."""
    lines = []
    for name, fit in fits.items():
        lines += ["", f"{name}: {fit.law!r}"]
        for parameter, (low, high) in fit.intervals.items():
            doubt = "" if fit.identified[parameter] else "   not identified"
            lines.append(f"  {parameter:<8} {fit.law.values[parameter]:>12.6g}   [{low:.4g}, {high:.4g}]{doubt}")
        if not fit.converged:
            lines.append("  the solver did not meet its tolerance: parameters move along a valley of equal fits")
        scores = fit.law.scores(curves, warmup=warmup)
        lines.append(f"  {'curve':<24} {'':<10} " + " ".join(f"{s:>14}" for s in SCORES))
        for curve, own in scores.items():
            role = "fitted" if curve in fitted else "predicted"
            lines.append(f"  {curve:<24} {role:<10} " + " ".join(f"{own[s]:>14.5g}" for s in SCORES))
        left = [own for curve, own in scores.items() if curve not in fitted]
        if left:
            mean = average(left)
            lines.append(f"  {'mean':<24} {'predicted':<10} " + " ".join(f"{mean[s]:>14.5g}" for s in SCORES))
    return "\n".join(lines[1:])


def draw(fits: Mapping[str, Fit[Any]], curves: Mapping[str, Curve], fitted: Sequence[str], warmup: Any) -> "Figure":
    """One column a law: curves with predictions above, their differences below."""
    from lrstudy.study.figures.style import COLOURS, panels

    figure, axes = panels(2, len(fits), width=5.0 * len(fits), height=2.8)
    for (law, fit), (above, below) in zip(fits.items(), axes.T, strict=True):
        for place, (name, curve) in enumerate(curves.items()):
            colour, own = COLOURS[place % len(COLOURS)], curve.after_warmup()
            predicted = fit.law.predict(own.rates, steps=own.steps, warmup_steps=own.warmup_steps, warmup=warmup)
            label = name if name not in fitted else f"{name} (fitted)"
            above.plot(own.steps, own.losses, ".", color=colour, markersize=2)
            above.plot(own.steps, predicted, color=colour, linewidth=1.0, label=label)
            dashed = ":" if name in fitted else "-"
            below.plot(own.steps, 100 * (predicted / own.losses - 1), dashed, color=colour, linewidth=1.0)
        above.set_title(law.replace("_", " "), fontsize=9, loc="left")
        below.axhline(0, color="0.6", linewidth=0.8)
        below.set_xlabel("updates")
    axes[0, 0].set_ylabel("loss (dots), predicted (lines)")
    axes[1, 0].set_ylabel("predicted less measured (%)")
    axes[0, 0].legend(fontsize=6)
    return figure


def read_schedules(path: Path) -> dict[str, Schedule]:
    """Schedules by the names of their curves.

    Raises:
        ConfigError: the file is no JSON object of schedules; the message names the curve.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"schedules must be a JSON file, got '{path}': {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"schedules must be a JSON object of curve name to schedule, got '{path}'")
    found = {}
    for name, entry in data.items():
        try:
            found[name] = from_dict(entry)
        except ValueError as error:
            raise ConfigError(f"schedules must describe schedules, got '{path}' with {name}: {error}") from error
    return found


def _parser() -> argparse.ArgumentParser:
    parser = Parser("lrstudy.study.fit_laws", (__doc__ or "").splitlines()[0])
    parser.add_argument("--curves", type=Path, required=True, help="file or folder of curves")
    parser.add_argument(
        "--schedules", type=Path, help="JSON file: curve name to its schedule, as Schedule.to_dict gives"
    )
    parser.add_argument("--fit", required=True, help="names of the curves to fit, comma-separated")
    parser.add_argument("--laws", default="annealing,multi_power", help=f"of {', '.join(LAWS)} (%(default)s)")
    parser.add_argument(
        "--warmup_steps",
        type=int,
        default=0,
        help="updates of every curve's warmup, linear where no step of it is logged (%(default)s)",
    )
    parser.add_argument("--warmup", choices=("true", "constant"), default="true", help="its rates (%(default)s)")
    parser.add_argument("--starts", type=int, default=64, help="of every fit (%(default)s)")
    parser.add_argument("--resamples", type=int, default=192, help="of the bootstrap (%(default)s)")
    parser.add_argument("--early", action="store_true", help="stop fits early (converge=False)")
    parser.add_argument("--figure", type=Path, help="svg, png or pdf file to draw")
    parser.add_argument("--best", type=int, help="updates of the schedule that the first law likes best")
    parser.add_argument("--peak", type=float, help="its highest rate; default: the highest of the curves")
    parser.add_argument("--end", type=float, default=0.0, help="its lowest rate (%(default)s)")
    parser.add_argument("--output", type=Path, help="file for that schedule instead of standard output")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    given = _parser().parse_args(argv)
    try:
        _run(given)
    except (LawError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_COMMAND
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return RUN_FAILED
    except KeyboardInterrupt:
        print("stopped; nothing was written but what was said above", file=sys.stderr)
        return RUN_FAILED
    return OK


def _run(given: argparse.Namespace) -> None:
    _check(given)
    if not given.curves.exists():
        raise ConfigError(f"curves must be a file or a folder, got '{given.curves}'")
    schedules = None if given.schedules is None else read_schedules(given.schedules)
    curves = read_curves(given.curves, schedules=schedules, warmup_steps=given.warmup_steps)
    fitted, laws = ([name.strip() for name in names.split(",")] for names in (given.fit, given.laws))
    settings = {"starts": given.starts, "resamples": given.resamples, "converge": not given.early}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fits = fit_laws(curves, fitted, laws, warmup=given.warmup, **settings)
        print(report(fits, curves, fitted, given.warmup))
        if given.figure is not None:
            draw(fits, curves, fitted, given.warmup).savefig(given.figure)
            print(f"\nfigure: {given.figure}")
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"warning: {message}", file=sys.stderr)
    if given.best is not None:
        _write_best(given, next(iter(fits.values())).law, curves)


def _check(given: argparse.Namespace) -> None:
    """Refuses what would fail after the fits.

    Raises:
        ConfigError: for a bad flag.
    """
    for path in filter(None, (given.figure, given.output)):
        check_output(path)
    if given.figure is not None and given.figure.suffix not in FIGURES:
        raise ConfigError(f"figure must end in one of {', '.join(FIGURES)}, got '{given.figure}'")
    if given.output is not None and given.best is None:
        raise ConfigError("output is for the schedule that --best=STEPS asks for")
    if given.best is not None and given.best < 2:
        raise ConfigError(f"best must be at least 2 updates, got {given.best}")


def _write_best(given: argparse.Namespace, law: Any, curves: Mapping[str, Curve]) -> None:
    peak = given.peak if given.peak is not None else float(max(np.max(c.learning_rates) for c in curves.values()))
    schedule = best_schedule(law, given.best, peak=peak, warmup_steps=given.warmup_steps, end=given.end)
    text = json.dumps(schedule.to_dict())
    if given.output is None:
        print(text)
        return
    with replacing(given.output) as temporary:
        temporary.write_text(text + "\n")
    print(f"schedule: {given.output}")


if __name__ == "__main__":
    sys.exit(main())
