"""What the study computes beside its runs: the solvers on all rows, and margins of random samples."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.optimizers import (
    batch_perceptron,
    logistic_gd,
    normalized_batch_perceptron,
    normalized_logistic_gd,
)
from lrstudy.study.probes import Context
from lrstudy.tasks import RandomHalfspace, Task, TwoDirections

if TYPE_CHECKING:
    import pandas as pd

_LIMIT = 100_000


def solvers(context: Context) -> "pd.DataFrame":
    """Every run of the table again by a solver that is given all rows, and both perceptrons.

    Returns:
        One row a run: ``run_id``, ``method``, ``step`` (gamma), ``examples`` and ``updates``; and one row a perceptron,
        without a run.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for run in context.runs:
        task = run.task
        features, labels = sample(task)
        step = float(run.columns["schedule.peak"])
        solve = normalized_logistic_gd if run.columns["task.normalised"] else logistic_gd
        _, made = solve(features, labels, step_size=step, max_iterations=_LIMIT)
        name = "normalised gradient descent" if run.columns["task.normalised"] else "gradient descent"
        rows.append({"run_id": run.run_id, "method": name, "step": step, "updates": int(made)})
    features, labels = sample(context.runs[0].task)
    for name, solve in (("perceptron", batch_perceptron), ("normalised perceptron", normalized_batch_perceptron)):
        made = int(solve(features, labels, max_iterations=_LIMIT)[1])
        rows.append({"run_id": "", "method": name, "step": np.nan, "updates": made})
    return pd.DataFrame(rows).assign(examples=len(labels))


def sample(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """All rows and labels of a sample: the single example has the label 1, the others -1.

    Raises:
        TypeError: the task is another.
    """
    if not isinstance(task, TwoDirections):
        raise TypeError(f"the probe is of two directions, got {type(task).__name__}")
    n = int(task.examples)
    signed = np.asarray([task.first] + [task.second] * (n - 1))
    labels = np.asarray([1.0] + [-1.0] * (n - 1))
    return signed * labels[:, None], labels


def margins(context: Context) -> "pd.DataFrame":
    """The geometry of every random sample.

    Returns:
        One row a sample: ``data_seed``, ``radius`` (largest norm) and ``margin`` (largest over unit vectors of the
        smallest z theta).
    """
    import pandas as pd

    found: dict[int, dict[str, Any]] = {}
    for run in context.runs:
        task = run.task
        if not isinstance(task, RandomHalfspace):
            raise TypeError(f"the probe is of random samples, got {type(task).__name__}")
        rows = np.asarray(task.batch((), np.int32(0), np.int32(0))[0], np.float64)  # pyright: ignore[reportArgumentType]
        radius = float(np.linalg.norm(rows, axis=1).max())
        found[int(task.data_seed)] = {"data_seed": int(task.data_seed), "radius": radius, "margin": margin(rows)}
    return pd.DataFrame(list(found.values()))


def margin(rows: np.ndarray) -> float:
    """The largest margin of a unit vector: the distance of the rows' convex hull from the origin.

    The nearest point of the hull is a non-negative least-squares problem (Lawson & Hanson 1974, chapter 23).

    Args:
        rows: signed examples, one a row.
    """
    from scipy.optimize import nnls

    matrix = np.vstack([rows.T, np.ones(len(rows))])
    shares, _ = nnls(matrix, np.append(np.zeros(rows.shape[1]), 1.0))
    return float(np.linalg.norm(rows.T @ (shares / shares.sum())))
