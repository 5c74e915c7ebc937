"""What the study of flat minima computes beside its runs: SAF and MESA, and the curvature where all runs ended."""

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments import flat_minima_measures as measures
from experiments.flat_minima_training import METHODS, Numbers, Trajectory, epoch_steps, train
from lrstudy.curvature import hessian, top_eigs, trace
from lrstudy.study.probes import Context, checkpoints
from lrstudy.tasks import NoisyDigits, Task
from lrstudy.tasks.base import Data, Params

if TYPE_CHECKING:
    import pandas as pd

LAG, START, AVERAGED = 2, 1 / 12, 4
"""SAF compares with logits of two epochs ago; both terms begin after a twelfth of the epochs, and MESA's average keeps
what the last four epochs left in it: the released settings, 5 of 60 being the paper's 5 or so at our length."""
_TOL, _MATVECS = 1e-3, 30
_START_KEY, _TRACE_KEY = 0, 1


def trajectory(context: Context) -> "pd.DataFrame":
    """Trains SAF and MESA on the whole grid with the tuning seeds, and at the best point with the others.

    Returns:
        Rows like those of ``measures.trained``.
    """
    import pandas as pd

    run = next(run for run in context.runs if run.config.optimizer.name == "momentum")
    task, steps = (
        _digits(run.task),
        max(own.config.steps for own in context.runs if own.config.optimizer.name == "momentum"),
    )
    seeds = sorted({own.config.seed for own in context.runs})
    rows: list[dict[str, Any]] = []
    for method in METHODS:
        settings = trajectory_of(method, task, measures.updates_of(method, steps))
        one = functools.partial(_trained, context, task, settings, measures.updates_of(method, steps))
        for peak in measures.PEAKS:
            for weight in measures.WEIGHTS[method]:
                rows += [one(seed, peak, weight)[0] for seed in seeds if seed in measures.TUNING_SEEDS]
        best = measures.chosen(pd.DataFrame(rows), method)
        for seed in seeds:
            if seed not in measures.TUNING_SEEDS:
                row, params = one(seed, best["peak"], best["second"])
                rows.append({**row, **curvature_of(task, params, seed)})
    return pd.DataFrame(rows)


def trajectory_of(method: str, task: NoisyDigits, updates: int) -> Trajectory:
    """The settings of a method for a run of so many updates."""
    epoch = epoch_steps(task)
    start = max(LAG, round(START * updates / epoch))
    return Trajectory(method, lag=LAG, start=start, decay=1 - 1 / (AVERAGED * epoch))


def _trained(
    context: Context, task: NoisyDigits, settings: Trajectory, updates: int, seed: int, peak: float, weight: float
) -> tuple[dict[str, Any], Params]:
    """One run: its row and its parameters."""
    context.pause()
    data = jax.device_put(task.load())
    params = train(settings, task, Numbers(seed, peak, measures.MOMENTUM, weight), data, steps=updates)
    found = jax.device_get(_evaluated(task, params, data))
    point = {"method": settings.method, "seed": seed, "peak": peak, "second": weight}
    return {**point, "error": 1 - float(found["validation_accuracy"]), "loss": float(found["validation_loss"])}, params


@jax.jit
def _evaluated(task: Task, params: Params, data: Data) -> dict[str, Array]:
    return task.evaluate(params, data)


def ends(context: Context) -> "pd.DataFrame":
    """The curvature at the end of every deciding run.

    Returns:
        One row a run: ``run_id``, ``train_loss``, ``eigenvalue``, ``trace``.
    """
    import pandas as pd

    rows = []
    for run in context.runs:
        seed = run.config.seed
        if seed not in measures.TUNING_SEEDS:
            context.pause()
            (params,) = checkpoints(context, [run], [run.config.steps])[run.run_id]
            rows.append({"run_id": run.run_id, **curvature_of(_digits(run.task), params, seed)})
    return pd.DataFrame(rows)


def curvature_of(task: NoisyDigits, params: Params, seed: int) -> dict[str, float]:
    """Loss, largest Hessian eigenvalue and trace over all training examples with the labels of the run.

    Raises:
        ValueError: a solve did not converge.
    """
    found = jax.device_get(_curvature(task, params, jnp.int32(seed), jax.device_put(task.load())))
    if found.pop("status"):
        raise ValueError(f"the largest eigenvalue of seed {seed} did not converge")
    return {name: float(value) for name, value in found.items()}


@jax.jit
def _curvature(task: NoisyDigits, params: Params, seed: Array, data: Data) -> dict[str, Array]:
    replaced, random = task.replacements(seed)
    batch = data["train_pixels"], jnp.where(replaced, random, data["train_labels"])

    def loss(params: Params, batch: Any) -> Float[Array, ""]:
        return task.loss(params, batch)[0]

    operator = hessian(loss, params, batch)
    top = top_eigs(operator, jax.random.key(_START_KEY), tol=_TOL)
    spread = trace(operator, jax.random.key(_TRACE_KEY), matvecs=_MATVECS)
    return {
        "train_loss": loss(params, batch),
        "eigenvalue": top.values[0],
        "trace": spread.estimate,
        "status": top.status,
    }


def _digits(task: Task) -> NoisyDigits:
    if not isinstance(task, NoisyDigits):
        raise TypeError(f"the probes are of noisy digits, got {type(task).__name__}")
    return task
