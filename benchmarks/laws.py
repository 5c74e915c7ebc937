"""Fits of laws to real loss curves: how well and how fast, beside fits written plainly.

taskset -c 0,1 python -m benchmarks.laws [--repeats=5]

Needs ``LRSTUDY_DATA``, see ``benchmarks.real_curves``. The plain fits minimise the same objective as papers do: from
one start after another, by L-BFGS with derivatives by finite differences, the sums over drops taken over every step.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from absl import app, flags
from scipy.optimize import minimize

from benchmarks.real_curves import SIZES, TRAINED, curves_of, split
from benchmarks.timing import interleaved, record, table
from lrstudy.laws import AnnealingLaw, Curve, Fit, FunctionalScalingLaw, MultiPowerLaw
from lrstudy.laws.annealing import momentum
from lrstudy.laws.scores import average

REPEATS = flags.DEFINE_integer("repeats", 5, "of every fit that is timed", lower_bound=1)

HUBER = 1e-3
PLAIN_STARTS = 4
"""Of the plain annealing fit that are timed; its 64 take sixteen times as long."""

PLAIN_ITERATIONS = 100
"""Of the plain Multi-Power fit from its one start that are timed: to the end it takes hundreds."""


Curves = Mapping[str, Curve]


def huber(predicted: np.ndarray, losses: np.ndarray) -> float:
    """The objective, as a paper's code has it."""
    error = np.abs(np.log(np.maximum(predicted, 1e-8)) - np.log(losses))
    return float(np.sum(np.where(error <= HUBER, error**2 / 2, HUBER * (error - HUBER / 2))))


def plain_annealing(curves: Curves, starts: int) -> float:
    """L-BFGS from one start after another; returns the best objective."""
    rows = []
    for curve in curves.values():
        path = curve.path("true")
        rows.append((path.sums[curve.steps], np.cumsum(momentum(path.drops, 0.999))[curve.steps], curve.losses))
    s1, s2, losses = (np.concatenate(column) for column in zip(*rows, strict=True))
    rng = np.random.default_rng(0)

    def objective(free: np.ndarray) -> float:
        floor, factor, exponent, drop = free
        return huber(floor + factor * s1**-exponent - drop * s2, losses)

    found = []
    for _ in range(starts):
        start = [losses.min() * rng.uniform(0.6, 0.99), *rng.uniform(0.2, 1.0, 3)]
        found.append(minimize(objective, start, method="L-BFGS-B", options={"maxiter": 2_000, "maxfun": 20_000}).fun)
    return min(found)


