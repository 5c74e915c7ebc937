"""A loss against the peak learning rate, with its optimum."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.parametrization import Optimum, optimal_learning_rate
from lrstudy.study.figures.style import COLOURS, band, bands, literal, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_MOST_TICKS = 9
_NEAREST = 0.06  # of the axis: what a label takes


def optimum_of(losses: "pd.DataFrame") -> Optimum | None:
    """The optimum of the mean over seeds; ``None`` if every rate diverged.

    It is fitted in the logarithm; among values that are not all positive it is the best one.

    Args:
        losses: rates (index) by seeds (columns); NaN where a run has no end, which makes its rate's mean infinite.
    """
    means = losses.mean(axis=1, skipna=False).fillna(np.inf)
    if not np.isfinite(means).any():
        return None
    if not _has_logarithm(losses):
        return Optimum(float(means.idxmin()), means.idxmin() in (means.index.min(), means.index.max()))
    return optimal_learning_rate(means.index.to_list(), means.to_list())


def _has_logarithm(losses: "pd.DataFrame") -> bool:
    return bool((losses.index.to_numpy(float) > 0).all())


def loss_against_rate(
    series: Mapping[str, "pd.DataFrame"],
    ylabel: str,
    xlabel: str = "peak learning rate",
    stopped: Collection[str] = (),
) -> "Figure":
    """One line a series with its range over seeds; the optimum is marked, and called out if it sits on the grid's edge.

    Args:
        series: legend label to losses, rates (index) by seeds (columns), NaN where a run diverged or was stopped.
        ylabel: the loss with units.
        xlabel: what is swept.
        stopped: labels of the series of which runs were stopped early: what is left of them has no optimum of its own,
            for its best may have lost against another series.
    """
    figure, axes = panels(1, 1, height=3.4)
    axis: Axes = axes[0, 0]
    warnings, seeds = [], 0
    for (label, unsorted), colour in zip(series.items(), COLOURS * len(series), strict=False):
        losses = unsorted.sort_index()
        band(axis, losses.index.to_numpy(float), losses.to_numpy(float), label, colour)
        seeds = max(seeds, losses.shape[1])
        axis.plot(losses.index, losses.mean(axis=1, skipna=False), "o", color=colour, markersize=3)
        _mark_endless(axis, losses, colour)
        if label in stopped:
            warnings.append(f"{label}: runs were stopped early, so no optimum is marked")
            continue
        optimum = optimum_of(losses)
        if optimum is None:
            warnings.append(f"{label}: every rate diverged")
            continue
        axis.axvline(optimum.value, color=colour, linewidth=0.8, linestyle=":")
        if optimum.on_edge:
            beyond = "below" if optimum.value == losses.index.min() else "above"
            warnings.append(f"{label}: the best {xlabel} {optimum.value:.3g} is on the grid's edge; extend it {beyond}")
    scale = "log" if all(map(_has_logarithm, series.values())) else "linear"
    axis.set(xscale=scale, xlabel=xlabel, ylabel=ylabel)
    _tick_values(axis, sorted({rate for losses in series.values() for rate in losses.index}))
    ended = any(losses.isna().to_numpy().any() for losses in series.values())
    crosses = "; cross: a run diverged or was stopped" if ended else ""
    axis.legend(fontsize=8, title=f"{bands(seeds)}; dotted: optimum{crosses}", title_fontsize=7)
    if warnings:
        axis.set_title(literal("\n".join(warnings), 90), fontsize=8, color="#B00020", loc="left")
    return figure


def _tick_values(axis: "Axes", rates: list[float]) -> None:
    """Labels the rates that were run, where they are few enough to read; of two that are too near, the lower one."""
    if len(rates) > _MOST_TICKS:
        return
    axis.set_xticks(rates)
    places = axis.transAxes.inverted().transform(axis.transData.transform([(rate, 0.0) for rate in rates]))[:, 0]
    labels, last = [], float("-inf")
    for rate, place in zip(rates, places, strict=True):
        near = place - last < _NEAREST
        labels.append("" if near else f"{rate:.3g}")
        last = last if near else place
    axis.set_xticks(rates, labels)
    axis.minorticks_off()


def _mark_endless(axis: "Axes", losses: "pd.DataFrame", colour: str) -> None:
    """A cross at the top of the axes for every rate at which a seed has no end."""
    endless = losses.index[losses.isna().any(axis=1)]
    if len(endless):
        transform = axis.get_xaxis_transform()
        axis.plot(endless, np.full(len(endless), 0.97), "x", color=colour, markersize=6, transform=transform)
