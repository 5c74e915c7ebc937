"""Items of a data set in another random order every epoch, any of them at once: no list of the order is ever made.

A Feistel network is a permutation of the numbers of so many bits, whatever its round function; numbers that fall
outside of the items are put through it again until they fall inside (cycle walking; Black & Rogaway 2002). All of it is
arithmetic of uint32, which JAX and NumPy do alike: a program on a device and a process that reads for it agree to the
bit, and the process that reads needs no JAX, which would take an accelerator for itself.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

MAX_ITEMS = 2**32 - 1
_ROUNDS = 8
# With fewer bits there are too few round functions for all orders of a handful of items.
_LEAST_HALF = 3
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
    half = _half_bits(items)

    def walk(found: Array) -> Array:
        return jnp.where(found < jnp.uint32(items), found, _network(found, keys, half))

    def outside(found: Array) -> Array:
        return jnp.any(found >= jnp.uint32(items))

    return jax.lax.while_loop(outside, walk, _network(places, keys, half))


def epoch_items_on_host(seed: int, step: int, items: int, batch_size: int) -> UInt32[np.ndarray, " {batch_size}"]:
    """``epoch_items``, bit for bit, without JAX."""
    epoch, position = divmod(step, _steps(items, batch_size))
    places = (position * batch_size + np.arange(batch_size)).astype(np.uint32)
    # Arrays of one number: overflow of a NumPy scalar would warn.
    keys = _round_keys(np.asarray([seed], np.uint32), np.asarray([epoch], np.uint32), np)
    half = _half_bits(items)
    found = _network(places, keys, half)
    while (found >= items).any():
        found = np.where(found < items, found, _network(found, keys, half))
    return found


def _steps(items: int, batch_size: int) -> int:
    """Steps of an epoch; more than an int32 counts are never taken."""
    return min(items // batch_size, _LARGEST_STEPS)


def _half_bits(items: int) -> int:
    """Half the bits of the network's numbers, of which there are fewer than four times as many as items."""
    return max(_LEAST_HALF, ((items - 1).bit_length() + 1) // 2)


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


def _network(places: Any, keys: Any, half: int) -> Any:
    """A permutation of ``range(4 ** half)``."""
    bits, rest = np.uint32(half), np.uint32(32 - half)
    left, right = places >> bits, places & np.uint32(2**half - 1)
    for turn in range(_ROUNDS):
        left, right = right, left ^ (mixed(right * _GOLDEN + keys[turn]) >> rest)
    return (left << bits) | right
