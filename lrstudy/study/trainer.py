"""Trains one group from wherever it stands to its end, losing nothing on the way."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lrstudy.laws.extrapolation import Predictor
from lrstudy.schedules import to_dict
from lrstudy.study.config import eval_params, make_transform, tracker_of
from lrstudy.study.early_stop import Races
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.extrapolator import load_extrapolator
from lrstudy.study.fastest import chosen
from lrstudy.study.plan import Group
from lrstudy.study.progress import Progress
from lrstudy.study.signals import StopRequest
from lrstudy.study.store import GroupStore, Outcome
from lrstudy.study.workdir import Workdir
from lrstudy.training import checkpoint, lanes, loop
from lrstudy.training.layout import Executor, Layout, layouts_of, trimmed
from lrstudy.training.loop import Cadence, Columns, Job
from lrstudy.training.parts import check_task
from lrstudy.training.processes import agreed, fetch, process, together
from lrstudy.training.program import Lane, abstract_lanes, stack, to_device, track_anew
from lrstudy.training.step import optimizer_count

_TIMES = ("seconds", "waited")
TrunkLanes = Callable[[int], tuple[Lane, int]]


class PreemptedError(Exception):
    """Training was asked to stop and has saved."""


def _say_nothing(group_id: str | None = None) -> None:
    del group_id


@dataclasses.dataclass(frozen=True)
class Settings:
    """How runs are trained; none of it but the predictor changes what they compute.

    Attributes:
        executor: see ``layouts_of``.
        data_devices: devices that share every batch.
        zero_stage: see ``layouts_of``.
        accumulate: micro-batches of a batch.
        read_workers: processes that read batches, of a task that has them read; 0: threads.
        checkpoint_seconds: a checkpoint is due this long after the last one.
        checkpoint_steps: and at every multiple of this step; 0: by time alone.
        keep_checkpoints: keep all of them, for runs that may start from them later.
        warn: says one line to the user.
        predictor: gives what ``early_stop`` extrapolates curves with.
        recorded: is told the id of a group whose records have changed; without one, that any may have.
    """

    executor: Executor = "auto"
    data_devices: int = 1
    zero_stage: int = 0
    accumulate: int = 1
    read_workers: int = 0
    checkpoint_seconds: float = 30.0
    checkpoint_steps: int = 0
    keep_checkpoints: bool = False
    warn: Callable[[str], None] = print
    predictor: Callable[[], Predictor] = load_extrapolator
    recorded: Callable[..., None] = _say_nothing


@dataclasses.dataclass
class _Position:
    """Where a group stands: the lanes, the step of its clock, and the seconds so far that it trained or waited."""

    lanes: Lane
    step: int
    fresh: bool
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def spent(self) -> dict[str, float]:
        """Both times by their names."""
        return {name: getattr(self, name) for name in _TIMES}


class GroupTrainer:
    """Trains the runs of one group as lanes of one compiled program.

    Args:
        group: whose runs.
        workdir: where checkpoints and records are.
        settings: how.
        stop: asked after every call of the program.
    """

    def __init__(self, group: Group, workdir: Workdir, settings: Settings, stop: StopRequest) -> None:
        self._group, self._workdir, self._settings, self._stop = group, workdir, settings, stop
        self._folder = workdir.checkpoints / group.group_id
        self._store = GroupStore(workdir, group)
        self._races = Races(group, self._store, settings.predictor)
        self._hparams = stack([run.hyperparameters for run in group.runs])
        config = group.runs[0].config
        steps = tuple(run.config.steps for run in group.runs)
        self._sharpness = group.runs[0].sharpness
        every = self._sharpness.every if self._sharpness else 0
        self._cadence = Cadence(steps, config.record_every, config.evaluate_every, every)
        self._make_transform = functools.partial(make_transform, group.runs[0])

    @functools.cached_property
    def layout(self) -> Layout:
        """On which devices, and how, the lanes train: as they did before, or as is likely or known to be fastest.

        Raises:
            ConfigError: this machine lacks the devices, or the task's batch has no such parts.
        """
        settings = self._settings
        shared = {name: getattr(settings, name) for name in ("data_devices", "zero_stage", "accumulate")}
        try:
            found = layouts_of(settings.executor, len(self._group.runs), **shared)
            check_task(self._group.runs[0].task, settings.data_devices, settings.accumulate)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        before = [layout for layout in found if layout.name == self._store.layout]
        return before[0] if before else chosen(self._group, found, self._prepared)

    @functools.cached_property
    def job(self) -> Job:
        """The compiled program with its numbers and data; made when training begins."""
        return self._job(self.layout)

    def _job(self, layout: Layout) -> Job:
        run = self._group.runs[0]
        options: dict[str, Any] = {"eval_params": eval_params(run), "sharpness": self._sharpness}
        options["read_workers"] = self._settings.read_workers
        return lanes.make_job(self._hparams, run.task, self._make_transform, self._cadence, layout, **options)

    def _prepared(self, layout: Layout) -> tuple[Job, Lane]:
        return self._job(layout), layout.empty(self._abstract)

    def train(self, trunk_lanes: TrunkLanes, trunk_rows: Callable[[], Any]) -> None:
        """Trains to the end and notes the outcomes.

        Args:
            trunk_lanes: lane index to the trunk's stacked lanes at the branch step, on the host, and the lane's place
                among them.
            trunk_rows: the rows of all trunks.

        Raises:
            PreemptedError: a stop was requested; everything is saved.
            CheckpointError: a checkpoint could not be written.
        """
        self._store.begin(self.layout.name)
        position = self._resume()
        if position is None and self._group.branches:
            position = self._branch(trunk_lanes)
            if process().leads:
                self._copy_trunk_rows(trunk_rows())
        if position is None:
            position = _Position(self.layout.empty(self._abstract), 0, fresh=True)
        self._settings.recorded(self._group.group_id)
        finals = self._train(position, self._group.stop, record=True)
        alive, updates = fetch((position.lanes.alive, position.lanes.state.step))
        if process().leads:
            self._store.finish(self._outcomes(alive, updates, finals), position.spent)
        self._settings.recorded(self._group.group_id)
        together(f"group {self._group.group_id}")

    def lanes_at(self, step: int, trunk_lanes: TrunkLanes) -> Lane:
        """The lanes at one step, from a checkpoint; recomputed from an earlier one if that is gone or damaged.

        Args:
            step: updates made; lanes that are shorter stand at their end.
            trunk_lanes: as for ``train``, should the lanes have to be made again from where they branched.

        Raises:
            PreemptedError: a stop was requested on the way.
        """
        restored = self._restored(step)
        if restored.tree is not None and restored.step == step:
            return restored.tree
        warning = restored.warning(self._what)
        if warning:
            self._settings.warn(warning)
        if restored.tree is not None:
            position = _Position(self.layout.lanes(restored.tree), restored.step, fresh=False)
        elif self._group.branches:
            position = self._branch(trunk_lanes)
        else:
            position = _Position(self.layout.empty(self._abstract), 0, fresh=True)
        self._train(position, step, record=False)
        return self._runs(position)

    def _restored(self, up_to: int | None = None) -> checkpoint.Restored:
        abstract = self.layout.abstract(self._abstract)
        return checkpoint.restore(self._folder, abstract, up_to=up_to, expected=self._identity)

    def _runs(self, position: _Position) -> Lane:
        """The lanes of runs, without slots that only fill a device."""
        return trimmed(position.lanes, len(self._group.runs))

    @functools.cached_property
    def _abstract(self) -> Lane:
        return abstract_lanes(self._hparams, self._make_transform, tracker_of(self._group.runs[0]))

    @property
    def _what(self) -> str:
        config = self._group.runs[0].config
        part = f"{self._group.part}: " if self._group.part else ""
        return f"{part}{config.task.name} {config.schedule.name} x {len(self._group.runs)}"

    def _resume(self) -> _Position | None:
        """The newest good checkpoint, checked against itself; damaged ones are set aside with one warning."""
        restored = self._restored()
        warning = restored.warning(self._what)
        if warning:
            self._settings.warn(warning)
        for step, _ in restored.damaged:
            checkpoint.set_aside(self._folder, step)
        checkpoint.prune(self._folder, self._kept_steps)
        self._store.truncate(restored.step if restored.tree is not None else 0)
        if restored.tree is None:
            return None
        self._check_counts(restored)
        times = {name: float(restored.meta.get(name, 0.0)) for name in _TIMES}
        return _Position(self.layout.lanes(restored.tree), restored.step, fresh=False, **times)

    @property
    def _kept_steps(self) -> Sequence[int]:
        return checkpoint.steps(self._folder) if self._settings.keep_checkpoints else self._group.kept_steps

    def _check_counts(self, restored: checkpoint.Restored) -> None:
        """The clock, each lane's step and its optimizer's count must be one number, or the data would not fit."""
        state, counts = restored.tree.state, optimizer_count(restored.tree.state.opt_state)
        alive, updates, counts = fetch((restored.tree.alive, state.step, state.step if counts is None else counts))
        starts = [b.step for b in self._group.branches] if self._group.branches else [0] * len(alive)
        for lane, run in enumerate(self._group.runs):
            step, count = int(updates[lane]), int(counts[lane])
            expected = max(min(restored.step, run.config.steps), starts[lane])
            if step != count or (alive[lane] and step != expected):
                raise StudyError(
                    f"checkpoint of run {run.run_id} contradicts itself: "
                    f"clock at step {expected}, training state at {step}, optimizer at {count}"
                )

    def _branch(self, trunk_lanes: TrunkLanes) -> _Position:
        """Each lane taken from its trunk's checkpoint; its tracker is new where the trunk was measured otherwise."""
        found = [trunk_lanes(lane) for lane in range(len(self._group.runs))]
        picked = [jax.tree.map(lambda x, place=place: x[place], stacked) for stacked, place in found]
        kinds = {jax.tree.structure(one.tracker) for one in (*picked, self._abstract)}
        abstract = self._abstract if len(kinds) == 1 else self._abstract._replace(tracker=None)
        if len(kinds) > 1:
            picked = [one._replace(tracker=None) for one in picked]
        begun = to_device(jax.tree.map(lambda *leaves: np.stack(leaves), *picked), abstract)
        if len(kinds) > 1:
            begun = track_anew(begun, self._hparams, tracker_of(self._group.runs[0]))
        return _Position(self.layout.lanes(begun), self._group.start, fresh=False)

    def _copy_trunk_rows(self, rows: Any) -> None:
        """A branch's records begin with its trunk's, so that every run's curve is whole."""
        branches = self._group.branches or ()
        columns = {name: rows[name].to_numpy() for name in rows.columns if name != "run_id"}
        of_run, none = rows.groupby("run_id").indices, np.arange(0)
        taken = []
        for lane, branch in enumerate(branches):
            own = of_run.get(branch.run_id, none)
            steps = columns["step"][own]
            taken.append(own[(steps < branch.step) & self._cadence.keeps(steps, lane)])
        lane = np.repeat(np.arange(len(branches)), [len(own) for own in taken])
        places = np.concatenate(taken)
        last = max(branch.step for branch in branches)
        self._store.write_rows({"lane": lane, **{name: own[places] for name, own in columns.items()}}, 0, last)

    def _train(self, position: _Position, stop: int, *, record: bool) -> Columns:
        """Trains ``position`` on to ``stop``, in place; returns the final evaluations."""
        group, settings = self._group, self._settings
        pauses = set(group.kept_steps) | self._races.steps
        if settings.checkpoint_steps:
            pauses |= set(range(0, stop, settings.checkpoint_steps))
        rows: list[Columns] = []
        written, saved = position.step, time.monotonic()
        finals: Columns = {}
        progress = Progress(self._what, position.step, stop, len(group.runs))
        chunks = loop.train(
            self.job, position.lanes, start=position.step, stop=stop, pause_at=sorted(pauses), fresh=position.fresh
        )
        for chunk in chunks:
            position.lanes, position.step, position.fresh = chunk.lanes, chunk.stop, False
            position.seconds += chunk.seconds
            position.waited += chunk.waited
            rows.append(chunk.rows)
            finals = chunk.finals
            progress.update(chunk)
            ended = chunk.stop == stop or not chunk.alive.any()
            overdue = bool(agreed(time.monotonic() - saved >= settings.checkpoint_seconds))
            due, stopping = overdue or chunk.stop in pauses, self._stop.requested
            if not (ended or due or stopping):
                continue
            if record:
                self._write_rows(loop.concatenate(rows), written, chunk.stop)
            self._stop_losers(position, chunk, anew=record)
            self._save(position)
            rows, written, saved = [], chunk.stop, time.monotonic()
            if stopping and not ended:
                progress.close()
                raise PreemptedError
        progress.close()
        for step in group.kept_steps:
            # All lanes diverged before such a step: branches start dead, from the state as it is.
            if position.step < step <= stop:
                checkpoint.save(self._folder, step, self._runs(position), self._meta(position))
        return finals

    def _stop_losers(self, position: _Position, chunk: loop.Chunk, *, anew: bool) -> None:
        """Ends the lanes that lose their race here; they stay as they are, like those that diverged."""
        losers = np.zeros(len(chunk.alive), bool)
        if process().leads:
            losers = self._races.stopped(chunk.stop, chunk.alive, anew=anew)
        losers = agreed(losers)
        if not losers.any():
            return
        chunk.lanes = position.lanes = self.layout.without(chunk.lanes, losers)
        if anew:
            count = f"{losers.sum()} of {chunk.alive.sum()} runs"
            self._settings.warn(f"{self._what}: {count} are not likely to end best and stop at step {chunk.stop}")

    def _write_rows(self, rows: Columns, start: int, stop: int) -> None:
        try:
            self._store.write_rows(rows, start, stop)
        except OSError as error:
            raise StudyError(f"step {stop}: the metric rows could not be written: {error.strerror}") from error
        self._settings.recorded(self._group.group_id)

    def _save(self, position: _Position) -> None:
        checkpoint.save(self._folder, position.step, self._runs(position), self._meta(position))
        checkpoint.prune(self._folder, self._kept_steps)

    @property
    def _identity(self) -> dict[str, Any]:
        return {"runs": [run.run_id for run in self._group.runs]}

    def _meta(self, position: _Position) -> dict[str, Any]:
        schedules = [to_dict(run.schedule) for run in self._group.runs]
        return {**self._identity, "schedules": schedules, **position.spent}

    def _outcomes(self, alive: np.ndarray, updates: np.ndarray, finals: Columns) -> list[Outcome]:
        """Last finite value of every metric, and of living runs the evaluation of the final parameters.

        The last update has no loss after it that would tell that it diverged; the final evaluation does.
        """
        lost = {run_id for ids in self._store.stopped().values() for run_id in ids}
        frame = self._store.rows().replace([np.inf, -np.inf], np.nan).groupby("run_id").last().drop(columns="step")
        names, values = frame.columns.tolist(), frame.to_numpy(np.float64).tolist()
        last = dict(zip(frame.index.tolist(), (dict(zip(names, row, strict=True)) for row in values), strict=True))
        places = {lane: place for place, lane in enumerate(np.asarray(finals.get("lane", ())).tolist())}
        outcomes = []
        for lane, run in enumerate(self._group.runs):
            if run.run_id in lost:
                outcomes.append(Outcome("stopped", int(updates[lane]), {}))
                continue
            metrics = last.get(run.run_id, {})
            ok = bool(alive[lane])
            if ok and finals:
                final = {name: float(v[places[lane]]) for name, v in finals.items() if name != "lane"}
                ok = math.isfinite(final.get(run.task.objective, 0.0))
                metrics = metrics | final if ok else metrics
            outcomes.append(Outcome("ok" if ok else "diverged", int(updates[lane]), metrics))
        return outcomes
