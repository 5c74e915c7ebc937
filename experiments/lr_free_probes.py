"""The probe that calibrates and times every method: what it trained is kept trial by trial."""

import contextlib
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from experiments.benchmark_trials import Plan, measured
from experiments.lr_free_submissions import default, searched
from lrstudy.study.config import Run
from lrstudy.study.probes import Context
from lrstudy.study.workdir import Workdir

if TYPE_CHECKING:
    import pandas as pd

    from lrstudy.benchmark.studies import Record
    from lrstudy.benchmark.submission import Submission
    from lrstudy.benchmark.workload import Workload

POINTS = 10
"""Of every method's space."""
CALIBRATION = 100
"""Seeds between the first of the runs and the first that calibrates."""
BUDGET = 1.5
"""Of the trials that are timed, as of AlgoPerf's self-tuning rules."""
_SHORT = 100
_QUICK = ("quadratic",)


def timed(context: Context) -> "pd.DataFrame":
    """The trials of all methods of a part on all workloads: of calibration, at defaults, at the calibrated point.

    The seeds of the part's runs are those of the studies; calibration has seeds of its own. A part of runs shorter than
    100 updates is a trial of the machinery: one workload and two points.
    """
    import pandas as pd

    from lrstudy.benchmark import calibration
    from lrstudy.benchmark.submission import Ruleset

    names = list(dict.fromkeys(run.config.optimizer.name for run in context.runs))
    seeds = sorted({run.config.seed for run in context.runs})
    workloads, points = _asked(context.runs[0])
    folder = Workdir(context.folder)
    search = Plan([searched(name) for name in names], workloads, calibration.ruleset(points), "steps",
                  seeds[0] + CALIBRATION)  # fmt: skip
    rows, calibrated = [], []
    with contextlib.redirect_stdout(sys.stderr):
        tried = measured(search, folder, context.pause)
    for one in search.submissions:
        own = {workload.name: tried[one.name, workload.name] for workload, _ in workloads}
        found = calibration.calibration(own)
        rows += _rows("calibration", one, own, {"best": found.best})
        calibrated.append(found.submission(one))
    scored = Plan([*map(default, names), *calibrated], workloads, Ruleset(len(seeds), 1, BUDGET), "steps", seeds[0])
    with contextlib.redirect_stdout(sys.stderr):
        made = measured(scored, Workdir(context.folder / "scored"), context.pause)
    for one in scored.submissions:
        kind = one.name.rpartition("-")[2]
        rows += _rows(kind, one, {workload.name: made[one.name, workload.name] for workload, _ in workloads}, {})
    return pd.DataFrame(rows)


def _asked(run: Run) -> "tuple[list[tuple[Workload, float]], int]":
    """Workloads with their targets, and how many points calibration tries."""
    from lrstudy.benchmark.targets import target_of
    from lrstudy.benchmark.workload import TABLE

    short = run.config.steps < _SHORT
    names = _QUICK if short else tuple(TABLE)
    return [(TABLE[name], target_of(TABLE[name])) for name in names], 2 if short else POINTS


def _rows(
    kind: str, submission: "Submission", records: "dict[str, list[Record]]", more: dict[str, Any]
) -> list[dict[str, Any]]:
    """One row a trial; ``steps`` is infinite for a miss, ``value`` the best there was: all metrics are to be small."""
    method = submission.name.rpartition("-")[0]
    return [
        {
            "kind": kind,
            "method": method,
            "workload": workload,
            "trial": place,
            "seed": record["seed"],
            "steps": math.inf if record["steps_to_target"] is None else float(record["steps_to_target"]),
            "budget": float(record["budget"]),
            "target": record["identity"]["target"],
            "value": min((value for value in record["values"] if value is not None), default=math.inf),
            "outcome": record["outcome"],
            "hyperparameters": json.dumps(record["hyperparameters"]),
            **{f"calibration_{key}": value for key, value in more.items()},
        }
        for workload, own in records.items()
        for place, record in enumerate(own)
    ]
