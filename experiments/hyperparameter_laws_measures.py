"""What the study of hyperparameter laws computes from records: cells, the fitted law, regrets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.laws import Fit, StepLaw, regrets
from lrstudy.laws.log_linear import fit_powers
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

METRIC = "validation_loss"
BLOCK = 12
"""Weights of a block's kernels over its width squared: queries, keys, values and output, and four times in and out."""

DIVERGED = 10.0
"""Times the largest loss of the grid."""

CLOSE = 0.01
"""Of a cell's smallest loss: runs so close to it are fitted. The paper's 0.25 % is for grids much denser than octaves
of both, and for less noise: here it keeps the smallest loss alone, which wanders along a flat valley. On seeds 1 to 3,
and on the cells that are fitted, leaving each out in turn costs 0.8 % with the paper's and 0.2 % with this."""


def grid(records: Records, seeds: Sequence[int] | None = None) -> "pd.DataFrame":
    """One row a setting: N, D, lr, batch (tokens), and the mean loss over seeds.

    A setting of which a seed diverged has ``DIVERGED`` times the largest loss: it is never among the best, and a law
    that chooses it loses all.

    Args:
        records: of the study.
        seeds: over which the mean is taken; None: all.

    Raises:
        StudyError: no run has finished.
    """
    runs = records.part("grid").runs
    if seeds is not None:
        runs = runs[runs["seed"].isin(seeds)]
    batch = runs["task.batch_size"] * runs["task.context"]
    table = runs[["seed"]].assign(
        N=(BLOCK * runs["model.layers"] * runs["model.width"] ** 2).astype(float),
        D=(runs["steps"] * batch).astype(float),
        lr=runs["schedule.peak"].astype(float),
        batch=batch.astype(float),
        loss=runs[METRIC].where(runs["outcome"] == "ok").astype(float),
    )
    means = table.groupby(["N", "D", "lr", "batch"])["loss"].agg(lambda losses: losses.mean(skipna=False))
    if not means.notna().any():
        raise StudyError("StepLaw needs finished runs, and there are none")
    return means.fillna(DIVERGED * means.max()).reset_index()


def held_out(table: "pd.DataFrame") -> "pd.Series":
    """Which rows are of cells that the law is not fitted to.

    They are the largest size with the two longest runs, and the longest run of the size below.
    """
    sizes, tokens = sorted(table["N"].unique()), sorted(table["D"].unique())
    largest = (table["N"] == sizes[-1]) & table["D"].isin(tokens[-2:])
    return largest | ((table["N"] == sizes[-2]) & (table["D"] == tokens[-1]))


def fitted(records: Records, seeds: Sequence[int] | None = None, resamples: int = 0) -> Fit[StepLaw]:
    """Step Law, fitted to the cells that are not held out.

    Raises:
        StudyError: there are too few finished runs.
    """
    table = grid(records, seeds)
    try:
        return StepLaw.fit(table[~held_out(table)], close=CLOSE, resamples=resamples)
    except ValueError as error:
        raise StudyError(str(error)) from error


def regret(records: Records, seeds: Sequence[int] | None = None, *, unseen: bool) -> np.ndarray:
    """What the fitted law costs in every cell, as a share of the cell's smallest mean loss."""
    table = grid(records, seeds)
    rows = table[held_out(table)] if unseen else table[~held_out(table)]
    return regrets(fitted(records, seeds).law, rows)


def batch_by_size(records: Records, seeds: Sequence[int] | None = None) -> float:
    """The exponent of the size in ``batch = c D^a N^b``, fitted to the same runs as the law."""
    table = grid(records, seeds)
    own = table[~held_out(table)]
    best = own[own["loss"] <= (1 + CLOSE) * own.groupby(["N", "D"])["loss"].transform("min")]
    columns = (best[name].to_numpy() for name in ("batch", "D", "N"))
    return float(fit_powers("batch", *columns)[2])


def law_table(records: Records) -> "pd.DataFrame":
    """One row a coefficient."""
    import pandas as pd

    fit, published = fitted(records, resamples=1_000), StepLaw()
    return pd.DataFrame(
        [
            {
                "coefficient": name,
                "value": getattr(fit.law, name),
                "low": fit.intervals[name][0],
                "high": fit.intervals[name][1],
                "paper": getattr(published, name),
            }
            for name in StepLaw.names()
        ]
    )


def cell_table(records: Records) -> "pd.DataFrame":
    """One row a cell."""
    import pandas as pd

    table, law = grid(records), fitted(records).law
    unseen = held_out(table)
    rows = []
    for (size, tokens), own in table.groupby(["N", "D"]):
        best = own.loc[own["loss"].idxmin()]
        rate, batch = law.predict(size, tokens)
        rows.append(
            {
                "N": size,
                "D": tokens,
                "held out": bool(unseen[own.index].all()),
                "best rate": best["lr"],
                "law's rate": float(rate),
                "best batch": best["batch"],
                "law's batch": float(batch),
                "loss": best["loss"],
                "regret (%)": 100 * float(regrets(law, own)[0]),
                "on edge": _on_edge(own, best),
            }
        )
    return pd.DataFrame(rows)


def _on_edge(own: "pd.DataFrame", best: "pd.Series") -> str:
    """Which of the two best values lies at an end of the grid."""
    ends = [name for name in ("lr", "batch") if best[name] in (own[name].min(), own[name].max())]
    return ", ".join(ends)
