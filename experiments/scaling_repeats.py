"""What the study of scaling measures in runs that see data again."""

import itertools
from collections.abc import Callable

import numpy as np

from lrstudy.study.claims import Measurement, exponentiated, jackknife, mean_interval, smallest
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

Measure = Callable[[Records], Measurement]

EPOCHS = (1, 2, 4, 10, 32, 128)
"""Passes over the windows in equal numbers of updates."""
SHORTER = (2, 3, 4, 6)
"""By how much shorter runs on fresh data are."""
MANY = 10
"""Passes with which one pass is compared, as in Komatsuzaki 2019."""
EVERY = 10
"""One of so many windows is from the repeated slice, as in Hernandez et al. 2022."""
TIMES = (1, 4, 16, 64, 256, 1_600)
"""How often the slice is seen, at most."""
LOSS = "validation_loss"


def _own(records: Records) -> Records:
    own = records.part("repeats")
    if not len(own.runs):
        raise StudyError("no run on repeated data has begun")
    return own


def passes(records: Records, metric: str = LOSS) -> dict[int, np.ndarray]:
    """The final value of a metric by passes, one number a seed; diverged runs are infinite."""
    runs = _own(records).runs
    steps, seen = int(runs["steps"].max()), _budget(records)
    found = {}
    for epochs in EPOCHS:
        rows = runs[(runs["task.every"] == 0) & (runs["steps"] == steps) & (runs["task.unique"] == seen // epochs)]
        found[epochs] = _finals(rows, metric)
    return found


def _budget(records: Records) -> int:
    runs = _own(records).runs
    return int((runs["steps"] * runs["task.batch_size"]).max())


def _finals(rows: object, metric: str) -> np.ndarray:
    ordered = rows.sort_values("seed")  # pyright: ignore[reportAttributeAccessIssue]
    if not len(ordered):
        raise StudyError("no run has these windows")
    values = ordered[metric].where(ordered["outcome"] == "ok").astype(float).fillna(np.inf)
    return values.to_numpy()


def shorter(records: Records) -> dict[int, np.ndarray]:
    """Loss of one pass by how much shorter it is, the full length included."""
    runs = _own(records).runs
    steps, seen = int(runs["steps"].max()), _budget(records)
    fresh = runs[(runs["task.every"] == 0) & (runs["task.unique"] == seen)]
    return {share: _finals(fresh[fresh["steps"] == steps // share], LOSS) for share in (1, *SHORTER)}


def slices(records: Records) -> dict[int, np.ndarray]:
    """Loss by how often the slice is seen, one number a seed."""
    runs = _own(records).runs
    rows = runs[runs["task.every"] == EVERY]
    visits = _budget(records) // EVERY
    return {times: _finals(rows[rows["task.repeated"] == max(1, visits // times)], LOSS) for times in TIMES}


def training_loss(records: Records) -> dict[int, np.ndarray]:
    """Mean training loss of the last tenth of the recorded updates by passes, one number a seed."""
    own = _own(records)
    rows = own.metrics[["run_id", "step", "loss"]].merge(own.runs[["run_id", "steps"]], on="run_id")
    late = rows[rows["step"] >= 0.9 * rows["steps"]].groupby("run_id")["loss"].mean()
    joined = own.runs.assign(late=own.runs["run_id"].map(late))
    return passes(Records(joined, own.metrics, own.probes, own.parts | {"repeats": tuple(joined["run_id"])}), "late")


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


def speedup(records: Records) -> Measurement:
    """How many times fewer updates one pass needs for the loss that ``MANY`` passes reach.

    The loss of one pass against the logarithm of its length is interpolated linearly, by means over seeds; infinite
    where even the shortest is better.
    """
    once, many = shorter(records), passes(records)[MANY]
    shares = np.asarray(sorted(once))

    def of(chosen: np.ndarray) -> float:
        losses = np.asarray([once[share][chosen].mean() for share in shares])
        wanted = many[chosen].mean()
        if not losses[0] <= wanted <= losses[-1]:
            return float("nan")
        return float(np.interp(wanted, losses, np.log(shares)))

    return exponentiated(jackknife(of, len(many)))


def interior_maximum(records: Records) -> Measurement:
    """The loss at the worst number of repetitions between the ends less that at the worse of the ends.

    Which numbers those are is decided by means over seeds.
    """
    found = slices(records)
    means = {times: values.mean() for times, values in found.items()}
    inner = max(TIMES[1:-1], key=means.__getitem__)
    end = max((TIMES[0], TIMES[-1]), key=means.__getitem__)
    return mean_interval(found[inner] - found[end])


def worst_slice(records: Records) -> Measurement:
    """The loss at the worst number of repetitions less that where nothing is repeated."""
    found = slices(records)
    worst = max(TIMES[1:], key=lambda times: found[times].mean())
    return mean_interval(found[worst] - found[1])
