"""Where batches are made: of what was loaded, or by a reader while the device trains."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from lrstudy.schedules.checks import one_of
from lrstudy.tasks.ahead import WHOLE, Ahead
from lrstudy.tasks.shuffling import epoch_items_on_host

AUTO, MEMORY, STREAM = "auto", "memory", "stream"
MEMORY_BYTES = 2**30
"""Training data of up to so many bytes are loaded unless something else is asked for."""


@runtime_checkable
class Rows(Protocol):
    """Items that are read by their numbers; it can be pickled."""

    def rows(self, items: Int[np.ndarray, " items"], /) -> Any:
        """Arrays with an entry an item."""
        ...


class BatchReader(NamedTuple):
    """``(seed, step) -> batch``, that of ``epoch_items``.

    Attributes:
        rows: the training items.
        items: how many.
        batch_size: of them in a batch.
    """

    rows: Rows
    items: int
    batch_size: int

    def __call__(self, seed: int, step: int, rows: slice = WHOLE) -> Any:
        """Reads a batch.

        Raises:
            OSError: a record is damaged.
        """
        chosen = epoch_items_on_host(seed, step, self.items, self.batch_size)
        return self.rows.rows(chosen[rows].astype(np.int64))


def check_input(name: str) -> None:
    """Refuses what is no way to feed a program.

    Raises:
        ValueError: it is none.
    """
    if name not in (AUTO, MEMORY, STREAM):
        raise ValueError(f"task.input must be {one_of((AUTO, MEMORY, STREAM), name)}, got {name!r}")


def in_memory(name: str, size: int) -> bool:
    """Whether training data of so many bytes are loaded."""
    return name == MEMORY or (name == AUTO and size <= MEMORY_BYTES)


def resident(data: Any) -> Any:
    """What a task loaded, of what a program finds."""
    return data.resident if isinstance(data, Ahead) else data


def check_loaded(data: Any) -> None:
    """Refuses to make a batch of data that were not loaded.

    Raises:
        ValueError: the training data are not among them.
    """
    if "train" not in data:
        raise ValueError("task.input must be memory where batches are not read ahead, got data for evaluations alone")


def abstract_ahead(loaded: Any, batch: Any) -> Ahead:
    """Shapes of one step's batch, read ahead for one seed.

    Args:
        loaded: shapes of what the task loads.
        batch: shapes of a batch.
    """
    batches = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, 1, *leaf.shape), leaf.dtype), batch)
    seeds, start = jax.ShapeDtypeStruct((1,), jnp.int32), jax.ShapeDtypeStruct((), jnp.int32)
    return Ahead(loaded, seeds, start, batches)  # pyright: ignore[reportArgumentType]
