"""Decides, while a group trains, which of its runs are stopped because they are not likely to end best.

Runs of a group race that differ in nothing but their optimizer, its numbers, the clipping and the arguments of their
schedule: those of other problems, sizes, lengths, seeds and kinds of schedule do not. The extrapolation sees losses and
no rates. So it misses what a decay will still gain, and that is more for a higher rate (the river valley) and for a
stronger weight decay: there it stops the best run as often as not. While rates fall, a run is therefore measured only
by runs of its own optimizer whose rates fall at least as far. And while a rate still rises, or has only just risen,
losses say little of it: such a run is neither stopped nor measured by.

A decision depends on the group's own records and on the network alone, not on what other processes have finished. It is
noted in the group's file before training goes on, so that a group that is resumed, or whose states are computed again,
repeats it.
"""

import functools
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lrstudy.laws.extrapolation import LENGTH, Predictor
from lrstudy.laws.extrapolation.racing import PredictiveStop, observed_points
from lrstudy.study.config import Run
from lrstudy.study.plan import Group
from lrstudy.study.store import GroupStore

if TYPE_CHECKING:
    import pandas as pd

_LEVEL = 0.1
"""A rate that stays within this share of itself is steady."""


class Race(NamedTuple):
    """Lanes that are compared with each other.

    Attributes:
        key: what their runs share.
        lanes: of the group.
        rule: that stops them.
        metric: whose last value makes the best.
        points: updates after which their curve has its points; the last is its end.
    """

    key: str
    lanes: list[int]
    rule: PredictiveStop
    metric: str
    points: Int[np.ndarray, " points"]

    def seen_at(self, step: int) -> int:
        """How many points there are when training has come to a step at which it is decided; 0 at all others."""
        # An evaluation is made at the beginning of the update after it.
        return next((seen for seen in observed_points(len(self.points)) if self.points[seen - 1] + 1 == step), 0)


def race_of(run: Run) -> str:
    """What runs share that are compared with each other."""
    columns = {k: v for k, v in run.columns.items() if not _of_optimizer(k) and not k.startswith("schedule.")}
    return json.dumps(columns, sort_keys=True)


def rivals_at(runs: Sequence[Run], step: int) -> Bool[np.ndarray, "runs runs"]:
    """Whether the second run is a rival of the first at a step: what its rates still do cannot favour the first.

    They must be ``settled_at`` it.
    """
    later = [_rates(run, step) for run in runs]
    steady = np.array([(np.abs(rates - rates[0]) <= _LEVEL * rates[0]).all() for rates in later])
    falls = np.array([rates[0] - rates[-1] for rates in later])
    optimizers = [{k: v for k, v in run.columns.items() if _of_optimizer(k)} for run in runs]
    same = np.array([[one == other for other in optimizers] for one in optimizers])
    return (steady[:, None] & steady) | (same & (falls >= falls[:, None]))


def settled_at(run: Run, step: int) -> bool:
    """Whether the highest rate came in the first half of the updates so far, and none as high is to come."""
    before, later = _rates(run, 0, step), _rates(run, step)
    highest = max(before.max(), later.max())
    first = int(np.argmax(before >= (1 - _LEVEL) * highest)) / max(1, len(before) - 1)
    return bool(before.max() >= (1 - _LEVEL) * highest and first <= 0.5 and later.max() <= (1 + _LEVEL) * later[0])


def _rates(run: Run, start: int, stop: int | None = None) -> Float[np.ndarray, " some"]:
    """Rates from one step to another, evenly, both included; to the run's last if none is said."""
    last = run.config.steps - 1 if stop is None else stop
    return np.asarray(run.schedule(np.linspace(start, last, 201).astype(np.int32)), np.float64)


def _of_optimizer(column: str) -> bool:
    return column in ("optimizer", "clip_norm") or column.startswith("optimizer.")


def points_of(run: Run) -> Int[np.ndarray, " points"]:
    """The updates after which a run is evaluated, its end included; of more than a hundred so many, evenly."""
    config = run.config
    every = np.asarray([*range(config.evaluate_every, config.steps, config.evaluate_every), config.steps])
    points = min(len(every), LENGTH)
    return every[-(-np.arange(1, points + 1) * len(every) // points) - 1]


class Races:
    """The races of one group.

    Args:
        group: whose runs.
        store: of its records and decisions.
        predictor: gives what extrapolates curves; called when something is to be decided.
    """

    def __init__(self, group: Group, store: GroupStore, predictor: Callable[[], Predictor]) -> None:
        self._group, self._store = group, store
        self._predictor = functools.cache(predictor)
        self._network: str | None = None
        found: dict[str, Race] = {}
        for lane, run in enumerate(group.runs):
            if run.early_stop is not None:
                own = Race(race_of(run), [], run.early_stop, run.task.objective, points_of(run))
                found.setdefault(own.key, own).lanes.append(lane)
        self._races = list(found.values())

    @property
    def steps(self) -> set[int]:
        """Steps at which something is decided."""
        return {int(r.points[seen - 1]) + 1 for r in self._races for seen in observed_points(len(r.points))}

    def stopped(self, step: int, alive: Bool[np.ndarray, " lanes"], *, anew: bool) -> Bool[np.ndarray, " lanes"]:
        """The lanes that are stopped at a step.

        Args:
            step: to which training has come; the rows up to it are written.
            alive: lanes that are still trained.
            anew: decide what has not been decided; otherwise only what was noted counts.
        """
        if step not in self.steps:
            return np.zeros(len(alive), bool)
        ids = np.asarray([run.run_id for run in self._group.runs])
        noted = self._store.stopped()
        if step not in noted and anew:
            noted[step] = ids[self._decide(step, alive)].tolist()
            self._store.note_stopped(noted, self._network)
        return np.isin(ids, noted.get(step, []))

    def _decide(self, step: int, alive: Bool[np.ndarray, " lanes"]) -> Bool[np.ndarray, " lanes"]:
        rows, stopped = self._store.rows(), np.zeros(len(alive), bool)
        for race in self._races:
            seen = race.seen_at(step)
            if not seen:
                continue
            curves = {lane: self._losses(rows, race, lane)[: seen + 1] for lane in race.lanes if alive[lane]}
            # A run that goes on from one that was evaluated at other steps has gaps, and is let alone.
            whole = [lane for lane, losses in curves.items() if np.isfinite(losses).all()]
            left = [lane for lane in whole if settled_at(self._group.runs[lane], step)]
            if len(left) < 2:
                continue
            predictor = self._predictor()
            self._network = getattr(predictor, "digest", None)
            stopped[left] = race.rule.gives_up(
                predictor,
                np.stack([curves[lane] for lane in left]),
                observed=seen,
                points=len(race.points),
                rivals=rivals_at([self._group.runs[lane] for lane in left], step),
            )
        return stopped

    def _losses(self, rows: "pd.DataFrame", race: Race, lane: int) -> Float[np.ndarray, " evaluations"]:
        """Of one lane: before the first update, then at each of its points; NaN where there is none yet."""
        own = rows[rows["run_id"] == self._group.runs[lane].run_id].set_index("step")[race.metric]
        return own.reindex([0, *race.points]).to_numpy(np.float64)
