"""The loss along the straight line between two parameter vectors."""

from typing import TYPE_CHECKING

from lrstudy.study.figures.style import COLOURS, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def loss_along_line(table: "pd.DataFrame", metric: str, ylabel: str) -> "Figure":
    """One line a run, from the stable checkpoint (0) to the decayed one (1) and beyond both.

    Args:
        table: columns ``label``, ``seed``, ``share`` and the metric.
        metric: column of the loss.
        ylabel: its name with units.
    """
    figure, axes = panels(1, 1, height=3.0)
    axis = axes[0, 0]
    for (label, rows), colour in zip(table.groupby("label", sort=False), COLOURS * len(table), strict=False):
        for seed, own in rows.groupby("seed"):
            first = seed == rows["seed"].min()
            axis.plot(own["share"], own[metric], color=colour, linewidth=1.2, label=label if first else None)
    for position in (0, 1):
        axis.axvline(position, color="black", linewidth=0.6, linestyle=":")
    axis.set(xlabel="share of the way from the stable checkpoint (0) to the decayed one (1)", ylabel=ylabel)
    axis.legend(fontsize=8, title="one line a seed", title_fontsize=7)
    return figure
