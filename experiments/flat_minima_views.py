"""The figures of the study of flat minima, each drawn from records alone."""

from typing import TYPE_CHECKING

from experiments import flat_minima_measures as measures
from lrstudy.study.claims import mean_interval
from lrstudy.study.figures.style import COLOURS, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ends(records: Records) -> "Figure":
    """Error against the largest eigenvalue, over methods and over momentum's rates."""
    figure, axes = panels(1, 2, width=10.0, height=3.8)
    for (name, method), colour in zip(measures.METHODS.items(), COLOURS, strict=False):
        own = measures.decided(records, name)
        axes[0, 0].plot(own["eigenvalue"], 100 * own["error"], ".", color=colour, alpha=0.4)
        middle = [mean_interval(values) for values in (own["eigenvalue"], 100 * own["error"])]
        reach = [[[one.value - one.low], [one.high - one.value]] if one.n > 1 else None for one in middle]
        place = {"xerr": reach[0], "yerr": reach[1], "fmt": "x", "color": colour}
        axes[0, 0].errorbar(middle[0].value, middle[1].value, **place, label=method.label)
    runs = measures.over_rates(records)
    means = runs.groupby("peak")[["eigenvalue", "error"]].mean()
    axes[0, 1].plot(means["eigenvalue"], 100 * means["error"], "o-", color=COLOURS[0], markersize=3, linewidth=1.0)
    for peak in (means.index[0], means.index[-1]):
        at = means.loc[peak]
        where = (at["eigenvalue"], 100 * at["error"])
        axes[0, 1].annotate(f"{peak:g}", where, (-7, -3), textcoords="offset points", fontsize=8, ha="right")
    for axis in axes[0]:
        axis.set(xscale="log", xlabel="largest eigenvalue of the training loss's Hessian")
        axis.minorticks_off()
        axis.set_xticks([1, 2, 3, 5, 7, 10], ["1", "2", "3", "5", "7", "10"])
        axis.set_title(f"{runs['seed'].nunique()} seeds", fontsize=8, loc="left")
    axes[0, 0].set_ylabel("validation error (%)")
    axes[0, 1].set_ylabel("momentum's validation error (%)")
    figure.legend(loc="outside lower center", ncols=len(measures.METHODS), fontsize=8)
    return figure


def grid(records: Records) -> "Figure":
    """Error against the peak, one panel a method."""
    table = measures.trained(records)
    names = [name for name in measures.METHODS if name != "double"]
    reference = 100 * measures.by_point(table, "momentum")["error"].min()
    figure, axes = panels(1, len(names), width=12.0, height=3.0)
    for axis, name in zip(axes[0], names, strict=True):
        points, method = measures.by_point(table, name), measures.METHODS[name]
        for (second, own), colour in zip(points.groupby("second"), COLOURS, strict=False):
            line = own.sort_values("peak")
            label = f"{method.second} {second:g}" if method.second else None
            axis.plot(line["peak"], 100 * line["error"], "o-", color=colour, markersize=3, linewidth=1.0, label=label)
        best = points.iloc[0]
        axis.plot(best["peak"], 100 * best["error"], "o", color="black", markersize=9, markerfacecolor="none")
        axis.axhline(reference, color="black", linewidth=0.8, linestyle=":")
        axis.set(xscale="log", yscale="log", ylim=(3, 100), xlabel="peak learning rate")
        axis.set_title(method.label, fontsize=9, loc="left")
        axis.set_yticks([3, 5, 10, 20, 50, 100], ["3", "5", "10", "20", "50", "100"])
        axis.minorticks_off()
        if method.second:
            axis.legend(fontsize=7)
    axes[0, 0].set_ylabel("validation error (%)")
    return figure
