"""The figures of the budget study, each drawn from records alone."""

from typing import TYPE_CHECKING

import numpy as np

from experiments import budgeted_schedules_claims as claims
from experiments.budgeted_schedules_methods import FRACTIONS, METHODS, refined_tables, tuned
from lrstudy.study.figures.style import COLOURS, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABELS = [f"{100 * fraction:g}%" for fraction in FRACTIONS]


def budgets(records: Records) -> "Figure":
    """One panel a setting: every method relative to the linear schedule."""
    tables = {name: claims.losses(records, name) for name in claims.decided(records)}
    figure, axes = panels(-(-len(tables) // 2), 2, width=8.0, height=3.0)
    for (name, table), axis in zip(tables.items(), axes.flat, strict=False):
        _relative(axis, table)
        axis.set_title(claims.SETTINGS[name].removesuffix(": "), fontsize=9, loc="left")
    for axis in axes[-1]:
        axis.set_xlabel("budget (share of the full updates)")
    for axis in axes[:, 0]:
        axis.set_ylabel("loss over linear's, less one (%)")
    seeds = f"mean over {max(table.shape[1] for table in tables.values())} seeds"
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=8, title=seeds, title_fontsize=7)
    return figure


def _relative(axis: "Axes", table: "claims.pd.DataFrame") -> None:
    """The constant rate, far behind at most budgets, is let run out of the panel."""
    places = np.arange(len(FRACTIONS))
    steps = sorted(table.index.get_level_values("steps").unique())
    others = [method for method in METHODS if method != "Linear"]
    highest = 0.0
    for number, method in enumerate(others):
        found = [claims.excess(table, method, "Linear", one) for one in steps]
        values = 100 * np.asarray([one.value for one in found])
        first = np.stack([table.loc[(method, one)].to_numpy() for one in steps])
        second = np.stack([table.loc[("Linear", one)].to_numpy() for one in steps])
        spread = np.std(first - second, axis=1, ddof=1) / np.sqrt(first.shape[1]) / second.mean(axis=1)
        style = {"color": COLOURS[number], "marker": "o", "markersize": 3, "linewidth": 1.1, "capsize": 2}
        axis.errorbar(places + 0.04 * (number - 3.5), values, 100 * spread, label=METHODS[method], **style)
        if method != "Constant":
            highest = max(highest, np.nanmax(values, initial=0.0))
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(places, _LABELS)
    low = axis.dataLim.y0
    axis.set_ylim(low - 0.05 * (highest - low), highest + 0.15 * (highest - low))


def refined_schedules(records: Records) -> "Figure":
    """One panel a setting, one line a budget, beside the line that it was refined from."""
    names = claims.decided(records)
    figure, axes = panels(-(-len(names) // 2), 2, width=8.0, height=2.6)
    for name, axis in zip(names, axes.flat, strict=False):
        tables = refined_tables(records.part(f"refine_{name}"))
        for (_, schedule), label, colour in zip(sorted(tables.items()), _LABELS, COLOURS, strict=False):
            values = np.asarray(schedule.values)
            axis.plot(np.linspace(0, 1, len(values)), values, color=colour, linewidth=1.1, label=label)
        axis.plot([0, 1], [1, 0], color="black", linewidth=0.8, linestyle=":", label="linear")
        axis.set_title(claims.SETTINGS[name].removesuffix(": "), fontsize=9, loc="left")
    for axis in axes[-1]:
        axis.set_xlabel("share of the budget")
    for axis in axes[:, 0]:
        axis.set_ylabel("rate over the highest")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
    return figure


def rates(records: Records) -> "Figure":
    """One row a setting: final loss against the peak at the smallest and the largest budget."""
    names = claims.decided(records)
    figure, axes = panels(len(names), 2, width=8.0, height=2.2)
    for name, row in zip(names, axes, strict=True):
        found = tuned(records.part(f"tune_{name}")) | tuned(records.part(f"refine_{name}"))
        steps = sorted({budget for _, budget in found})
        for axis, budget, label in zip(row, (steps[0], steps[-1]), (_LABELS[0], _LABELS[-1]), strict=True):
            for method, colour in zip(METHODS, (*COLOURS, "#999999"), strict=True):
                means = found[method, budget].losses.mean(axis=1, skipna=False)
                axis.plot(means.index, means, "o-", color=colour, markersize=3, linewidth=1.0, label=METHODS[method])
            axis.set_xscale("log")
            axis.set_title(f"{claims.SETTINGS[name]}{label}", fontsize=8, loc="left")
        row[0].set_ylabel("loss (nats)")
    for axis in axes[-1]:
        axis.set_xlabel("peak learning rate")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure
