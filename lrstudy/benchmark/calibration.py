"""Calibration: the one point of a submission's space that does best on all workloads together."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lrstudy.benchmark.scores import score, speedup
from lrstudy.benchmark.space import Point
from lrstudy.benchmark.studies import Record
from lrstudy.benchmark.submission import Ruleset, Submission

if TYPE_CHECKING:
    import pandas as pd


class Calibration(NamedTuple):
    """What came of the points of a space.

    Attributes:
        points: that were tried, the same on every workload.
        times: one row a point, by its place, one column a workload: updates to the target, infinite for a miss.
        scores: of every point among the others.
        best: place of the best.
    """

    points: list[Point]
    times: "pd.DataFrame"
    scores: list[float]
    best: int

    def submission(self, calibrated: Submission) -> Submission:
        """The submission at its best point alone."""
        return dataclasses.replace(calibrated, space=None, points=[self.points[self.best]])


def ruleset(points: int) -> Ruleset:
    """How a space is searched: one trial for each of so many points, as long as trials that are scored.

    Raises:
        ValueError: there are no points.
    """
    if points < 1:
        raise ValueError(f"points must be a positive int, got {points!r}")
    return Ruleset(1, points, 1.0)


def calibration(records: Mapping[str, Sequence[Record]]) -> Calibration:
    """Which point is best, from records of the same points on every workload.

    As in "How far away are truly hyperparameter-free learning algorithms?" (arXiv 2505.24005) one configuration has
    to serve all workloads. The points are scored among each other as submissions are: by their performance profile
    (``score``), where that is the same by the geometric mean of their times, a miss counting as the whole budget, and
    where that is the same too, as where nothing meets a target, by the mean rank of their best values.

    Args:
        records: workload to the records of ``run_studies`` under ``ruleset``.

    Raises:
        ValueError: there are none, or the workloads' points differ.
    """
    import pandas as pd

    if not records:
        raise ValueError("records must hold those of a workload at least, got none")
    names = list(records)
    points = [dict(record["hyperparameters"]) for record in records[names[0]]]
    for name in names:
        if [record["hyperparameters"] for record in records[name]] != points:
            raise ValueError(f"records must be of the same points on every workload, got others on {name}")
    times = pd.DataFrame(
        {
            name: [math.inf if r["steps_to_target"] is None else float(r["steps_to_target"]) for r in own]
            for name, own in records.items()
        }
    )
    budgets = {name: float(own[0]["budget"]) for name, own in records.items()}
    scores = score(times)
    named = times.set_axis(times.index.map(str))
    faster = {place: speedup(named, str(place), "0", budgets=budgets) for place in times.index}
    ranks = np.mean([_ranks(own) for own in records.values()], axis=0)
    best = max(times.index, key=lambda place: (scores[place], faster[place], -ranks[place]))
    return Calibration(points, times, [scores[place] for place in times.index], int(best))


def _ranks(records: Sequence[Record]) -> np.ndarray:
    """The place of every point's best value among those of all, from 0; one that came to none shares the last."""
    sign = 1 if records[0]["identity"]["definition"]["mode"] == "min" else -1
    values = [min((sign * v for v in record["values"] if v is not None), default=math.inf) for record in records]
    return np.searchsorted(np.sort(values), values)
