"""What the study of sharpness computes beside its runs: exact traces, and spectra."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lrstudy.curvature import hessian, spectral_density, trace
from lrstudy.study.config import Run
from lrstudy.study.probes import Context
from lrstudy.tasks import Task
from lrstudy.tasks.interpolation import Interpolation
from lrstudy.training.sharpness import Sharpness

if TYPE_CHECKING:
    import pandas as pd

_DRAWS, _STEPS, _POINTS = 2, 80, 512


def traces(context: Context) -> "pd.DataFrame":
    """The trace of the Hessian of a run's sample after training, from as many products as it has rows.

    Returns:
        One row a run: ``run_id`` and ``trace``; NaN of a run that diverged.
    """
    import pandas as pd

    @jax.jit
    def found(task: Interpolation, params: Any) -> jax.Array:
        operator = hessian(_loss(task), params, task.sample())
        return trace(operator, jax.random.key(0), matvecs=operator.n).estimate

    rows: list[dict[str, Any]] = []
    for run in context.runs:
        context.pause()
        params = context.params(run.run_id, run.config.steps)
        # The size of a batch says nothing of the sample; without it there is one program for all runs.
        rows.append({"run_id": run.run_id, "trace": float(found(whole(run.task), params))})
    return pd.DataFrame(rows)


def whole(task: Task) -> Interpolation:
    """The same regression, every batch the whole sample.

    Raises:
        TypeError: the task is another.
    """
    if not isinstance(task, Interpolation):
        raise TypeError(f"the probe is of samples that can be fitted, got {type(task).__name__}")
    return dataclasses.replace(task, batch_size=None)


def _loss(task: Interpolation) -> Callable[[Any, Any], jax.Array]:
    return lambda params, batch: task.loss(params, batch)[0]


def spectra(context: Context) -> "pd.DataFrame":
    """The density of the Hessian's eigenvalues in the midst of the training and after it, of one run.

    It is the first whose Hessian is measured along the way, of the first method and seed.

    Returns:
        One row a count of updates and point: ``run_id``, ``step``, ``value`` (of the eigenvalues, in units of the loss
        over squared parameters) and ``density``, whose sum times the spacing is 1.
    """
    import pandas as pd

    run = next(run for run in context.runs if run.sharpness is not None and run.sharpness.name == Sharpness.name)
    measured, tables = _density(run), []
    for step in steps_of(run):
        context.pause()
        values, density = measured(context.params(run.run_id, step))
        row = {"run_id": run.run_id, "step": step, "value": np.asarray(values), "density": np.asarray(density)}
        tables.append(pd.DataFrame(row))
    return pd.concat(tables, ignore_index=True)


def steps_of(run: Run) -> tuple[int, ...]:
    """Updates after which spectra are taken: where a decay begins, or half of the training; and its end."""
    steps = run.config.steps
    return (steps - steps // 5 if run.columns["schedule"] == "WSD" else steps // 2, steps)


def _density(run: Run) -> Callable[[Any], Any]:
    """Parameters to grid and density, over the same batches as the run's own measurement.

    Raises:
        ValueError: the run is not measured.
    """
    data, hparams, sharpness = jax.device_put(run.task.load()), run.hyperparameters, run.sharpness
    if sharpness is None:
        raise ValueError(f"sharpness must be measured in run {run.run_id}, got none")

    @jax.jit
    def found(params: Any, data: Any) -> Any:
        operator = sharpness.hessian(params, hparams, data)
        return spectral_density(operator, jax.random.key(0), draws=_DRAWS, steps=_STEPS, points=_POINTS)

    return lambda params: jax.device_get(found(params, data))
