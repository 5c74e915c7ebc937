"""Processes that train together: arrays that are spread over them, and what they must agree on.

All take the same turns: what one of them decides by its clock, its files or its signals, it tells the others.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def place(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """Arrays, of this process or of the host, where a sharding says; those that are there already stay.

    Of a sharding over several processes each moves its own share; all must hold the same values. Inside ``jax.jit`` it
    is what the partitioner is told.
    """

    def one(leaf: Any) -> Any:
        if isinstance(leaf, Tracer):
            return jax.lax.with_sharding_constraint(leaf, sharding)
        if isinstance(leaf, jax.Array) and (leaf.sharding == sharding or not leaf.is_fully_addressable):
            return leaf
        if sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(one(jax.random.key_data(leaf)))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(one, tree)


@dataclasses.dataclass(frozen=True)
class Process:
    """One of the processes that train together.

    Attributes:
        index: of this process.
        count: of all.
    """

    index: int
    count: int

    @property
    def leads(self) -> bool:
        """Whether it is the first, which alone writes and speaks."""
        return self.index == 0


def process() -> Process:
    """This process among those that train together."""
    return Process(jax.process_index(), jax.process_count())


def fetch(tree: Any) -> Any:
    """Arrays as NumPy arrays on the host, those that are spread over processes whole on each of them."""
    if all(leaf.is_fully_addressable for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)):
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return jax.device_get(multihost_utils.process_allgather(tree, tiled=True))


def agreed(value: Any) -> Any:
    """The leading process's value, a number or an array of one shape on all; alone, what it is."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return jax.device_get(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def told(text: str) -> str:
    """The leading process's text; alone, what it is."""
    data = text.encode()
    size = int(agreed(len(data)))
    # Of one shape on all.
    return bytes(agreed(np.frombuffer(data[:size].ljust(size, b"\0"), np.uint8))).decode()


def any_process(flag: bool) -> bool:
    """Whether it is true on any process; all must ask."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def together(what: str) -> None:
    """Waits until all processes are here.

    Args:
        what: names the place, the same on all.
    """
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)
