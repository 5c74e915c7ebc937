"""The curved river from above: paths of single chains, and where the mean over all of them ends."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.study.figures.style import COLOURS, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def trajectories(series: Mapping[str, Records], curvature: float, slope: float) -> "Figure":
    """The loss as filled contours, the river as a line, each schedule's first chain of its first seed, its mean end.

    The mean position along the river is put on the river: a chain alone diffuses farther than it drifts.

    Args:
        series: legend label to records of a curved river.
        curvature: of the hills.
        slope: of the river.
    """
    figure, axes = panels(1, 1, height=3.6)
    axis = axes[0, 0]
    paths, ends = {}, {}
    for label, records in series.items():
        x, y = (records.curves(f"first_chain_{name}").iloc[:, 0].to_numpy() for name in ("x", "y"))
        paths[label] = (x, y)
        ends[label] = float(records.final("river_position").mean())
    means = [np.asarray([[x, np.sin(x)]]) for x in ends.values()]
    everything = np.concatenate([*(np.stack(path, axis=1) for path in paths.values()), *means])
    low, high = everything.min(axis=0), everything.max(axis=0)
    margin = 0.08 * (high - low) + 1e-3
    xs = np.linspace(low[0] - margin[0], high[0] + margin[0], 160)
    ys = np.linspace(low[1] - margin[1], high[1] + margin[1], 160)
    grid_x, grid_y = np.meshgrid(xs, ys)
    loss = 0.5 * curvature * (grid_y - np.sin(grid_x)) ** 2 - slope * grid_x
    filled = axis.contourf(grid_x, grid_y, loss, levels=24, cmap="Greys", alpha=0.7)
    figure.colorbar(filled, ax=axis, label="loss")
    axis.plot(xs, np.sin(xs), color="black", linewidth=0.8, linestyle=":", label="river")
    # The first series is drawn last, on top of those that share its path.
    for (label, (x, y)), colour in reversed(list(zip(paths.items(), COLOURS * len(paths), strict=False))):
        axis.plot(x, y, color=colour, linewidth=0.7, alpha=0.8)
        axis.plot(x[-1], y[-1], "o", color=colour, markersize=4)
        style = {"markersize": 7, "markeredgecolor": "black", "markeredgewidth": 0.6, "zorder": 3}
        axis.plot(ends[label], np.sin(ends[label]), "D", color=colour, label=label, **style)
    start = next(iter(paths.values()))
    axis.plot(start[0][0], start[1][0], "*", color="black", markersize=9, zorder=3, label="start")
    axis.set(xlabel="x, along the river", ylabel="y, across the river", ylim=(ys[0], ys[-1]))
    axis.legend(fontsize=8, loc="upper left", title="diamond: mean over chains and seeds at the end", title_fontsize=7)
    return figure
