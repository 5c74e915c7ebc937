"""The trace of an operator, estimated from few products, with a standard error.

XTrace is written here and not taken from matfree (0.6.3, 44 kB): that tells a full-rank sketch from a deficient one by
the absolute size of its triangular factor, so that in float32 an operator of Frobenius norm below 1e-7, such as the
Hessian of a well fitted sample, gets a fraction of its trace at a standard error of zero. It also makes all products
at once, which costs a sketch's worth of activations.
"""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lrstudy.curvature.krylov import Flat
from lrstudy.curvature.lanczos import FlatMatvec, as_key, flat_matvec
from lrstudy.curvature.operator import Operator
from lrstudy.curvature.vectors import working_type

Method = Literal["xtrace", "hutch++", "hutchinson"]
Rows = Float[Array, "rows n"]

SKETCH_BYTES = 2**30
"""Above so many bytes of vectors the default is the method that keeps none."""
_FEWEST = {"xtrace": 4, "hutch++": 6, "hutchinson": 2}
"""Products without which there is no standard error: two samples of what is left after the sketch."""


class Trace(NamedTuple):
    """An estimate of a trace.

    Attributes:
        estimate: NaN where a product was not finite.
        standard_error: its standard deviation, estimated from the same products; 0 where the trace is exact.
    """

    estimate: Float[Array, ""]
    standard_error: Float[Array, ""]


def trace(operator: Operator, key: Key[Array, ""], *, method: Method | None = None, matvecs: int = 30) -> Trace:
    """The trace, unbiased, from at most so many products.

    Where these are as many as the operator is large, the diagonal is read instead, and the trace is exact. It may be
    called inside ``jit`` and ``vmap``; it never raises there. Outside it is compiled once for a loss and shapes.

    Args:
        operator: A, symmetric.
        key: of the test vectors.
        method: ``xtrace`` (Epperly, Tropp & Webber 2024, XTrace, arXiv 2301.07825): each test vector in turn measures
            what the others' images leave over; the least error where the spectrum decays, and exact where the rank is
            below half of the products. ``hutch++`` (Meyer, Musco, Musco & Woodruff 2021, arXiv 2010.09649): the same
            with a third of the products for each of sketch, its trace and what is left. ``hutchinson``: the mean of
            x^T A x over random signs x, which keeps no vectors; its variance is twice the sum of the squares off the
            diagonal over the products. ``None``: ``xtrace``, or ``hutchinson`` where ``matvecs`` vectors would take
            more than a gibibyte.
        matvecs: products at most; an odd one is left unused by ``xtrace``.

    Raises:
        ValueError: an unknown method, or too few products for its standard error (4, 6 and 2).
    """
    kind = working_type(operator.example)
    if method is None:
        fits = operator.n * matvecs * jnp.dtype(kind).itemsize <= SKETCH_BYTES
        method = "xtrace" if fits else "hutchinson"
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {list(get_args(Method))}, got {method!r}")
    if matvecs < _FEWEST[method]:
        raise ValueError(f"matvecs must be at least {_FEWEST[method]} for {method}, got {matvecs!r}")
    return _compiled(operator, as_key(key), method, matvecs)


@functools.partial(jax.jit, static_argnames=("method", "matvecs"))
def _compiled(operator: Operator, key: Key[Array, ""], method: Method, matvecs: int) -> Trace:
    matvec, n, kind = flat_matvec(operator), operator.n, working_type(operator.example)
    if matvecs >= n:
        diagonal = jax.lax.map(lambda place: matvec(jnp.zeros(n, kind).at[place].set(1))[place], jnp.arange(n))
        exact = jnp.sum(diagonal)
        return Trace(exact, jnp.where(jnp.isfinite(exact), 0, jnp.nan).astype(kind))
    return _METHODS[method](matvec, key, matvecs, jax.ShapeDtypeStruct((n,), kind))


