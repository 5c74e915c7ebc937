"""Learning rate and a metric against the step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lrstudy.study.figures.style import COLOURS, band, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rate_and_metric(series: Mapping[str, Records], metric: str, ylabel: str, log: bool = False) -> "Figure":
    """Two panels over one step axis: the rate that was applied, and a metric with its range over seeds.

    Args:
        series: legend label to records of runs that differ in the seed alone.
        metric: column of the metric rows.
        ylabel: its name with units.
        log: logarithmic metric axis.
    """
    figure, axes = panels(2, 1, height=2.2)
    top, bottom = axes[0, 0], axes[1, 0]
    top.sharex(bottom)
    for (label, records), colour in zip(series.items(), COLOURS * len(series), strict=False):
        rates = records.curves("learning_rate")
        top.plot(rates.index, rates.iloc[:, 0], color=colour, linewidth=1.3)
        curves = records.curves(metric)
        band(bottom, curves.index.to_numpy(), curves.to_numpy(), label, colour)
    top.set_ylabel("learning rate")
    top.tick_params(labelbottom=False)
    bottom.set(xlabel="step (optimizer updates)", ylabel=ylabel)
    if log:
        bottom.set_yscale("log")
    bottom.legend(fontsize=8, ncols=2)
    return figure
