"""The figures and tables of the transfer study, each computed from records alone."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments import mup_transfer_claims as claims
from experiments import mup_transfer_optima as optima
from experiments.mup_transfer_coordinates import CHANGE, SIZE, UPDATES, judged
from experiments.mup_transfer_optima import Curves, Sweep
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"mup": "muP", "sp": "SP", "ntk": "NTK"}
_WARNING = "#B00020"
_TRAINING, _VALIDATION = "training loss at the end (nats)", "validation loss (nats/byte)"


def _name(arm: str) -> str:
    return NAMES.get(arm, arm)


def _rates(axis: "Axes", sweep: Sweep, curves: Curves, arm: str) -> None:
    """Loss against the rate, one line a size; dotted at the followed rate, and a warning where there is none."""
    missing = []
    for size, colour in zip(optima.sizes(curves, arm), COLOURS, strict=False):
        losses = np.exp(curves[arm, size])
        band(axis, losses.index.to_numpy(float), losses.to_numpy(float), f"{sweep.noun} {size}", colour)
        rate = sweep.rate(curves, (arm, size), None)
        if np.isnan(rate):
            missing.append(size)
            continue
        axis.axvline(rate, color=colour, linewidth=0.8, linestyle=":")
        lowest = float(np.exp(optima.means(curves, (arm, size))).min())
        level = lowest if sweep.level is None or sweep.rate is optima.best_rate else sweep.level
        axis.plot(rate, level, "v", color=colour, markersize=5, markeredgecolor="black", markeredgewidth=0.5)
    axis.set_xscale("log", base=2)
    if missing:
        text = f"on or beyond the grid's edge: {', '.join(map(str, missing))}; extend it"
        axis.text(0.02, 0.02, text, fontsize=7, color=_WARNING, transform=axis.transAxes)


def _levels(axis: "Axes", found: Sequence[Curves], initial: float) -> None:
    """One range of losses for all panels, logarithmic where it is wide; above the initial loss nothing is learnt."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    shown = np.concatenate([np.exp(losses.to_numpy()).ravel() for curves in found for losses in curves.values()])
    low, high = float(shown.min()), float(min(shown[np.isfinite(shown)].max(), 1.25 * initial))
    if high < 4 * low:
        axis.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        return
    axis.set(yscale="log", ylim=(0.85 * low, 1.05 * high))
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _moves(axis: "Axes", found: Sequence[tuple[Sweep, str]], curves: Mapping[str, Curves], rate: str) -> None:
    """The followed rate against the size, one line an arm; a gap where there is none."""
    everything: set[int] = set()
    for (sweep, arm), colour in zip(found, reversed(COLOURS), strict=False):
        own = curves[sweep.part]
        sizes = optima.sizes(own, arm)
        everything |= set(sizes)
        slope = optima.slope(own, arm, sweep.rate)
        label = f"{_name(arm)}: {'not known' if np.isnan(slope) else f'{slope:+.2f}'}"
        rates = 2 ** optima.log_rates(own, arm, sweep.rate)
        axis.plot(sizes, rates, "o-", color=colour, markersize=4, label=label)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted(everything), [str(size) for size in sorted(everything)])
    axis.minorticks_off()
    # Whole octaves, so that a line within one of them has ticks too.
    known = np.concatenate([optima.log_rates(curves[sweep.part], arm, sweep.rate) for sweep, arm in found])
    if np.isfinite(known).any():
        axis.set_yscale("log", base=2)
        axis.set_ylim(2 ** (np.floor(np.nanmin(known)) - 0.2), 2 ** (np.ceil(np.nanmax(known)) + 0.2))
    axis.set(xlabel=found[0][0].noun, ylabel=rate)
    axis.legend(fontsize=7, title="octaves a doubling", title_fontsize=7)


def _title(records: Records, sweep: Sweep, curves: Curves, arm: str) -> str:
    octaves = optima.spread(curves, arm, sweep.rate)
    spread = f"{_name(arm)}: spread {'not known' if np.isnan(octaves) else f'{2**octaves:.2f}'}"
    values = ", ".join(f"{value:.2f}" for value in sensitivities(records, sweep, arm))
    return f"{spread}\nS {values}" if values else spread


