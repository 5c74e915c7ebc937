"""The law ``rate = batch a tokens**b`` of the Power scheduler, fitted to the tuned rates of a sweep."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.parametrization import optimal_learning_rate
from lrstudy.study.claims import Measurement, jackknife
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Cell = tuple[int, int]
"""Batch size in sequences, and tokens of the whole run."""


@dataclasses.dataclass(frozen=True)
class Law:
    """Least squares in the logarithms of batch, tokens and best rate.

    Attributes:
        a: factor of ``rate = batch a tokens**b``.
        b: its exponent.
        r_squared: share of the variance of log(rate / batch) that the law explains.
        constant: factor of ``rate = constant batch**c tokens**b``, of which the law above sets c to 1.
        batch_exponent: c of that fit.
        token_exponent: b of that fit.
        free_r_squared: share of the variance of log(rate) that it explains.
        cells: how many cells were fitted.
        edges: how many were left out, since their best rate lies on the grid's edge.
    """

    a: float
    b: float
    r_squared: float
    constant: float
    batch_exponent: float
    token_exponent: float
    free_r_squared: float
    cells: int
    edges: int


def cells(records: Records) -> dict[Cell, "pd.DataFrame"]:
    """Final losses of every cell's WSD runs: peaks (index) by seeds (columns), infinite where a run diverged."""
    runs = records.runs
    frame = runs[["seed"]].assign(
        batch=runs["task.batch_size"].astype(int),
        tokens=(runs["steps"] * runs["task.batch_size"] * runs["task.context"]).astype(int),
        peak=runs["schedule.peak"].astype(float),
        loss=runs["validation_loss"].where(runs["outcome"] == "ok").astype(float).fillna(np.inf),
    )
    return {
        (int(batch), int(tokens)): own.pivot_table(index="peak", columns="seed", values="loss", dropna=False)
        for (batch, tokens), own in frame.groupby(["batch", "tokens"])
    }


def optima(found: Mapping[Cell, "pd.DataFrame"], seeds: Sequence[int] | np.ndarray | None = None) -> "pd.DataFrame":
    """The best rate of every cell, of the mean loss over some seeds.

    Args:
        found: see ``cells``.
        seeds: places of the seeds, a place may come several times; ``None``: each once.

    Returns:
        Columns ``batch``, ``tokens``, ``rate`` (by the parabola in the log rate), ``on_edge``, ``best`` (of the grid).
    """
    import pandas as pd

    rows = []
    for (batch, tokens), losses in found.items():
        chosen = losses if seeds is None else losses.iloc[:, np.asarray(seeds)]
        means = chosen.mean(axis=1)
        optimum = optimal_learning_rate(means.index.to_list(), means.to_list())
        row = {"batch": batch, "tokens": tokens, "rate": optimum.value, "on_edge": optimum.on_edge}
        rows.append({**row, "best": float(means.idxmin())})
    return pd.DataFrame(rows)


def fit(table: "pd.DataFrame") -> Law:
    """Fits both forms to the cells whose best rate lies inside the grid.

    Raises:
        StudyError: they do not have two batch sizes and two lengths, and three cells.
    """
    inside = table[~table["on_edge"]]
    if len(inside) < 3 or min(inside["batch"].nunique(), inside["tokens"].nunique()) < 2:
        raise StudyError(f"{len(inside)} of {len(table)} best rates lie inside the grid, too few for a law")
    log_batch, log_tokens, log_rate = (np.log(inside[name].to_numpy(float)) for name in ("batch", "tokens", "rate"))
    (log_a, b), r_squared = _least_squares(log_rate - log_batch, log_tokens)
    free, free_r_squared = _least_squares(log_rate, log_batch, log_tokens)
    return Law(
        a=float(np.exp(log_a)),
        b=float(b),
        r_squared=r_squared,
        constant=float(np.exp(free[0])),
        batch_exponent=float(free[1]),
        token_exponent=float(free[2]),
        free_r_squared=free_r_squared,
        cells=len(inside),
        edges=len(table) - len(inside),
    )


def _least_squares(target: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, float]:
    """The intercept and one coefficient a column, and the share of the target's variance that they explain."""
    design = np.stack([np.ones_like(target), *columns], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, target)
    residual = target - design @ coefficients
    return coefficients, 1 - float(np.sum(residual**2) / np.sum((target - target.mean()) ** 2))


def interval(found: Mapping[Cell, "pd.DataFrame"], statistic: Callable[[Law], float]) -> Measurement:
    """A number of the fitted law with the jackknife's 95% interval over seeds."""
    return jackknife(lambda seeds: statistic(fit(optima(found, seeds))), _seeds(found))


def bootstrap(found: Mapping[Cell, "pd.DataFrame"], statistic: Callable[[Law], float]) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile over all ways to draw the seeds with replacement.

    Of three seeds there are 27, so that this is hardly more than the range over seeds, and too narrow.
    """
    draws = itertools.product(range(_seeds(found)), repeat=_seeds(found))
    distinct = itertools.groupby(sorted(tuple(sorted(draw)) for draw in draws))
    values = [(statistic(fit(optima(found, draw))), len(list(same))) for draw, same in distinct]
    low, high = np.percentile(np.repeat([v for v, _ in values], [n for _, n in values]), (2.5, 97.5))
    return float(low), float(high)


def _seeds(found: Mapping[Cell, "pd.DataFrame"]) -> int:
    return next(iter(found.values())).shape[1]
