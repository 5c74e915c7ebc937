"""Many fits of a law at once: the log-Huber objective, minimised by Levenberg and Marquardt from many starts."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lrstudy.laws.drops import Drops, padded_drops
from lrstudy.laws.law import Law, Sample

HUBER = 1e-3
"""Error of the log loss beyond which the objective grows linearly (arXiv:2203.15556, arXiv:2408.11029)."""

ITERATIONS = 20
"""Of one call."""

MOST_CALLS = 10
"""For starts that are followed to the solver's tolerance."""

TOLERANCE = 1e-8
_BATCH = 8
"""Starts of one call: so few that a batch stays in a core's cache."""

_ROUND = 64
"""Rows are filled up to a multiple of this, so that fits of similar sizes share one program."""


class Solved(NamedTuple):
    """What became of every start.

    Attributes:
        values: parameter name to shape (starts,).
        objective: sum of Huber losses of the log losses, shape (starts,); infinite where nothing finite was found.
        converged: whether the solver's tolerance was met, shape (starts,).
    """

    values: dict[str, np.ndarray]
    objective: np.ndarray
    converged: np.ndarray

    def best(self, count: int) -> "Solved":
        """The starts with the smallest objectives, the best first."""
        order = np.argsort(self.objective)[:count]
        return Solved({name: v[order] for name, v in self.values.items()}, self.objective[order], self.converged[order])


class _Problem(NamedTuple):
    """A sample on the device; rows beyond its own are to count 0 times."""

    rows: dict[str, Any]
    log_losses: Any
    least: Any


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Fits run in float64 on the host: they are small, and their optima are flat."""
    with jax.enable_x64(True), jax.default_device("cpu"):
        yield


def solve(
    law: Law,
    sample: Sample,
    starts: Mapping[str, np.ndarray],
    counts: np.ndarray | None = None,
    *,
    calls: int = 1,
    held: bool = False,
) -> Solved:
    """Minimises the objective from every start.

    Args:
        law: whose formula; its parameters are of no consequence.
        sample: rows and losses.
        starts: parameter name to shape (starts,).
        counts: how often each row counts for each start, shape (starts, n); None: once.
        calls: how often the solver goes on for 20 iterations, unless it meets its tolerance before.
        held: whether parameters with an anchor stay where they start.
    """
    points = np.stack([p.free(starts[p.name]) for p in law.parameters], axis=-1)
    holds = np.array([held and p.anchor is not None for p in law.parameters])
    count = len(points)
    if counts is None:
        counts = np.ones((count, len(sample.losses)))
    with double_precision():
        problem = _padded(sample)
        more = (0, len(problem.log_losses) - counts.shape[1])
        found = [
            _batch(
                type(law),
                points[i : i + _BATCH],
                np.pad(counts[i : i + _BATCH], [(0, 0), more]),
                (holds, problem),
                calls,
            )
            for i in range(0, count, _BATCH)
        ]
        points, objective, converged = (np.concatenate(column) for column in zip(*found, strict=True))
        natural = {p.name: np.asarray(p.bounded(points[:, i])) for i, p in enumerate(law.parameters)}
    return Solved(natural, objective, converged)


def _batch(cls: type[Law], points: np.ndarray, counts: np.ndarray, data: Any, calls: int) -> tuple[np.ndarray, ...]:
    """At most ``_BATCH`` starts; the place of missing ones is taken by copies."""
    count = len(points)
    places = np.arange(_BATCH) % count
    found = np.asarray(points[places]), np.full(_BATCH, np.inf), np.zeros(_BATCH, bool)
    own = jnp.asarray(counts[places])
    for _ in range(calls):
        found = tuple(np.asarray(one) for one in _program(cls)(jnp.asarray(found[0]), own, *data))
        if found[2].all():
            break
    return tuple(one[:count] for one in found)


def _padded(sample: Sample) -> _Problem:
    count = len(sample.losses)
    more = -count % _ROUND

    def fill(rows: Any) -> Any:
        if isinstance(rows, Drops):
            strips = len(rows.row) + -len(rows.row) % _ROUND
            return jax.tree.map(jnp.asarray, padded_drops(rows, strips, count + more - 1))
        return jnp.asarray(np.concatenate([rows, np.repeat(rows[-1:], more, axis=0)]))

    return _Problem(
        {name: fill(rows) for name, rows in sample.rows.items()},
        fill(np.log(sample.losses)),
        jnp.asarray(1e-3 * sample.losses.min()),
    )


@functools.cache
def _program(cls: type[Law]) -> Any:
    """One program a law: it takes rows, starts and counts as data."""
    import optimistix

    law = cls.unfitted()
    solver = optimistix.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)

    def residuals(free: Float[Array, " p"], data: tuple[_Problem, Array]) -> Float[Array, " n"]:
        problem, counts = data
        values = {p.name: p.bounded(free[i]) for i, p in enumerate(law.parameters)}
        error = _log_loss(law.with_values(values).formula(problem.rows), problem.least) - problem.log_losses
        return jnp.sqrt(counts) * _huber_residual(error)

    def one(start: Any, counts: Any, holds: Any, problem: _Problem) -> tuple[Any, ...]:
        data = (problem, counts)
        found = optimistix.least_squares(
            lambda free, data: residuals(jnp.where(holds, start, free), data),
            solver,
            start,
            data,
            max_steps=ITERATIONS,
            throw=False,
        )
        free = jnp.where(holds, start, found.value)
        objective = 0.5 * jnp.sum(residuals(free, data) ** 2)
        objective = jnp.where(jnp.isfinite(objective), objective, jnp.inf)
        return free, objective, found.result == optimistix.RESULTS.successful

    return jax.jit(jax.vmap(one, in_axes=(0, 0, None, None)))


def _log_loss(losses: Any, least: Any) -> Any:
    """The logarithm of predicted losses; below ``least`` its tangent goes on, so that a fit may pass through 0."""
    return jnp.where(losses > least, jnp.log(jnp.maximum(losses, least)), jnp.log(least) + losses / least - 1)


def _huber_residual(error: Any) -> Any:
    """A number whose half square is the Huber loss of the error, as least squares want it."""
    size = jnp.abs(error)
    beyond = jnp.sqrt(2 * HUBER * jnp.maximum(size, HUBER) - HUBER**2)
    return jnp.where(size <= HUBER, error, jnp.sign(error) * beyond)
