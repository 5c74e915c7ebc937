"""Averages of checkpoints, which do what a decay of the learning rate does without spending steps on it.

Where a decay would scale the j-th increment of a constant-rate run by d_j, the weights c_j = d_j - d_(j+1) on its
checkpoints give the same point. "How LR decay wastes your best data in curriculum-based pretraining" (arXiv 2511.18903)
averages the last six checkpoints of a run; latest weight averaging (LAWA, arXiv 2209.14981) keeps a window of them
while the run goes on.
"""

import difflib
import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lrstudy.schedules import SHAPES

KINDS = ("uniform", "ema", "ema_normalised", "linear", *(f"decay:{shape}" for shape in SHAPES))
DECAY_END = 0.1
"""Last rate over peak of the shapes that cannot reach zero."""
_SHAPE_PARAMETERS = {"power": 2.0, "d": 0.5}


def merge_weights(kind: str, k: int, alpha: float = 0.2) -> Float[np.ndarray, " k"]:
    """The weights of k checkpoints, oldest first; they sum to one.

    Args:
        kind: ``uniform``; ``ema``, the recursion m <- alpha x + (1 - alpha) m started at the oldest checkpoint, which
            so has the weight (1 - alpha)^(k - 1): a third of six checkpoints at alpha 0.2; ``ema_normalised``,
            proportional to (1 - alpha)^age; ``linear``, proportional to 1, 2, ..., k; ``decay:<shape>`` with a shape of
            ``schedules.SHAPES``, which puts the decay's multipliers on the k - 1 increments between the checkpoints.
            A decay begins at the oldest checkpoint and ends, at zero (at ``DECAY_END`` where the shape cannot), with
            the last increment.
        k: how many.
        alpha: of the two ``ema`` kinds, in (0, 1).

    Raises:
        ValueError: an unknown kind, a k that is no int of at least one, or an alpha that is no number in (0, 1).
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f" (nearest: {near[0]!r})" if near else ""
        raise ValueError(f"kind must be one of {list(KINDS)}{hint}, got {kind!r}")
    _check_positive_int("k", k)
    if isinstance(alpha, bool) or not isinstance(alpha, numbers.Real) or not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha!r}")
    age = np.arange(k - 1, -1, -1)
    if kind == "ema":
        return np.where(age == k - 1, 1.0, alpha) * (1 - alpha) ** age
    if kind.startswith("decay:"):
        return decay_weights(_multipliers(kind.removeprefix("decay:"), k))
    shares = {"uniform": np.ones(k), "linear": k - age.astype(float), "ema_normalised": (1 - alpha) ** age}[kind]
    return shares / shares.sum()


def _check_positive_int(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name} must be a positive int, got {value!r}")


def decay_weights(multipliers: Float[np.ndarray, " increments"]) -> Float[np.ndarray, " checkpoints"]:
    """The weights of checkpoints, oldest first, that put these multipliers on the increments between them.

    x_0 + sum_j d_j (x_j - x_(j-1)) = sum_j c_j x_j with c_j = d_j - d_(j+1), d_0 = 1 and nothing after the last.

    Args:
        multipliers: d_1, ..., one fewer than there are checkpoints.
    """
    d = np.concatenate([[1.0], multipliers, [0.0]])
    return d[:-1] - d[1:]


def _multipliers(shape: str, k: int) -> Float[np.ndarray, " increments"]:
    """The rate over the peak at the end of each of k - 1 equal stretches of a decay, in float64."""
    row = SHAPES[shape]
    end = DECAY_END if row.positive_end else 0.0
    over = np.arange(1, k - 1)
    parameters = {name: _SHAPE_PARAMETERS[name] for name in row.parameters}
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        u, v = jnp.asarray(over / (k - 1)), jnp.asarray(1 - over / (k - 1))
        inside = np.asarray(row.rate(u, v, jnp.asarray(1.0), jnp.asarray(end), **parameters))
    return np.concatenate([inside, [end]])[: k - 1]


def merge(checkpoints: Sequence[Any], weights: Sequence[float] | Float[np.ndarray, " k"] | Float[Array, " k"]) -> Any:
    """The weighted sum of parameter trees, added up in float32 at least and returned in the trees' own types.

    Args:
        checkpoints: trees of one structure, oldest first.
        weights: one a checkpoint; may be traced.

    Raises:
        ValueError: there are not as many weights as checkpoints, or none.
    """
    if len(checkpoints) != len(weights) or not len(checkpoints):
        raise ValueError(f"weights must be one for each of {len(checkpoints)} > 0 checkpoints, got {len(weights)}")
    return jax.tree.map(lambda *leaves: _weighted(jnp.stack(leaves), weights), *checkpoints)


def _weighted(stacked: Any, weights: Any) -> Array:
    """The sum over the first axis, weighted."""
    wide = jnp.promote_types(stacked.dtype, jnp.float32)
    total = jnp.tensordot(jnp.asarray(weights, wide), stacked.astype(wide), axes=1, precision="highest")
    return total.astype(stacked.dtype)


class WindowState(NamedTuple):
    """The latest checkpoints of a running average.

    Attributes:
        seen: updates of the average so far.
        taken: checkpoints kept so far, those that have left the window included.
        ring: n parameter trees, stacked, float32; the checkpoint taken as number i is at ``i % n``.
    """

    seen: Int[Array, ""]
    taken: Int[Array, ""]
    ring: Any


def window_init(params: Any, n: int) -> WindowState:
    """A window of n checkpoints before the first; until then its average is ``params``.

    Raises:
        ValueError: n is no int of at least one.
    """
    _check_positive_int("n", n)
    ring = jax.tree.map(lambda p: jnp.repeat(jnp.asarray(p, jnp.float32)[None], n, axis=0), params)
    return WindowState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), ring)


def window_update(state: WindowState, params: Any, interval: int | Int[Array, ""] = 1) -> WindowState:
    """Shows the window the parameters after an update; every ``interval``-th ones are kept."""
    seen = state.seen + 1
    take = seen % interval == 0
    place = state.taken % len(jax.tree.leaves(state.ring)[0])

    def kept(ring: Array, leaf: Any) -> Array:
        return ring.at[place].set(jnp.where(take, jnp.asarray(leaf, jnp.float32), ring[place]))

    return WindowState(seen, state.taken + take, jax.tree.map(kept, state.ring, params))


def window_average(state: WindowState, weights: Float[Array, " n"] | Float[np.ndarray, " n"] | None = None) -> Any:
    """The mean of the checkpoints in the window (LAWA), or their weighted sum, in float32.

    Args:
        state: of the window.
        weights: oldest first, for a full window; while it fills, those of the checkpoints that are there are scaled to
            sum to one. Where these are all zero, as that of the newest checkpoint is under a decay to zero, the newest
            alone is the average.
    """
    n = len(jax.tree.leaves(state.ring)[0])
    filled = jnp.clip(state.taken, 1, n)
    age = (state.taken - 1 - jnp.arange(n)) % n
    oldest_first = jnp.ones(n) if weights is None else jnp.asarray(weights, jnp.float32)
    here = jnp.where(age < filled, oldest_first[n - 1 - age], 0.0)
    total = jnp.sum(here)
    share = jnp.where(total == 0, age == 0, here / jnp.where(total == 0, 1.0, total))
    return jax.tree.map(lambda ring: _weighted(ring, share), state.ring)


class EmaState(NamedTuple):
    """An exponential moving average of parameters.

    Attributes:
        seen: updates of the average so far.
        mean: the average, float32.
    """

    seen: Int[Array, ""]
    mean: Any


def ema_init(params: Any) -> EmaState:
    """An average before its first checkpoint; until then it is ``params``."""
    return EmaState(jnp.zeros((), jnp.int32), jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params))


def ema_update(
    state: EmaState,
    params: Any,
    decay: float | Float[Array, ""],
    interval: int | Int[Array, ""] = 1,
    start: int | Int[Array, ""] = 0,
) -> EmaState:
    """Shows the average the parameters after an update; every ``interval``-th ones are averaged in.

    The first of them is the average's start, as in ``merge_weights("ema", ...)`` with alpha = 1 - decay.

    Args:
        state: of the average.
        params: after the update.
        decay: the part of the average that stays, in [0, 1).
        interval: updates between two checkpoints.
        start: updates that are let pass first, for instance a warmup.
    """
    seen = state.seen + 1
    past = seen - start
    take, first = (past > 0) & (past % interval == 0), past == interval
    share = jnp.where(take, 1 - jnp.asarray(decay, jnp.float32), 0.0)

    def moved(mean: Array, leaf: Any) -> Array:
        wide = jnp.asarray(leaf, jnp.float32)
        return jnp.where(first, wide, mean + share * (wide - mean))

    return EmaState(seen, jax.tree.map(moved, state.mean, params))
