"""The figures of the study of learning-rate-free methods."""

from typing import TYPE_CHECKING

import numpy as np

from experiments import lr_free_measures as measures
from lrstudy.benchmark import profile
from lrstudy.study.figures.curves import rate_and_metric
from lrstudy.study.figures.style import COLOURS, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TAU = 4.0


def profiles(records: Records) -> "Figure":
    """One panel a setting, all submissions on one scale."""
    import pandas as pd

    submissions, workloads, values = measures.studies(records)
    index = pd.MultiIndex.from_tuples(submissions)
    taus = np.linspace(1, _TAU, 301)
    shares = profile(pd.DataFrame(np.median(values, axis=-1), index=index, columns=workloads), taus)
    figure, axes = panels(1, 2, width=8.5, height=3.2)
    names = list(dict.fromkeys(method for method, _ in submissions))
    for axis, kind in zip(axes[0], measures.KINDS, strict=True):
        for place, name in enumerate(names):
            # Steps of different heights lie on each other where methods are equal: a hair apart they can be told.
            own = shares.loc[(name, kind)].to_numpy() + 0.004 * (place - len(names) / 2)
            style = "-" if place < len(COLOURS) else "--"
            axis.plot(taus, own, style, color=COLOURS[place % len(COLOURS)], linewidth=1.4, label=name)
        axis.set(ylim=(-0.04, 1.04), title=kind, xlabel="times the fastest, tau", ylabel="share of workloads")
    axes[0, 1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def lags(records: Records) -> "Figure":
    """A cell a workload and submission."""
    submissions, workloads, values = measures.studies(records)
    medians = np.median(values, axis=-1)
    fastest = np.min(medians, axis=0)
    table = measures.trials(records)
    closest = (
        table.assign(over=table["value"] / table["target"]).groupby(["method", "kind", "workload"])["over"].median()
    )
    order = sorted(range(len(submissions)), key=lambda i: (measures.KINDS.index(submissions[i][1]), submissions[i][0]))
    ratios = medians[order] / np.where(np.isfinite(fastest), fastest, 1)
    figure, axes = panels(1, 1, width=8.0, height=0.28 * len(order) + 1.2)
    axis = axes[0, 0]
    shown = np.ma.masked_invalid(np.where(np.isfinite(ratios), ratios, np.nan))
    drawn = axis.pcolormesh(shown, vmin=1, vmax=_TAU, cmap="viridis_r", edgecolors="white", linewidth=0.5)
    for row, i in enumerate(order):
        for column, workload in enumerate(workloads):
            ratio, at = ratios[row, column], (column + 0.5, row + 0.5)
            if np.isfinite(ratio):
                text, colour = f"{ratio:.2f}", "black" if ratio < 2.5 else "white"
            else:
                text, colour = f"x  {closest[(*submissions[i], workload)]:.3g}", "0.35"
            axis.text(*at, text, ha="center", va="center", fontsize=7, color=colour)
    axis.set_xticks(np.arange(len(workloads)) + 0.5, [name.replace("_", "\n") for name in workloads], fontsize=7)
    labels = [f"{method}, {kind}" for method, kind in (submissions[i] for i in order)]
    axis.set_yticks(np.arange(len(order)) + 0.5, labels, fontsize=7)
    axis.invert_yaxis()
    axis.grid(visible=False)
    figure.colorbar(drawn, ax=axis, label="updates to target over the fastest's")
    return figure


def rates(records: Records) -> "Figure":
    """Rates on a logarithmic axis above losses."""
    own = records.part("text")
    methods = list(dict.fromkeys(own.runs["optimizer"]))
    figure = rate_and_metric(
        {name: own.where(optimizer=name) for name in methods}, "validation_loss", "validation loss (nats)", crop=True
    )
    figure.axes[0].set_yscale("log")
    return figure
