"""Batches that the host read ahead: what a program finds in place of data that are too large for the device."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

WHOLE = slice(None)


@runtime_checkable
class Reader(Protocol):
    """Reads the batch of a seed at a step; it can be pickled, for processes that read."""

    def __call__(self, seed: int, step: int, rows: slice = WHOLE) -> Any:
        """The batch as NumPy arrays: the same for the same pair, from any thread, in any order.

        Args:
            seed: of the run.
            step: of the run.
            rows: which of the batch's examples are wanted, in order.
        """
        ...


class Ahead(NamedTuple):
    """The batches of some steps in a row, of every seed that lanes have.

    Attributes:
        resident: what the task loaded: the data of evaluations.
        seeds: distinct.
        start: first step.
        batches: as the task's reader gives them, with leading axes of seeds and steps.
    """

    resident: Any
    seeds: Int[Array, " seeds"]
    start: Int[Array, ""]
    batches: Any

    def at(self, seed: Int[Array, ""], step: Int[Array, ""]) -> Any:
        """The batch of one of the seeds at one of the steps; what else is asked for is not defined."""
        own = jnp.argmax(jnp.asarray(self.seeds) == seed)
        slot = step - self.start
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[own, slot], self.batches)


def read_block(resident: Any, reader: Reader, seeds: tuple[int, ...], start: int, stop: int) -> Ahead:
    """The batches of the steps from ``start`` to before ``stop``, read one after the other."""
    rows = [[reader(seed, step) for step in range(start, stop)] for seed in seeds]
    batches = jax.tree.map(lambda *leaves: np.stack(leaves), *[batch for row in rows for batch in row])
    shape = len(seeds), stop - start
    batches = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), batches)
    return Ahead(resident, np.asarray(seeds, np.int32), np.int32(start), batches)  # pyright: ignore[reportArgumentType]
