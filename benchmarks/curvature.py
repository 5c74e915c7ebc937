"""Products, errors and gradient times of sharpness, cold and along runs, beside other libraries.

taskset -c 0 python -m benchmarks.curvature [--peers] [--seeds=50] [--repeats=12]

On one core, as a gradient's time is then that of its arithmetic. ``--peers`` needs the extra of that name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from absl import app, flags

from benchmarks import curvature_costs, curvature_peers
from benchmarks.curvature_counts import B1, B2, EPS, Cold, Track, adaptive, cold, plain, reference, track
from benchmarks.curvature_problems import Problem, checkpoints, digits, edge, taught, text
from benchmarks.timing import record, table
from lrstudy.curvature import SharpnessTracker, hessian, thresholds, trace

PEERS = flags.DEFINE_bool("peers", False, "measure other libraries as well")
SEEDS = flags.DEFINE_integer("seeds", 50, "cold solves a checkpoint", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 12, "interleaved repeats of what is timed", lower_bound=1)

PERCEPTRON_STEPS = {"start": 0, "early": 60, "late": 600}
TAUGHT_STEPS = {"start": 0, "early": 60}
TRANSFORMER_STEPS = {"start": 0, "early": 30, "late": 200}
MISS, TRACKER_MISS = 1e-3, 1e-2
EDGE_EVERY, EDGE_MEASUREMENTS = 15, 100
GD_RATES, ADAM_RATES = (0.2, 0.4), (5e-3, 1e-2, 2e-2)
TRACE_SEEDS = 20

Target = tuple[str, str, str, bool]
"""What, measured, wanted, and whether it is met."""


def cold_part(perceptron: Problem, transformer: Problem) -> tuple[str, list[Target]]:
    """Solves from random starts; the third problem is there to be hard, and has figures of its own."""

    def solved(name: str, problem: Problem, steps: Mapping[str, int]) -> dict[str, Cold]:
        return {f"{name}, {at}": c for at, c in cold(problem, steps, SEEDS.value).items()}

    found = solved("perceptron", perceptron, PERCEPTRON_STEPS) | solved("transformer", transformer, TRANSFORMER_STEPS)
    hard = solved("perceptron on Gaussian inputs", taught(), TAUGHT_STEPS)
    rows = [
        [
            name,
            f"{c.value:.5g}",
            f"{100 * c.gap:.1f}%",
            f"{np.median(c.products):g}",
            f"{c.products.min()} to {c.products.max()}",
            f"{c.errors.max():.1e}",
            str((c.errors > MISS).sum()),
        ]
        for name, c in (found | hard).items()
    ]
    columns = ("checkpoint", "sharpness", "gap", "products (median)", "range", "largest error", f"misses (> {MISS:g})")
    title = f"Cold solves, {SEEDS.value} random starts each, against scipy's eigsh in float64"
    targets = [*cold_targets("", found), *cold_targets(", Gaussian inputs", hard)]
    return table(title, columns, rows), targets


def cold_targets(where: str, found: Mapping[str, Cold]) -> list[Target]:
    """The figures over the checkpoints of some problems."""
    products = np.concatenate([c.products for c in found.values()])
    misses = sum(int((c.errors > MISS).sum()) for c in found.values())
    median, most = float(np.median(products)), int(products.max())
    return [
        (f"products of a cold solve{where}, median", f"{median:g}", "<= 17", median <= 17),
        (f"products of a cold solve{where}, most", f"{most}", "<= 26", most <= 26),
        (f"misses of {products.size} cold solves{where}", f"{misses}", "0", misses == 0),
    ]


def tracks() -> dict[str, Track]:
    """Trackers along runs: a decline, and five at the edge of stability."""
    options = {"every": EDGE_EVERY, "measurements": EDGE_MEASUREMENTS, "verify": True}
    problem = digits()
    found = {"perceptron, GD, every 4 steps": track(problem, plain(problem), every=4, measurements=60)}
    for rate in GD_RATES:
        problem = edge(optax.sgd(rate))
        limit = float(thresholds("gd", rate))
        found[f"edge, GD at {rate:g}"] = track(problem, plain(problem), edge=limit, **options)
    for rate in ADAM_RATES:
        problem = edge(optax.adam(rate, b1=B1, b2=B2, eps=EPS))
        limit = float(thresholds("adam", rate, momentum=B1))
        found[f"edge, Adam at {rate:g}"] = track(problem, adaptive(problem), edge=limit, **options)
    return found


def warm_part() -> tuple[str, list[Target]]:
    """Measurements along runs."""
    found = tracks()
    rows, warm = [], {}
    for name, t in found.items():
        warm[name] = t.products[~t.audited]
        ratio = np.mean(t.ratio[-len(t.ratio) // 4 :])
        wrong = f"{(t.errors > TRACKER_MISS).sum()} of {t.errors.size}" if t.errors.size else "not checked"
        largest = f"{t.errors.max():.1e}" if t.errors.size else ""
        near = f"{ratio:.2f}" if np.isfinite(ratio) else ""
        counts = [f"{warm[name].mean():.2f}", f"{warm[name].max()}", f"{t.products.mean():.2f}"]
        rows.append([name, *counts, near, wrong, largest, str(t.missed)])
    columns = (
        "run",
        "products, warm (mean)",
        "most",
        "with audits (mean)",
        "sharpness over the edge, last quarter",
        f"off by > {TRACKER_MISS:g}",
        "largest error",
        "found by audits alone",
    )
    errors = np.concatenate([t.errors for t in found.values()])
    share = float(np.mean(errors > TRACKER_MISS))
    least = max(float(w.mean()) for name, w in warm.items() if "Adam" not in name)
    adam = max(float(w.mean()) for name, w in warm.items() if "Adam" in name)
    title = f"Tracking; the edge's network every {EDGE_EVERY} steps, each against tight solves of its own"
    return table(title, columns, rows), [
        ("products of a warm measurement, largest mean", f"{least:.2f}", "<= 8", least <= 8),
        ("the same, Adam at the edge", f"{adam:.2f}", "<= 10", adam <= 10),
        ("tracker off by more than 1%", f"{100 * share:.2f}%", "<= 0.5%", share <= 0.005),
    ]


def trace_part() -> tuple[str, list[Target]]:
    """The trace of the small network's Hessian at 30 products."""
    problem = edge(optax.sgd(GD_RATES[0]))
    params = checkpoints(problem, {"late": 300})["late"]
    operator = hessian(problem.loss, params, problem.batch)
    # As many products as the operator is large read the diagonal.
    exact = float(trace(operator, jax.random.key(0), matvecs=operator.n)[0])
    rows, errors = [], {}
    for method in ("xtrace", "hutch++", "hutchinson"):
        found = [float(trace(operator, jax.random.key(s), method=method)[0]) for s in range(TRACE_SEEDS)]
        errors[method] = float(np.sqrt(np.mean((np.array(found) / exact - 1) ** 2)))
        rows.append([method, f"{100 * errors[method]:.1f}%"])
    text = table(f"Trace at 30 products, {TRACE_SEEDS} seeds", ("method", "RMS error"), rows)
    error = errors["xtrace"]
    return text, [("XTrace's RMS error at 30 products", f"{100 * error:.1f}%", "<= 3%", error <= 0.03)]


