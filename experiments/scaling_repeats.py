"""What the study of scaling measures in runs that see data again."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.study.claims import Measurement, exponentiated, jackknife, mean_interval, smallest
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

EPOCHS = (1, 4, 10, 32, 128)
"""Passes over the windows in equal numbers of updates."""
SHORTER = (2, 4, 8, 12)
"""By how much shorter runs on fresh data are."""
SLICED = (10, 2)
"""One of so many windows is from the repeated slice: a tenth, as in Hernandez et al. 2022, or half."""
TIMES = (1, 16, 64, 256)
"""How often the slice is seen; beside these a slice is a single window."""
LOSS = "validation_loss"


def _own(records: Records) -> Records:
    own = records.part("repeats")
    if not len(own.runs):
        raise StudyError("no run on repeated data has begun")
    return own


def passes(records: Records) -> dict[int, np.ndarray]:
    """The final loss by passes, one number a seed; diverged runs are infinite."""
    return _by_passes(_own(records).runs, LOSS)


def training_loss(records: Records) -> dict[int, np.ndarray]:
    """Mean training loss of the last tenth of the recorded updates by passes, one number a seed."""
    own = _own(records)
    rows = own.metrics[["run_id", "step", "loss"]].merge(own.runs[["run_id", "steps"]], on="run_id")
    late = rows[rows["step"] >= 0.9 * rows["steps"]].groupby("run_id")["loss"].mean()
    return _by_passes(own.runs.assign(late=own.runs["run_id"].map(late)), "late")


def _by_passes(runs: "pd.DataFrame", metric: str) -> dict[int, np.ndarray]:
    full = runs[(runs["task.every"] == 0) & (runs["steps"] == runs["steps"].max())]
    seen = _budget(runs)
    return {epochs: _finals(full[full["task.unique"] == seen // epochs], metric) for epochs in EPOCHS}


def _budget(runs: "pd.DataFrame") -> int:
    """Windows that the longest runs see."""
    return int((runs["steps"] * runs["task.batch_size"]).max())


def _finals(rows: "pd.DataFrame", metric: str) -> np.ndarray:
    """A metric of runs by seed.

    Raises:
        StudyError: there are none.
    """
    if not len(rows):
        raise StudyError("no run sees these windows")
    ordered = rows.sort_values("seed")
    return ordered[metric].where(ordered["outcome"] == "ok").astype(float).fillna(np.inf).to_numpy()


def shorter(records: Records) -> dict[int, np.ndarray]:
    """Loss of one pass by how much shorter it is, the full length included."""
    runs = _own(records).runs
    steps, seen = int(runs["steps"].max()), _budget(runs)
    fresh = runs[(runs["task.every"] == 0) & (runs["task.unique"] == seen)]
    return {share: _finals(fresh[fresh["steps"] == steps // share], LOSS) for share in (1, *SHORTER)}


def slices(records: Records, every: int) -> dict[float, np.ndarray]:
    """Loss by how often the slice is seen, one number a seed; the last slice is a single window."""
    runs = _own(records).runs
    rows, visits = runs[runs["task.every"] == every], _budget(runs) // every
    sizes = sorted(rows["task.repeated"].astype(int).unique(), reverse=True)
    return {visits / size: _finals(rows[rows["task.repeated"] == size], LOSS) for size in sizes}


def cost_of_passes(epochs: int) -> Measure:
    """Loss after so many passes less that after one, in equal updates."""

    def measure(records: Records) -> Measurement:
        found = passes(records)
        return mean_interval(found[epochs] - found[1])

    return measure


def smallest_step(records: Records) -> Measurement:
    """The smallest rise of the loss from one number of passes to the next larger one, from 4 on."""
    found = passes(records)
    counts = [epochs for epochs in EPOCHS if epochs >= 4]
    steps = [found[more] - found[fewer] for fewer, more in itertools.pairwise(counts)]
    return smallest(lambda level: [mean_interval(step, level) for step in steps])


def gap(epochs: int) -> Measure:
    """Validation less late training loss after so many passes."""

    def measure(records: Records) -> Measurement:
        return mean_interval(passes(records)[epochs] - training_loss(records)[epochs])

    return measure


def speedup(epochs: int) -> Measure:
    """How many times fewer updates one pass needs for the loss that so many passes reach.

    The loss of one pass against the logarithm of its length is interpolated linearly, by means over seeds; none where
    it has that loss at no length that was run.
    """

    def measure(records: Records) -> Measurement:
        once, many = shorter(records), passes(records)[epochs]
        shares = np.asarray(sorted(once))

        def of(chosen: np.ndarray) -> float:
            losses = np.asarray([once[share][chosen].mean() for share in shares])
            wanted = many[chosen].mean()
            if not losses[0] <= wanted <= losses[-1]:
                return float("nan")
            return float(np.interp(wanted, losses, np.log(shares)))

        return exponentiated(jackknife(of, len(many)))

    return measure


def interior_maximum(every: int) -> Measure:
    """The loss at the worst number of repetitions between the ends less that at the worse of the ends.

    Which numbers those are is decided by means over seeds.
    """

    def measure(records: Records) -> Measurement:
        found = list(slices(records, every).values())
        inner = max(found[1:-1], key=np.mean)
        return mean_interval(inner - max((found[0], found[-1]), key=np.mean))

    return measure


def worst_slice(every: int) -> Measure:
    """The loss at the worst number of repetitions less that where nothing is repeated."""

    def measure(records: Records) -> Measurement:
        found = list(slices(records, every).values())
        return mean_interval(max(found[1:], key=np.mean) - found[0])

    return measure
