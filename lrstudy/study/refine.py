"""``python -m lrstudy.study.refine``: the gradient norms of a finished run in, its refined schedule out.

python -m lrstudy.study.refine --workdir=runs/mine --run=RUN_ID --total_steps=1000 --peak=0.003 --output=refined.json

A study trains under it with ``--config.schedule=Tabulated --config.schedule.values=@refined.json``, and tunes it with
``--sweep.schedule.scale``. The values become part of the run's identity, the file does not.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lrstudy.schedules import Tabulated, refined
from lrstudy.study.arguments import Parser, check_output
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.exit_codes import BAD_COMMAND, OK, RUN_FAILED
from lrstudy.study.records import Records, load, runs_frame
from lrstudy.study.store import begun_groups, earlier, finished_runs, read_rows
from lrstudy.study.workdir import Workdir, replacing

NORMS = {"l2": "sgd", "l1": "adam"}
"""The norm that a family of optimizers is refined by, and the family's name in ``schedules.refined``."""

_L2_OPTIMIZERS = {"sgd", "momentum", "schedule_free_sgd"}


def norm_of(optimizer: str) -> str:
    """``l2`` for stochastic gradient descent, ``l1`` for Adam and its like (Defazio et al. 2023, arXiv 2310.07831).

    Raises:
        ConfigError: the optimizer is of neither family.
    """
    if optimizer in _L2_OPTIMIZERS:
        return "l2"
    if "adam" in optimizer:
        return "l1"
    raise ConfigError(f"norm must be given, l1 or l2, for optimizer {optimizer}: it is like neither SGD nor Adam")


def gradient_norms(records: Records, run_id: str, norm: str) -> np.ndarray:
    """The gradient norm at every update of a finished run; between recorded steps it is interpolated linearly.

    Args:
        records: of its study.
        run_id: of the run.
        norm: ``l1`` or ``l2``.

    Returns:
        shape (steps,), float64.

    Raises:
        ConfigError: there is no such run, or it has not finished.
    """
    row = _finished(records, run_id)
    own = records.metrics[records.metrics["run_id"] == run_id].sort_values("step")
    return np.interp(np.arange(row["steps"]), own["step"], own[f"grad_norm_{norm}"].to_numpy(np.float64))


def refine(
    records: Records,
    run_id: str,
    *,
    total_steps: int,
    peak: float = 1.0,
    norm: str | None = None,
    smoothing: float = 0.1,
    points: int = 1_000,
) -> Tabulated:
    """The refined schedule of a finished run (arXiv 2310.07831).

    Args:
        records: of its study.
        run_id: of the run.
        total_steps: length of the new run, in optimizer updates.
        peak: the new run's highest rate, to be tuned.
        norm: ``l1`` or ``l2``; ``None``: that of the run's optimizer.
        smoothing: width of the running median as a share of the run.
        points: least length of the table.

    Raises:
        ConfigError: the run cannot be used, or the norm does not follow from its optimizer.
        ScheduleError: the norms or a number cannot be used.
    """
    chosen = norm or norm_of(_finished(records, run_id)["optimizer"])
    norms = gradient_norms(records, run_id, chosen)
    options = {"smoothing": smoothing, "points": points}
    return refined(norms, optimizer=NORMS[chosen], total_steps=total_steps, scale=peak, **options)


def stored_records(workdir: Workdir, run_id: str) -> Records:
    """What the folder holds of a run, whichever of its commands asked for it.

    ``runs.parquet`` tells of the runs of the last command alone; the groups remember all.

    Args:
        workdir: the folder.
        run_id: of the run.

    Returns:
        Records of this run: the columns that refining needs, and its metric rows.

    Raises:
        ConfigError: the folder holds no such run.
        StudyError: its metric rows are missing or damaged.
    """
    if any("configs" not in group for group in begun_groups(workdir).values()):
        return load(workdir)  # an older version's folder remembers no configurations
    stored = earlier(workdir).stored
    if run_id not in stored:
        raise _unknown(run_id, stored, f"'{workdir.root}'")
    group, entry = finished_runs(workdir).get(run_id, ("", {"outcome": "unfinished"}))
    rows = read_rows(workdir, [group])
    own = rows[rows["run_id"] == run_id]
    if entry["outcome"] == "ok" and not len(own):
        raise StudyError(f"'{workdir.metrics}' lacks the metric rows of run {run_id}")
    steps, optimizer = stored[run_id]["steps"], stored[run_id]["optimizer"][0]
    row = {"run_id": run_id, "outcome": entry["outcome"], "steps": steps, "optimizer": optimizer}
    return Records(runs_frame([row]), own, {}, {"": (run_id,)})


def _finished(records: Records, run_id: str) -> Mapping[str, Any]:
    """The row of a run that has finished."""
    rows = records.runs[records.runs["run_id"] == run_id].to_dict("records")
    if not rows:
        raise _unknown(run_id, records.runs["run_id"], "the study")
    if rows[0]["outcome"] != "ok":
        raise ConfigError(f"run must have finished, got {run_id!r}, whose outcome is {rows[0]['outcome']}")
    return rows[0]


def _unknown(run_id: str, known: Iterable[str], where: str) -> ConfigError:
    near = difflib.get_close_matches(run_id, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"run must be a run_id of {where}, got {run_id!r}{hint}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser("lrstudy.study.refine", (__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="the study's folder")
    parser.add_argument("--run", required=True, help="run_id of a finished run of the folder")
    parser.add_argument("--total_steps", type=int, required=True, help="length of the new run, in optimizer updates")
    parser.add_argument("--peak", type=float, default=1.0, help="highest rate of the new run, to be tuned")
    parser.add_argument("--norm", choices=sorted(NORMS), help="gradient norm; default: that of the run's optimizer")
    parser.add_argument("--smoothing", type=float, default=0.1, help="median filter's share of the run (%(default)s)")
    parser.add_argument("--points", type=int, default=1_000, help="least length of the table (%(default)s)")
    parser.add_argument("--output", type=Path, help="file to write instead of standard output")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    given = _parser().parse_args(argv)
    numbers = {name: getattr(given, name) for name in ("total_steps", "peak", "norm", "smoothing", "points")}
    workdir = Workdir(given.workdir)
    try:
        if not workdir.plan.is_file():
            raise ConfigError(f"workdir must hold a study, got '{workdir.root}'")
        if given.output is not None:
            check_output(given.output)
        schedule = refine(stored_records(workdir, given.run), given.run, **numbers)
        text = json.dumps(schedule.to_dict())
        if given.output is None:
            print(text)
        else:
            with replacing(given.output) as temporary:
                temporary.write_text(text + "\n")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_COMMAND
    except (StudyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return RUN_FAILED
    return OK


if __name__ == "__main__":
    sys.exit(main())