def _sweeps(
    records: Records, found: Sequence[tuple[Sweep, str]], loss: str, rate: str = "peak learning rate"
) -> "Figure":
    """One panel an arm with all sizes, and last how the followed rates move with the size."""
    columns = len(found) + 1 if len(found) < 4 else 3
    figure, axes = panels(-(-(len(found) + 1) // columns), columns, width=3.1 * columns, height=3.0)
    curves = {sweep.part: sweep.curves(records) for sweep, _ in found}
    for axis, (sweep, arm) in zip(axes.flat, found, strict=False):
        _rates(axis, sweep, curves[sweep.part], arm)
        _levels(axis, list(curves.values()), optima.initial_loss(records, sweep.part))
        if sweep.between is not None:
            axis.axvspan(*sweep.between, color="black", alpha=0.05, linewidth=0)
        if sweep.level is not None:
            axis.axhline(sweep.level, color="black", linewidth=0.8, linestyle="--")
        axis.set(xlabel=rate)
        axis.set_title(_title(records, sweep, curves[sweep.part], arm), fontsize=8, loc="left")
    for place in range(0, len(found), columns):
        axes.flat[place].set_ylabel(loss)
    for unused in axes.flat[len(found) + 1 :]:
        unused.set_axis_off()
    _moves(axes.flat[len(found)], found, curves, rate if found[0][0].rate is optima.ceiling else f"best {rate}")
    seeds = next(iter(curves[found[0][0].part].values())).shape[1]
    _, arm = max(found, key=lambda one: len(optima.sizes(curves[one[0].part], one[1])))
    handles = axes.flat[[name for _, name in found].index(arm)].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=8, title=bands(seeds), title_fontsize=7)
    return figure


def sensitivities(records: Records, sweep: Sweep, arm: str) -> list[float]:
    """The learning-rate sensitivity S of every size of an arm (nats), over the sweep's fixed range of rates."""
    if sweep.between is None:
        return []
    curves, initial = sweep.curves(records), optima.initial_loss(records, sweep.part)
    return [optima.sensitivity(curves, (arm, size), initial, sweep.between) for size in optima.sizes(curves, arm)]


def mlp(records: Records) -> "Figure":
    """The perceptron under SP, NTK and muP."""
    found = [(optima.MLP, "sp"), (optima.NTK, "ntk"), (optima.MLP, "mup")]
    return _sweeps(records, found, _TRAINING)


def transformer(records: Records) -> "Figure":
    """The transformer under SP and muP."""
    found = [(optima.TRANSFORMER, "sp"), (optima.TRANSFORMER, "mup")]
    return _sweeps(records, found, _VALIDATION)


def depth(records: Records) -> "Figure":
    """The residual stack without a depth rule and with each exponent."""
    found = [(optima.DEPTH, arm) for arm in optima.arms(optima.DEPTH.curves(records))]
    return _sweeps(records, found, _VALIDATION)


def decay(records: Records) -> "Figure":
    """Weight decay, kept over the widths at every peak rate and falling with the fan-in at the highest."""
    found = [(optima.DECAY, arm) for arm in optima.arms(optima.DECAY.curves(records))]
    return _sweeps(records, found, "validation loss (nats)", "weight decay")


def lion(records: Records) -> "Figure":
    """Lion under SP and muP."""
    return _sweeps(records, [(optima.LION, "sp"), (optima.LION, "mup")], _TRAINING)


def muon(records: Records) -> "Figure":
    """Muon under SP and muP."""
    return _sweeps(records, [(optima.MUON, "sp"), (optima.MUON, "mup")], _TRAINING)


def coordinates(records: Records) -> "Figure":
    """Slopes of every module's activations and of their changes, one panel a parametrization."""
    figure, axes = panels(1, 3, width=9.0, height=2.8)
    for axis, name in zip(axes.flat, ("sp", "ntk", "mup"), strict=True):
        slopes = judged(records, name)
        modules = list(dict.fromkeys(slopes["module"]))
        for statistic, colour, shift in ((SIZE, COLOURS[0], -0.18), (CHANGE, COLOURS[1], 0.18)):
            own = slopes[slopes["statistic"] == statistic].set_index("module")["slope"].reindex(modules)
            places = np.arange(len(modules)) + shift
            axis.barh(places, own.to_numpy(float), height=0.34, color=colour, label=statistic)
        axis.axvspan(-claims.FLAT, claims.FLAT, color="black", alpha=0.08, linewidth=0)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(range(len(modules)), modules)
        axis.invert_yaxis()
        axis.set(xlabel=f"slope over the width after {UPDATES} updates")
        axis.set_title(_name(name), fontsize=9, loc="left")
    axes[0, 0].legend(fontsize=8)
    return figure


def _arms(records: Records) -> Iterator[tuple[Sweep, Curves, str]]:
    """Every arm of every sweep that was run, with the sweep's curves."""
    for sweep in optima.SWEEPS:
        if records.parts.get(sweep.part):
            curves = sweep.curves(records)
            for arm in optima.arms(curves):
                yield sweep, curves, arm


def optima_table(records: Records) -> "pd.DataFrame":
    """Every cell of every sweep: optimum, lowest loss, rate at the threshold, S, and whether to extend the grid."""
    import pandas as pd

    rows = []
    for sweep, curves, arm in _arms(records):
        sizes = optima.sizes(curves, arm)
        found = sensitivities(records, sweep, arm) or [float("nan")] * len(sizes)
        for size, s in zip(sizes, found, strict=True):
            row = {"part": sweep.part, "arm": _name(arm), "size": size}
            rows.append({**row, **_cell(sweep, curves, (arm, size)), "S": s})
    return pd.DataFrame(rows)


def _at_level(sweep: Sweep, of: Callable[[optima.Rate], float]) -> float:
    """Something of the rate at which the loss falls to the sweep's level; NaN where there is no level, or a rise."""
    if sweep.level is None or sweep.rate is optima.ceiling:
        return float("nan")
    return of(optima.crossing_at(sweep.level))


def _cell(sweep: Sweep, curves: Curves, cell: optima.Cell) -> dict[str, object]:
    means = optima.means(curves, cell)
    rate = sweep.rate(curves, cell, None)
    row: dict[str, object] = {"best rate, or decay that costs": rate, "lowest loss": float(np.exp(means.min()))}
    row["rate at the threshold"] = _at_level(sweep, lambda rate: rate(curves, cell, None))
    row["seeds"] = curves[cell].shape[1]
    row["note"] = "on or beyond the grid's edge: extend the grid" if np.isnan(rate) else ""
    return row


def slopes_table(records: Records) -> "pd.DataFrame":
    """Every arm: the spread and slope of its optima over the sizes."""
    import pandas as pd

    rows = []
    for sweep, curves, arm in _arms(records):
        row: dict[str, object] = {"part": sweep.part, "arm": _name(arm), "along": sweep.along.rpartition(".")[2]}
        row["highest over lowest"] = 2 ** optima.spread(curves, arm, sweep.rate)
        row["octaves a doubling"] = optima.slope(curves, arm, sweep.rate)
        row["of the rate at the threshold"] = _at_level(sweep, functools.partial(optima.slope, curves, arm))
        rows.append(row)
    return pd.DataFrame(rows)
