"""The loss curves of a study's runs, as laws read them."""

import numpy as np

from lrstudy.laws import Curve
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records


def loss_curve(records: Records, metric: str) -> Curve:
    """The mean curve of runs that differ in their seeds alone.

    A recorded loss is that before the update of its step, so it belongs to the update before; the one before the first
    update is left out.

    Args:
        records: of the runs, one a seed, all with one schedule.
        metric: a loss: ``validation_loss``, or ``loss`` of the batches.

    Raises:
        StudyError: the runs have several schedules, or none of them finished.
        LawError: the losses are no curve.
    """
    finished = records.runs[records.runs["outcome"] == "ok"]
    schedules = {records.schedules[run_id] for run_id in finished["run_id"]}
    if len(schedules) != 1:
        raise StudyError(f"a loss curve is of runs with one schedule, got {len(schedules)}")
    (schedule,) = schedules
    table = records.chosen(records.runs["outcome"] == "ok").curves(metric).dropna()
    # The evaluation before any update is no part of it.
    steps = table.index.to_numpy()[table.index > 0] - 1
    losses = table.mean(axis=1).to_numpy()[table.index > 0]
    warmup = int(getattr(schedule, "warmup_steps", 0) or 0)
    return Curve(steps, np.asarray(schedule(steps)), losses, schedule=schedule, warmup_steps=warmup)
