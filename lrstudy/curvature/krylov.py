"""A Krylov space that grows one product at a time, and is thinned out when its buffer is full."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from lrstudy.curvature.vectors import norm

Flat = Float[Array, " n"]
_CHUNK = 8


class Krylov(NamedTuple):
    """An orthonormal basis Q of a Krylov space and the projection T = Q A Q^T of the operator.

    Attributes:
        basis: rows; those from ``filled`` on mean nothing.
        projection: T, symmetric; tridiagonal but for the arrow that a restart leaves.
        filled: rows that are filled.
        linked: whether the next row is coupled to the last one alone: not after a restart or a breakdown.
        previous: the last row; zeros where the next one is not linked.
        coming: the next row.
        coupling: of the last row and the next one: the norm of the remainder A q - Q^T Q A q.
        scale: largest entry of T so far.
        restarted: whether the recurrence must be made orthogonal to all rows.
        block_start: first row after the last breakdown.
        products: with the operator so far.
    """

    basis: Float[Array, "rows n"]
    projection: Float[Array, "rows rows"]
    filled: Int[Array, ""]
    linked: Bool[Array, ""]
    previous: Flat
    coming: Flat
    coupling: Float[Array, ""]
    scale: Float[Array, ""]
    restarted: Bool[Array, ""]
    block_start: Int[Array, ""]
    products: Int[Array, ""]


class Ritz(NamedTuple):
    """Eigenvalues of T, best first, and how far each is from one of the operator's.

    Attributes:
        values: of all rows; those that belong to no filled row come last.
        vectors: columns, in the coordinates of the basis.
        residuals: |A y - theta y| of the orthonormal basis: the coupling times the vector's last coordinate.
        in_block: whether it lies in the block since the last breakdown.
    """

    values: Float[Array, " rows"]
    vectors: Float[Array, "rows rows"]
    residuals: Float[Array, " rows"]
    in_block: Bool[Array, " rows"]


def start(vector: Flat, rows: int) -> Krylov:
    """The empty space of a start vector of length one."""
    kind, n = vector.dtype, vector.shape[0]
    zero, none = jnp.zeros((), kind), jnp.int32(0)
    return Krylov(
        jnp.zeros((rows, n), kind),
        jnp.zeros((rows, rows), kind),
        none,
        jnp.bool_(False),
        jnp.zeros_like(vector),
        vector,
        zero,
        zero,
        jnp.bool_(False),
        none,
        none,
    )


def extend(space: Krylov, matvec: Callable[[Flat], Flat], *, orthogonalise: bool) -> Krylov:
    """One more row and product.

    Args:
        space: with room for a row.
        matvec: the operator.
        orthogonalise: make the remainder orthogonal to every row. The recurrence makes it so but for rounding, which
            grows only once a Ritz vector has converged; up to there leaving it out gives the same values and, where
            products are cheap, saves half of the time.
    """
    row, q = space.filled, space.coming
    basis = space.basis.at[row].set(q)
    # The previous row is subtracted before the diagonal is read (Paige's order, which loses least to rounding).
    w = matvec(q) - space.coupling * space.previous
    alpha = jnp.vdot(q, w)
    w = w - alpha * q
    if orthogonalise:
        w = against(basis, against(basis, w, row + 1), row + 1)
    else:
        w = against(basis, w, jnp.where(space.restarted, row + 1, 0))
    beta = norm(w)
    last = jnp.where(row > 0, row - 1, row)
    coupled = jnp.where(space.linked, space.coupling, space.projection[row, last])
    projection = space.projection.at[row, last].set(coupled).at[last, row].set(coupled)
    projection = projection.at[row, row].set(alpha)
    return space._replace(
        basis=basis,
        projection=projection,
        filled=row + 1,
        linked=jnp.bool_(True),
        previous=q,
        coming=w / jnp.where(beta > 0, beta, 1),
        coupling=beta,
        scale=jnp.maximum(space.scale, jnp.maximum(jnp.abs(alpha), beta)),
        products=space.products + 1,
    )


def against(basis: Float[Array, "rows n"], vector: Flat, filled: Int[Array, ""]) -> Flat:
    """The part of a vector that is orthogonal to the first rows, which are taken a few at a time."""
    rows = basis.shape[0]
    chunk = min(_CHUNK, rows)

    def subtract(turn: Int[Array, ""], w: Flat) -> Flat:
        # The last chunk may reach back into the one before, whose rows it then must not subtract again.
        begin = jnp.minimum(turn * chunk, rows - chunk)
        piece = jax.lax.dynamic_slice_in_dim(basis, begin, chunk)
        places = begin + jnp.arange(chunk)
        wanted = (places >= turn * chunk) & (places < filled)
        return w - jnp.where(wanted, piece @ w, 0) @ piece

    return jax.lax.fori_loop(0, (filled + chunk - 1) // chunk, subtract, vector)


def has_broken_down(space: Krylov) -> Bool[Array, ""]:
    """Whether the space is invariant to rounding: its Ritz values are eigenvalues."""
    return space.coupling <= 10 * jnp.finfo(space.coupling.dtype).eps * space.scale


def reseed(space: Krylov, key: Key[Array, ""]) -> Krylov:
    """Goes on from a random direction outside of an invariant space, of which that direction's part is unknown."""
    fresh = jax.random.normal(key, space.coming.shape, space.coming.dtype)
    fresh = against(space.basis, against(space.basis, fresh, space.filled), space.filled)
    return space._replace(
        linked=jnp.bool_(False),
        previous=jnp.zeros_like(space.previous),
        coming=fresh / norm(fresh),
        coupling=jnp.zeros_like(space.coupling),
        block_start=space.filled,
    )


