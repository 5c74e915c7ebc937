"""What the study of flat minima computes from records: the grid, what was chosen on it, and where the runs ended."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

TUNING_SEEDS = (1, 2, 3, 4, 5, 6)
"""Of the runs on which every method's numbers are chosen; no other run decides about them."""

PEAKS = (0.006, 0.0175, 0.05, 0.15)
FINE_PEAKS = tuple(float(f"{peak:.3g}") for peak in np.geomspace(PEAKS[0], PEAKS[-1], len(PEAKS) ** 2))
"""Of momentum, which has no second number here: as many points as the others have, between the same ends."""
MOMENTUM = 0.9
RADII = (0.05, 0.1, 0.2, 0.4)
"""SAM's rho."""
WEIGHTS: Mapping[str, tuple[float, ...]] = {"saf": (2.0, 6.0, 18.0, 54.0), "mesa": (0.7, 2.0, 6.0, 18.0)}
"""Of the terms of SAF and MESA; the released ones, 0.3 and 0.8, are for another model on a thousand classes."""


class Method(NamedTuple):
    """A way to train.

    Attributes:
        label: in figures and tables.
        gradients: what an update costs, in gradients.
        cost: of the run, over that of momentum's.
        second: its second number, if any.
    """

    label: str
    gradients: float
    cost: float = 1.0
    second: str | None = None


METHODS: Mapping[str, Method] = {
    "momentum": Method("momentum", 1),
    "half": Method("momentum, half the updates", 1, cost=0.5),
    "sam": Method("SAM", 2, second="rho"),
    "double": Method("SAM, twice the cost", 2, cost=2, second="rho"),
    "saf": Method("SAF", 1, second="weight"),
    "mesa": Method("MESA", 4 / 3, second="weight"),
}
"""MESA's second forward pass is a third of a gradient. ``double`` is not tuned: it is SAM at its chosen numbers."""


def updates_of(method: str, steps: int) -> int:
    """The updates of a run.

    Args:
        method: of ``METHODS``.
        steps: momentum's.
    """
    found = METHODS[method]
    return max(1, round(steps * found.cost / found.gradients))


def trained(records: Records) -> "pd.DataFrame":
    """Every run of the engine and of the probe.

    Returns:
        One row a run: ``method``, ``seed``, ``peak``, ``second``, ``error`` (share of the validation examples),
        ``loss`` (of them, nats), and for deciding runs ``train_loss`` (nats), ``eigenvalue`` (largest, of the Hessian
        of the training loss) and ``trace`` (of it).
    """
    import pandas as pd

    asked = {run_id for part in records.parts.values() for run_id in part}
    runs = records.runs[records.runs["run_id"].isin(asked)]
    steps = int(runs["steps"][runs["optimizer"] == "momentum"].max())
    ok = runs["outcome"] == "ok"
    engine = runs[["run_id"]].assign(
        method=[_method(row.optimizer, int(row.steps), steps) for row in runs.itertuples()],
        seed=runs["seed"].astype(int),
        peak=runs["schedule.peak"].astype(float),
        second=runs["optimizer.rho"].astype(float),
        error=(1 - runs["validation_accuracy"].astype(float)).where(ok, 1.0),
        loss=runs["validation_loss"].astype(float).where(ok, np.inf),
    )
    ends = [records.probes[name] for name in ("ends", "rate_ends") if name in records.probes]
    if ends:
        engine = engine.merge(pd.concat(ends).drop_duplicates("run_id"), on="run_id", how="left")
    tables = [engine.drop(columns="run_id")]
    if "trajectory" in records.probes:
        tables.append(records.probes["trajectory"])
    return pd.concat(tables, ignore_index=True)


def _method(optimizer: str, updates: int, steps: int) -> str:
    names = ("momentum", "half") if optimizer == "momentum" else ("double", "sam")
    return next(name for name in names if updates_of(name, steps) == updates)


def by_point(table: "pd.DataFrame", method: str) -> "pd.DataFrame":
    """Mean error and loss of a method's points over the tuning seeds, the lowest error first, then the lowest loss."""
    own = table[(table["method"] == method) & table["seed"].isin(TUNING_SEEDS)].fillna({"second": 0.0})
    means = own.groupby(["peak", "second"])[["error", "loss"]].mean().reset_index()
    return means.sort_values(["error", "loss"], ignore_index=True)


def chosen(table: "pd.DataFrame", method: str) -> dict[str, float]:
    """The ``peak`` and the ``second`` number (0 without one) that are best on the tuning seeds."""
    best = by_point(table, "sam" if method == "double" else method).iloc[0]
    return {name: float(best[name]) for name in ("peak", "second")}


def decided(records: Records, method: str) -> "pd.DataFrame":
    """The deciding runs of a method at its chosen numbers, ordered by seed."""
    table = trained(records)
    best = chosen(table, method)
    own = table[(table["method"] == method) & ~table["seed"].isin(TUNING_SEEDS)].fillna({"second": 0.0})
    return own[(own["peak"] == best["peak"]) & (own["second"] == best["second"])].sort_values("seed", ignore_index=True)


def over_rates(records: Records) -> "pd.DataFrame":
    """Momentum's deciding runs at every peak: ``peak``, ``seed``, ``error``, ``eigenvalue``."""
    table = trained(records)
    own = table[(table["method"] == "momentum") & ~table["seed"].isin(TUNING_SEEDS)]
    return own[["peak", "seed", "error", "eigenvalue"]].sort_values(["seed", "peak"], ignore_index=True)


def summary_table(records: Records) -> "pd.DataFrame":
    """One row a method: what it costs, what was chosen, where it ended on the deciding seeds."""
    import pandas as pd

    table, rows = trained(records), list[dict[str, Any]]()
    for name, method in METHODS.items():
        own, best = decided(records, name), chosen(table, name)
        rows.append(
            {
                "method": method.label,
                "cost": method.cost,
                "peak": best["peak"],
                method.second or "second": best["second"],
                "on edge": on_edge(table, name),
                "error (%)": 100 * own["error"].mean(),
                "standard error": 100 * own["error"].std() / np.sqrt(len(own)),
                "validation loss": own["loss"].mean(),
                "training loss": own["train_loss"].mean(),
                "largest eigenvalue": own["eigenvalue"].mean(),
                "trace": own["trace"].mean(),
                "seeds": len(own),
            }
        )
    return pd.DataFrame(rows).drop(columns="second")


def on_edge(table: "pd.DataFrame", method: str) -> str:
    """Which of the chosen numbers lies at an end of its grid."""
    points, best = by_point(table, "sam" if method == "double" else method), chosen(table, method)
    names = ["peak", *(["second"] if METHODS[method].second else [])]
    ends = [name for name in names if best[name] in (points[name].min(), points[name].max())]
    return ", ".join(METHODS[method].second or name if name == "second" else name for name in ends)


def grid_table(records: Records) -> "pd.DataFrame":
    """One row a point of every method: mean error and loss over the tuning seeds."""
    import pandas as pd

    table = trained(records)
    tuned = [name for name in METHODS if name != "double"]
    return pd.concat(
        [by_point(table, name).sort_values(["second", "peak"]).assign(method=METHODS[name].label) for name in tuned],
        ignore_index=True,
    )[["method", "second", "peak", "error", "loss"]]
