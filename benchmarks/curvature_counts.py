"""How many products a sharpness takes, and how often it is wrong: numbers that do not depend on the machine's load."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from benchmarks.curvature_problems import Problem, checkpoints, train
from lrstudy.curvature import (
    Operator,
    SharpnessTracker,
    Status,
    adam_preconditioner,
    hessian,
    preconditioned,
    top_eigs,
)
from lrstudy.curvature.vectors import flatten, unflattener

B1, B2, EPS = 0.9, 0.999, 1e-8
FIRST_SEED = 2001
"""Of the solves; what a solver does was developed on seeds 1 to 9."""


@dataclasses.dataclass(frozen=True)
class Cold:
    """Independent solves of one operator.

    Attributes:
        value: the largest eigenvalue by the reference.
        gap: relative distance of the second.
        products: of every solve.
        errors: of every solve, relative.
    """

    value: float
    gap: float
    products: np.ndarray
    errors: np.ndarray


@jax.jit
def _product(operator: Operator, vector: Any) -> Any:
    return flatten(operator.prepared()(unflattener(operator.example)(vector)))


def reference(loss: Any, params: Any, batch: Any) -> tuple[float, float]:
    """The two largest eigenvalues of the Hessian in float64, by scipy's restarted Lanczos."""
    with jax.enable_x64(True):
        wide, batch = jax.tree.map(
            lambda x: jnp.asarray(np.asarray(x), jnp.float64 if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype),
            (params, batch),
        )
        return _largest_two(hessian(loss, wide, batch), 1e-8)


def _largest_two(operator: Operator, tol: float) -> tuple[float, float]:
    kind = np.result_type(*[leaf.dtype for leaf in jax.tree.leaves(operator.example)])
    matvec = LinearOperator((operator.n, operator.n), lambda v: np.asarray(_product(operator, v.ravel())), dtype=kind)
    begin = np.random.default_rng(0).normal(size=operator.n).astype(kind)
    low, high = sorted(eigsh(matvec, 2, which="LA", tol=tol, ncv=40, v0=begin, return_eigenvectors=False))
    return float(high), float(low)


def cold(problem: Problem, steps: Mapping[str, int], seeds: int) -> dict[str, Cold]:
    """Solves from random starts at every named step of training."""
    found = {}
    for name, params in checkpoints(problem, steps).items():
        value, second = reference(problem.loss, params, problem.batch)
        operator = hessian(problem.loss, params, problem.batch)
        results = [top_eigs(operator, jax.random.key(FIRST_SEED + seed)) for seed in range(seeds)]
        errors = np.array([abs(float(r.values[0]) - value) / abs(value) for r in results])
        errors[[int(r.status) != Status.CONVERGED for r in results]] = np.inf
        found[name] = Cold(value, (value - second) / abs(value), np.array([int(r.matvecs) for r in results]), errors)
    return found


@dataclasses.dataclass(frozen=True)
class Track:
    """A tracker along a run.

    Attributes:
        products: of every measurement.
        audited: which of them are cold: the first and the audits.
        missed: larger eigenvalues that only an audit found.
        errors: of every measurement, relative to a solve of its own; empty where that was not wanted.
        ratio: sharpness over the edge of stability at every measurement.
    """

    products: np.ndarray
    audited: np.ndarray
    missed: int
    errors: np.ndarray
    ratio: np.ndarray


def track(
    problem: Problem,
    operator_of: Callable[[Any, Any], Operator],
    *,
    every: int,
    measurements: int,
    edge: float = np.nan,
    verify: bool = False,
    start: int = 0,
) -> Track:
    """Follows the sharpness of an operator made of parameters and optimizer state, every few steps."""
    tracker = SharpnessTracker()
    update = jax.jit(tracker.update)
    params, opt_state = problem.params, problem.transform.init(problem.params)
    if start:
        params, opt_state = train(problem.loss, problem.transform, params, opt_state, problem.batch, steps=start)
    state = tracker.init(params, jax.random.key(FIRST_SEED))
    products, errors, values = [], [], []
    for call in range(measurements):
        params, opt_state = train(problem.loss, problem.transform, params, opt_state, problem.batch, steps=every)
        operator = operator_of(params, opt_state)
        state, result = update(state, operator)
        products.append(int(result.matvecs))
        values.append(float(result.values[0]))
        if verify:
            value = _independent(operator, call)
            errors.append(abs(values[-1] - value) / abs(value))
    audited = np.arange(measurements) % tracker.audit_every == 0
    return Track(np.array(products), audited, int(state.missed), np.array(errors), np.array(values) / edge)


def _independent(operator: Operator, call: int) -> float:
    """The largest eigenvalue by two tight solves of two eigenvalues each, from starts of their own."""
    keys = jax.random.split(jax.random.key(7 + call))
    return max(float(top_eigs(operator, key, k=2, tol=1e-5, max_matvecs=300).values[0]) for key in keys)


def plain(problem: Problem) -> Callable[[Any, Any], Operator]:
    """The Hessian of the loss."""
    return lambda params, _: hessian(problem.loss, params, problem.batch)


def adaptive(problem: Problem) -> Callable[[Any, Any], Operator]:
    """The Hessian in which Adam steps."""

    def operator_of(params: Any, opt_state: Any) -> Operator:
        diagonal = adam_preconditioner(opt_state, eps=EPS, b2=B2)
        return preconditioned(hessian(problem.loss, params, problem.batch), diagonal)

    return operator_of
