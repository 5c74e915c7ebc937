"""In which order a run visits samples whose quality is known: a curriculum as a number."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lrstudy.tasks.base import DATA_STREAM, stream_key

MAX_SAMPLES = 2**16


def qualities(samples: int) -> Float[Array, " samples"]:
    """The quality of every sample, evenly spaced in (0, 1): samples are numbered from the worst to the best."""
    return (jnp.arange(samples) + 0.5) / samples


def visited(
    seed: Int[Array, ""], step: Int[Array, ""], ordering: float | Float[Array, ""], sizes: tuple[int, int]
) -> Int[Array, " batch"]:
    """The samples of the batch of ``(seed, step)``.

    Samples are visited by ``ordering`` times their quality plus the rest times a uniform number of their own: at 0 the
    order is random, at 1 it ascends in quality, between them it is sorted in part. Every pass visits each sample at
    most once, what does not fill a batch not at all, and draws its random numbers anew.

    Args:
        seed: of the run.
        step: of the run.
        ordering: in [0, 1].
        sizes: samples, at most ``MAX_SAMPLES``, and how many of them a batch holds.
    """
    samples, batch_size = sizes
    epoch, position = jnp.divmod(step, samples // batch_size)
    uniform = jax.random.uniform(jax.random.fold_in(stream_key(seed, DATA_STREAM), epoch), (samples,))
    # A sort of plain integers is several times faster than one that carries the places along, so a place is written
    # into the low bits of its key. The rest, 16 bits or more and no more than float32 holds, is left for the value;
    # equal ones go by their place.
    place_bits = max(8, (samples - 1).bit_length())
    levels = 2 ** (32 - place_bits)
    value = ordering * qualities(samples) + (1 - ordering) * uniform
    level = jnp.clip(jnp.floor(value * levels), 0, levels - 1).astype(jnp.uint32)
    ordered = jnp.sort((level << place_bits) | jnp.arange(samples, dtype=jnp.uint32))
    chosen = jax.lax.dynamic_slice_in_dim(ordered, position * batch_size, batch_size)
    return (chosen & (2**place_bits - 1)).astype(jnp.int32)


def check_ordering(ordering: float, samples: int) -> None:
    """Checks an ordering of so many samples.

    Raises:
        ValueError: it is outside [0, 1], or there are none or too many samples.
    """
    if not 0 <= ordering <= 1:
        raise ValueError(f"task.ordering must be in [0, 1], got {ordering!r}")
    if not 1 <= samples <= MAX_SAMPLES:
        raise ValueError(f"task.samples must be in [1, {MAX_SAMPLES}], got {samples!r}")
