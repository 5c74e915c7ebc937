"""The largest eigenvalue of the Hessian, and of the Gauss-Newton matrix, of every batch of partitions of the data."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from lrstudy.curvature import Operator, ggn, hessian, top_eigs
from lrstudy.curvature.operator import Matvec, Product, make
from lrstudy.curvature.vectors import Vector, flatten
from lrstudy.study.probes import Context, checkpoints
from lrstudy.tasks import Digits

if TYPE_CHECKING:
    import pandas as pd

TOL = 1e-4
"""Relative residual of a solve: the largest eigenvalue is then good to 1e-6."""
PIECE = 32
"""Examples that a product takes at a time."""
DRAWS = 24
"""Batches of a size, at least, of which there are several partitions where one holds fewer."""
_MOST = 128
_START_KEY, _ORDER_SEED = 0, 1

Curvature = Callable[[Any, Any], Operator]
"""``(params, (inputs, labels, weights)) ->`` the curvature of the weighted sum of losses, linear in the weights."""


@dataclasses.dataclass(frozen=True)
class _Slice(Product):
    """The mean curvature of examples that follow each other in some order, taken piece by piece.

    Where the slice begins and ends are numbers, not shapes, so that batches of all sizes share one program.

    Attributes:
        curvature: of one piece.
    """

    curvature: Curvature

    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        params, examples, order, (start, stop) = arrays

        def add(piece: Int[Array, ""], total: Vector) -> Vector:
            first = start + piece * PIECE
            places = jax.lax.dynamic_slice_in_dim(order, first, PIECE)
            inputs, labels = (x[places] for x in examples)
            weights = (first + jnp.arange(PIECE) < stop) / (stop - start)
            return jax.tree.map(jnp.add, total, self.curvature(params, (inputs, labels, weights))(vector))

        pieces = (stop - start + PIECE - 1) // PIECE
        return jax.lax.fori_loop(0, pieces, add, jax.tree.map(jnp.zeros_like, vector))

    def prepared(self, arrays: Any) -> Matvec:
        return lambda vector: self(arrays, vector)


def curvatures(task: Digits) -> Mapping[str, Curvature]:
    """The Hessian and the Gauss-Newton matrix of the task's loss, by name."""

    def outputs(params: Any, batch: Any) -> Array:
        return task.apply(params, batch[0])

    def output_loss(scores: Array, batch: Any) -> Array:
        return jnp.sum(batch[2] * optax.softmax_cross_entropy_with_integer_labels(scores, batch[1]))

    def loss(params: Any, batch: Any) -> Array:
        return output_loss(outputs(params, batch), batch)

    return {"hessian": functools.partial(hessian, loss), "ggn": functools.partial(ggn, outputs, output_loss)}


def cuts(examples: int, size: int) -> list[tuple[int, int]]:
    """Where the batches of a partition begin and end; the last one holds what is left."""
    return [(first, min(first + size, examples)) for first in range(0, examples, size)]


def layout(examples: int, sizes: Sequence[int]) -> "pd.DataFrame":
    """The batches that are measured: one partition of a small size, several of a large one.

    Returns:
        One row a batch: ``size`` that the partition asks for, ``partition``, and ``start`` and ``stop`` in its order.
    """
    import pandas as pd

    rows = [
        (size, partition, *bounds)
        for size in sizes
        for partition in range(1 if size == examples else math.ceil(DRAWS * size / examples))
        for bounds in cuts(examples, size)
    ]
    return pd.DataFrame(rows, columns=["size", "partition", "start", "stop"])


def orders_of(examples: int, partitions: int, seed: int) -> Int[np.ndarray, "partitions examples"]:
    """The order of every partition, the same for both curvatures of a network."""
    rng = np.random.default_rng((_ORDER_SEED, seed))
    return np.stack([rng.permutation(examples) for _ in range(partitions)])


@functools.partial(jax.jit, static_argnames="curvature")
def _full(curvature: Curvature, params: Any, examples: Any) -> tuple[Float[Array, ""], Vector]:
    """The largest eigenvalue of all examples, taken at once, and its direction."""
    count = examples[1].shape[0]
    operator = curvature(params, (*examples, jnp.full(count, 1 / count)))
    found = top_eigs(operator, jax.random.key(_START_KEY), tol=TOL, max_matvecs=_MOST)
    return found.values[0], jax.tree.map(lambda x: x[0], found.vectors)


@functools.partial(jax.jit, static_argnames="curvature")
def _batches(
    curvature: Curvature,
    params: Any,
    examples: Any,
    orders: Int[Array, "partitions places"],
    bounds: Int[Array, "batches 3"],
    direction: Vector,
) -> tuple[Float[Array, " batches"], Float[Array, " batches"], Int[Array, " batches"]]:
    """The largest eigenvalue of every batch, its curvature along one direction, and how the solves ended."""

    def one(bound: Int[Array, "3"]) -> tuple[Array, Array, Array]:
        operator = make(_Slice(curvature), params, examples, orders[bound[0]], bound[1:], example=params)
        found = top_eigs(operator, jax.random.key(_START_KEY), tol=TOL, max_matvecs=_MOST)
        return found.values[0], jnp.vdot(flatten(direction), flatten(operator(direction))), found.status

    return jax.lax.map(one, bounds)


def eigenvalues(sizes: Sequence[int | None]) -> Callable[[Context], "pd.DataFrame"]:
    """The probe of the trained networks.

    Args:
        sizes: of batches; ``None``: all examples.

    Returns:
        What gives one row a run, curvature and batch: ``size`` that the partition asks for, ``partition``,
        ``examples`` of the batch, ``value``, its largest eigenvalue, ``along``, its curvature in the leading direction
        of all data, and ``full``, the largest eigenvalue of all data.
    """

    def measure(context: Context) -> "pd.DataFrame":
        import pandas as pd

        frames = []
        steps = context.runs[0].config.steps
        named: dict[Digits, Mapping[str, Curvature]] = {}
        for run in context.runs:
            task = run.task
            if not isinstance(task, Digits):
                raise TypeError(f"the probe is of digits, got {type(task).__name__}")
            ways = named.setdefault(task, curvatures(task))
            (params,) = checkpoints(context, [run], [steps])[run.run_id]
            for name, curvature in ways.items():
                context.pause()
                table = measured(curvature, task, params, sizes, run.config.seed)
                frames.append(table.assign(run_id=run.run_id, seed=run.config.seed, curvature=name))
        return pd.concat(frames, ignore_index=True)

    return measure


def measured(curvature: Curvature, task: Digits, params: Any, sizes: Sequence[int | None], seed: int) -> "pd.DataFrame":
    """All batches of one network.

    Raises:
        ValueError: a solve did not converge.
    """
    data = task.load()
    examples = jax.device_put((data["train_pixels"], data["train_labels"]))
    count = len(data["train_labels"])
    table = layout(count, [count if size is None else size for size in sizes])
    orders = orders_of(count, int(table["partition"].max()) + 1, seed)
    # A piece that begins before the end may reach past it, where its weights are zero.
    orders = np.concatenate([orders, orders[:, :PIECE]], axis=1)
    full, direction = _full(curvature, params, examples)
    bounds = table[["partition", "start", "stop"]].to_numpy(np.int32)
    value, along, status = jax.device_get(_batches(curvature, params, examples, orders, bounds, direction))
    if np.any(status):
        raise ValueError(f"{np.count_nonzero(status)} of {len(status)} solves did not converge")
    found = table.assign(examples=table["stop"] - table["start"], value=value, along=along, full=float(full))
    return found.drop(columns=["start", "stop"])
