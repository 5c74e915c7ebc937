"""The density of an operator's eigenvalues by stochastic Lanczos quadrature.

(Ghorbani, Krishnan & Xiao 2019, An investigation into neural net optimization via Hessian eigenvalue density,
arXiv 1901.10159; Golub & Welsch 1969 for the quadrature.)
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key

from lrstudy.curvature import krylov
from lrstudy.curvature.krylov import Krylov
from lrstudy.curvature.lanczos import as_key, flat_matvec
from lrstudy.curvature.operator import Operator
from lrstudy.curvature.vectors import random_like

_REACH = 6.0
"""The grid goes so many widths of the kernel beyond the outermost nodes, which leaves out 1e-9 of it."""


class Quadrature(NamedTuple):
    """Nodes and weights: the mean of f over the eigenvalues is about the sum of weight times f(node), for each draw.

    Attributes:
        nodes: descending for each draw. Where a draw's Krylov space was invariant before its last step, what is left
            over repeats the first node with weight 0.
        weights: of each draw they add up to 1; NaN where a product was not finite.
        matvecs: products made, of all draws.
    """

    nodes: Float[Array, "draws steps"]
    weights: Float[Array, "draws steps"]
    matvecs: Int[Array, ""]


class Moment(NamedTuple):
    """An estimated mean of a power of the eigenvalues.

    Attributes:
        estimate: the mean over draws.
        standard_error: from their spread; NaN of a single draw.
    """

    estimate: Float[Array, ""]
    standard_error: Float[Array, ""]


def spectral_quadrature(operator: Operator, key: Key[Array, ""], *, draws: int = 4, steps: int = 80) -> Quadrature:
    """Gauss quadrature of the spectral measure of random start vectors, by Lanczos' method with full orthogonalisation.

    The nodes of a draw are its Ritz values, the weights the squares of their vectors' first components. It is exact
    for polynomials of degree up to ``2 steps - 1`` in the start vector's own measure, whose mean over start vectors is
    the operator's. It may be called inside ``jit``; it never raises there.

    Args:
        operator: A, symmetric.
        key: of the start vectors.
        draws: start vectors, one after the other.
        steps: products a draw at most; fewer where the operator is smaller or the space is invariant before.

    Raises:
        ValueError: draws or steps below 1.
    """
    for name, value in (("draws", draws), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")
    return _quadrature(operator, as_key(key), draws, steps)


@functools.partial(jax.jit, static_argnames=("draws", "steps"))
def _quadrature(operator: Operator, key: Key[Array, ""], draws: int, steps: int) -> Quadrature:
    matvec, rows = flat_matvec(operator), min(steps, operator.n)

    def unfinished(space: Krylov) -> Array:
        # A coupling that is not a number compares as false, so that a draw which met one goes on to its last step.
        return (space.filled < rows) & ~((space.filled > 0) & krylov.has_broken_down(space))

    def draw(key: Key[Array, ""]) -> Quadrature:
        first = krylov.start(random_like(key, operator.example), rows)
        extend = functools.partial(krylov.extend, matvec=matvec, orthogonalise=True)
        space = jax.lax.while_loop(unfinished, extend, first)
        found = krylov.ritz(space, "LA")
        weights = found.vectors[0] ** 2
        # Rows that were not filled have values that mean nothing; they come last.
        nodes = jnp.where(jnp.arange(rows) < space.filled, found.values, found.values[0])
        weights = jnp.where(jnp.arange(rows) < space.filled, weights, 0)
        finite = jnp.isfinite(space.scale) & jnp.isfinite(space.coupling)
        nodes, weights = (jnp.where(finite, x, jnp.nan) for x in (nodes, weights / jnp.sum(weights)))
        return Quadrature(nodes, weights, space.products)

    found = jax.lax.map(draw, jax.random.split(key, draws))
    return found._replace(matvecs=jnp.sum(found.matvecs))


def moment(quadrature: Quadrature, power: int) -> Moment:
    """The mean of a power of the eigenvalues, ``tr(A^power) / n``.

    Args:
        quadrature: of A.
        power: at least 0, and at most ``2 steps - 1`` for the quadrature itself to be exact.

    Raises:
        ValueError: a negative power.
    """
    if power < 0:
        raise ValueError(f"power must be at least 0, got {power!r}")
    samples = jnp.sum(quadrature.weights * quadrature.nodes**power, axis=1)
    draws = samples.shape[0]
    if draws == 1:
        return Moment(samples[0], jnp.full_like(samples[0], jnp.nan))
    return Moment(jnp.mean(samples), jnp.std(samples, ddof=1) / jnp.sqrt(draws))


def spectral_density(
    operator: Operator,
    key: Key[Array, ""],
    *,
    draws: int = 4,
    steps: int = 80,
    sigma: float | Array | None = None,
    points: int = 1024,
) -> tuple[Float[Array, " points"], Float[Array, " points"]]:
    """The density of the eigenvalues, smoothed by a Gaussian kernel; see ``spectral_quadrature``.

    Args:
        operator: A, symmetric.
        key: of the start vectors.
        draws: start vectors.
        steps: products a draw at most.
        sigma: the kernel's standard deviation, in units of the eigenvalues; ``None``: the range of the nodes over
            ``steps``, which is about what the quadrature resolves (of a single node: its size over ``steps``).
        points: of the grid.

    Returns:
        ``(grid, density)``: equally spaced values, from six sigma below the smallest node to six above the largest; and
        the mean of the density over a cell of the grid around each, so that its sum times the spacing is 1 however
        narrow the kernel is. NaN where a product was not finite.

    Raises:
        ValueError: draws or steps below 1, a sigma that is not positive, or fewer than 2 points.
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points!r}")
    if sigma is not None and not isinstance(sigma, Tracer) and not 0 < float(sigma) < float("inf"):
        raise ValueError(f"sigma must be a positive number, got {sigma!r}")
    found = spectral_quadrature(operator, key, draws=draws, steps=steps)
    return _smoothed(found, sigma, points, steps)


@functools.partial(jax.jit, static_argnames=("points", "steps"))
def _smoothed(found: Quadrature, sigma: Array | None, points: int, steps: int) -> tuple[Array, Array]:
    nodes, weights = found.nodes.ravel(), found.weights.ravel() / found.nodes.shape[0]
    low, high = jnp.min(nodes), jnp.max(nodes)
    if sigma is None:
        size = jnp.maximum(jnp.abs(low), jnp.abs(high))
        # Copies of one eigenvalue differ by rounding, which is no range.
        is_range = high - low > 100 * jnp.finfo(nodes.dtype).eps * size
        sigma = jnp.where(is_range, high - low, jnp.where(size > 0, size, 1)) / steps
    width = jnp.asarray(sigma, nodes.dtype)
    grid = jnp.linspace(low - _REACH * width, high + _REACH * width, points)
    spacing = (grid[-1] - grid[0]) / (points - 1)
    edges = jnp.concatenate([grid - spacing / 2, grid[-1:] + spacing / 2])
    below = jax.scipy.stats.norm.cdf((edges[:, None] - nodes) / width) @ weights
    return grid, jnp.diff(below) / spacing