def cost_part(perceptron: Problem, transformer: Problem) -> tuple[str, list[Target]]:
    """Gradient times."""
    params = checkpoints(perceptron, {"early": 60})["early"]
    seconds = curvature_costs.compile_seconds(perceptron, params)
    tracker = SharpnessTracker()
    update = jax.jit(tracker.update)
    operator = hessian(perceptron.loss, params, perceptron.batch)
    state, _ = update(tracker.init(params, jax.random.key(0)), operator)
    mlp = curvature_costs.costs(perceptron, params, {"warm": lambda: update(state, operator)}, REPEATS.value)
    tf = curvature_costs.costs(transformer, transformer.params, {}, max(REPEATS.value // 4, 2))
    shares = {every: curvature_costs.overhead(perceptron, params, every, 20) for every in (50, 100)}
    rows = [
        [name, f"{c['ms']:.1f}", f"{c['product']:.2f}", f"{c['cold']:.1f}", f"{c['warm']:.1f}" if "warm" in c else ""]
        for name, c in {"perceptron, early": mlp, "transformer, start": tf}.items()
    ]
    columns = ("model", "ms a gradient", "one product more", "cold solve", "warm measurement, unmoved")
    text = table("Gradient times, least of interleaved repeats", columns, rows)
    runs = [[str(every), f"{100 * share:.1f}%", f"{count:.1f}"] for every, (share, count) in shares.items()]
    text += "\n" + table(
        "Tracking in a training loop of the perceptron, audits included",
        ("measured every so many steps", "more time", "products a measurement"),
        runs,
    )
    return text, [
        ("cold solve, perceptron, gradient times", f"{mlp['cold']:.1f}", "<= 35", mlp["cold"] <= 35),
        ("one product, perceptron, gradient times", f"{mlp['product']:.2f}", "<= 1.5", mlp["product"] <= 1.5),
        ("one product, transformer, gradient times", f"{tf['product']:.2f}", "<= 1.8", tf["product"] <= 1.8),
        ("overhead every 50 steps", f"{100 * shares[50][0]:.1f}%", "<= 25%", shares[50][0] <= 0.25),
        ("overhead every 100 steps", f"{100 * shares[100][0]:.1f}%", "<= 12%", shares[100][0] <= 0.12),
        ("compilation of a solve, perceptron", f"{seconds:.1f} s", "<= 3 s", seconds <= 3),
    ]


def peer_part(problem: Problem) -> str:
    """The same eigenvalue by other libraries."""
    params = checkpoints(problem, {"early": 60})["early"]
    value, _ = reference(problem.loss, params, problem.batch)
    peers = {**curvature_peers.jax_peers(problem, params), **curvature_peers.torch_peers(problem, params)}
    own = curvature_peers.own(problem, params)
    solvers: dict[str, Any] = {name: peer.run for name, peer in peers.items()}
    found = curvature_costs.costs(problem, params, solvers, max(REPEATS.value // 3, 2))
    found["top_eigs"] = found["cold"]
    rows = [
        [name, str(peer.products), f"{abs(peer.value - value) / value:.1e}", f"{found[name]:.1f}"]
        for name, peer in {"top_eigs": own, **peers}.items()
    ]
    columns = ("solver", "products", "error", "gradient times (of JAX's gradient)")
    return table("Beside other libraries: perceptron, early, one start", columns, rows)


def verdicts(targets: Sequence[Target]) -> str:
    """Which figures are reached."""
    rows = [[what, measured, wanted, "yes" if met else "NO"] for what, measured, wanted, met in targets]
    return table("Figures to reach", ("figure", "measured", "wanted", "reached"), rows)


def main(argv: list[str]) -> None:
    """Measures and records."""
    del argv
    perceptron, transformer = digits(), text()
    parts = [
        cost_part(perceptron, transformer),
        cold_part(perceptron, transformer),
        warm_part(),
        trace_part(),
    ]
    bodies = [verdicts([target for _, targets in parts for target in targets]), *(body for body, _ in parts)]
    if PEERS.value:
        bodies.append(peer_part(perceptron))
    record("curvature", "Curvature: products, errors and gradient times", "\n".join(bodies))


if __name__ == "__main__":
    app.run(main)
