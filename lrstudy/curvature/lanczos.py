"""The extreme eigenvalues of a symmetric operator by Lanczos' method, in one compiled loop that stops early."""

import enum
import functools
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, Key

from lrstudy.curvature import krylov
from lrstudy.curvature.errors import explaining_custom_vjp
from lrstudy.curvature.krylov import Flat, Krylov
from lrstudy.curvature.operator import Operator
from lrstudy.curvature.vectors import Vector, flatten, norm, random_like, unflattener, working_type

Which = Literal["LA", "SA", "LM"]
FlatMatvec = Callable[[Flat], Flat]

DENSE_SIZE = 32
"""Up to this size the matrix is formed."""
_EXACT_SIZE = 512
"""Up to this size every remainder is made orthogonal to all rows, which costs nothing there."""
_ROWS = 24
"""Rows of the basis before it is thinned out; most solves of one eigenvalue end before."""
_MIN_MATVECS = 4
_CONFIRM = 2
_SYMMETRY = 2e-3
_LOWEST_TOL = {"float32": 1e-6, "float64": 1e-12}
_RECURRENCE_TOL = 1e-5
"""Below it the recurrence's residual is not the true one in float32; a product more measures that."""


class Status(enum.IntEnum):
    """How a solve ended."""

    CONVERGED = 0
    MAX_MATVECS = 1
    BREAKDOWN = 2
    """The given start vector lies in an invariant space: the values are eigenvalues, but larger ones may be missed."""
    NON_FINITE = 3
    ASYMMETRIC = 4
    """Two products contradict each other: the loss changes between calls (dropout, batch statistics, a new batch)."""


class EigResult(NamedTuple):
    """Eigenvalues with what is needed to trust them.

    Attributes:
        values: k of them, descending (``LA``), ascending (``SA``) or descending in size (``LM``); NaN for the statuses
            ``NON_FINITE`` and ``ASYMMETRIC``.
        vectors: pytree like the operator's example with a leading axis k, of length one each.
        residuals: ``|A v - value v|``: some eigenvalue lies this near to the value.
        matvecs: products made, the symmetry probe's included.
        status: a ``Status``.
    """

    values: Float[Array, " k"]
    vectors: Any
    residuals: Float[Array, " k"]
    matvecs: Int[Array, ""]
    status: Int[Array, ""]


class Options(NamedTuple):
    """What a solve is compiled for; see ``top_eigs``."""

    k: int
    which: Which
    tol: float
    max_matvecs: int
    is_random: bool


class _Search(NamedTuple):
    """A solve on its way: the space, its wanted Ritz values after the last steps (newest first), and its end."""

    space: Krylov
    history: Float[Array, "steps k"]
    done: Bool[Array, ""]
    status: Int[Array, ""]


