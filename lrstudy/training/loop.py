"""The loop: calls the program window by window and yields what it recorded. It knows nothing of files."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lrstudy.tasks.base import Data
from lrstudy.training.processes import agreed, fetch
from lrstudy.training.program import RECORD_SLOTS, Hyperparameters, Lane, Rows, make_window
from lrstudy.training.read_ahead import ReadAhead
from lrstudy.training.sharpness import COLUMNS

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
        measure_every: a multiple of ``record_every``; sharpness is measured at every multiple of it and at the end; 0:
            never.
    """

    steps: tuple[int, ...]
    record_every: int = 1
    evaluate_every: int = 0
    measure_every: int = 0

    def __post_init__(self) -> None:
        """Checks the cadences.

        Raises:
            ValueError: evaluations or measurements would fall between records.
        """
        for name in ("evaluate_every", "measure_every"):
            every = (getattr(self, name), self.record_every)
            if self.record_every < 1 or every[0] % self.record_every:
                raise ValueError(f"{name} must be a multiple of a positive record_every, got {every}")

    def record_steps(self) -> np.ndarray:
        """Sorted steps at which any lane has a row."""
        every = np.arange(0, max(self.steps), self.record_every)
        return np.unique(np.concatenate([every, np.asarray(self.steps) - 1]))

    def evaluate_steps(self) -> np.ndarray:
        """Sorted counts of updates, before the end, at which the parameters are evaluated."""
        return np.arange(0, max(self.steps), self.evaluate_every) if self.evaluate_every else np.arange(0)

    def measures(self, step: int) -> bool:
        """Whether sharpness is measured after so many updates, apart from the end."""
        return self.measure_every > 0 and step % self.measure_every == 0

    def keeps(self, steps: np.ndarray, lane: int) -> np.ndarray:
        """Which of these steps are rows of this lane."""
        own = self.steps[lane]
        return ((steps % self.record_every == 0) | (steps == own - 1)) & (steps < own)


@dataclasses.dataclass
class Chunk:
    """One call of the program.

    Attributes:
        start: first step trained.
        stop: one past the last step trained.
        lanes: the lanes after it (stacked, on the device; those of runs first, see ``layout.trimmed``). The next call
            consumes what stands here then, so the caller may put others in their place.
        rows: columns ``lane``, ``step`` and one a metric; NaN where a metric was not measured at that step.
        finals: columns ``lane`` and the evaluation of the parameters at the very end, empty before it.
        alive: for every lane whether it has not diverged.
        seconds: what the call took.
        waited: how long it waited for its batches before, in seconds.
    """

    start: int
    stop: int
    lanes: Lane
    rows: Columns
    finals: Columns
    alive: np.ndarray
    seconds: float
    waited: float = 0.0


class Job(NamedTuple):
    """What is trained, apart from where it stands.

    Attributes:
        program: compiled lanes (``lanes.spread``).
        hparams: stacked numbers.
        data: what the task loaded, on the device; where batches are read ahead, those of the first steps, for a
            measurement.
        cadence: of records and evaluations.
        measure: compiled measurement of sharpness (``lanes.spread_measure``); ``None``: none.
        ahead: reads the batches; ``None``: they are made of ``data``.
    """

    program: Callable[..., tuple[Lane, Rows]]
    hparams: Hyperparameters
    data: Data
    cadence: Cadence
    measure: Callable[..., Any] | None = None
    ahead: ReadAhead | None = None

    def data_at(self, step: int) -> Data:
        """What the program is given for a window that begins at this step.

        Raises:
            ReadError: its batches could not be read.
        """
        return self.data if self.ahead is None else self.ahead.at(step)

    def close(self) -> None:
        """Ends the reading of batches; it begins again where a window asks for them."""
        if self.ahead is not None:
            self.ahead.close()

    def end_at(self, step: int, end: int) -> int:
        """Where a window that begins at this step must end, at ``end`` at the latest."""
        return end if self.ahead is None else min(end, self.ahead.end(step))


