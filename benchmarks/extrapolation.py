"""What the trained extrapolator is worth: beside the exact posterior, and as a reason to stop runs.

python -m benchmarks.extrapolation

It needs the network that ``python -m lrstudy.study.extrapolator`` trains, whose check it repeats in words. Runs are
replayed in random orders: curves of the prior, which the network has never seen, and where ``LRSTUDY_DATA`` names a
folder with ``loss_curves/`` real validation losses.
"""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from absl import app

from benchmarks import timing
from lrstudy.laws.extrapolation import Extrapolator, LearningCurvePrior
from lrstudy.laws.extrapolation.stopping import Backtest, LossScale, backtest, binned
from lrstudy.study.extrapolator import MANIFEST, default_folder, load_extrapolator, table
from lrstudy.study.workdir import read_json

SEED, GROUPS, RUNS, ORDERINGS = 77, 10, 20, 4
RULES = ("each", "any")
SCALE = LossScale(best=2.0, worst=4.5, logarithmic=True)
"""Of the real losses, set before they were looked at: below what these models reach, above where they are recorded."""


def replayed_prior(extrapolator: Extrapolator) -> list[list[str]]:
    """Groups of the prior's curves in random orders."""
    curves = np.asarray(LearningCurvePrior().sample(jax.random.key(SEED), GROUPS * RUNS)).reshape(GROUPS, RUNS, -1)
    rng = np.random.default_rng(SEED)
    orders = [[rng.permutation(RUNS).tolist() for _ in range(ORDERINGS)] for _ in range(GROUPS)]
    rows = []
    for rule in RULES:
        done = [backtest(extrapolator, c, o, over=rule) for c, o in zip(curves, orders, strict=True)]
        rows.append(row(f"{GROUPS} groups of {RUNS} curves of the prior", rule, done))
    return rows


def real_groups(folder: Path) -> dict[str, np.ndarray]:
    """Runs of one model and length, as curves of a hundred points."""
    groups: dict[str, np.ndarray] = {}
    for size in ("25m", "100m"):
        for pattern in ("*_24000", "*_72000", "wsdcon_*"):
            paths = sorted((folder / f"llama_{size}").glob(f"{pattern}.csv"))
            tables = [np.loadtxt(path, delimiter=",", skiprows=1) for path in paths]
            shortest = min(len(rows) for rows in tables)
            curves = np.array([binned(SCALE.to_curve(rows[:shortest, 2]), min(shortest, 100)) for rows in tables])
            groups[f"Llama {size.upper()}, {', '.join(path.stem for path in paths)}"] = curves
    return groups


def row(name: str, rule: str, done: Sequence[Backtest]) -> list[str]:
    """One line of the table."""
    trained, possible = (sum(int(getattr(d, f).sum()) for d in done) for f in ("trained", "possible"))
    regret = np.concatenate([d.regret for d in done])
    stopped = np.concatenate([d.best_stopped for d in done])
    saved, mean = f"{1 - trained / possible:.0%}", f"{regret.mean():.4f}"
    return [name, rule, saved, mean, f"{stopped.mean():.0%}", str(len(regret))]


def main(argv: Sequence[str]) -> None:
    """Measures and records."""
    del argv
    extrapolator, manifest = load_extrapolator(), read_json(default_folder() / MANIFEST)
    rows = replayed_prior(extrapolator)
    data = os.environ.get("LRSTUDY_DATA")
    if data:
        for name, curves in real_groups(Path(data) / "loss_curves").items():
            orders = [list(order) for order in itertools.permutations(range(len(curves)))]
            rows.extend(row(name, rule, [backtest(extrapolator, curves, orders, over=rule)]) for rule in RULES)
    recipe = manifest["recipe"]
    size = f"{recipe['layers']} layers of width {recipe['width']}, {recipe['curves']} curves"
    note = (
        f"Trained ({size}) in {manifest['seconds']:.0f} s; mean log density a point on {manifest['test_curves']} fresh "
    )
    note += f"curves, ± standard error; importance sampling weighs {manifest['draws']} draws."
    columns = ("runs", "5 % is the chance of", "points saved", "mean regret", "best run stopped", "orderings")
    check = f"## Beside the exact posterior\n\n{note}\n\n{table(manifest['check'])}\n"
    backtests = timing.table(
        "Stopping after 10, 20, 40 or 80 of 100 points what is not likely to become the best", columns, rows
    )
    timing.record("extrapolation", "Extrapolation of learning curves", f"{check}\n{backtests}")


if __name__ == "__main__":
    app.run(main)