def top_eigs(
    operator: Operator,
    key_or_vector: Key[Array, ""] | Vector,
    *,
    k: int = 1,
    which: Which = "LA",
    tol: float = 1e-3,
    max_matvecs: int = 64,
    check_symmetry: bool = False,
    dense: bool = True,
) -> EigResult:
    """The k most extreme eigenvalues and their vectors.

    Lanczos' method from a random or a given start. It stops once every wanted Ritz pair has a residual of at most
    ``tol`` times its value, and that value has grown by less than ``tol`` over the last two products: a residual alone
    may be small on the second eigenvalue when the first is near. At the default the eigenvalue's error is the residual
    squared over the gap, some 1e-6. For k > 1 a multiple eigenvalue may be found once only, unless the space breaks
    down before.

    It may be called inside ``jit``, ``vmap`` and a mapped axis; it never raises there, ``status`` tells. Outside it is
    compiled once for a loss and shapes (see ``hessian``), not once a call.

    Args:
        operator: A.
        key_or_vector: a key, for a random start; or a start vector like the operator's example, such as the
            eigenvector of a nearby operator.
        k: how many.
        which: ``LA`` the largest, as sharpness means; ``SA`` the smallest; ``LM`` the largest in size.
        tol: relative residual; at most 1e-6 makes sense in float32.
        max_matvecs: products at most, the probe's and the last residual's not counted.
        check_symmetry: first compare u^T A v with v^T A u for a random u and v = A u, at two products more.
        dense: form the matrix where it has at most 32 rows.

    Returns:
        The eigenvalues; after ``max_matvecs`` those reached so far, their residuals being their error bars.

    Raises:
        ValueError: a bad argument, or a start vector of zeros.

    Example:
        >>> import jax.numpy as jnp
        >>> from lrstudy.curvature import hessian
        >>> operator = hessian(lambda w, scales: jnp.sum(scales * w**2) / 2, jnp.ones(3), jnp.float32([1, 4, 9]))
        >>> found = top_eigs(operator, jax.random.key(0))
        >>> round(float(found.values[0]), 4)
        9.0
    """
    n = operator.n
    if not 1 <= k <= n:
        raise ValueError(f"k must be in [1, n], n being the operator's size {n}, got {k!r}")
    if which not in get_args(Which):
        raise ValueError(f"which must be one of {list(get_args(Which))}, got {which!r}")
    if max_matvecs < max(k, 2):
        raise ValueError(f"max_matvecs must be at least max(k, 2), got {max_matvecs!r}")
    tol = _checked_tol(tol, working_type(operator.example))
    is_random = is_key(key_or_vector)
    if not is_random:
        _check_start(operator, key_or_vector)
    options = Options(k, which, tol, max_matvecs, is_random)
    with explaining_custom_vjp():
        return _compiled(operator, key_or_vector, options, check_symmetry, dense=dense)


def is_key(value: Any) -> bool:
    """Whether this is a random key, typed or of the old kind, and not a vector."""
    kind = getattr(value, "dtype", None)
    if kind is None:
        return False
    return bool(jnp.issubdtype(kind, jax.dtypes.prng_key)) or (kind == jnp.uint32 and value.shape == (2,))


@functools.partial(jax.jit, static_argnames=("options", "check_symmetry", "dense"))
def _compiled(operator: Operator, begin: Any, options: Options, check_symmetry: bool, *, dense: bool) -> EigResult:
    kind = working_type(operator.example)
    key = as_key(begin) if options.is_random else jax.random.key(0)
    probe_key, start_key, reseed_key = jax.random.split(key, 3)
    if options.is_random:
        vector = random_like(start_key, operator.example)
    else:
        flat = flatten(begin).astype(kind)
        vector = flat / norm(flat)
    matvec = flat_matvec(operator)
    if dense and operator.n <= min(DENSE_SIZE, options.max_matvecs):
        result = _dense(operator, matvec, options)
    else:
        result = solve(operator, matvec, vector, reseed_key, options, options.max_matvecs)
    return with_probe(result, operator, probe_key) if check_symmetry else result


def flat_matvec(operator: Operator) -> FlatMatvec:
    """The operator's prepared products on flat vectors."""
    prepared, unflatten = operator.prepared(), unflattener(operator.example)
    kind = working_type(operator.example)
    return lambda vector: flatten(prepared(unflatten(vector))).astype(kind)


def as_key(key: Array) -> Key[Array, ""]:
    """A key of the old kind as a typed one."""
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)


def with_probe(result: EigResult, operator: Operator, key: Key[Array, ""]) -> EigResult:
    """The result, or NaN and a status where two products, each traced by itself, contradict each other."""
    asymmetric = is_asymmetric(operator, key)
    status = jnp.where(asymmetric & (result.status != Status.NON_FINITE), Status.ASYMMETRIC, result.status)
    return _hidden_unless_good(result._replace(matvecs=result.matvecs + 2, status=status))


def is_asymmetric(operator: Operator, key: Key[Array, ""]) -> Bool[Array, ""]:
    """Whether ``|u^T A v - v^T A u| > 2e-3 |u| |A v|`` for a random u and its image v = A u / |A u|; two products.

    Of two random vectors both sides would be small against ``|A v|`` in many dimensions, whatever the operator. The
    products are the operator's own, not its prepared ones, which would share what must be compared. (Dropout of one
    input in a hundred gives 3e-3, a finite difference in float32 7e-4, an exact product 1e-8.)
    """
    unflatten = unflattener(operator.example)
    u = random_like(key, operator.example)
    image = flatten(operator.matvec(unflatten(u)))
    length = norm(image)
    again = flatten(operator.matvec(unflatten(image / jnp.where(length > 0, length, 1))))
    return jnp.abs(length - jnp.vdot(u, again)) > _SYMMETRY * norm(again)


