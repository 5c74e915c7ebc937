"""The figures of the study of hyperparameter laws, each drawn from records alone."""

from typing import TYPE_CHECKING

import numpy as np

from experiments import hyperparameter_laws_measures as measures
from lrstudy.study.figures.style import COLOURS, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_ASIDE = 1.04
"""Between the dots of two sizes, which have the same tokens and often the same optimum."""


def optima(records: Records) -> "Figure":
    """Best rates and batches against tokens, with the law."""
    table, law = measures.grid(records), measures.fitted(records).law
    unseen = measures.held_out(table)
    best = table.loc[table.groupby(["N", "D"])["loss"].idxmin()]
    tokens = np.geomspace(table["D"].min(), table["D"].max(), 40)
    figure, axes = panels(1, 2, width=8.5, height=3.4)
    for place, ((size, own), colour) in enumerate(zip(best.groupby("N"), COLOURS, strict=False)):
        inside, aside = ~unseen[own.index], own["D"] * _ASIDE**place
        for axis, name in zip(axes[0], ("lr", "batch"), strict=True):
            axis.plot(aside[inside], own[name][inside], "o", color=colour, label=f"{size:,.0f} weights")
            axis.plot(aside[~inside], own[name][~inside], "o", color=colour, markerfacecolor="none")
        axes[0, 0].plot(tokens, law.predict(size, tokens)[0], color=colour, linewidth=1.0)
    axes[0, 1].plot(tokens, law.predict(table["N"].max(), tokens)[1], color="0.3", linewidth=1.0)
    for axis, label in zip(axes[0], ("best learning rate", "best batch (tokens)"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="tokens of the run", ylabel=label)
    axes[0, 0].legend(fontsize=7)
    return figure


def surfaces(records: Records) -> "Figure":
    """One panel a cell."""
    table, law = measures.grid(records), measures.fitted(records).law
    sizes, lengths = sorted(table["N"].unique()), sorted(table["D"].unique())
    figure, axes = panels(len(sizes), len(lengths), width=3.0 * len(lengths), height=2.4)
    for axis, ((size, tokens), own) in zip(axes.flat, table.groupby(["N", "D"]), strict=True):
        grid = own.pivot_table(index="batch", columns="lr", values="loss")
        excess = 100 * (grid / own["loss"].min() - 1)
        drawn = axis.pcolormesh(grid.columns, grid.index, excess, vmin=0, vmax=5, cmap="viridis_r", shading="nearest")
        best = own.loc[own["loss"].idxmin()]
        axis.plot(best["lr"], best["batch"], "x", color="white")
        rate, batch = law.predict(size, tokens)
        axis.plot(rate, batch, "o", color="white", markerfacecolor="none")
        axis.set(xscale="log", yscale="log")
        axis.set_title(f"{size:,.0f} weights, {tokens:,.0f} tokens", fontsize=7, loc="left")
        figure.colorbar(drawn, ax=axis)
    for axis in axes[-1]:
        axis.set_xlabel("peak learning rate")
    for axis in axes[:, 0]:
        axis.set_ylabel("batch (tokens)")
    return figure
