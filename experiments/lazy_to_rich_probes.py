"""What the study measures on parameters: the distance from kernel regression, and the norm of every tensor."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lrstudy.study.probes import Context, checkpoints
from lrstudy.tasks.base import INIT_STREAM, stream_key
from lrstudy.tasks.polynomial_regression import PolynomialRegression, coefficients, linear_path, mean_square

if TYPE_CHECKING:
    import pandas as pd

_SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


def looked_at(steps: int) -> tuple[int, ...]:
    """Counts of updates before the last one at which parameters are kept, evenly in the logarithm.

    Args:
        steps: of the run.
    """
    return tuple(sorted({max(1, round(share * steps)) for share in _SHARES}))


def linear(context: Context) -> "pd.DataFrame":
    """Every run beside the linearised model that makes the same updates, which is kernel regression in closed form.

    Returns:
        One row a run and count of updates: ``gap``, the root mean square of f - f_lin over all inputs over that of the
        target, and the linearised model's ``linear_test_loss``.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    steps = (*looked_at(context.runs[0].config.steps), context.runs[0].config.steps)
    found = checkpoints(context, context.runs, steps)
    for run in context.runs:
        task = run.task
        if not isinstance(task, PolynomialRegression):
            raise TypeError(f"the probe is of polynomial regression, got {type(task).__name__}")
        trees = [jax.tree.map(lambda x: np.asarray(x, np.float64), tree) for tree in found[run.run_id]]
        initial = trees[0]["initial"]
        target = np.zeros((task.directions, task.directions))
        target[0, 0] = 0.5
        size = np.sqrt(mean_square(np.zeros(task.directions), target))
        paths = linear_path(task, initial, run.columns["schedule.peak"], steps)
        for step, tree, path in zip(steps, trees, paths, strict=True):
            a, b = coefficients(task, tree)
            own_a, own_b = coefficients(task, {"displacement": path, "initial": initial}, linearised=True)
            row = {"run_id": run.run_id, "alpha": task.alpha, "seed": run.config.seed, "step": step}
            row |= {"gap": np.sqrt(mean_square(a - own_a, b - own_b)) / size}
            rows.append(row | {"linear_test_loss": mean_square(own_a, own_b - target) / 2})
    return pd.DataFrame(rows)


def norms(context: Context) -> "pd.DataFrame":
    """The Frobenius norm of every tensor of every run.

    Returns:
        One row a run, count of updates and ``tensor`` (its path): ``norm``, and ``initial``, that before the first.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    steps = (*looked_at(context.runs[0].config.steps), context.runs[0].config.steps)
    found = checkpoints(context, context.runs, steps)
    for run in context.runs:
        initial = _norms(jax.jit(run.task.init)(stream_key(run.config.seed, INIT_STREAM)))
        common = {"run_id": run.run_id, "optimizer": run.config.optimizer.name, "seed": run.config.seed}
        for step, tree in zip((0, *steps), (None, *found[run.run_id]), strict=True):
            own = initial if tree is None else _norms(tree)
            rows += [
                {**common, "step": step, "tensor": name, "norm": norm, "initial": initial[name]}
                for name, norm in own.items()
            ]
    return pd.DataFrame(rows)


def _norms(tree: Any) -> dict[str, float]:
    """Path to norm, in float64."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): float(np.linalg.norm(np.asarray(leaf, np.float64)))
        for path, leaf in leaves
    }
