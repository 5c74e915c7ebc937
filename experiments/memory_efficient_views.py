"""The figures of the study of memory, each drawn from records alone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from experiments import memory_efficient_measures as measures
from lrstudy.study.claims import mean_interval
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KILO = 1e-3
_MARKS = "osD^v<>"


def memory(records: Records) -> "Figure":
    """Tuned loss against bytes: AdamW's line over widths, one mark a method."""
    figure, axes = panels(1, 1, width=7.5, height=3.8)
    axis: Axes = axes[0, 0]
    points = {method: _point(records, method) for method in measures.METHODS}
    line = sorted(points[method] for method in measures.ALL_STATE)
    x, loss, half = np.transpose(line)
    axis.errorbar(x, loss, half, color="0.4", marker="o", capsize=2, linewidth=1.0, label="AdamW, by width")
    others = [method for method in measures.METHODS if method not in measures.ALL_STATE]
    for method, colour, mark in zip(others, COLOURS, _MARKS, strict=False):
        x, loss, half = points[method]
        axis.errorbar(x, loss, half, color=colour, marker=mark, capsize=2, label=measures.METHODS[method])
    axis.set(xlabel="weights and optimizer state (kB)", ylabel="validation loss (nats)")
    seeds = len(measures.tuned(records, "adamw"))
    title = f"mean and 95% interval over {seeds} seeds"
    axis.legend(fontsize=8, title=title, title_fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _point(records: Records, method: str) -> tuple[float, float, float]:
    """Kilobytes, loss, and half of the loss's interval."""
    loss = mean_interval(measures.tuned(records, method))
    return measures.memory_of(records, method)["total"] * _KILO, loss.value, loss.high - loss.value


def rates(records: Records) -> "Figure":
    """Loss against rate, those with all of the state on the left."""
    figure, axes = panels(1, 2, width=9.5, height=3.8)
    left = [*measures.ALL_STATE, "reset"]
    right = [method for method in measures.METHODS if method not in left]
    for axis, methods in zip(axes[0], (left, right), strict=True):
        _against_rate(axis, {method: measures.losses(records, method).sort_index() for method in methods})
    low = min(axis.get_ylim()[0] for axis in axes[0])
    high = max(axis.get_ylim()[1] for axis in axes[0])
    for axis in axes[0]:
        # Room for the legends.
        axis.set_ylim(low, high + 0.25 * (high - low))
    return figure


def _against_rate(axis: "Axes", losses: "Mapping[str, pd.DataFrame]") -> None:
    """One line a method, its best rate marked."""
    for (method, found), colour in zip(losses.items(), COLOURS, strict=False):
        band(axis, found.index.to_numpy(float), found.to_numpy(float), measures.METHODS[method], colour)
        best = measures.best_rate(found)
        axis.plot(best, found.loc[best].mean(), "o", color=colour, markersize=4)
    ticks = sorted({float(rate) for found in losses.values() for rate in found.index})
    axis.set(xscale="log", xlabel="peak learning rate", ylabel="validation loss (nats)")
    axis.set_xticks(ticks, [f"{rate:.3g}" for rate in ticks])
    axis.minorticks_off()
    seeds = max(found.shape[1] for found in losses.values())
    axis.legend(fontsize=7, title=f"{bands(seeds)}; dot: best", title_fontsize=7)