def plain_multi_power(curves: Curves, iterations: int) -> float:
    """L-BFGS from the authors' start; returns the objective."""
    whole = [(curve.path("true"), curve.steps, curve.losses) for curve in curves.values()]

    def objective(free: np.ndarray) -> float:
        floor, factor, alpha, brought, c, beta, gamma = free
        total = 0.0
        for path, steps, losses in whole:
            sums, predicted = path.sums, np.empty(len(steps))
            for i, t in enumerate(steps):
                since = sums[t] - sums[:t]
                grown = 1 - (c * path.rates[1 : t + 1] ** -gamma * since + 1) ** -beta
                predicted[i] = floor + factor * sums[t] ** -alpha - brought * np.sum(path.drops[1 : t + 1] * grown)
            total += huber(predicted, losses)
        return total

    start = np.array([3.0, 0.5, 0.5, 400.0, 1.0, 0.5, 0.5])
    bounds = [(1e-6, None)] * 5 + [(1e-3, 1 - 1e-3)] * 2
    return minimize(objective, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations}).fun


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its seconds."""
    began = time.perf_counter()
    return call(), time.perf_counter() - began


def quietly(call: Callable[..., Any], *given: Any, **named: Any) -> Callable[[], None]:
    """A call whose result is of no interest."""

    def run() -> None:
        call(*given, **named)

    return run


def quality() -> str:
    """Every law on every size: six schedules from three, and a long run from two short ones."""
    rows, parameters = [], []
    fits: dict[str, Callable[..., Fit[Any]]] = {
        "annealing": AnnealingLaw.fit,
        "annealing, warmup as constant": lambda curves: AnnealingLaw.fit(curves, warmup="constant"),
        "multi-power": MultiPowerLaw.fit,
        "multi-power, stopped early": lambda curves: MultiPowerLaw.fit(curves, converge=False),
        "functional scaling": FunctionalScalingLaw.fit,
    }
    for size in SIZES:
        curves = curves_of(size)
        trained, held_out = split(curves)
        for name, fit in fits.items():
            found = fit(trained)
            warmup = "constant" if "constant" in name else "true"
            six = average(found.law.scores(held_out, warmup=warmup).values())
            two = fit({n: trained[n] for n in TRAINED[:2]})
            long = two.law.scores({"long": curves["cosine_72000"]}, warmup=warmup)["long"]["relative_error"]
            columns = (f"{six['r2']:.5f}", f"{six['mae']:.5f}", f"{100 * six['relative_error']:.3f}%")
            rows.append([size, name, f"{found.metrics['objective']:.3e}", *columns, f"{100 * long:.3f}%"])
            for parameter, (low, high) in found.intervals.items():
                value = f"{found.law.values[parameter]:.5g}"
                known = "yes" if found.identified[parameter] else "no"
                parameters.append([size, name, parameter, value, f"[{low:.4g}, {high:.4g}]", known])
    title = f"Fitted to {', '.join(TRAINED)}, mean over the six other schedules; last: cosine_72000 from the first two"
    columns = ("curves", "law", "objective", "R2", "mean absolute error", "relative error", "relative error, long run")
    what = ("curves", "law", "parameter", "value", "95% interval", "identified")
    return table(title, columns, rows) + "\n" + table("Parameters", what, parameters)


def speed() -> str:
    """64 starts, compiled, without intervals and with them, beside the plain fits."""
    trained, _ = split(curves_of(SIZES[0]))
    compiling = {
        name: timed(lambda law=law: law.fit(trained, resamples=0))[1]
        for name, law in (("annealing", AnnealingLaw), ("multi-power", MultiPowerLaw))
    }
    seconds = interleaved(
        {
            "annealing": quietly(AnnealingLaw.fit, trained, resamples=0),
            "annealing, intervals": quietly(AnnealingLaw.fit, trained),
            "multi-power": quietly(MultiPowerLaw.fit, trained, resamples=0),
            "multi-power, intervals": quietly(MultiPowerLaw.fit, trained),
            "annealing, plain": quietly(plain_annealing, trained, PLAIN_STARTS),
        },
        REPEATS.value,
    )
    medians = {name: float(np.median(each)) for name, each in seconds.items()}
    plain, plain_seconds = timed(lambda: plain_multi_power(trained, PLAIN_ITERATIONS))
    all_starts = medians["annealing, plain"] * 64 / PLAIN_STARTS
    every = {
        "annealing": (all_starts, f"64 starts, from {PLAIN_STARTS}"),
        "multi-power": (plain_seconds, f"one start, {PLAIN_ITERATIONS} iterations, objective {plain:.2e}"),
    }
    rows = [
        [
            law,
            f"{compiling[law]:.1f}",
            f"{medians[law]:.3f}",
            f"{medians[f'{law}, intervals']:.2f}",
            f"{seconds_of_plain:.0f} ({how})",
            f"{seconds_of_plain / medians[law]:.0f}",
        ]
        for law, (seconds_of_plain, how) in every.items()
    ]
    columns = ("law", "first fit, compiling", "64 starts", "with 192 resamples", "plain", "plain over ours")
    return table(f"Seconds of a fit to {', '.join(TRAINED)}, medians of {REPEATS.value}", columns, rows)


def main(_: list[str]) -> None:
    """Measures and records."""
    record("laws", "Laws of real loss curves", speed() + "\n" + quality())


if __name__ == "__main__":
    app.run(main)
