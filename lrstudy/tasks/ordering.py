"""In which order a run visits samples whose quality is known: a curriculum as a number."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lrstudy.tasks.base import DATA_STREAM, stream_key


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
        sizes: samples, and how many of them a batch holds.
    """
    samples, batch_size = sizes
    epoch, position = jnp.divmod(step, samples // batch_size)
    uniform = jax.random.uniform(jax.random.fold_in(stream_key(seed, DATA_STREAM), epoch), (samples,))
    order = jnp.argsort(ordering * qualities(samples) + (1 - ordering) * uniform)
    return jax.lax.dynamic_slice_in_dim(order, position * batch_size, batch_size)


def check_ordering(ordering: float) -> None:
    """Checks an ordering.

    Raises:
        ValueError: it is outside [0, 1].
    """
    if not 0 <= ordering <= 1:
        raise ValueError(f"task.ordering must be in [0, 1], got {ordering!r}")
