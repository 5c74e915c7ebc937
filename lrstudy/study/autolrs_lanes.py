"""Trials of AutoLRS as lanes of one compiled program: the rate is a leaf, so no stage and no seed compiles again."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lrstudy.feedback import effective_lr
from lrstudy.schedules import Constant
from lrstudy.study.autolrs import Trial
from lrstudy.study.config import Run, eval_params, make_transform
from lrstudy.study.errors import ConfigError
from lrstudy.tasks.base import Data
from lrstudy.training import checkpoint, lanes
from lrstudy.training.layout import Executor, layout_of
from lrstudy.training.program import (
    RECORD_SLOTS,
    Hyperparameters,
    Lane,
    Rows,
    abstract_lanes,
    empty_lanes,
    make_program,
    make_window,
    stack,
    to_device,
    to_host,
)

_WINDOW = RECORD_SLOTS - 1
"""Steps of one call: every step is recorded, and an evaluation after the last one needs a slot too."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """The program and the data of a task; runs that differ in numbers alone share them.

    Attributes:
        program: compiled lanes (``lanes.spread``): once for the candidates, once for the single lane of the run.
        data: what the task loaded, on the device.
    """

    program: Callable[..., tuple[Lane, Rows]]
    data: Data


def make_engine(run: Run, executor: Executor = "auto") -> Engine:
    """The engine of a run and of all that differ from it in numbers alone.

    Raises:
        ConfigError: the task's data are read while it trains: candidates go over the same steps again and again.
    """
    if run.task.reader() is not None:
        raise ConfigError("task.input must be memory: AutoLRS trains on data that were loaded, got data that are not")
    program = make_program(functools.partial(make_transform, run), eval_params(run))
    # One lane, or as many as there are candidates, in turn: not a number that devices could be dealt out to for long.
    return Engine(lanes.spread(program, layout_of(executor, 1)), jax.device_put(run.task.load()))


class LaneTraining:
    """A run as AutoLRS trains it: ``autolrs.Training`` over lanes.

    The state is one lane in host memory, so going back to it is using it again. The batch is a function of (seed,
    step): all trials of a stage see the same batches, and the run then sees them once more.

    Args:
        run: what is trained; its schedule is not used.
        engine: of this run.
        warmup_steps: the rates of the first steps rise linearly; that of step t is (t + 1) / warmup_steps of it.
        pause: called between two calls of the program; it may raise to stop.

    Raises:
        ConfigError: the run's optimizer adapts its rate, so that a schedule found would not be the one applied.
    """

    def __init__(
        self, run: Run, engine: Engine, *, warmup_steps: int = 0, pause: Callable[[], None] = lambda: None
    ) -> None:
        self._run, self._engine, self._warmup_steps, self._pause = run, engine, warmup_steps, pause
        self._make_transform = functools.partial(make_transform, run)
        if effective_lr(self._abstract(self._hparams([1.0])).state.opt_state) is not None:
            rule = "optimizer must apply the rates that it is given, which AutoLRS finds"
            raise ConfigError(f"{rule}, got {run.config.optimizer.name}, which adapts them")

    @property
    def run_id(self) -> str:
        """That of the run; see ``autolrs.Training``."""
        return self._run.run_id

    def start(self) -> Lane:
        """The run before its first update; see ``autolrs.Training``."""
        hparams = self._hparams([1.0])
        window = make_window(0, 0, fresh=True)
        made, _ = self._engine.program(empty_lanes(self._abstract(hparams)), hparams, self._engine.data, window)
        return _unstacked(to_host(made), 0)

    def run(self, state: Lane, rates: Sequence[float], steps: int, evaluate_at: Sequence[int]) -> list[Trial[Lane]]:
        """Trains a lane for every rate; see ``autolrs.Training``."""
        hparams, start = self._hparams(rates), int(state.state.step)
        many = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], len(rates), axis=0), state)
        current = to_device(many, self._abstract(hparams))
        marks = np.asarray(evaluate_at, np.int64) + start
        losses, applied = np.full((2, len(rates), steps), np.nan)
        validation = np.full((len(rates), len(marks)), np.nan)
        for begin in range(start, start + steps, _WINDOW):
            self._pause()
            end = min(begin + _WINDOW, start + steps)
            due = np.flatnonzero((marks <= end) & ((marks > begin) | ((marks == begin) & (begin == start))))
            window = make_window(begin, end, record_at=range(begin, end), evaluate_at=marks[due].tolist())
            current, made = self._engine.program(current, hparams, self._engine.data, window)
            rows = jax.device_get(made)
            here, count = slice(begin - start, end - start), end - begin
            recorded = rows.recorded[:, :count]
            losses[:, here] = np.where(recorded, rows.train["loss"][:, :count], np.nan)
            applied[:, here] = np.where(recorded, rows.train["learning_rate"][:, :count], np.nan)
            found = rows.evaluation[self._run.task.objective][:, : len(due)]
            validation[:, due] = np.where(rows.evaluated[:, : len(due)], found, np.nan)
        trained = to_host(current)
        return [
            Trial(_unstacked(trained, lane), losses[lane], applied[lane], validation[lane])
            for lane in range(len(rates))
        ]

    def save(self, folder: Path, step: int, state: Lane) -> None:
        """Writes a checkpoint; see ``autolrs.Training``.

        Newer steps are none of this state's past, or it would have gone on from them: damaged ones, or another run's.
        They are set aside, so that they do not count among the newest that are kept.

        Raises:
            CheckpointError: it could not be written.
        """
        for newer in (other for other in checkpoint.steps(folder) if other > step):
            checkpoint.set_aside(folder, newer)
        stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], state)
        checkpoint.save(folder, step, to_device(stacked, self._abstract(self._hparams([1.0]))), self._identity)
        checkpoint.prune(folder, ())

    def restore(self, folder: Path, up_to: int) -> tuple[int, Lane] | None:
        """Reads the newest intact checkpoint; see ``autolrs.Training``."""
        abstract = self._abstract(self._hparams([1.0]))
        restored = checkpoint.restore(folder, abstract, up_to=up_to, expected=self._identity)
        return None if restored.tree is None else (restored.step, _unstacked(to_host(restored.tree), 0))

    @property
    def _identity(self) -> dict[str, Any]:
        return {"runs": [self.run_id]}

    def _hparams(self, rates: Sequence[float]) -> Hyperparameters:
        own = self._run.hyperparameters
        schedules = [Constant(rate, warmup_steps=self._warmup_steps, warmup_style="skip_zero") for rate in rates]
        return stack([own._replace(schedule=schedule) for schedule in schedules])

    def _abstract(self, hparams: Hyperparameters) -> Lane:
        return abstract_lanes(hparams, self._make_transform)


def _unstacked(lanes_on_host: Lane, lane: int) -> Lane:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[lane], lanes_on_host)
