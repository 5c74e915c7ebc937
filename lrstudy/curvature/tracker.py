"""Sharpness along a run: every solve starts from the eigenvector of the one before, and is audited now and then."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from lrstudy.curvature.lanczos import EigResult, Options, Status, as_key, flat_matvec, is_asymmetric, solve
from lrstudy.curvature.operator import Operator
from lrstudy.curvature.vectors import check_differentiable, flatten, norm, random_like, working_type

_RANDOM_SHARE = 0.05


class TrackerState(NamedTuple):
    """What a tracker remembers between two measurements.

    Attributes:
        vector: the last eigenvector, flat, of length one; zeros before the first.
        value: the last sharpness; NaN before the first.
        key: of the random directions still to come.
        calls: measurements so far.
        products: with the operator, so far.
        missed: audits that found a larger eigenvalue than the warm start.
    """

    vector: Float[Array, " n"]
    value: Float[Array, ""]
    key: Key[Array, ""]
    calls: Int[Array, ""]
    products: Int[Array, ""]
    missed: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class SharpnessTracker:
    """The largest eigenvalue of a slowly changing operator, at fewer products than a solve of its own.

    A warm start alone follows its eigenvector even where another eigenvalue has overtaken it; so a twentieth of the
    start is random, and every ``audit_every``-th measurement is made from an independent random start as well: where
    that finds more, the larger is taken and ``missed`` counts it. The first measurement is from a random start, and
    compares two products (see ``top_eigs``). How many products a warm measurement takes depends on how far the operator
    has moved: 4 or 5 where it is measured every few steps, 12 to 15 along a run to the edge of stability where it was
    every 30. All of it is one program, for ``jit``, ``vmap`` or a mapped axis, and outside of them compiled once.

    Attributes:
        tol: relative residual of a solve.
        audit_every: measurements from one audit to the next; 0: never.
        max_matvecs: products of one solve at most.

    Raises:
        ValueError: a bad argument.
    """

    tol: float = 1e-3
    audit_every: int = 20
    max_matvecs: int = 64

    def __post_init__(self) -> None:
        """Checks the arguments."""
        if not 1e-6 <= self.tol < 1:
            raise ValueError(f"tol must be in [1e-6, 1), got {self.tol!r}")
        if self.audit_every < 0:
            raise ValueError(f"audit_every must be at least 0, got {self.audit_every!r}")
        if self.max_matvecs < 2:
            raise ValueError(f"max_matvecs must be at least 2, got {self.max_matvecs!r}")

    def init(self, params: Any, key: Key[Array, ""]) -> TrackerState:
        """A tracker before its first measurement.

        Args:
            params: a pytree like the operator's vectors; only its shapes and types count.
            key: of its random directions.

        Raises:
            ValueError: parameters that are not floating-point.
        """
        check_differentiable("params", params)
        n = sum(int(jnp.size(leaf)) for leaf in jax.tree.leaves(params))
        kind, none = working_type(params), jnp.int32(0)
        return TrackerState(jnp.zeros(n, kind), jnp.asarray(jnp.nan, kind), as_key(key), none, none, none)

    def update(self, state: TrackerState, operator: Operator) -> tuple[TrackerState, EigResult]:
        """One measurement.

        Args:
            state: of the measurement before.
            operator: the present one.

        Returns:
            The state for the next measurement, and the sharpness; ``matvecs`` counts the products of audit and probe.

        Raises:
            ValueError: the operator's vectors have another size than those of ``init``.
        """
        if operator.n != state.vector.shape[0]:
            raise ValueError(f"operator must be of size {state.vector.shape[0]} as at init, got {operator.n}")
        return self._updated(state, operator)

    @functools.partial(jax.jit, static_argnums=0)
    def _updated(self, state: TrackerState, operator: Operator) -> tuple[TrackerState, EigResult]:
        probe_key, warm_key, cold_key, reseed_key = jax.random.split(jax.random.fold_in(state.key, state.calls), 4)
        is_first = ~jnp.isfinite(state.value) | (state.calls == 0)
        random = random_like(warm_key, operator.example)
        warm = jnp.where(is_first, random, state.vector + _RANDOM_SHARE * random)
        is_audit = (state.calls % self.audit_every == 0) & ~is_first if self.audit_every else jnp.bool_(False)
        matvec, options = flat_matvec(operator), Options(1, "LA", self.tol, self.max_matvecs, is_random=True)

        def one(carry: tuple[Array, EigResult, Array, Array]) -> tuple[Array, EigResult, Array, Array]:
            turn, best, matvecs, missed = carry
            # Under the barrier the key follows the turn: else the direction would be drawn before the loop, and always.
            own_key, _ = jax.lax.optimization_barrier((cold_key, turn))
            start = jax.lax.cond(turn == 0, lambda: warm, lambda: random_like(own_key, operator.example))
            found = solve(operator, matvec, start / norm(start), reseed_key, options, self.max_matvecs)
            is_larger = (found.status == Status.CONVERGED) & ~(found.values[0] <= best.values[0])
            is_missed = is_larger & ~(found.values[0] <= best.values[0] + 5 * self.tol * jnp.abs(best.values[0]))
            taken = (turn == 0) | is_larger
            best = jax.tree.map(lambda new, old: jnp.where(taken, new, old), found, best)
            return turn + 1, best, matvecs + found.matvecs, missed | (is_missed & (turn > 0))

        # A loop of one turn or two, so that the solver is compiled once and an audit that is not due costs nothing.
        nothing = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
            jax.eval_shape(lambda: solve(operator, matvec, warm, reseed_key, options, self.max_matvecs)),
        )
        begin = (jnp.int32(0), nothing, jnp.int32(0), jnp.bool_(False))
        turns = 1 + is_audit.astype(jnp.int32)
        _, result, matvecs, missed = jax.lax.while_loop(lambda carry: carry[0] < turns, one, begin)
        asymmetric, probed = _probe(operator, probe_key, state.calls == 0)
        matvecs = matvecs + probed
        status = jnp.where(asymmetric & (result.status != Status.NON_FINITE), Status.ASYMMETRIC, result.status)
        values = jnp.where(asymmetric, jnp.nan, result.values)
        residuals = jnp.where(asymmetric, jnp.nan, result.residuals)
        result = EigResult(values, result.vectors, residuals, matvecs, status.astype(jnp.int32))
        vector = flatten(jax.tree.map(lambda x: x[0], result.vectors))
        return (
            TrackerState(
                jnp.where(jnp.isfinite(vector), vector, 0).astype(state.vector.dtype),
                values[0].astype(state.value.dtype),
                state.key,
                state.calls + 1,
                state.products + matvecs,
                state.missed + missed.astype(jnp.int32),
            ),
            result,
        )


def _probe(operator: Operator, key: Key[Array, ""], wanted: Array) -> tuple[Array, Array]:
    """Whether two products contradict each other, and how many were made: none where it is not wanted.

    A loop of one turn or none rather than a branch, which would be taken by every lane under ``vmap``.
    """

    def turn(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        # As in ``update``: what does not follow the turn would be computed before the loop, gradient and all.
        own, _ = jax.lax.optimization_barrier((operator, carry[1]))
        own_key, _ = jax.lax.optimization_barrier((key, carry[1]))
        return is_asymmetric(own, own_key), carry[1] + 2

    def wanting(carry: tuple[Array, Array]) -> Array:
        return wanted & (carry[1] == 0)

    return jax.lax.while_loop(wanting, turn, (jnp.bool_(False), jnp.int32(0)))
