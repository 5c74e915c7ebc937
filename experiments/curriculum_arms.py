"""The arms of the curriculum study: what is trained, what is averaged, and at which peak each of them is judged."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.schedules import Constant, Schedule
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import Run, schedule_of
from lrstudy.study.errors import StudyError
from lrstudy.study.probes import Context, checkpoints, merge_evaluator
from lrstudy.study.records import Records
from lrstudy.study.views import objective
from lrstudy.tasks.noisy_regression import NoisyRegression, expected_excess
from lrstudy.training.averaging import merge_weights

if TYPE_CHECKING:
    import pandas as pd

RANDOM, ORDERED = 0.0, 1.0
CONSTANT, DECAY, MODERATE = "constant", "decay to zero", "moderate decay"
MODERATE_END = 1 / 3
"""Last rate over peak of the moderate decay (arXiv 2511.18903: from 3e-3 to 1e-3)."""
CHECKPOINTS = 6
AVERAGES = ("ema", "ema_normalised", "uniform")
ARMS: Mapping[str, tuple[str, str | None]] = {
    CONSTANT: (CONSTANT, None),
    MODERATE: (MODERATE, None),
    DECAY: (DECAY, None),
    "constant + EMA": (CONSTANT, "ema"),
    "constant + normalised EMA": (CONSTANT, "ema_normalised"),
    "constant + uniform": (CONSTANT, "uniform"),
    "moderate + EMA": (MODERATE, "ema"),
    "moderate + normalised EMA": (MODERATE, "ema_normalised"),
}
"""Name to the schedule and the average of the last checkpoints, if any."""


def schedules_of(kind: str, peak: float) -> Choice:
    """The schedule of a kind at a peak."""
    if kind == CONSTANT:
        return choice("schedule", "Constant", peak=peak)
    return choice("schedule", "Linear", peak=peak, end=peak * MODERATE_END if kind == MODERATE else 0.0)


def kind_of(schedule: Schedule) -> str:
    """The kind of a run's schedule."""
    if isinstance(schedule, Constant):
        return CONSTANT
    return MODERATE if float(schedule(2**30)) > 0 else DECAY