def ritz(space: Krylov, which: str) -> Ritz:
    """All Ritz values, in the order in which they are wanted (``LA``, ``SA`` or ``LM``)."""
    rows = space.projection.shape[0]
    place = jnp.arange(rows)
    known = place < space.filled
    inside = known[:, None] & known[None, :]
    t = jnp.where(inside, space.projection, 0)
    # Rows that are not filled get eigenvalues below all others, or zeros would pass for eigenvalues of the operator.
    # Of the operator's own size: beside a larger number its eigenvalues would be lost to rounding.
    largest = jnp.max(jnp.sum(jnp.abs(t), axis=1))
    padding = -2 * jnp.where(largest > 0, largest, 1)
    values, vectors = jnp.linalg.eigh(t + jnp.where(known, 0, padding) * jnp.eye(rows, dtype=t.dtype))
    is_real = jnp.sum(jnp.where(known[:, None], vectors**2, 0), axis=0) > 0.5
    wanted = {"LA": values, "SA": -values, "LM": jnp.abs(values)}[which]
    order = jnp.argsort(jnp.where(is_real, -wanted, jnp.inf), stable=True)
    values, vectors = values[order], vectors[:, order]
    last = vectors[jnp.maximum(space.filled - 1, 0)]
    in_block = jnp.sum(jnp.where((place >= space.block_start)[:, None], vectors**2, 0), axis=0) > 0.5
    return Ritz(values, vectors, jnp.abs(space.coupling * last), in_block & is_real[order])


def combined(space: Krylov, coordinates: Float[Array, "rows k"]) -> Float[Array, "k n"]:
    """Vectors by their coordinates in the filled rows, which are taken a few at a time: the others need not be read."""
    rows, n = space.basis.shape
    chunk = min(_CHUNK, rows)

    def add(turn: Int[Array, ""], total: Float[Array, "k n"]) -> Float[Array, "k n"]:
        begin = jnp.minimum(turn * chunk, rows - chunk)
        places = begin + jnp.arange(chunk)
        wanted = (places >= turn * chunk) & (places < space.filled)
        own = jax.lax.dynamic_slice_in_dim(coordinates, begin, chunk)
        return total + jnp.where(wanted[:, None], own, 0).T @ jax.lax.dynamic_slice_in_dim(space.basis, begin, chunk)

    empty = jnp.zeros((coordinates.shape[1], n), space.basis.dtype)
    return jax.lax.fori_loop(0, (space.filled + chunk - 1) // chunk, add, empty)


def thin(space: Krylov, best: Ritz, keep: int) -> Krylov:
    """Restarts from the wanted Ritz vectors and the next row: a full buffer goes on as one of ``keep`` rows.

    (Wu & Simon 2000, Thick-restart Lanczos.) T is then diagonal but for the arrow of their couplings to the next row.
    """
    rows = space.projection.shape[0]
    last = space.filled - 1
    chosen = best.vectors[:, :keep]
    basis = space.basis.at[:keep].set(chosen.T @ space.basis)
    arrow = space.coupling * chosen[last]
    values = jnp.where(jnp.arange(rows) < keep, best.values, 0)
    projection = jnp.diag(values)
    projection = projection.at[keep, :keep].set(arrow).at[:keep, keep].set(arrow)
    return space._replace(
        basis=basis,
        projection=projection,
        filled=jnp.int32(keep),
        linked=jnp.bool_(False),
        previous=jnp.zeros_like(space.previous),
        coupling=norm(arrow),
        restarted=jnp.bool_(True),
        block_start=jnp.int32(0),
    )
