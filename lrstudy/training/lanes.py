"""Many runs that differ only in numbers, trained inside one compiled program."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np

from lrstudy.feedback import trained_params
from lrstudy.tasks.base import Data
from lrstudy.training import loop
from lrstudy.training.loop import Cadence, Columns, Job
from lrstudy.training.program import (
    EvalParams,
    Hyperparameters,
    Lane,
    MakeTransform,
    Program,
    Rows,
    Window,
    abstract_lanes,
    empty_lanes,
    make_program,
    stack,
)
from lrstudy.training.sharpness import Measure, Sharpness, init_tracker, make_measure

Executor = Literal["auto", "vmap", "map"]


def spread_measure(measure: Measure, executor: Executor = "auto") -> Callable[..., Any]:
    """Compiles a lane's measurement for stacked lanes, which are left as they are.

    Args:
        measure: of one lane (``training.sharpness``).
        executor: as of ``spread``.

    Returns:
        ``(lanes, hparams, data, step) -> (trackers, rows, whether each was made)`` with a leading axis of lanes.

    Raises:
        ValueError: an unknown executor.
    """
    if _chosen(executor) == "vmap":
        return jax.jit(jax.vmap(measure, in_axes=(0, 0, None, None)))

    def mapped(lanes: Lane, hparams: Hyperparameters, data: Data, step: Any) -> Any:
        return jax.lax.map(lambda lane: measure(lane[0], lane[1], data, step), (lanes, hparams))

    return jax.jit(mapped)


def _chosen(executor: str) -> str:
    """The executor, or the one that ``auto`` stands for on this machine.

    Raises:
        ValueError: an unknown executor.
    """
    if executor not in get_args(Executor):
        raise ValueError(f"executor must be one of {sorted(get_args(Executor))}, got {executor!r}")
    if executor == "auto":
        return "map" if jax.default_backend() == "cpu" else "vmap"
    return executor


def spread(program: Program, executor: Executor = "auto") -> Callable[..., tuple[Lane, Rows]]:
    """Compiles a lane's program for stacked lanes; the lanes' buffers are donated.

    Args:
        program: of one lane.
        executor: ``vmap`` trains the lanes side by side in every operation, ``map`` one after the other in a loop
            inside the program; ``auto`` chooses ``map`` on a CPU, where batching small matrix products gains nothing
            (``benchmarks/executors.py``), and ``vmap`` on an accelerator.

    Returns:
        ``(lanes, hparams, data, window) -> (lanes, rows)`` with a leading axis of lanes everywhere but in ``data`` and
        ``window``; it compiles once for every shape.

    Raises:
        ValueError: an unknown executor.
    """
    if _chosen(executor) == "vmap":
        return jax.jit(jax.vmap(program, in_axes=(0, 0, None, None)), donate_argnums=0)

    def mapped(lanes: Lane, hparams: Hyperparameters, data: Data, window: Window) -> tuple[Lane, Rows]:
        def one(lane: tuple[Lane, Hyperparameters]) -> tuple[Lane, Rows]:
            return program(lane[0], lane[1], data, window)

        return jax.lax.map(one, (lanes, hparams))

    return jax.jit(mapped, donate_argnums=0)


def run(
    hparams: Sequence[Hyperparameters],
    make_transform: MakeTransform,
    *,
    eval_params: EvalParams = trained_params,
    record_every: int = 1,
    evaluate_every: int = 0,
    sharpness: Sharpness | None = None,
    executor: Executor = "auto",
) -> tuple[Lane, Columns, Columns]:
    """Trains lanes from initialisation to their end, in memory.

    Args:
        hparams: one entry a lane; entries may differ in numbers alone.
        make_transform: ``hparams -> optax transform``.
        eval_params: see ``make_program``.
        record_every: see ``Cadence``.
        evaluate_every: see ``Cadence``.
        sharpness: what is measured of it; ``None``: nothing.
        executor: see ``lanes.spread``.

    Returns:
        The stacked lanes, the metric rows by lane and step, and the final evaluations, as columns (see ``loop.Chunk``).
    """
    stacked = stack(hparams)
    every = sharpness.every if sharpness else 0
    cadence = Cadence(tuple(int(h.steps) for h in hparams), record_every, evaluate_every, every)
    init = functools.partial(init_tracker, sharpness) if sharpness and every else None
    lanes = empty_lanes(abstract_lanes(stacked, make_transform, init))
    data = jax.device_put(hparams[0].task.load())
    measure = spread_measure(make_measure(sharpness), executor) if sharpness and every else None
    job = Job(spread(make_program(make_transform, eval_params, init), executor), stacked, data, cadence, measure)
    rows, finals = list[Columns](), list[Columns]()
    for chunk in loop.train(job, lanes, start=0, stop=max(cadence.steps)):
        lanes = chunk.lanes
        rows.append(chunk.rows)
        finals.append(chunk.finals)
    columns = loop.concatenate(rows)
    order = np.lexsort((columns["step"], columns["lane"]))
    return lanes, {name: values[order] for name, values in columns.items()}, loop.concatenate(finals)
