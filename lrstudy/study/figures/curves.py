"""Learning rate and a metric against the step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FARTHEST_PEAKS = 10.0
"""Peaks that lie further apart than this have a logarithmic axis; on a linear one the lower would lie on the floor."""
_BELOW_LOWEST = 100.0  # how far a logarithmic axis reaches below the lowest peak: a decay to zero has no end there
FIRST_SHOWN = 0.05
"""Share of the steps after which a falling loss is near enough to its end to set the axis."""


def rate_and_metric(
    series: Mapping[str, Records], metric: str, ylabel: str, *, log: bool = False, crop: bool = False
) -> "Figure":
    """Two panels over one step axis: the rate that was applied, and a metric with its range over seeds.

    Args:
        series: legend label to records of runs that differ in the seed alone.
        metric: column of the metric rows.
        ylabel: its name with units.
        log: logarithmic metric axis.
        crop: let the axis begin where the first fall from initialisation is over.
    """
    highest, seeds = float("-inf"), 0
    figure, axes = panels(2, 1, height=2.2)
    top, bottom = axes[0, 0], axes[1, 0]
    top.sharex(bottom)
    for place, (label, records) in enumerate(series.items()):
        # Once the colours are spent they come again, dashed.
        colour, dashed = COLOURS[place % len(COLOURS)], place >= len(COLOURS)
        rates = records.curves("learning_rate")
        top.plot(rates.index, rates.iloc[:, 0], color=colour, linewidth=1.3, linestyle="--" if dashed else "-")
        curves = records.curves(metric)
        band(bottom, curves.index.to_numpy(), curves.to_numpy(), label, colour, dashed)
        seeds = max(seeds, curves.shape[1])
        later = curves[curves.index >= FIRST_SHOWN * curves.index.max()].to_numpy()
        highest = max([highest, *later[np.isfinite(later)]])
    top.set_ylabel("learning rate")
    _scale_rates(top)
    top.tick_params(labelbottom=False)
    bottom.set(xlabel="step (optimizer updates)", ylabel=ylabel)
    if log:
        bottom.set_yscale("log")
    low = bottom.dataLim.y0
    if crop and np.isfinite([highest, low]).all() and highest > low:
        bottom.set_ylim(low - 0.03 * (highest - low), highest + 0.03 * (highest - low))
    figure.legend(loc="outside lower center", fontsize=8, ncols=3, title=bands(seeds), title_fontsize=7)
    return figure


def _scale_rates(axis: "Axes") -> None:
    """Makes the axis of rates logarithmic where their peaks are far apart."""
    peaks = np.asarray(
        [np.max(line.get_ydata(), initial=0.0, where=np.isfinite(line.get_ydata())) for line in axis.lines]
    )
    peaks = peaks[peaks > 0]
    if len(peaks) and peaks.max() > FARTHEST_PEAKS * peaks.min():
        axis.set_yscale("log", nonpositive="mask")
        axis.set_ylim(bottom=peaks.min() / _BELOW_LOWEST)
