"""Studies of a submission on a workload, their records, and the tables that are made of records alone."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.benchmark.clock import Axis, Clock, measure, time_on
from lrstudy.benchmark.space import Point
from lrstudy.benchmark.submission import Ruleset, Submission
from lrstudy.benchmark.times import TrialRule, times_of
from lrstudy.benchmark.trials import Lane, Trial, steps_to, train
from lrstudy.benchmark.workload import Workload
from lrstudy.training.layout import Executor

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
"""One trial, as JSON holds it: a missed target's ``steps_to_target`` is null."""


def run_studies(
    workload: Workload,
    submission: Submission,
    ruleset: Ruleset,
    *,
    target: float,
    seed: int,
    axis: Axis = "steps",
    executor: Executor = "auto",
    pause: Callable[[], None] = lambda: None,
) -> list[Record]:
    """Trains all trials of all studies side by side.

    Args:
        workload: what is trained.
        submission: by what.
        ruleset: how many studies and trials, and how long.
        target: of the workload.
        seed: of the first trial; the others follow it. The points are drawn from it too.
        axis: ``seconds`` measures what an update costs.
        executor: see ``layouts_of``.
        pause: called between two calls of the program; it may raise to stop.

    Returns:
        A record for every trial, study by study.
    """
    drawn = submission.draw(ruleset, seed=seed)
    trials = lanes_of(drawn, ruleset, seed)
    budget = int(ruleset.budget * workload.step_hint)
    asked = {"budget": budget, "target": target, "executor": executor, "pause": pause}
    made = train(workload, submission, [lane for _, _, lane in trials], **asked)
    clock = measure(workload, submission, trials[0][2].point, seed=seed) if axis == "seconds" else None
    common = identity(workload, submission, ruleset, target=target, seed=seed)
    return [
        {
            "identity": common,
            "study": study,
            "trial": trial,
            **_described(result, target, workload),
            "budget": budget,
            "gradients_per_step": submission.gradients_per_step,
            "clock": None if clock is None else clock._asdict(),
        }
        for (study, trial, _), result in zip(trials, made, strict=True)
    ]


def lanes_of(drawn: Sequence[Sequence[Point]], ruleset: Ruleset, seed: int) -> list[tuple[int, int, Lane]]:
    """Study, trial and lane of every trial, each with a seed of its own."""
    return [
        (study, trial, Lane(point, seed + study * ruleset.trials + trial))
        for study, points in enumerate(drawn)
        for trial, point in enumerate(points)
    ]


def identity(
    workload: Workload, submission: Submission, ruleset: Ruleset, *, target: float, seed: int
) -> dict[str, Any]:
    """What the records of a submission on a workload depend on, as JSON holds it."""
    return {
        "workload": workload.name,
        "definition": workload.definition(),
        "submission": submission.identity(),
        "ruleset": ruleset._asdict(),
        "target": target,
        "seed": seed,
    }


def times_table(
    submissions: Sequence[Submission],
    records: Mapping[tuple[str, str], Sequence[Record]],
    *,
    axis: Axis = "steps",
    trial_rule: TrialRule = "time",
) -> "pd.DataFrame":
    """The times of submissions on workloads, infinite for a miss: what ``score`` reads.

    Args:
        submissions: in the table's order.
        records: (submission, workload) to the records of ``run_studies``.
        axis: what a time is counted in.
        trial_rule: see ``times_of``.
    """
    import pandas as pd

    names = list(dict.fromkeys(workload for _, workload in records))
    cells = {
        workload: [_time(one, records[one.name, workload], axis, trial_rule) for one in submissions]
        for workload in names
    }
    return pd.DataFrame(cells, index=pd.Index([one.name for one in submissions], name="submission"))


def budgets_of(
    submissions: Sequence[Submission], records: Mapping[tuple[str, str], Sequence[Record]], axis: Axis
) -> dict[str, float]:
    """Workload to the longest time that a submission had for it, which a miss counts as in a speed-up."""
    found: dict[str, float] = {}
    known = {one.name: one for one in submissions}
    for (name, workload), own in records.items():
        spent = max(time_on(axis, record["budget"], known[name], _clock(record)) for record in own)
        found[workload] = max(spent, found.get(workload, 0.0))
    return found


def study_times(submission: Submission, records: Iterable[Record], axis: Axis) -> list[list[tuple[float, int]]]:
    """Study by study the time of every trial and the place of the evaluation that met the target."""
    found: dict[int, list[tuple[float, int]]] = {}
    for record in records:
        steps = math.inf if record["steps_to_target"] is None else record["steps_to_target"]
        spent = time_on(axis, steps, submission, _clock(record))
        found.setdefault(record["study"], []).append((spent, record["evaluation"] or 0))
    return list(found.values())


def _time(submission: Submission, records: Iterable[Record], axis: Axis, trial_rule: TrialRule) -> float:
    table = np.asarray(study_times(submission, records, axis), np.float64)
    return times_of(table[..., 0], evaluations=table[..., 1], trial_rule=trial_rule)


def _clock(record: Record) -> Clock | None:
    return None if record["clock"] is None else Clock(**record["clock"])


def _described(trial: Trial, target: float, workload: Workload) -> dict[str, Any]:
    steps, place = steps_to(trial, target, workload)
    met = math.isfinite(steps)
    return {
        "seed": trial.seed,
        "hyperparameters": trial.point,
        "outcome": trial.outcome,
        "steps_to_target": int(steps) if met else None,
        "evaluation": place + 1 if met else None,
        "steps": list(trial.steps),
        "values": [value if math.isfinite(value) else None for value in trial.values],
    }