def _hutchinson(matvec: FlatMatvec, key: Key[Array, ""], matvecs: int, like: jax.ShapeDtypeStruct) -> Trace:
    def sample(key: Key[Array, ""]) -> Float[Array, ""]:
        x = _signs(key, like)
        return jnp.vdot(x, matvec(x))

    return _of_samples(jax.lax.map(sample, jax.random.split(key, matvecs)))


def _hutch_plus_plus(matvec: FlatMatvec, key: Key[Array, ""], matvecs: int, like: jax.ShapeDtypeStruct) -> Trace:
    sketch_key, rest_key = jax.random.split(key)
    rank = matvecs // 3
    sketch = jax.lax.map(lambda key: matvec(_signs(key, like)), jax.random.split(sketch_key, rank))
    basis = jnp.linalg.qr(sketch.T)[0].T
    captured = jnp.sum(jax.lax.map(lambda q: jnp.vdot(q, matvec(q)), basis))

    def sample(key: Key[Array, ""]) -> Float[Array, ""]:
        x = _signs(key, like)
        x = x - (basis @ x) @ basis
        return jnp.vdot(x, matvec(x))

    rest = _of_samples(jax.lax.map(sample, jax.random.split(rest_key, matvecs - 2 * rank)))
    return Trace(captured + rest.estimate, rest.standard_error)


def _xtrace(matvec: FlatMatvec, key: Key[Array, ""], matvecs: int, like: jax.ShapeDtypeStruct) -> Trace:
    """XTrace with test vectors that are projected and brought back to one length (section 2.3 of the paper)."""
    n, rank = like.shape[0], matvecs // 2
    # Their length does not matter, but their direction must be uniform for what is left of them to be so.
    tests = jax.random.normal(key, (rank, n), like.dtype)
    images, factor = jnp.linalg.qr(jax.lax.map(matvec, tests).T)
    basis = images.T
    again = jax.lax.map(matvec, basis)
    inner = basis @ again.T
    left_out = _complements(factor)
    coordinates = basis @ tests.T
    along = jnp.sum(left_out * coordinates, axis=0)
    # Column i: the part of test i that the images of the others span, in coordinates of the basis.
    kept = coordinates - left_out * along
    # The rest u of a test x has u^T A u = u^T A x - u^T A (x - u), and A x is a column of the factor.
    through = along * jnp.sum(left_out * factor, axis=0)
    back = jnp.sum((again @ tests.T - inner @ kept) * kept, axis=0)
    lengths = jnp.sum(tests**2, axis=1) - jnp.sum(kept**2, axis=0)
    rest = (n - rank + 1) / lengths * (through - back)
    captured = jnp.trace(inner) - jnp.sum(left_out * (inner @ left_out), axis=0)
    return _of_samples(captured + rest)


def _complements(factor: Float[Array, "rank rank"]) -> Float[Array, "rank rank"]:
    """Column i: a vector of length one that is orthogonal to all columns of the factor but the i-th.

    The paper inverts the factor; this is the same where it is regular, and no less orthogonal where it is not.
    """
    rank = factor.shape[0]

    def complement(place: Array) -> Float[Array, " rank"]:
        others = jnp.delete(factor, place, axis=1, assume_unique_indices=True)
        return jnp.linalg.qr(others, mode="complete")[0][:, -1]

    return jax.vmap(complement, out_axes=1)(jnp.arange(rank))


def _signs(key: Key[Array, ""], like: jax.ShapeDtypeStruct) -> Flat:
    return jax.random.rademacher(key, like.shape, like.dtype)


def _of_samples(samples: Float[Array, " samples"]) -> Trace:
    return Trace(jnp.mean(samples), jnp.std(samples, ddof=1) / jnp.sqrt(samples.shape[0]))


_METHODS: dict[str, Callable[[FlatMatvec, Key[Array, ""], int, jax.ShapeDtypeStruct], Trace]] = {
    "xtrace": _xtrace,
    "hutch++": _hutch_plus_plus,
    "hutchinson": _hutchinson,
}