def averaged_steps(steps: int) -> tuple[int, ...]:
    """Counts of updates of the last six checkpoints, a fortieth of the run apart, the final parameters included."""
    spacing = max(1, steps // 40)
    return tuple(steps - spacing * age for age in range(CHECKPOINTS - 1, -1, -1))


def averages(context: Context) -> "pd.DataFrame":
    """The objective at every average of the last checkpoints of every run that keeps its rate up."""
    import pandas as pd

    runs = [run for run in context.runs if kind_of(run.schedule) != DECAY]
    trees = checkpoints(context, runs, averaged_steps(runs[0].config.steps))
    weights = np.stack([merge_weights(kind, CHECKPOINTS) for kind in AVERAGES])
    evaluate = merge_evaluator(runs[0])

    def rows(run: Run) -> "pd.DataFrame":
        losses = evaluate(run, trees[run.run_id], weights)[run.task.objective]
        return pd.DataFrame({"run_id": run.run_id, "average": AVERAGES, "loss": losses.astype(np.float64)})

    return pd.concat([rows(run) for run in runs], ignore_index=True)


def arm_losses(records: Records, part: str) -> "pd.DataFrame":
    """The final loss of every arm of a part, NaN where the run diverged: ``arm, ordering, peak, seed, loss``."""
    import pandas as pd

    own = records.part(part)
    runs = own.runs.set_index("run_id")
    facts = pd.DataFrame(
        {
            "kind": {run_id: kind_of(schedule) for run_id, schedule in own.schedules.items()},
            "ordering": runs["task.ordering"].astype(float),
            "peak": runs["schedule.peak"].astype(float),
            "seed": runs["seed"].astype(int),
            "loss": runs[objective(own)].where(runs["outcome"] == "ok").astype(float),
        }
    )
    averaged = records.probes[f"{part}_averages"].pivot_table(index="run_id", columns="average", values="loss")
    tables = []
    for arm, (kind, average) in ARMS.items():
        rows = facts[facts["kind"] == kind]
        if average is not None:
            ok = rows["loss"].notna()
            rows = rows.assign(loss=averaged[average].reindex(rows.index).where(ok))
        tables.append(rows.assign(arm=arm))
    return pd.concat(tables).drop(columns="kind").reset_index(drop=True)


def losses_by_peak(losses: "pd.DataFrame", arm: str, ordering: float) -> "pd.DataFrame":
    """Losses of one arm in one order: peaks (rows) by seeds (columns)."""
    own = losses[(losses["arm"] == arm) & (losses["ordering"] == ordering)]
    return own.pivot_table(index="peak", columns="seed", values="loss", dropna=False)


def best_peaks(losses: "pd.DataFrame") -> dict[tuple[str, float], float]:
    """The peak of the lowest mean loss over seeds for every (arm, ordering); a peak that diverged once is no candidate.

    Raises:
        StudyError: an arm diverged at every peak.
    """
    found = {}
    for arm in ARMS:
        for ordering in (RANDOM, ORDERED):
            means = losses_by_peak(losses, arm, ordering).mean(axis=1, skipna=False).dropna()
            if means.empty:
                raise StudyError(f"{arm} with ordering {ordering:g} diverged at every peak")
            found[arm, ordering] = float(means.idxmin())
    return found


def tuning_of(part: str) -> str:
    """The part that tuned this one's peaks, on other seeds."""
    return f"{part}_tuning"


def chosen_runs(records: Records, part: str) -> Sequence[Mapping[str, object]]:
    """The orders and schedules that decide: every arm's at the peak that tuning found, those that arms share once."""
    best = best_peaks(arm_losses(records, tuning_of(part)))
    chosen = dict.fromkeys((ordering, ARMS[arm][0], peak) for (arm, ordering), peak in best.items())
    return [{"task.ordering": ordering, "schedule": schedules_of(kind, peak)} for ordering, kind, peak in chosen]


def decided(records: Records, part: str) -> dict[tuple[str, float], np.ndarray]:
    """The losses of every (arm, ordering) at its tuned peak, by seed."""
    best = best_peaks(arm_losses(records, tuning_of(part)))
    losses = arm_losses(records, part)
    return {key: losses_by_peak(losses, *key).loc[peak].to_numpy(np.float64) for key, peak in best.items()}


def gains(records: Records, part: str) -> dict[str, np.ndarray]:
    """What the order gains every arm: the loss in random order less that in ascending order, by seed."""
    losses = decided(records, part)
    return {arm: losses[arm, RANDOM] - losses[arm, ORDERED] for arm in ARMS}


def exact_losses(records: Records, part: str) -> dict[tuple[str, float], float]:
    """The exact expectation behind every (arm, ordering) of the regression at its tuned peak."""
    best = best_peaks(arm_losses(records, tuning_of(part)))
    runs = records.part(part).runs
    steps, row = int(runs["steps"].iloc[0]), runs.iloc[0]
    shared = NoisyRegression(
        tuple(float(value) for value in row["task.eigenvalues"]),
        worst_noise=float(row["task.worst_noise"]),
        best_noise=float(row["task.best_noise"]),
        samples=int(row["task.samples"]),
        batch_size=int(row["task.batch_size"]),
    )
    found = {}
    for (arm, ordering), peak in best.items():
        kind, average = ARMS[arm]
        chosen = schedules_of(kind, peak)
        columns = {f"schedule.{name}": value for name, value in chosen.arguments.items()}
        schedule = schedule_of({"schedule": chosen.name, **columns, **_length(kind, steps)})
        weights = None
        if average is not None:
            weights = dict(zip(averaged_steps(steps), merge_weights(average, CHECKPOINTS), strict=True))
        rates = np.asarray(schedule(np.arange(steps)), dtype=np.float64)
        found[arm, ordering] = expected_excess(dataclasses.replace(shared, ordering=ordering), rates, weights)
    return found


def _length(kind: str, steps: int) -> dict[str, int]:
    """The argument of a schedule that follows from the run's length."""
    return {} if kind == CONSTANT else {"schedule.total_steps": steps}