def solve(
    operator: Operator,
    matvec: FlatMatvec,
    vector: Flat,
    key: Key[Array, ""],
    options: Options,
    limit: int | Int[Array, ""],
) -> EigResult:
    """Lanczos' method from a start vector of length one.

    Args:
        operator: whose example gives the result's vectors their shapes.
        matvec: of it, on flat vectors.
        vector: the start.
        key: for directions after a breakdown.
        options: see ``top_eigs``; ``is_random`` says whether the start has a part in every eigenspace.
        limit: products at most, may be traced; with 0 nothing is done and the result means nothing.
    """
    n, k = operator.n, options.k
    exact = k > 1 or n <= _EXACT_SIZE or options.tol < _RECURRENCE_TOL
    wanted_rows = n if n <= _EXACT_SIZE else max(_ROWS, 3 * k + 8)
    rows = min(options.max_matvecs, wanted_rows, n)
    step = functools.partial(_step, matvec=matvec, options=options, n=n, key=key, exact=exact)
    history = jnp.full((_CONFIRM + 1, k), jnp.nan, vector.dtype)
    search = _Search(krylov.start(vector, rows), history, jnp.bool_(False), jnp.int32(Status.MAX_MATVECS))

    def unfinished(search: _Search) -> Bool[Array, ""]:
        return ~search.done & (search.space.products < limit)

    def fill(search: _Search) -> _Search:
        search = jax.lax.cond(
            search.space.filled == rows, functools.partial(_thinned, options=options), lambda s: s, search
        )
        return jax.lax.while_loop(lambda s: unfinished(s) & (s.space.filled < rows), step, search)

    return _result(jax.lax.while_loop(unfinished, fill, search), operator, matvec, options)


def _step(
    search: _Search, *, matvec: FlatMatvec, options: Options, n: int, key: Key[Array, ""], exact: bool
) -> _Search:
    space = krylov.extend(search.space, matvec, orthogonalise=exact)
    best = krylov.ritz(space, options.which)
    k = options.k
    history = jnp.roll(search.history, 1, axis=0).at[0].set(best.values[:k])
    size = jnp.abs(best.values[:k])
    bound = options.tol * jnp.maximum(size, jnp.finfo(size.dtype).tiny)
    settled = jnp.all(best.residuals[:k] <= bound) & jnp.all(jnp.abs(history[0] - history[-1]) <= bound)
    invariant = krylov.has_broken_down(space)
    settled &= (space.filled - space.block_start >= min(_MIN_MATVECS, n)) | invariant
    if k > 1:
        settled &= _is_complete(space, best, invariant, options)
    finite = jnp.isfinite(space.coupling) & jnp.isfinite(space.scale)
    exhausted = space.products >= n
    ended = (invariant & (k == 1)) | exhausted
    known = options.is_random | exhausted
    status = jnp.where(ended & ~settled, jnp.where(known, Status.CONVERGED, Status.BREAKDOWN), search.status)
    status = jnp.where(settled, Status.CONVERGED, status)
    status = jnp.where(invariant & (k == 1) & ~known, Status.BREAKDOWN, status)
    status = jnp.where(finite, status, Status.NON_FINITE)
    done = ended | settled | ~finite
    if k > 1:
        fresh = jax.random.fold_in(key, space.products)
        space = jax.lax.cond(invariant & ~done, lambda s: krylov.reseed(s, fresh), lambda s: s, space)
    return _Search(space, history, done, status.astype(jnp.int32))


