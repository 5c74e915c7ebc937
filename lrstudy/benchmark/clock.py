"""What a submission's updates cost on this machine, and how far a trial has come on an axis of time."""

import time
from typing import Literal, NamedTuple, get_args

import jax
import numpy as np

from lrstudy.benchmark.space import Point
from lrstudy.benchmark.submission import Submission
from lrstudy.benchmark.trials import Lane, hyperparameters, transform_of
from lrstudy.benchmark.workload import Workload
from lrstudy.schedules.checks import one_of
from lrstudy.training import lanes
from lrstudy.training.layout import layout_of
from lrstudy.training.program import abstract_lanes, empty_lanes, make_program, make_window, stack

Axis = Literal["steps", "grad_evals", "seconds"]
AXES = get_args(Axis)

_SECONDS, _WINDOWS = 0.3, 3


class Clock(NamedTuple):
    """Seconds of a trial that has the machine for itself.

    Attributes:
        compile_seconds: before the first update.
        step_seconds: of an update, evaluations left out.
    """

    compile_seconds: float
    step_seconds: float


def time_on(axis: Axis, steps: float, submission: Submission, clock: Clock | None = None) -> float:
    """The time of a trial after so many updates; infinite for infinitely many.

    Args:
        axis: ``steps``; ``grad_evals``, which an update that takes two gradients pays twice, a product with the Hessian
            being two; ``seconds``, compilation included and evaluations not.
        steps: updates.
        submission: that made them.
        clock: for ``seconds``.

    Raises:
        ValueError: an unknown axis, or seconds without a clock.
    """
    if axis not in AXES:
        raise ValueError(f"axis must be {one_of(AXES, axis)}, got {axis!r}")
    if axis == "steps":
        return steps
    if axis == "grad_evals":
        return steps * submission.gradients_per_step
    if clock is None:
        raise ValueError(f"clock must be given for an axis of seconds, got {clock!r}")
    return clock.compile_seconds + steps * clock.step_seconds


def measure(workload: Workload, submission: Submission, point: Point, *, seed: int) -> Clock:
    """Compiles and trains one trial alone, and discards it.

    Programs that are kept in JAX's persistent cache take less to compile the second time.

    Args:
        workload: what is trained.
        submission: by what.
        point: its hyperparameters, which do not matter for the time.
        seed: of the trial.
    """
    make_transform = transform_of(workload, submission, point)
    stacked = stack([hyperparameters(workload, Lane(point, seed), workload.step_hint)])
    current = empty_lanes(abstract_lanes(stacked, make_transform))
    data = jax.device_put(workload.task.load())
    program = lanes.spread(make_program(make_transform, submission.eval_params), layout_of("auto", 1))
    began = time.perf_counter()
    compiled = program.lower(current, stacked, data, make_window(0, 1, fresh=True)).compile()  # pyright: ignore[reportFunctionMemberAccess]
    compile_seconds = time.perf_counter() - began
    current, _ = jax.block_until_ready(compiled(current, stacked, data, make_window(0, 1, fresh=True)))
    place, length, costs = 1, 1, list[float]()
    while place < workload.step_hint and len(costs) < _WINDOWS:
        end = min(place + length, workload.step_hint)
        began = time.perf_counter()
        current, _ = jax.block_until_ready(compiled(current, stacked, data, make_window(place, end)))
        seconds = time.perf_counter() - began
        if seconds >= _SECONDS or end == workload.step_hint:
            costs.append(seconds / (end - place))
        else:
            length *= 4
        place = end
    return Clock(compile_seconds, float(np.median(costs)))
