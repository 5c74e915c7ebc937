"""Plain SGD on a task, for several schedules of one class and several seeds, as lanes of one program."""

from collections.abc import Sequence

import numpy as np
import optax

from lrstudy.schedules import Schedule
from lrstudy.tasks import Task
from lrstudy.training import lanes
from lrstudy.training.program import Hyperparameters


def sgd(
    task: Task, schedules: Sequence[Schedule], seeds: Sequence[int], steps: int, evaluate_at: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Evaluations after ``evaluate_at`` updates and at the end, each of shape (schedules, seeds)."""
    hparams = [Hyperparameters(schedule, task, {}, None, seed, steps) for schedule in schedules for seed in seeds]
    _, rows, finals = lanes.run(
        hparams, lambda h: optax.sgd(h.schedule), record_every=evaluate_at, evaluate_every=evaluate_at
    )
    metrics = finals.keys() - {"lane"}
    here = rows["step"] == evaluate_at
    order = np.argsort(rows["lane"][here])
    shape = (len(schedules), len(seeds))
    before = {name: rows[name][here][order].reshape(shape) for name in metrics}
    after = {name: finals[name][np.argsort(finals["lane"])].reshape(shape) for name in metrics}
    return before, after