def _is_complete(space: Krylov, best: krylov.Ritz, invariant: Bool[Array, ""], options: Options) -> Bool[Array, ""]:
    """Whether an invariant space may hold back a copy of a multiple eigenvalue.

    A block that starts at random outside of it shows the best of what is left; once that is no better than the last
    wanted value, nothing is.
    """

    def merit(value: Array) -> Array:
        return {"LA": value, "SA": -value, "LM": jnp.abs(value)}[options.which]

    leader, last = jnp.argmax(best.in_block), best.values[options.k - 1]
    found = best.residuals[leader] <= options.tol * jnp.abs(best.values[leader])
    found &= merit(best.values[leader]) <= merit(last) + options.tol * jnp.abs(last)
    return found | ~(invariant | (space.block_start > 0))


def _thinned(search: _Search, *, options: Options) -> _Search:
    rows = search.space.projection.shape[0]
    keep = min(rows - 2, options.k + max(7, options.k))
    return search._replace(space=krylov.thin(search.space, krylov.ritz(search.space, options.which), keep))


def _result(search: _Search, operator: Operator, matvec: FlatMatvec, options: Options) -> EigResult:
    k, space = options.k, search.space
    best = krylov.ritz(space, options.which)
    vectors = krylov.combined(space, best.vectors[:, :k])
    norms = jnp.linalg.norm(vectors, axis=1)
    vectors = vectors / jnp.where(norms > 0, norms, 1)[:, None]
    residuals = best.residuals[:k] / jnp.where(norms > 0, norms, 1)
    matvecs = space.products
    if options.tol < _RECURRENCE_TOL:
        images = jax.lax.map(matvec, vectors)
        residuals = jnp.linalg.norm(images - best.values[:k, None] * vectors, axis=1)
        matvecs = matvecs + k
    trees = jax.vmap(unflattener(operator.example))(vectors)
    return _hidden_unless_good(EigResult(best.values[:k], trees, residuals, matvecs, search.status))


def _dense(operator: Operator, matvec: FlatMatvec, options: Options) -> EigResult:
    n, k = operator.n, options.k
    matrix = jax.lax.map(matvec, jnp.eye(n, dtype=working_type(operator.example)))
    finite = jnp.all(jnp.isfinite(matrix))
    values, vectors = jnp.linalg.eigh(jnp.where(finite, matrix, 0))
    wanted = {"LA": values, "SA": -values, "LM": jnp.abs(values)}[options.which]
    order = jnp.argsort(-wanted, stable=True)[:k]
    values, chosen = values[order], vectors[:, order].T
    residuals = jnp.linalg.norm(chosen @ matrix - values[:, None] * chosen, axis=1)
    status = jnp.where(finite, Status.CONVERGED, Status.NON_FINITE).astype(jnp.int32)
    trees = jax.vmap(unflattener(operator.example))(chosen)
    return _hidden_unless_good(EigResult(values, trees, residuals, jnp.int32(n), status))


def _hidden_unless_good(result: EigResult) -> EigResult:
    """NaN instead of numbers that mean nothing."""
    bad = (result.status == Status.NON_FINITE) | (result.status == Status.ASYMMETRIC)
    return result._replace(
        values=jnp.where(bad, jnp.nan, result.values), residuals=jnp.where(bad, jnp.nan, result.residuals)
    )


def _checked_tol(tol: float, kind: Any) -> float:
    lowest = _LOWEST_TOL[str(jnp.dtype(kind))]
    if not (np.isfinite(tol) and 0 < tol < 1):
        raise ValueError(f"tol must be in (0, 1), got {tol!r}")
    if tol < lowest:
        warnings.warn(f"tol {tol:g} is below what {jnp.dtype(kind)} can tell; {lowest:g} is used", stacklevel=3)
        return lowest
    return float(tol)


def _check_start(operator: Operator, vector: Any) -> None:
    shapes = [jax.tree.map(np.shape, tree) for tree in (operator.example, vector)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"the start vector must be shaped like the operator's example, {shapes[0]}, got {shapes[1]}")
    leaves = jax.tree.leaves(vector)
    if not any(isinstance(leaf, Tracer) for leaf in leaves) and not any(np.any(leaf) for leaf in leaves):
        raise ValueError("the start vector must not be zero")
