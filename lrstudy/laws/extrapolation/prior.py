"""Learning curves as a prior imagines them: three families of saturating curves, mixed, and noise of one size a curve.

Adriaensen et al. 2023, Efficient Bayesian learning curve extrapolation using prior-data fitted networks (LC-PFN, arXiv
2310.20447), whose prior is a part of that of Domhan, Springenberg & Hutter 2015.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

LENGTH = 100
"""Points of a curve: t = 1, ..., 100, whatever a point of a real curve stands for."""

_BLOCK = 2048
"""Candidates drawn at once. Fixed, so that the first curves of a key do not depend on how many are asked for."""


class NoiselessCurves(NamedTuple):
    """Draws of the prior before their noise.

    Attributes:
        curves: in [0, 1], the last value above the first.
        sigmas: standard deviation of each curve's noise.
        acceptance: share of the candidates that were curves.
    """

    curves: Float[Array, "n length"]
    sigmas: Float[Array, " n"]
    acceptance: Float[Array, ""]


class _Drawing(NamedTuple):
    """What the loop over blocks of candidates carries; rows from ``found`` on are void."""

    curves: Float[Array, "rows length"]
    found: Int[Array, ""]
    blocks: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class LearningCurvePrior:
    """Curves y_t of t = 1, ..., 100 that rise overall, such as accuracies.

    y = w1 (c - a t^-alpha) + w2 (c' - a' / ln(t + 1)) + w3 (a'' - (a'' - b) exp(-k t^d)) + sigma e_t with

    - w1, w2, w3 uniform in (0, 1), which are not made to add up to one;
    - pow3: c uniform in (0, 1.25), a in (-0.6, 0.6), ln alpha normal with deviation 2;
    - ilog2: c' uniform in (0, 1), a' in (-0.5, 0.5);
    - Janoschek: a'' uniform in (0, 1), b in (0, 2), ln k normal with mean -2 and deviation 1, ln d with deviation 0.5;
    - e_t independent and normal, ln sigma normal with mean -4 and deviation 1.

    A sum that leaves [0, 1] before its noise, or whose last value is not above its first, is drawn again: a fifth is
    kept. With noise a curve may leave [0, 1].
    """

    def sample(self, key: Key[Array, ""], n: int) -> Float[Array, "n 100"]:
        """Curves with their noise.

        Args:
            key: of the draw.
            n: how many; a smaller n gives the first of them.

        Raises:
            ValueError: n is no int of at least one.
        """
        return _sample(key, _count(n))

    def noiseless(self, key: Key[Array, ""], n: int) -> NoiselessCurves:
        """The curves that `sample` draws with the same key, before their noise, and its deviations.

        Raises:
            ValueError: n is no int of at least one.
        """
        return _noiseless(key, _count(n))


def _count(n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be a positive int, got {n!r}")
    return n


@functools.partial(jax.jit, static_argnums=1)
def _sample(key: Key[Array, ""], n: int) -> Float[Array, "n 100"]:
    curves, sigmas, _ = _noiseless(key, n)
    return curves + sigmas[:, None] * _normal_rows(jax.random.fold_in(key, 2), n)


def _normal_rows(key: Key[Array, ""], n: int) -> Float[Array, "n 100"]:
    """Standard normal noise, every row of its own key so that the first rows are the same for every n."""
    return jax.vmap(lambda row: jax.random.normal(jax.random.fold_in(key, row), (LENGTH,)))(jnp.arange(n))


@functools.partial(jax.jit, static_argnums=1)
def _noiseless(key: Key[Array, ""], n: int) -> NoiselessCurves:
    curve_key, sigma_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)

    def draw(carry: _Drawing) -> _Drawing:
        candidates = _mixtures(jax.random.fold_in(curve_key, carry.blocks))
        kept = is_curve(candidates)
        # What is kept comes first; the rest of the block is overwritten by the next.
        block = candidates[jnp.argsort(~kept, stable=True)]
        curves = lax.dynamic_update_slice_in_dim(carry.curves, block, carry.found, 0)
        return _Drawing(curves, carry.found + kept.sum(dtype=jnp.int32), carry.blocks + 1)

    first = _Drawing(jnp.zeros((n + _BLOCK, LENGTH)), jnp.int32(0), jnp.int32(0))
    last = lax.while_loop(lambda carry: carry.found < n, draw, first)
    sigmas = jnp.exp(-4 + jax.vmap(lambda row: jax.random.normal(jax.random.fold_in(sigma_key, row)))(jnp.arange(n)))
    return NoiselessCurves(last.curves[:n], sigmas, last.found / (last.blocks * _BLOCK))


def is_curve(candidates: Float[Array, "n length"]) -> Bool[Array, " n"]:
    """Which sums of the families the prior keeps; not-a-number is not kept."""
    inside = ((candidates >= 0) & (candidates <= 1)).all(1)
    return inside & (candidates[:, -1] > candidates[:, 0])


def _mixtures(key: Key[Array, ""]) -> Float[Array, "block length"]:
    """A block of sums of the three families."""
    uniform_key, normal_key = jax.random.split(key)
    u = jax.random.uniform(uniform_key, (9, _BLOCK, 1))
    z = jax.random.normal(normal_key, (3, _BLOCK, 1))
    t = jnp.arange(1, LENGTH + 1, dtype=jnp.float32)
    log_t = jnp.log(t)
    pow3 = 1.25 * u[3] - _between(u[4], 0.6) * jnp.exp(-jnp.exp(2 * z[0]) * log_t)
    ilog2 = u[5] - _between(u[6], 0.5) / jnp.log(t + 1)
    start, asymptote = 2 * u[8], u[7]
    k, d = jnp.exp(-2 + z[1]), jnp.exp(0.5 * z[2])
    janoschek = asymptote - (asymptote - start) * jnp.exp(-k * jnp.exp(d * log_t))
    return u[0] * pow3 + u[1] * ilog2 + u[2] * janoschek


def _between(uniform: Array, bound: float) -> Array:
    """Stretches (0, 1) to (-bound, bound)."""
    return bound * (2 * uniform - 1)
