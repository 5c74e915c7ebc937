"""Trials of a submission on a workload: lanes of one compiled program, trained until all have met the target."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrstudy.benchmark.space import Point
from lrstudy.benchmark.submission import Submission
from lrstudy.benchmark.times import reached
from lrstudy.benchmark.workload import Workload
from lrstudy.schedules import Constant
from lrstudy.schedules.checks import one_of
from lrstudy.training import lanes, loop
from lrstudy.training.layout import Executor, layout_of
from lrstudy.training.loop import Cadence
from lrstudy.training.program import Hyperparameters, abstract_lanes, stack


class Lane(NamedTuple):
    """What one trial differs in from the others.

    Attributes:
        point: its hyperparameters.
        seed: of its initialisation and data.
    """

    point: Point
    seed: int


@dataclasses.dataclass(frozen=True)
class Trial:
    """What came of a trial.

    Attributes:
        point: its hyperparameters.
        seed: of its initialisation and data.
        steps: counts of updates at which it was evaluated, to the end or to where it met the target.
        values: the metric there.
        outcome: ``ok``, or ``diverged`` where the loss was not finite at some update before; nothing was evaluated
            from there.
    """

    point: Point
    seed: int
    steps: tuple[int, ...]
    values: tuple[float, ...]
    outcome: str


def train(
    workload: Workload,
    submission: Submission,
    trials: Sequence[Lane],
    *,
    budget: int,
    target: float | None = None,
    executor: Executor = "auto",
    pause: Callable[[], None] = lambda: None,
) -> list[Trial]:
    """Trains the trials side by side.

    Args:
        workload: what is trained; its target is not read.
        submission: by what.
        trials: hyperparameters and seed of each.
        budget: updates of each.
        target: where all trials have met it, no more is trained; ``None``: all is.
        executor: see ``layouts_of``.
        pause: called between two calls of the program; it may raise to stop.

    Raises:
        ValueError: the submission lacks a hyperparameter, or the task has no such metric.
    """
    make_transform = transform_of(workload, submission, trials[0].point)
    stacked = stack([hyperparameters(workload, trial, budget) for trial in trials])
    # Evaluations are columns of metric rows.
    cadence = Cadence((budget,) * len(trials), workload.evaluate_every, workload.evaluate_every)
    layout, averaged = layout_of(executor, len(trials)), submission.eval_params
    job = lanes.make_job(stacked, workload.task, make_transform, cadence, layout, eval_params=averaged)
    found = [_Evaluations(workload, target) for _ in trials]
    alive = np.ones(len(trials), bool)
    begin = layout.empty(abstract_lanes(stacked, make_transform))
    for chunk in loop.train(job, begin, start=0, stop=budget):
        pause()
        _collect(found, chunk.rows, workload.metric)
        if chunk.finals:
            _collect(found, chunk.finals | {"step": np.full(len(chunk.finals["lane"]), budget)}, workload.metric)
        alive = chunk.alive
        if all(own.met for own in found):
            break
    return [
        own.of(trial, "ok" if fine or own.met else "diverged")
        for trial, own, fine in zip(trials, found, alive.tolist(), strict=True)
    ]


class _Evaluations:
    """What a trial has come to, up to where it met the target: how much later it ends depends on the machine's speed.

    Args:
        workload: whose metric it is.
        target: to be met; ``None``: none is.
    """

    def __init__(self, workload: Workload, target: float | None) -> None:
        self._workload, self._target = workload, target
        self.steps, self.values, self.met = list[int](), list[float](), False

    def add(self, step: int, value: float) -> None:
        """Adds an evaluation; the initial parameters have made no update, so they meet no target."""
        if self.met or not step or math.isnan(value):
            return
        self.steps.append(step)
        self.values.append(value)
        target, mode = self._target, self._workload.mode
        self.met = target is not None and reached([value], target, mode=mode) is not None

    def of(self, trial: Lane, outcome: str) -> Trial:
        """All that was added."""
        return Trial(dict(trial.point), trial.seed, tuple(self.steps), tuple(self.values), outcome)


def transform_of(
    workload: Workload, submission: Submission, point: Point
) -> Callable[[Hyperparameters], optax.GradientTransformation]:
    """What makes a lane's transform from its numbers.

    Raises:
        ValueError: the submission refuses the point, or asks for a hyperparameter that it lacks.
    """

    def make_transform(hparams: Hyperparameters) -> optax.GradientTransformation:
        return submission.make_transform(hparams.optimizer, workload.step_hint)

    try:
        made = submission.make_transform(point, workload.step_hint)
    except KeyError as error:
        asked = error.args[0]
        raise ValueError(f"space must name {asked!r}, which {submission.name} asks for, got {sorted(point)}") from error
    if not (callable(getattr(made, "init", None)) and callable(getattr(made, "update", None))):
        raise ValueError(f"{submission.name} must return an optax transform, got {made!r}")  # noqa: TRY004
    _check_update(workload, submission.name, made)
    return make_transform


def _check_update(workload: Workload, name: str, transform: optax.GradientTransformation) -> None:
    """That a step gives its update what it needs: ``value``, ``grad_fn`` and ``obj_fn``.

    Raises:
        ValueError: it needs something else, or other parameters.
    """

    def once() -> Any:
        params = workload.task.init(jax.random.key(0))
        given = {"value": jnp.float32(0), "grad_fn": lambda params, _=0: params, "obj_fn": lambda _: jnp.float32(0)}
        update = optax.with_extra_args_support(transform).update
        return update(params, transform.init(params), params, **given)

    try:
        jax.eval_shape(once)
    except TypeError as error:
        raise ValueError(f"{name} must do with value, grad_fn and obj_fn in its update: {error}") from error


def hyperparameters(workload: Workload, trial: Lane, budget: int) -> Hyperparameters:
    """The numbers of a lane. The rate is the submission's own affair: the schedule stands for none."""
    point: dict[str, Any] = dict(trial.point)
    return Hyperparameters(Constant(1.0), workload.task, point, None, trial.seed, budget)


def best(trial: Trial, workload: Workload) -> float:
    """The best value after an update; infinitely bad where nothing finite was evaluated."""
    sign = 1 if workload.mode == "min" else -1
    return sign * min((sign * value for value in trial.values if math.isfinite(value)), default=math.inf)


def steps_to(trial: Trial, target: float, workload: Workload) -> tuple[float, int]:
    """The updates after which a trial had met the target, infinite for a miss, and the place of that evaluation."""
    place = reached(trial.values, target, mode=workload.mode)
    return (math.inf, 0) if place is None else (float(trial.steps[place]), place)


def _collect(found: list[_Evaluations], columns: loop.Columns, metric: str) -> None:
    """Adds what was evaluated to its lane.

    Raises:
        ValueError: there is no such metric.
    """
    if metric not in columns:
        names = sorted(set(columns) - {"lane", "step"})
        raise ValueError(f"metric must be {one_of(names, metric)}, got {metric!r}")
    order = np.lexsort((columns["step"], columns["lane"]))
    for lane, step, value in zip(*(columns[name][order].tolist() for name in ("lane", "step", metric)), strict=True):
        found[lane].add(step, value)
