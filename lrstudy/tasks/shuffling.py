"""Items of a data set in another random order every epoch, any of them at once: no list of the order is ever made.

A Feistel network is a permutation of pairs of numbers, whatever its round function; an item is such a pair, its place
in a table that is nearly square. The table has a few more places than there are items: what falls outside is put
through the network again until it falls inside (generalized Feistel and cycle walking; Black & Rogaway 2002). All of it
is arithmetic of uint32, which JAX and NumPy do alike: a program on a device and a process that reads for it agree to
the bit, and the process that reads starts no JAX, which would take an accelerator for itself.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

MAX_ITEMS = 2**32 - 1
_ROUNDS = 12
# In a smaller table there are too few round functions for all orders of a handful of items.
_LEAST_SIDE = 8
_GOLDEN = np.uint32(0x9E3779B9)
_FACTORS = np.asarray([0x27D4EB2F, 0xB5297A4D, 0x68E31DA5, 0x85EBCA77], np.uint32)
_LARGEST_STEPS = 2**31 - 1


def check_items(items: int, batch_size: int, rule: str) -> None:
    """Refuses a batch that an epoch cannot hold.

    Args:
        items: of an epoch.
        batch_size: of them in a batch.
        rule: what there are so many of, in words.

    Raises:
        ValueError: there are too few items, or more than a uint32 counts.
    """
    if not 1 <= batch_size <= items:
        raise ValueError(f"task.batch_size must be in [1, {items}], {rule}, got {batch_size!r}")
    if items > MAX_ITEMS:
        raise ValueError(
            f"task.split must be a slice, such as train[:1%], of at most {MAX_ITEMS} items, {rule}, got {items}"
        )


def epoch_items(
    seed: Int[Array, ""], step: Int[Array, ""], items: int, batch_size: int
) -> UInt32[Array, " {batch_size}"]:
    """The items of the batch of ``(seed, step)``; what does not fill an epoch's last batch is left out in that epoch.

    Args:
        seed: of the run.
        step: of the run.
        items: in [1, ``MAX_ITEMS``].
        batch_size: at most ``items``.
    """
    epoch, position = jnp.divmod(jnp.asarray(step, jnp.int32), _steps(items, batch_size))
    first = position.astype(jnp.uint32) * jnp.uint32(batch_size)
    places = first + jnp.arange(batch_size, dtype=jnp.uint32)
    keys = _round_keys(jnp.asarray(seed).astype(jnp.uint32), epoch.astype(jnp.uint32), jnp)
    sides = _sides(items)

    def walk(found: Array) -> Array:
        return jnp.where(found < jnp.uint32(items), found, _network(found, keys, sides))

    def outside(found: Array) -> Array:
        return jnp.any(found >= jnp.uint32(items))

    return jax.lax.while_loop(outside, walk, _network(places, keys, sides))


def epoch_items_on_host(seed: int, step: int, items: int, batch_size: int) -> UInt32[np.ndarray, " {batch_size}"]:
    """``epoch_items``, bit for bit, without JAX."""
    epoch, position = divmod(step, _steps(items, batch_size))
    places = (position * batch_size + np.arange(batch_size)).astype(np.uint32)
    # Arrays of one number: overflow of a NumPy scalar would warn.
    keys = _round_keys(np.asarray([seed], np.uint32), np.asarray([epoch], np.uint32), np)
    sides = _sides(items)
    found = _network(places, keys, sides)
    while (found >= items).any():
        found = np.where(found < items, found, _network(found, keys, sides))
    return found


def _steps(items: int, batch_size: int) -> int:
    """Steps of an epoch; more than an int32 counts are never taken."""
    return min(items // batch_size, _LARGEST_STEPS)


def _sides(items: int) -> tuple[np.uint32, np.uint32]:
    """Lines and columns of the smallest nearly square table that holds the items, each in [8, 2^16]."""
    lines = max(_LEAST_SIDE, math.isqrt(items - 1) + 1)
    return np.uint32(lines), np.uint32(max(_LEAST_SIDE, -(-items // lines)))


def mixed(x: Any) -> Any:
    """A bijection of uint32 whose every output bit depends on every input bit (Appleby's finalizer of MurmurHash3)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def _round_keys(seed: Any, epoch: Any, xp: Any) -> Any:
    """A key for every round, of a seed and an epoch, which are hashed twice: 32 bits of state would soon repeat."""
    first = mixed(mixed(seed + _GOLDEN) ^ (epoch * _FACTORS[0]))
    second = mixed(mixed(epoch ^ _FACTORS[1]) + seed * _FACTORS[2])
    rounds = xp.arange(1, _ROUNDS + 1, dtype=xp.uint32)
    return mixed(first + rounds * _GOLDEN) ^ mixed(second ^ (rounds * _FACTORS[3]))


def _network(places: Any, keys: Any, sides: tuple[np.uint32, np.uint32]) -> Any:
    """A permutation of the places of a table."""
    lines, columns = sides
    line, column = places // columns, places % columns
    for turn in range(0, _ROUNDS, 2):
        line = (line + mixed(column * _GOLDEN + keys[turn]) % lines) % lines
        column = (column + mixed(line * _GOLDEN + keys[turn + 1]) % columns) % columns
    return line * columns + column
