"""Small runs that the tests of this folder share."""

import functools

from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig, make_transform, resolve


def run_of(task="digits", *, schedule=("Cosine", {"peak": 0.01}), optimizer="adamw", steps=20, **fields):
    """A resolved run; fields not named here belong to the task."""
    own = {name: fields.pop(name) for name in ("seed", "clip_norm", "record_every", "evaluate_every") if name in fields}
    name, arguments = schedule
    return resolve(
        RunConfig(
            task=choice("task", task, **fields),
            schedule=choice("schedule", name, **arguments),
            optimizer=choice("optimizer", optimizer),
            steps=steps,
            **own,
        )
    )


def hparams_and_transform(runs):
    return [run.hyperparameters for run in runs], functools.partial(make_transform, runs[0])