class Gauge:
    """Measures the lanes' sharpness between two calls of the program, and remembers the last measurement.

    Args:
        job: whose ``measure`` it calls.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._call, self._step = job, None, -1
        nothing = np.full(len(job.cadence.steps), np.nan)
        self._last: Columns = dict.fromkeys((*COLUMNS, "sharpness_seconds"), nothing)

    def take(self, lanes: Lane, step: int) -> Any:
        """Measures the lanes that have made so many updates.

        Returns:
            Their trackers after it.
        """
        job, position = self._job, np.int32(step)
        if self._call is None:
            # Compiled before the clock runs: the seconds are those of a measurement.
            self._call = job.measure.lower(lanes, job.hparams, job.data, position).compile()  # pyright: ignore[reportFunctionMemberAccess, reportOptionalMemberAccess]
        began = time.perf_counter()
        trackers, rows, made = jax.block_until_ready(self._call(lanes, job.hparams, job.data, position))
        seconds = agreed(time.perf_counter() - began)
        count = len(job.cadence.steps)
        rows, made = jax.tree.map(lambda leaf: leaf[:count], fetch((rows, made)))
        share = np.where(made, seconds / max(1, made.sum()), np.nan)
        self._step, self._last = step, {**rows, "sharpness_seconds": share}
        return trackers

    def beside(self, columns: Columns) -> Columns:
        """Metric rows with the last measurement in those of its step, and NaN in the others."""
        if self._job.measure is None:
            return columns
        here = columns["step"] == self._step
        return columns | {
            name: np.where(here, values[columns["lane"]], np.nan).astype(np.float32)
            for name, values in self._last.items()
        }

    def of_lanes(self, columns: Columns) -> Columns:
        """Columns of one row a lane with the last measurement."""
        return columns | {name: values[columns["lane"]].astype(np.float32) for name, values in self._last.items()}


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

    Raises:
        ReadError: batches that the host reads ahead could not be read.
    """
    try:
        yield from _calls(job, lanes, start=start, stop=stop, pause_at=pause_at, fresh=fresh)
    finally:
        job.close()


def _calls(job: Job, lanes: Lane, *, start: int, stop: int, pause_at: Sequence[int], fresh: bool) -> Iterator[Chunk]:
    """The chunks of ``train``."""
    cadence = job.cadence
    record, evaluate = cadence.record_steps(), cadence.evaluate_steps()
    last = max(cadence.steps)
    measured = range(0, stop, cadence.measure_every) if cadence.measure_every else ()
    pauses = np.unique([*(p for p in (*pause_at, *measured) if start < p < stop), stop])
    budget = _FIRST_STEPS
    gauge = Gauge(job)
    if fresh and job.measure:
        # What is measured at the first step must be there before it.
        lanes, _ = job.program(lanes, job.hparams, job.data_at(start), make_window(start, start, fresh=True))
        fresh = False
    while True:
        if start < stop and cadence.measures(start):
            lanes = lanes._replace(tracker=gauge.take(lanes, start))
        pause = int(pauses[min(np.searchsorted(pauses, start, "right"), len(pauses) - 1)])
        end = job.end_at(start, _end_of_window(start, min(start + budget, pause), record))
        evaluate_at = evaluate[(evaluate >= start) & (evaluate < end)].tolist() + ([end] if end == last else [])
        record_at = record[(record >= start) & (record < end)].tolist()
        window = make_window(start, end, record_at=record_at, evaluate_at=evaluate_at, fresh=fresh)
        asked = time.perf_counter()
        data = job.data_at(start)
        began = time.perf_counter()
        lanes, rows = job.program(lanes, job.hparams, data, window)
        fetched, alive = jax.tree.map(lambda leaf: leaf[: len(cadence.steps)], fetch((rows, lanes.alive)))
        # How far the next call goes follows from it.
        seconds = float(agreed(time.perf_counter() - began))
        columns = gauge.beside(_columns(fetched, record_at, evaluate_at, cadence))
        finals = _finals(fetched, evaluate_at, end, last)
        if end == last and job.measure:
            # The trackers stay as they are, so that to measure the end once more gives the same.
            gauge.take(lanes, end)
            finals = gauge.of_lanes(finals)
        chunk = Chunk(start, end, lanes, columns, finals, alive, seconds, began - asked)
        yield chunk
        lanes = chunk.lanes
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
