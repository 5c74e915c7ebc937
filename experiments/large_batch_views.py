"""The figures of the study of large batches, each drawn from records alone."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments import large_batch_arms as arms
from experiments import large_batch_measures as measures
from experiments.large_batch_arms import ARMS, ASIDE, LADDER, METHODS, RULES
from lrstudy.study.claims import mean_interval
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABELS = {arms.KEPT: "kept", arms.LINEAR: "linear", arms.SQRT: "square root", arms.TUNED: "tuned at each batch"}


def batches(records: Records) -> "Figure":
    """One panel a method, one line a rule."""
    table = measures.losses(records)
    sizes = measures.batches(table)
    figure, axes = panels(1, len(METHODS), width=9.5, height=3.2)
    for axis, (name, method) in zip(axes[0], METHODS.items(), strict=True):
        for rule, colour in zip(RULES, COLOURS, strict=False):
            samples = np.stack([table.loc[(name, rule, size)].to_numpy(float) for size in sizes])
            band(axis, np.asarray(sizes), samples, _LABELS[rule], colour, dashed=rule == arms.TUNED)
        base = table.loc[(name, arms.TUNED, arms.REFERENCE)].mean()
        axis.axhline(base + measures.MARGIN, color="black", linewidth=0.8, linestyle=":")
        axis.set(xscale="log", yscale="log", xlabel="batch (examples)", ylim=(0.006, 1.2 * measures.UNTRAINED))
        axis.set_xticks(sizes, [str(size) for size in sizes], fontsize=7)
        axis.minorticks_off()
        axis.set_title(method.label, fontsize=9, loc="left")
    for axis in axes[0, 1:]:
        axis.sharey(axes[0, 0])
    axes[0, 0].set_ylabel("validation loss (nats)")
    handles = axes[0, 0].get_legend_handles_labels()
    seeds = bands(table.shape[1])
    figure.legend(*handles, loc="outside lower center", ncols=4, fontsize=8, title=f"rate: ({seeds})", title_fontsize=8)
    return figure


def searches(records: Records) -> "Figure":
    """One panel a method, one line a batch; a ring around the best."""
    runs = records.part("tuning").runs
    found = arms.tuned(records)
    figure, axes = panels(1, len(METHODS), width=9.5, height=3.2)
    for axis, (name, method) in zip(axes[0], METHODS.items(), strict=True):
        own = runs[runs["optimizer"] == name]
        for (size, rows), colour in zip(own.groupby("task.batch_size"), COLOURS, strict=False):
            grid = rows.groupby("schedule.peak")
            samples = np.stack([measures.final_losses(one).to_numpy() for _, one in grid])
            band(axis, np.asarray([float(peak) for peak, _ in grid]), samples, f"batch {size}", colour)
            best = found[name, int(size)]
            axis.plot(best.peak, best.loss, "o", color=colour, markerfacecolor="none")
        axis.set(xscale="log", yscale="log", xlabel="peak learning rate")
        axis.set_title(method.label, fontsize=9, loc="left")
        axis.sharey(axes[0, 0])
    axes[0, 0].set_ylabel("validation loss (nats)")
    seeds = f"{bands(runs['seed'].nunique())}; ring: best"
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=8, title=seeds, title_fontsize=8)
    return figure


def regime(records: Records) -> "Figure":
    """Losses of the arms, and shares of the gap."""
    figure, axes = panels(1, 2, width=9.5, height=3.4)
    names = [*LADDER, *ASIDE]
    samples = [measures.arm_losses(records, arm) for arm in names]
    intervals = [mean_interval(own) for own in samples]
    _horizontal(axes[0, 0], [ARMS[arm] for arm in names], intervals, samples)
    axes[0, 0].set(xlim=(0, None), xlabel="validation loss (nats)")
    axes[0, 0].axhline(len(LADDER) - 0.5, color="0.6", linewidth=0.6)
    steps = list(itertools.pairwise(LADDER[1:]))
    steps += [(arms.ROOT, arms.WHOLE), (arms.LARGE, arms.BEST), (arms.BEST, arms.BEST_GHOSTS)]
    labels = ["root of the batch", "then ghosts", "then as many updates", "as many updates after root", "own rate"]
    shares = [measures.closed(first, second)(records) for first, second in steps]
    _horizontal(axes[0, 1], [*labels, "own rate, then ghosts"], shares)
    axes[0, 1].axvline(0, color="black", linewidth=0.8)
    axes[0, 1].set_xlabel("share of the gap that is closed")
    return figure


def _horizontal(
    axis: "Axes", labels: list[str], found: "list[measures.Measurement]", samples: Sequence[np.ndarray] = ()
) -> None:
    """Means with intervals, one a line, the first on top."""
    places = np.arange(len(found))
    values, low, high = (np.asarray([getattr(one, name) for one in found]) for name in ("value", "low", "high"))
    for place, own in zip(places, samples, strict=False):
        axis.plot(own, np.full(len(own), place), ".", color="0.6", markersize=4)
    style = {"fmt": "o", "color": COLOURS[0], "markersize": 4, "capsize": 3}
    axis.errorbar(values, places, xerr=[np.maximum(values - low, 0), np.maximum(high - values, 0)], **style)
    axis.set_yticks(places, labels, fontsize=8)
    axis.invert_yaxis()
