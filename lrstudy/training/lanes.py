"""Many runs that differ only in numbers, trained inside one compiled program."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from lrstudy.feedback import trained_params
from lrstudy.tasks import Task
from lrstudy.tasks.base import Data
from lrstudy.training import loop
from lrstudy.training.devices import DATA, LANES
from lrstudy.training.layout import Executor, Layout, layout_of, trimmed
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
    make_program,
    stack,
)
from lrstudy.training.read_ahead import ReadAhead
from lrstudy.training.sharpness import Measure, Sharpness, init_tracker, make_measure


def _mapped(one: Callable[..., Any], loop: str) -> Callable[..., Any]:
    """``one(lane, hparams, data, when)`` for stacked lanes and numbers."""
    if loop == "vmap":
        return jax.vmap(one, in_axes=(0, 0, None, None))

    def mapped(lanes: Lane, hparams: Hyperparameters, data: Data, when: Any) -> Any:
        return jax.lax.map(lambda lane: one(lane[0], lane[1], data, when), (lanes, hparams))

    return mapped


def _over_devices(many: Callable[..., Any], layout: Layout) -> Callable[..., Any]:
    """``many(lanes, hparams, data, when)`` with every device's own lanes."""
    if layout.mesh is None:
        return many
    # Where no batch is shared every axis is manual, so that nothing is left for the partitioner to decide.
    names = {LANES} if layout.shares_batches else {LANES, DATA}
    specs = (P(LANES), P(LANES), P(), P())
    return jax.shard_map(many, mesh=layout.mesh, in_specs=specs, out_specs=P(LANES), axis_names=names, check_vma=False)


def spread(program: Program, layout: Layout) -> Callable[..., tuple[Lane, Rows]]:
    """Compiles a lane's program for stacked lanes; the lanes' buffers are donated.

    Args:
        program: of one lane.
        layout: of the lanes.

    Returns:
        ``(lanes, hparams, data, window) -> (lanes, rows)`` with a leading axis of lanes everywhere but in ``data`` and
        ``window``, and arguments where ``layout`` puts them; it compiles once for every shape.
    """

    def kept(lane: Lane, hparams: Hyperparameters, data: Data, window: Window) -> tuple[Lane, Rows]:
        lanes, rows = mapped(lane, hparams, data, window)
        return layout.kept(lanes), rows

    mapped = _mapped(program, layout.loop)
    many = _over_devices(kept if layout.shares_batches else mapped, layout)
    return jax.jit(many, donate_argnums=0)


def spread_measure(measure: Measure, layout: Layout) -> Callable[..., Any]:
    """Compiles a lane's measurement for stacked lanes, which are left as they are.

    Args:
        measure: of one lane (``training.sharpness``).
        layout: as of ``spread``.

    Returns:
        ``(lanes, hparams, data, step) -> (trackers, rows, whether each was made)`` with a leading axis of lanes.
    """
    return jax.jit(_over_devices(_mapped(measure, layout.loop), layout))


def make_job(
    hparams: Hyperparameters,
    task: Task,
    make_transform: MakeTransform,
    cadence: Cadence,
    layout: Layout,
    *,
    eval_params: EvalParams = trained_params,
    sharpness: Sharpness | None = None,
    read_workers: int = 0,
) -> Job:
    """What ``loop.train`` trains.

    Args:
        hparams: stacked numbers.
        task: of the lanes, whose data are loaded.
        make_transform: ``hparams -> optax transform``.
        cadence: of records and evaluations.
        layout: of the lanes.
        eval_params: see ``make_program``.
        sharpness: what is measured of it; ``None``: nothing.
        read_workers: processes that read batches, where the task has them read; 0: threads.

    Raises:
        ValueError: the data cannot be read.
    """
    measured = sharpness if sharpness and sharpness.every else None
    init = functools.partial(init_tracker, measured) if measured else None
    program = spread(make_program(make_transform, eval_params, init, layout.sharing), layout)
    measure = spread_measure(make_measure(measured), layout) if measured else None
    data, reader, ahead = layout.data(task.load()), task.reader(), None
    if reader is not None:
        ahead = ReadAhead(reader, data, hparams.seed.tolist(), max(cadence.steps), layout, read_workers)
        looked_at = (measured.batches, () if measured.seed is None else (measured.seed,)) if measured else (1, ())
        data = ahead.first(*looked_at)
    return Job(program, layout.hparams(hparams), data, cadence, measure, ahead)


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
        executor: see ``layouts_of``.

    Returns:
        The stacked lanes, the metric rows by lane and step, and the final evaluations, as columns (see ``loop.Chunk``).

    Example:
        >>> import optax
        >>> from lrstudy.schedules import Constant
        >>> from lrstudy.tasks import TABLE
        >>> task = TABLE["quadratic"](eigenvalues=(1.0,), noise=(0.0,), start=(1.0,), chains=1)
        >>> lanes = [Hyperparameters(Constant(peak), task, {}, None, seed, 3) for seed, peak in enumerate((0.5, 1.0))]
        >>> _, rows, finals = run(lanes, lambda numbers: optax.sgd(numbers.schedule))
        >>> rows["loss"].reshape(2, 3).tolist()  # (1 - rate)^2 times the last
        [[0.5, 0.125, 0.03125], [0.5, 0.0, 0.0]]
    """
    stacked, layout = stack(hparams), layout_of(executor, len(hparams))
    every = sharpness.every if sharpness else 0
    cadence = Cadence(tuple(int(h.steps) for h in hparams), record_every, evaluate_every, every)
    init = functools.partial(init_tracker, sharpness) if sharpness and every else None
    lanes = layout.empty(abstract_lanes(stacked, make_transform, init))
    options = {"eval_params": eval_params, "sharpness": sharpness}
    job = make_job(stacked, hparams[0].task, make_transform, cadence, layout, **options)
    rows, finals = list[Columns](), list[Columns]()
    for chunk in loop.train(job, lanes, start=0, stop=max(cadence.steps)):
        lanes = chunk.lanes
        rows.append(chunk.rows)
        finals.append(chunk.finals)
    columns = loop.concatenate(rows)
    order = np.lexsort((columns["step"], columns["lane"]))
    trained = trimmed(lanes, len(hparams))
    return trained, {name: values[order] for name, values in columns.items()}, loop.concatenate(finals)
