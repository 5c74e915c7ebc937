"""How much larger the largest eigenvalue is on a batch than on all data."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lrstudy.curvature.hessian import Loss, check_batch, example_count, hessian
from lrstudy.curvature.lanczos import as_key, top_eigs


class BatchInflation(NamedTuple):
    """The largest eigenvalue of Hessians of batches.

    Attributes:
        sizes: of the batches, as asked for.
        effective_sizes: ``b / (1 - b / N)`` for b of N examples: batches drawn without replacement differ from all data
            as if they were so large and drawn with it; infinite at ``b = N``.
        values: largest eigenvalue of each batch; NaN where a product was not finite.
        full: that of all data.
        statuses: a ``Status`` each: how the solves ended.
    """

    sizes: Int[np.ndarray, " sizes"]
    effective_sizes: Float[np.ndarray, " sizes"]
    values: Float[np.ndarray, "sizes draws"]
    full: float
    statuses: Int[np.ndarray, "sizes draws"]


def batch_inflation(
    loss: Loss,
    params: Any,
    data: Any,
    sizes: Sequence[int],
    draws: int,
    key: Key[Array, ""],
    *,
    tol: float = 1e-3,
    max_matvecs: int = 64,
) -> BatchInflation:
    """The largest eigenvalue of the Hessian of random batches, for several sizes, and of all data.

    Batches are drawn without replacement, each size and draw anew; at size N there is one, whose examples come in
    another order. A mean over batches is never below the full value, but for chance: the largest eigenvalue is convex.
    Compiled once for a loss, the shapes and each size.

    Args:
        loss: mean over the batch, and the same at every call; see ``hessian``. Give the same function every time.
        params: where.
        data: all examples: a pytree of arrays with one leading axis, of length N.
        sizes: of the batches, each in [1, N].
        draws: batches of each size.
        key: of the batches and of the solvers' start vectors.
        tol: see ``top_eigs``.
        max_matvecs: see ``top_eigs``.

    Raises:
        ValueError: no sizes, one outside [1, N], draws below 1, or what ``hessian`` and ``top_eigs`` refuse.
    """
    check_batch(data)
    examples = example_count(data)
    chosen = np.asarray(sizes)
    if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iu":
        raise ValueError(f"sizes must be a sequence of at least one whole number, got {sizes!r}")
    if chosen.min() < 1 or chosen.max() > examples:
        raise ValueError(f"sizes must be in [1, N], N being the {examples} examples, got {sizes!r}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws!r}")
    options = (tol, max_matvecs)
    key = as_key(key)
    full = top_eigs(hessian(loss, params, data), key, tol=tol, max_matvecs=max_matvecs)
    found = []
    for size in map(int, chosen):
        # The key goes by the size, so that a size's batches do not depend on which others are asked for.
        keys = jax.random.split(jax.random.fold_in(key, size), draws if size < examples else 1)
        values, statuses = jax.device_get(_largest(loss, params, data, keys, size, options))
        found.append((np.broadcast_to(values, draws), np.broadcast_to(statuses, draws)))
    with np.errstate(divide="ignore"):
        effective = chosen / (1 - chosen / examples)
    values, statuses = (np.stack(column) for column in zip(*found, strict=True))
    return BatchInflation(chosen, effective, values, float(full.values[0]), statuses)


@functools.partial(jax.jit, static_argnames=("loss", "size", "options"))
def _largest(
    loss: Loss, params: Any, data: Any, keys: Key[Array, " draws"], size: int, options: tuple[float, int]
) -> tuple[Float[Array, " draws"], Int[Array, " draws"]]:
    tol, max_matvecs = options

    def largest(key: Key[Array, ""]) -> tuple[Float[Array, ""], Int[Array, ""]]:
        batch_key, start_key = jax.random.split(key)
        places = jax.random.permutation(batch_key, jax.tree.leaves(data)[0].shape[0])[:size]
        batch = jax.tree.map(lambda x: jnp.asarray(x)[places], data)
        found = top_eigs(hessian(loss, params, batch), start_key, tol=tol, max_matvecs=max_matvecs)
        return found.values[0], found.status

    return jax.lax.map(largest, keys)
