"""The figures and tables of the study of sharpness over sizes, each made from records alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import mup_transfer_optima as optima
from experiments import sharpness_transfer_measures as measures
from experiments.sharpness_transfer_measures import Family
from lrstudy.parametrization import optimal_learning_rate
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAMILIES = (measures.REGRESSION, measures.DEPTH, measures.DIGITS, measures.CONVNET)
_THRESHOLD = {"color": "black", "linewidth": 0.8, "linestyle": "--"}
_WIDE_RANGE = 10.0
"""Rate times sharpness above which the axis is logarithmic."""
_WIDE = (measures.MUP, measures.NTK)


def _seeds(records: Records, part: str) -> str:
    return bands(records.part(part).runs["seed"].nunique())


def _along(records: Records, family: Family, names: Sequence[str]) -> "Figure":
    """One panel an arm, one line a size."""
    figure, axes = panels(1, len(names), width=1.5 + 3.2 * len(names), height=3.2)
    highest = 2.0
    for axis, name in zip(axes[0], names, strict=True):
        scaled = family.scaled(records, name)
        for (size, frame), colour in zip(scaled.items(), COLOURS, strict=False):
            band(axis, frame.index.to_numpy(float), frame.to_numpy(float), f"{family.noun} {size}", colour)
            highest = max(highest, float(np.nanmax(frame.to_numpy(float))))
        axis.axhline(2, **_THRESHOLD)
        cv = measures.variation(scaled).iloc[-1].mean()
        axis.set(xlabel="update")
        axis.set_title(f"{name}: coefficient of variation at the end {cv:.3f}", fontsize=8, loc="left")
    for axis in axes[0]:
        if highest > _WIDE_RANGE:
            axis.set(yscale="log", ylim=(0.5, 1.2 * highest))
        else:
            axis.set_ylim(min(0.0, axis.get_ylim()[0]), 1.05 * highest)
    axes[0, 0].set_ylabel("rate x sharpness")
    _legend(figure, axes[0, 0], _seeds(records, family.part))
    return figure


def _legend(figure: "Figure", axis: "Axes", title: str) -> None:
    handles = axis.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, fontsize=8, title=title, title_fontsize=7)


def regression(records: Records) -> "Figure":
    """The tanh network over widths."""
    return _along(records, measures.REGRESSION, _WIDE)


def depth(records: Records) -> "Figure":
    """The residual stack over depths."""
    return _along(records, measures.DEPTH, (measures.SCALED, measures.UNSCALED))


def digits(records: Records) -> "Figure":
    """The perceptron over widths."""
    return _along(records, measures.DIGITS, _WIDE)


def convnet(records: Records) -> "Figure":
    """The convnet over channels."""
    return _along(records, measures.CONVNET, (measures.MUP, measures.SP, measures.NTK))


def _spreads(records: Records, arm: str) -> dict[str, "pd.DataFrame"]:
    """The coefficient of variation of each number by step and seed."""
    return {
        "sharpness": measures.variation(measures.REGRESSION.scaled(records, arm)),
        "tangent kernel": measures.variation(measures.probed(records, arm, "kernel")),
        "training loss": measures.variation(measures.probed(records, arm, "loss")),
    }


def spread(records: Records) -> "Figure":
    """Coefficients of variation along training, one panel a parametrization."""
    figure, axes = panels(1, 2, width=8.0, height=3.2)
    for axis, name in zip(axes[0], _WIDE, strict=True):
        for (label, frame), colour in zip(_spreads(records, name).items(), COLOURS, strict=False):
            band(axis, frame.index.to_numpy(float), frame.to_numpy(float), label, colour)
            axis.plot(frame.index, frame.mean(axis=1), "o", color=colour, markersize=3)
        axis.set(xlabel="update", yscale="log")
        axis.set_title(name, fontsize=9, loc="left")
    low, high = (f(f(axis.get_ylim()) for axis in axes[0]) for f in (min, max))
    for axis in axes[0]:
        axis.set_ylim(low, high)
    axes[0, 0].set_ylabel("coefficient of variation over widths")
    _legend(figure, axes[0, 0], _seeds(records, "regression"))
    return figure


def rates(records: Records) -> "Figure":
    """Loss against the rate for every width, and the best rate against the width."""
    figure, axes = panels(1, 3, width=10.5, height=3.2)
    curves = measures.rate_curves(records)
    for axis, name in zip(axes[0], _WIDE, strict=False):
        for size, colour in zip(optima.sizes(curves, name), COLOURS, strict=False):
            losses = np.exp(curves[name, size])
            band(axis, losses.index.to_numpy(float), losses.to_numpy(float), f"width {size}", colour)
            best = optima.best_rate(curves, (name, size))
            if np.isfinite(best):
                axis.axvline(best, color=colour, linewidth=0.8, linestyle=":")
        axis.set_xscale("log", base=2)
        axis.set(yscale="log", xlabel="rate over gamma squared")
        axis.set_title(name, fontsize=9, loc="left")
    axes[0, 0].set_ylabel("training loss")
    last = axes[0, 2]
    for name, colour in zip(_WIDE, reversed(COLOURS[:2]), strict=True):
        sizes, best = optima.sizes(curves, name), 2 ** optima.log_rates(curves, name)
        spread = optima.spread(curves, name)
        label = f"{name}: {'not known' if np.isnan(spread) else f'{spread:.2f} octaves'}"
        last.plot(sizes, best, "o-", color=colour, markersize=4, label=label)
    last.set_xscale("log", base=2)
    last.set_yscale("log", base=2)
    widths = optima.sizes(curves, measures.MUP)
    last.set_xticks(widths, [str(width) for width in widths])
    last.minorticks_off()
    last.set(xlabel="width", ylabel="best rate over gamma squared")
    last.legend(fontsize=7)
    _legend(figure, axes[0, 0], f"{_seeds(records, 'rates')}; dotted: best rate; none where the run diverged")
    return figure


def ends_table(records: Records) -> "pd.DataFrame":
    """One row a part and arm."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for family in FAMILIES:
        if not records.parts.get(family.part):
            continue
        for name in family.names(records):
            scaled = family.scaled(records, name)
            spread = measures.variation(scaled)
            row: dict[str, Any] = {"part": family.part, "arm": name}
            ends = [f"{size}: {frame.iloc[-1].mean():.4g}" for size, frame in scaled.items()]
            row |= {"rate x sharpness": ", ".join(ends), "variation at the end": spread.iloc[-1].mean()}
            rows.append(row | {"variation, late": measures.late(spread).to_numpy().mean()})
    return pd.DataFrame(rows)


def spreads_table(records: Records) -> "pd.DataFrame":
    """One row an arm and probed step."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for name in _WIDE:
        found = _spreads(records, name)
        for step in found["training loss"].index:
            means = {label: frame.loc[step].mean() for label, frame in found.items()}
            rows.append({"arm": name, "updates": int(step), **means})
    return pd.DataFrame(rows)


def optima_table(records: Records) -> "pd.DataFrame":
    """One row an arm and width."""
    import pandas as pd

    curves = measures.rate_curves(records)
    rows: list[dict[str, Any]] = []
    for name in _WIDE:
        for size in optima.sizes(curves, name):
            losses = optima.means(curves, (name, size))
            best = optimal_learning_rate(losses.index.to_list(), losses.to_list())
            finite = losses[np.isfinite(losses)]
            row = {"arm": name, "width": size, "best rate": best.value, "on the grid's edge": best.on_edge}
            row |= {"lowest loss": float(np.exp(finite.min())), "largest rate at which none diverged": finite.index[-1]}
            rows.append(row)
    return pd.DataFrame(rows)
