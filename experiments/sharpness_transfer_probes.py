"""The tangent kernel and the loss of the regression's networks along their training."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from experiments.sharpness_transfer_measures import MUP, NTK
from lrstudy.curvature import ntk, top_eigs
from lrstudy.study.probes import Context, checkpoints
from lrstudy.tasks.tanh_regression import TanhRegression

if TYPE_CHECKING:
    import pandas as pd

_SHARES = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6)


def looked_at(steps: int) -> tuple[int, ...]:
    """Counts of updates before the last one at which parameters are kept.

    Args:
        steps: of the run, a multiple of 6.
    """
    return tuple(round(share * steps) for share in _SHARES)


def kernel(context: Context) -> "pd.DataFrame":
    """The largest eigenvalue of every run's tangent kernel, and its training loss.

    Returns:
        One row a run and count of updates: ``kernel``, the rate times that of J J^T / N, which is the sharpness where
        the network fits its sample, and ``loss``.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    steps = (*looked_at(context.runs[0].config.steps), context.runs[0].config.steps)
    found = checkpoints(context, context.runs, steps)
    loss = jax.jit(lambda task, params, inputs: task.loss(params, inputs)[0])
    plain: dict[TanhRegression, Any] = {}
    for run in context.runs:
        task = run.task
        if not isinstance(task, TanhRegression):
            raise TypeError(f"the probe is of regression by a tanh network, got {type(task).__name__}")
        # J of a gamma is that of 1 over it: one program serves all gammas of a width.
        unscaled = dataclasses.replace(task, gamma=1.0)
        apply = plain.setdefault(unscaled, unscaled.outputs)
        inputs = task.batch((), jnp.int32(run.config.seed), jnp.int32(0))
        rate = run.columns["schedule.peak"] / task.gamma**2
        common = {"run_id": run.run_id, "arm": NTK if task.gamma == 1 else MUP, "width": task.width}
        for step, params in zip(steps, found[run.run_id], strict=True):
            operator = ntk(apply, params, inputs, scale=rate / task.samples)
            value = float(top_eigs(operator, jax.random.key(0)).values[0])
            row = {**common, "seed": run.config.seed, "step": step, "kernel": value}
            rows.append(row | {"loss": float(loss(task, params, inputs))})
    return pd.DataFrame(rows)
