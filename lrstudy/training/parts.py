"""A mean over a batch, computed in parts: one micro-batch after another, or a part on every device.

What is computed is a function of parameters and a batch that gives means over examples: a loss, or a loss and its
gradient. Parts of equal size have the batch's mean as the mean of theirs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import linear_call

from lrstudy.tasks import Task

Means = Callable[..., Any]
"""``(params, batch, ...) -> means``, as an array or a pytree of arrays."""
OverParts = Callable[[Means], Means]


def whole(means: Means) -> Means:
    """The batch in one part."""
    return means


def _as_it_is(tree: Any) -> Any:
    return tree


class Sharing(NamedTuple):
    """How a step's work is shared; the default is not at all.

    Attributes:
        gradient: of the function that gives a loss and its gradient.
        loss: of the function that gives a loss.
        place: a training state where it is kept between two steps.
    """

    gradient: OverParts = whole
    loss: OverParts = whole
    place: Callable[[Any], Any] = _as_it_is


ALONE = Sharing()


def accumulated(count: int) -> OverParts:
    """One micro-batch after another: their activations are not in memory together.

    The running mean is that of ``optax.MultiSteps``, so one step over a batch is ``count`` of its steps over the
    micro-batches: ``mean + (part - mean) / (i + 1)``.

    Args:
        count: micro-batches of a batch, whose arrays have as many times their first axis.
    """

    def over(means: Means) -> Means:
        def accumulate(params: Any, batch: Any, *rest: Any) -> Any:
            micro = split(batch, count, "micro-batches")

            def part(i: Any) -> Any:
                return means(params, jax.tree.map(lambda leaf: leaf[i], micro), *rest)

            def add(i: Any, mean: Any) -> Any:
                return jax.tree.map(lambda old, new: old + (new - old) / (i + 1).astype(new.dtype), mean, part(i))

            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(part, 0))
            return jax.lax.fori_loop(0, count, add, zeros)

        return means if count == 1 else accumulate

    return over


def averaged(axis_name: str) -> OverParts:
    """A part on every device along a mapped axis (``pmap``, or ``shard_map`` with ``check_vma=False``)."""

    def over(means: Means) -> Means:
        return lambda *args: mean_over_devices(means(*args), axis_name)

    return over


def mean_over_devices(tree: Any, axis_name: str) -> Any:
    """``pmean``, of bfloat16 in float32: as exact as one device's own sum, and XLA's CPU compiler aborts otherwise."""

    def mean(leaf: jax.Array) -> jax.Array:
        found = jax.lax.pmean(at_least_float32(leaf), axis_name)
        return found.astype(leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else found

    return jax.tree.map(mean, tree)


def at_least_float32(leaf: jax.Array) -> jax.Array:
    """An array in the precision in which devices add up."""
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))


def averaged_loss(axis_name: str) -> OverParts:
    """``averaged`` for means that are differentiated by the parameters.

    The derivative of ``pmean`` alone would be that of a device's own part: such an axis takes parameters that all hold
    for different numbers, and with different derivatives they would become just that.
    """

    def same(residual: Any, tree: Any) -> Any:
        del residual
        return tree

    def mean(residual: Any, tree: Any) -> Any:
        del residual
        return mean_over_devices(tree, axis_name)

    def over(means: Means) -> Means:
        return averaged(axis_name)(lambda params, *rest: means(linear_call(same, mean, (), params), *rest))

    return over


def split(batch: Any, count: int, what: str) -> Any:
    """A batch in equal parts: every array's first axis becomes two, the parts and the examples of each.

    Args:
        batch: a pytree of arrays with one entry an example.
        count: of parts.
        what: they are, for the error.

    Raises:
        ValueError: the examples cannot be dealt out evenly; the nearest sizes are named.
    """
    check_splits(batch, count, what)
    return jax.tree.map(lambda leaf: leaf.reshape(count, leaf.shape[0] // count, *leaf.shape[1:]), batch)


def check_splits(batch: Any, count: int, what: str) -> None:
    """Refuses a batch that has no equal parts.

    Args:
        batch: a pytree of arrays, or of what has their shapes.
        count: of parts.
        what: they are, for the error.

    Raises:
        ValueError: its arrays differ in their first axis, or that is no multiple of ``count``.
    """
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(batch)]
    sizes = {shape[0] if shape else None for shape in shapes}
    if len(sizes) != 1 or None in sizes:
        raise ValueError(f"a batch in parts must have one first axis, that of its examples, got sizes {_shown(sizes)}")
    size = sizes.pop() or 0
    if size % count or not size:
        below = size - size % count
        nearest = f"{below} or {below + count}" if below else f"{count}"
        raise ValueError(f"batch size must be a multiple of the {count} {what}: {nearest}, got {size}")


def check_task(task: Task, devices: int, micro_batches: int) -> None:
    """Refuses a task whose batch cannot be computed in parts.

    Args:
        task: that is trained.
        devices: that share a batch.
        micro_batches: of each device's part.

    Raises:
        ValueError: its loss is no mean over examples, or they cannot be dealt out evenly.
    """
    count = devices * micro_batches
    if count == 1:
        return
    name = type(task).__name__
    if not task.of_examples:
        raise ValueError(f"a batch in parts needs a task whose loss is a mean over examples, got {name}")
    module = getattr(task.model, "module", task.model)
    if getattr(module, "ghost_size", None) == 0:
        rule = "a model whose examples do not depend on each other, or model.ghost_size above 0"
        raise ValueError(f"a batch in parts needs {rule}, got {type(module).__name__}")
    batch = jax.eval_shape(lambda data: task.batch(data, jnp.int32(0), jnp.int32(0)), task.abstract_data())
    what = f"parts, {devices} devices x {micro_batches} micro-batches" if micro_batches > 1 else "devices"
    check_splits(batch, count, what)


def _shown(sizes: set[int | None]) -> str:
    return ", ".join(sorted(str(size) for size in sizes)) or "none"
