"""What products, solves and tracking cost in units of a gradient of the same loss, measured in turns with it."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.curvature_problems import Problem, train
from benchmarks.timing import interleaved
from lrstudy.curvature import SharpnessTracker, hessian, top_eigs
from lrstudy.curvature.lanczos import flat_matvec
from lrstudy.curvature.vectors import random_like

FEW, MANY = 4, 16
"""Products of two loops, whose difference is free of what they share."""


def minima(candidates: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The least seconds of every call, the first of which compiles and is not counted."""
    ready = {name: lambda call=call: jax.block_until_ready(call()) for name, call in candidates.items()}
    for call in ready.values():
        call()
    return {name: min(seconds) for name, seconds in interleaved(ready, repeats).items()}


def products(problem: Problem, params: Any, count: int) -> Callable[[], Any]:
    """Products one after the other in one program, as in a solver."""

    @jax.jit
    def loop(params: Any) -> Any:
        matvec = flat_matvec(hessian(problem.loss, params, problem.batch))

        def turn(_: int, vector: Any) -> Any:
            image = matvec(vector)
            return image / jnp.linalg.norm(image)

        return jax.lax.fori_loop(0, count, turn, random_like(jax.random.key(0), params))

    return lambda: loop(params)


def costs(problem: Problem, params: Any, solvers: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Gradient times of one product more in a loop, of a cold solve, and of any other solvers; and a gradient's ms."""
    gradient = jax.jit(jax.grad(problem.loss))
    operator = hessian(problem.loss, params, problem.batch)
    # A gradient's own time is that of several: alone it is short, and most of what a clock adds would be its.
    candidates = {
        "gradient": lambda: [gradient(params, problem.batch) for _ in range(FEW)],
        "few": products(problem, params, FEW),
        "many": products(problem, params, MANY),
        "cold": lambda: top_eigs(operator, jax.random.key(0)),
        **solvers,
    }
    least = minima(candidates, repeats)
    unit = least.pop("gradient") / FEW
    few, many = least.pop("few"), least.pop("many")
    found = {name: seconds / unit for name, seconds in least.items()}
    return {"ms": 1000 * unit, "product": (many - few) / (MANY - FEW) / unit, **found}


def compile_seconds(problem: Problem, params: Any) -> float:
    """Tracing and compilation of a solve."""
    operator = hessian(problem.loss, params, problem.batch)
    began = time.perf_counter()
    jax.jit(top_eigs).lower(operator, jax.random.key(0)).compile()
    return time.perf_counter() - began


def overhead(problem: Problem, params: Any, every: int, measurements: int) -> tuple[float, float]:
    """The share of tracking in a run's time, audits included, and the products a measurement.

    Training and measurements take turns as they do in a run, so both see the same machine.
    """
    tracker = SharpnessTracker()
    update = jax.jit(tracker.update)
    opt_state = problem.transform.init(params)
    state = tracker.init(params, jax.random.key(0))
    seconds = {"train": 0.0, "track": 0.0}
    before = 0
    for call in range(measurements + 1):
        began = time.perf_counter()
        params, opt_state = jax.block_until_ready(
            train(problem.loss, problem.transform, params, opt_state, problem.batch, steps=every)
        )
        trained = time.perf_counter()
        state, _ = jax.block_until_ready(update(state, hessian(problem.loss, params, problem.batch)))
        if call == 0:  # compiles, and is cold
            before = int(state.products)
            continue
        seconds["train"] += trained - began
        seconds["track"] += time.perf_counter() - trained
    return seconds["track"] / seconds["train"], (int(state.products) - before) / measurements
