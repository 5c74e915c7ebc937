"""The law of parameters and data, fitted to the cells of a sweep and held to those that were left out."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from lrstudy.laws import ChinchillaLaw, Fit
from lrstudy.study.claims import Measurement, jackknife
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records
from lrstudy.tasks.windows import VOCABULARY

Measure = Callable[[Records], Measurement]
NUMBERS = ("E", "A", "B", "alpha", "beta")
LOSS = "validation_loss"
RESAMPLES = 192
"""Of the bootstrap over cells that gives the law's numbers their intervals."""


def parameters(width: int, layers: int) -> int:
    """Parameters of a transformer less those of its tables of tokens and positions.

    A block has 4 width^2 in attention, 8 width^2 in its feed-forward layer and two norms; then a norm and the readout.
    """
    return layers * (12 * width**2 + 2 * width) + width + VOCABULARY * width


@dataclasses.dataclass(frozen=True)
class Cells:
    """What is fitted.

    Attributes:
        sizes: N, parameters less the tables, one a cell.
        tokens: D, bytes trained on.
        losses: at the best rate, one row a cell, one column a seed; nats a byte.
        rates: the best, of the mean over seeds.
        on_edge: whether that is the smallest or largest that was tried.
        held_out: whether the cell has the largest N or the largest D.
    """

    sizes: np.ndarray
    tokens: np.ndarray
    losses: np.ndarray
    rates: np.ndarray
    on_edge: np.ndarray
    held_out: np.ndarray


def cells(records: Records) -> Cells:
    """The cells of the sweep, those at whose best rate a run diverged left out.

    Raises:
        StudyError: there are none.
    """
    runs = records.part("sizes").runs
    if not len(runs):
        raise StudyError("no run of the law's grid has begun")
    frame = runs[["seed"]].assign(
        size=[parameters(int(w), int(n)) for w, n in zip(runs["model.width"], runs["model.layers"], strict=True)],
        tokens=(runs["steps"] * runs["task.batch_size"] * runs["task.context"]).astype(int),
        rate=runs["schedule.peak"].astype(float),
        loss=runs[LOSS].where(runs["outcome"] == "ok").astype(float).fillna(np.inf),
    )
    rows = []
    for (size, tokens), own in frame.groupby(["size", "tokens"]):
        losses = own.pivot_table(index="rate", columns="seed", values="loss", dropna=False).sort_index()
        best = losses.mean(axis=1).idxmin()
        edge = len(losses) > 1 and best in (losses.index[0], losses.index[-1])
        rows.append((size, tokens, losses.loc[best].to_numpy(float), best, edge))
    rows = [row for row in rows if np.isfinite(row[2]).all()]
    sizes, tokens, losses, rates, edges = (np.asarray(column) for column in zip(*rows, strict=True))
    held_out = (sizes == sizes.max()) | (tokens == tokens.max())
    return Cells(sizes.astype(float), tokens.astype(float), losses, rates, edges, held_out)


def fit(
    found: Cells, *, everything: bool = False, seeds: np.ndarray | None = None, intervals: bool = True
) -> Fit[ChinchillaLaw]:
    """The law fitted to mean losses over seeds.

    Args:
        found: the cells.
        everything: fit those that are held out as well.
        seeds: places of the seeds; ``None``: all.
        intervals: whether the parameters' intervals are wanted.
    """
    kept = np.ones(len(found.sizes), bool) if everything else ~found.held_out
    losses = found.losses if seeds is None else found.losses[:, seeds]
    columns = (found.sizes, found.tokens, losses.mean(axis=1))
    return _fit(*(tuple(column[kept].tolist()) for column in columns), intervals=intervals)


@functools.lru_cache(maxsize=64)
def _fit(
    sizes: tuple[float, ...], tokens: tuple[float, ...], losses: tuple[float, ...], *, intervals: bool
) -> Fit[ChinchillaLaw]:
    """Several claims ask for the same fit."""
    runs = {"N": np.asarray(sizes), "D": np.asarray(tokens), "loss": np.asarray(losses)}
    return ChinchillaLaw.fit(runs, resamples=RESAMPLES if intervals else 0)


def predicted(law: ChinchillaLaw, sizes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The law's losses; held-out cells are at most twice as large as those it was fitted to, which is no far call."""
    return np.asarray(law.predict(sizes, tokens), float)


def relative_errors(found: Cells, seeds: np.ndarray | None = None) -> np.ndarray:
    """What the law, fitted to the other cells, says of every held-out cell, over what was measured, less 1."""
    law = fit(found, seeds=seeds, intervals=False).law
    losses = found.losses if seeds is None else found.losses[:, seeds]
    measured = losses.mean(axis=1)[found.held_out]
    return predicted(law, found.sizes[found.held_out], found.tokens[found.held_out]) / measured - 1


def held_out_error(records: Records) -> Measurement:
    """Mean absolute relative error at held-out cells."""
    found = cells(records)
    return jackknife(lambda chosen: np.abs(relative_errors(found, chosen)).mean(), found.losses.shape[1])


def largest_error(records: Records) -> Measurement:
    """The largest absolute relative error at a held-out cell."""
    found = cells(records)
    return jackknife(lambda chosen: np.abs(relative_errors(found, chosen)).max(), found.losses.shape[1])


def exponent(name: str) -> Measure:
    """An exponent of the law fitted to all cells, with the fit's interval; n is the number of cells."""

    def measure(records: Records) -> Measurement:
        found = cells(records)
        fitted = fit(found, everything=True)
        low, high = fitted.intervals[name]
        return Measurement(float(getattr(fitted.law, name)), len(found.sizes), float(low), float(high))

    return measure


def identified(records: Records) -> Measurement:
    """Whether every number of the law fitted to all cells has an interval narrower than itself."""
    found = cells(records)
    return Measurement(float(all(fit(found, everything=True).identified.values())), len(found.sizes))
