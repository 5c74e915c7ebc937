"""The figures and tables of the study of large steps, each made from records alone."""

from typing import TYPE_CHECKING

import numpy as np

from experiments import large_steps_measures as measures
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_GUIDE = {"color": "black", "linewidth": 0.8, "linestyle": ":"}


def growth(records: Records) -> "Figure":
    """Updates against examples, and examples left wrong against updates."""
    figure, axes = panels(1, 2, width=9.0, height=3.2)
    own = records.part("growth")
    for normalised, label, colour in ((False, "gradient descent", COLOURS[0]), (True, "normalised", COLOURS[1])):
        counts = measures.growth(records, normalised=normalised)
        axes[0, 0].plot(measures.SIZES, counts, "o-", color=colour, label=label, markersize=4)
        rows = own.where(task__normalised=normalised, task__examples=1_000).metrics.sort_values("step")
        axes[0, 1].plot(rows["step"], rows["misclassified"].clip(lower=0.5), color=colour, label=label)
    sizes = np.asarray(measures.SIZES, float)
    first = measures.growth(records, normalised=False)[-1] / sizes[-1]
    axes[0, 0].plot(sizes, first * sizes, **_GUIDE, label="proportional")
    axes[0, 0].set(xscale="log", yscale="log", xlabel="examples", ylabel="updates until all are correct")
    axes[0, 1].set(xlabel="updates", ylabel="misclassified of 1,000 (0.5: none)", yscale="log", xlim=(0, 400))
    axes[0, 0].legend()
    return figure


def iterates(records: Records) -> "Figure":
    """Paths of theta / gamma beside the perceptron's, and their distance against gamma."""
    figure, axes = panels(1, 2, width=8.0, height=3.2)
    for step, colour in zip(measures.STEPS, COLOURS, strict=False):
        path = measures.iterates(records, step)
        axes[0, 0].plot(*path.T, "o-", color=colour, markersize=3, label=f"gamma {step:g}")
    limit = measures.perceptron_iterates(4)
    axes[0, 0].plot(*limit.T, "x--", color="black", label="perceptron")
    axes[0, 0].set(xlabel="theta_1 / gamma", ylabel="theta_2 / gamma")
    axes[0, 0].legend()
    # A distance below what float32 can tell is drawn at that.
    found = [max(measures.distance(records, step), 1e-8) for step in measures.STEPS]
    axes[0, 1].plot(measures.STEPS, found, "o-", color=COLOURS[0])
    axes[0, 1].set(xscale="log", yscale="log", xlabel="gamma", ylabel="largest distance from the perceptron")
    return figure


def benign(records: Records) -> "Figure":
    """Loss on the sample, and accuracy by the weak feature, against updates and against the rate."""
    figure, axes = panels(1, 3, width=11.0, height=3.2)
    own = records.part("benign")
    shown = (measures.SMALL, measures.RATES[3], measures.LARGE)
    for rate, colour in zip(shown, COLOURS, strict=False):
        runs = own.where(schedule__peak=rate)
        for axis, metric in zip(axes[0, :2], ("sample_loss", "test_error"), strict=True):
            curves = runs.curves(metric)
            values = curves.to_numpy() if metric == "sample_loss" else 1 - curves.to_numpy()
            band(axis, curves.index.to_numpy(), values, f"rate {rate:g}", colour)
    means = np.asarray([measures.test_accuracy(records, rate) for rate in measures.RATES])
    for seed in range(means.shape[1]):
        axes[0, 2].plot(measures.RATES, means[:, seed], ".", color=COLOURS[0], markersize=4)
    axes[0, 2].plot(measures.RATES, means.mean(axis=1), "-", color=COLOURS[0], label="mean over seeds")
    for axis in (axes[0, 1], axes[0, 2]):
        axis.axhline(measures.CHANCE, **_GUIDE)
    axes[0, 0].set(xlabel="updates", ylabel="loss on the sample", yscale="log", ylim=(1e-6, 2))
    axes[0, 1].set(xlabel="updates", ylabel="accuracy by the weak feature")
    axes[0, 2].set(xlabel="learning rate", ylabel="accuracy by the weak feature")
    axes[0, 0].legend(title=bands(own.runs["seed"].nunique()))
    axes[0, 2].legend()
    return figure


def iterations_table(records: Records) -> "pd.DataFrame":
    """Updates until all examples are correct: of the runs, of the solvers, and of both perceptrons."""
    own = records.part("table")
    runs = own.runs[["run_id"]].assign(run=measures.iterations(own).astype("Int64"))
    table = records.probes["solvers"].merge(runs, on="run_id", how="left")
    names = {"step": "gamma", "updates": "updates (solver)", "run": "updates (run)"}
    return table.drop(columns="run_id")[["examples", "method", "step", "run", "updates"]].rename(columns=names)


def bounds_table(records: Records) -> "pd.DataFrame":
    """Random samples: updates and their bounds, ranges over samples."""
    table = measures.bound_shares(records)
    grouped = table.groupby(["normalised", "step"])
    rows = grouped.agg(least=("updates", "min"), most=("updates", "max"), share=("share", "max")).reset_index()
    names = {"step": "gamma", "least": "fewest updates", "most": "most updates", "share": "largest share of the bound"}
    return rows.rename(columns=names)


def benign_table(records: Records) -> "pd.DataFrame":
    """Features and noise: accuracy by rate."""
    import pandas as pd

    rows = []
    for rate in measures.RATES:
        runs = records.part("benign").where(schedule__peak=rate).runs
        found = measures.test_accuracy(records, rate)
        row = {"rate": rate, "accuracy, mean": found.mean(), "lowest": found.min(), "highest": found.max()}
        row |= {"loss on the sample": runs["sample_loss"].astype(float).mean()}
        rows.append(row | {"seeds": len(runs), "diverged": int((runs["outcome"] != "ok").sum())})
    return pd.DataFrame(rows)
