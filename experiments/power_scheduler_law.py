"""The law ``rate = batch a tokens**b`` of the Power scheduler, fitted to the tuned rates of a sweep."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.parametrization import optimal_learning_rate
from lrstudy.study.claims import LEVEL, Measurement, exponentiated, jackknife
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
    inside = _inside(table)
    (log_a, b), _, r_squared = _fixed(inside)
    free, _, free_r_squared = _free(inside)
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


def coefficients(table: "pd.DataFrame") -> dict[str, Measurement]:
    """The coefficients of both forms with Student's 95% intervals of least squares over the cells.

    What scatters the best rates of cells around the law, be it the noise of the seeds or a form that does not fit, is
    the error of these intervals. Factors have theirs in the logarithm. None where a form has as many numbers as there
    are cells.

    Args:
        table: see ``optima``.

    Returns:
        ``a, b, constant, batch_exponent, token_exponent`` as in ``Law``, each with the number of fitted cells as n.

    Raises:
        StudyError: see ``fit``.
    """
    inside = _inside(table)
    fixed, free = (_intervals(*form(inside)[:2], len(inside)) for form in (_fixed, _free))
    names = ("a", "b", "constant", "batch_exponent", "token_exponent")
    found = dict(zip(names, (*fixed, *free), strict=True))
    return found | {name: exponentiated(found[name]) for name in ("a", "constant")}


def _intervals(values: np.ndarray, errors: np.ndarray, cells: int) -> list[Measurement]:
    from scipy import stats

    reach = stats.t.ppf((1 + LEVEL) / 2, cells - len(values)) * errors
    rows = zip(values, values - reach, values + reach, strict=True)
    return [Measurement(float(value), cells, float(low), float(high)) for value, low, high in rows]


def _inside(table: "pd.DataFrame") -> "pd.DataFrame":
    inside = table[~table["on_edge"]]
    if len(inside) < 3 or min(inside["batch"].nunique(), inside["tokens"].nunique()) < 2:
        raise StudyError(f"{len(inside)} of {len(table)} best rates lie inside the grid, too few for a law")
    return inside


def _fixed(inside: "pd.DataFrame") -> tuple[np.ndarray, np.ndarray, float]:
    """Log a and b of ``rate = batch a tokens**b``: see ``_least_squares``."""
    log_batch, log_tokens, log_rate = _logarithms(inside)
    return _least_squares(log_rate - log_batch, log_tokens)


def _free(inside: "pd.DataFrame") -> tuple[np.ndarray, np.ndarray, float]:
    """Log constant, c and b of ``rate = constant batch**c tokens**b``: see ``_least_squares``."""
    log_batch, log_tokens, log_rate = _logarithms(inside)
    return _least_squares(log_rate, log_batch, log_tokens)


def _logarithms(inside: "pd.DataFrame") -> list[np.ndarray]:
    return [np.log(inside[name].to_numpy(float)) for name in ("batch", "tokens", "rate")]


def _least_squares(target: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The intercept and one coefficient a column, their standard errors, and the share of the variance explained.

    Standard errors are NaN where there are as many coefficients as rows, and nothing is left to tell the scatter by.
    """
    design = np.stack([np.ones_like(target), *columns], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, target)
    left = float(np.sum((target - design @ coefficients) ** 2))
    freedom = len(target) - design.shape[1]
    variance = left / freedom if freedom else np.nan
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return coefficients, errors, 1 - left / float(np.sum((target - target.mean()) ** 2))


def interval(found: Mapping[Cell, "pd.DataFrame"], statistic: Callable[[Law], float]) -> Measurement:
    """A number of the fitted law with the jackknife's 95% interval over seeds.

    It is conditional on the cells and on the form: it says how far other seeds would move the number, and nothing of
    how well the law fits. See ``coefficients``.
    """
    return jackknife(lambda seeds: statistic(fit(optima(found, seeds))), _seeds(found))


def _seeds(found: Mapping[Cell, "pd.DataFrame"]) -> int:
    return next(iter(found.values())).shape[1]
