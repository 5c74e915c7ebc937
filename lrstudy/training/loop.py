"""The loop: calls the program window by window and yields what it recorded. It knows nothing of files."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from lrstudy.tasks.base import Data
from lrstudy.training.program import RECORD_SLOTS, Hyperparameters, Lane, Rows, make_window

Columns = dict[str, np.ndarray]

TARGET_SECONDS = 0.5
"""How long one call of the program should take: a stop request waits no longer than this, or one step."""
_FIRST_STEPS = 4
_MAX_GROWTH = 4


@dataclasses.dataclass(frozen=True)
class Cadence:
    """At which steps lanes are recorded and evaluated.

    Attributes:
        steps: updates of every lane.
        record_every: a row is kept at every multiple of it and at each lane's last step.
        evaluate_every: a multiple of ``record_every``; the parameters are evaluated at every multiple of it and at the
            end; 0: at the end alone.
    """

    steps: tuple[int, ...]
    record_every: int = 1
    evaluate_every: int = 0

    def __post_init__(self) -> None:
        """Checks the cadences.

        Raises:
            ValueError: evaluations would fall between records.
        """
        if self.record_every < 1 or self.evaluate_every % self.record_every:
            every = (self.record_every, self.evaluate_every)
            raise ValueError(f"evaluate_every must be a multiple of a positive record_every, got {every[::-1]}")

    def record_steps(self) -> np.ndarray:
        """Sorted steps at which any lane has a row."""
        every = np.arange(0, max(self.steps), self.record_every)
        return np.unique(np.concatenate([every, np.asarray(self.steps) - 1]))

    def evaluate_steps(self) -> np.ndarray:
        """Sorted counts of updates, before the end, at which the parameters are evaluated."""
        return np.arange(0, max(self.steps), self.evaluate_every) if self.evaluate_every else np.arange(0)

    def keeps(self, steps: np.ndarray, lane: int) -> np.ndarray:
        """Which of these steps are rows of this lane."""
        own = self.steps[lane]
        return ((steps % self.record_every == 0) | (steps == own - 1)) & (steps < own)


@dataclasses.dataclass(frozen=True)
class Chunk:
    """One call of the program.

    Attributes:
        start: first step trained.
        stop: one past the last step trained.
        lanes: the lanes after it (stacked, on the device; the next call consumes them).
        rows: columns ``lane``, ``step`` and one a metric; NaN where a metric was not measured at that step.
        finals: columns ``lane`` and the evaluation of the parameters at the very end, empty before it.
        alive: for every lane whether it has not diverged.
        seconds: what the call took.
    """

    start: int
    stop: int
    lanes: Lane
    rows: Columns
    finals: Columns
    alive: np.ndarray
    seconds: float


class Job(NamedTuple):
    """What is trained, apart from where it stands.

    Attributes:
        program: compiled lanes (``lanes.spread``).
        hparams: stacked numbers.
        data: what the task loaded, on the device.
        cadence: of records and evaluations.
    """

    program: Callable[..., tuple[Lane, Rows]]
    hparams: Hyperparameters
    data: Data
    cadence: Cadence


def train(
    job: Job, lanes: Lane, *, start: int, stop: int, pause_at: Sequence[int] = (), fresh: bool = True
) -> Iterator[Chunk]:
    """Trains lanes from step ``start`` to ``stop``.

    How the steps are cut into calls depends on the machine's speed; the numbers do not depend on the cut. The caller
    may stop iterating after any chunk. Iteration ends early when every lane has diverged.

    Args:
        job: what is trained.
        lanes: stacked lanes at ``start``; donated.
        start: first step; equal to ``stop`` it trains nothing and evaluates what is due there.
        stop: one past the last.
        pause_at: steps at which a chunk must end, for instance to save.
        fresh: whether the lanes must be initialised first.

    Yields:
        Chunks in order.
    """
    cadence = job.cadence
    record, evaluate = cadence.record_steps(), cadence.evaluate_steps()
    last = max(cadence.steps)
    pauses = np.unique([*(p for p in pause_at if start < p < stop), stop])
    budget = _FIRST_STEPS
    while True:
        pause = int(pauses[min(np.searchsorted(pauses, start, "right"), len(pauses) - 1)])
        end = _end_of_window(start, min(start + budget, pause), record)
        evaluate_at = evaluate[(evaluate >= start) & (evaluate < end)].tolist() + ([end] if end == last else [])
        record_at = record[(record >= start) & (record < end)].tolist()
        window = make_window(start, end, record_at=record_at, evaluate_at=evaluate_at, fresh=fresh)
        began = time.perf_counter()
        lanes, rows = job.program(lanes, job.hparams, job.data, window)
        fetched, alive = jax.device_get((rows, lanes.alive))
        seconds = time.perf_counter() - began
        columns = _columns(fetched, record_at, evaluate_at, cadence)
        finals = _finals(fetched, evaluate_at, end, last)
        yield Chunk(start, end, lanes, columns, finals, alive, seconds)
        budget = _next_budget(budget, end - start, seconds)
        start, fresh = end, False
        if start >= stop or not alive.any():
            return


def _end_of_window(start: int, end: int, record: np.ndarray) -> int:
    """Brings the end forward so that the recorded steps fit into the program's slots, one kept for the final one."""
    upcoming = record[record >= start]
    limit = RECORD_SLOTS - 1
    return min(end, int(upcoming[limit])) if len(upcoming) > limit else end


def _next_budget(budget: int, steps: int, seconds: float) -> int:
    """Steps of the next call, towards the target time, growing at most fourfold lest one odd measure mislead."""
    fitting = int(steps * TARGET_SECONDS / max(seconds, 1e-6))
    return max(1, min(fitting, budget * _MAX_GROWTH))


def _columns(rows: Rows, record_at: list[int], evaluate_at: list[int], cadence: Cadence) -> Columns:
    steps = np.asarray(record_at, np.int64)
    count = len(steps)
    lanes = rows.recorded.shape[0]
    # Every evaluated step before the end is a recorded one, so an evaluation finds its row by the step.
    at = np.searchsorted(np.asarray(evaluate_at, np.int64), steps)
    has = np.isin(steps, evaluate_at)
    keep = np.stack([cadence.keeps(steps, lane) for lane in range(lanes)]) & np.asarray(rows.recorded)[:, :count]
    lane_of, slot_of = np.nonzero(keep)
    columns: Columns = {"lane": lane_of, "step": steps[slot_of]}
    for name, values in rows.train.items():
        columns[name] = np.asarray(values)[lane_of, slot_of]
    for name, values in rows.evaluation.items():
        found = np.where(has, at, 0)[slot_of]
        usable = has[slot_of] & np.asarray(rows.evaluated)[lane_of, found]
        columns[name] = np.where(usable, np.asarray(values)[lane_of, found], np.float32(np.nan))
    return columns


def _finals(rows: Rows, evaluate_at: list[int], end: int, last: int) -> Columns:
    if end != last:
        return {}
    slot = evaluate_at.index(end)
    lane_of = np.nonzero(np.asarray(rows.evaluated)[:, slot])[0]
    return {"lane": lane_of, **{name: np.asarray(v)[lane_of, slot] for name, v in rows.evaluation.items()}}


def concatenate(columns: Iterable[Columns]) -> Columns:
    """Columns of several chunks as one, in order; empty for none."""
    parts = [part for part in columns if part]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
