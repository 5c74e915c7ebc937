"""The figures and tables of the study of scaling, each made from records alone."""

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import scaling_features as measured
from experiments import scaling_fixed as fixed_data
from experiments import scaling_repeats as repetition
from experiments import scaling_sizes as law
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GUIDE = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
_LOSS = "validation loss (nats)"
_WAYS = (measured.MIN_NORM, measured.MANY, measured.FEW, measured.RIDGE)


def sizes(records: Records) -> "Figure":
    """Losses of the grid with the law, and the law's errors where it was not fitted."""
    figure, axes = panels(1, 2, width=9.5, height=3.6)
    left, right = axes[0]
    cells = law.cells(records)
    fitted = law.fit(cells, intervals=False).law
    means = cells.losses.mean(axis=1)
    for place, size in enumerate(np.unique(cells.sizes)):
        own = cells.sizes == size
        colour = COLOURS[place % len(COLOURS)]
        grid = np.geomspace(cells.tokens[own].min(), cells.tokens[own].max(), 50)
        left.plot(grid, law.predicted(fitted, np.full(50, size), grid), color=colour, linewidth=1)
        for held_out in (False, True):
            some = own & (cells.held_out == held_out)
            face = {"markerfacecolor": "none"} if held_out else {"label": f"N = {size:,.0f}"}
            left.plot(cells.tokens[some], means[some], "o", color=colour, markersize=5, **face)
    for held_out, label in ((False, "fitted"), (True, "held out")):
        some = cells.held_out == held_out
        says = law.predicted(fitted, cells.sizes[some], cells.tokens[some])
        right.plot(means[some], says, "o", color=COLOURS[held_out], markersize=4, label=label)
    ends = [means.min(), means.max()]
    right.plot(ends, ends, **_GUIDE)
    left.set_xscale("log", base=2)
    left.set(xlabel="D (bytes trained on)", ylabel=_LOSS)
    right.set(xlabel=_LOSS, ylabel="the law's")
    left.legend(fontsize=8, title=f"mean over {cells.losses.shape[1]} seeds", title_fontsize=7)
    right.legend(fontsize=8)
    return figure


def repeats(records: Records) -> "Figure":
    """Loss against passes, and against how often a slice is seen."""
    figure, axes = panels(1, 2, width=9.0, height=3.2)
    passes, training = repetition.passes(records), repetition.training_loss(records)
    counts = np.asarray(list(passes), float)
    band(axes[0, 0], counts, np.asarray(list(passes.values())), "validation", COLOURS[0])
    band(axes[0, 0], counts, np.asarray(list(training.values())), "training, late", COLOURS[1], dashed=True)
    for every, label, colour in zip(repetition.SLICED, ("a tenth", "half"), COLOURS[2:], strict=False):
        slices = repetition.slices(records, every)
        times = np.asarray(list(slices), float)
        band(axes[0, 1], times, np.asarray(list(slices.values())), f"{label} from the slice", colour)
        axes[0, 1].plot(times, [values.mean() for values in slices.values()], "o", color=colour, markersize=3)
    axes[0, 1].axhline(float(passes[1].mean()), **_GUIDE, label="fresh data alone")
    axes[0, 0].set(xlabel="passes over the windows", ylabel="loss (nats)")
    axes[0, 1].set(xlabel="times the slice is seen", ylabel=_LOSS)
    for axis in axes[0]:
        axis.set_xscale("log", base=2)
    axes[0, 0].legend(title=bands(len(passes[1])), fontsize=8, title_fontsize=7)
    axes[0, 1].legend(fontsize=8)
    return figure


def fixed(records: Records) -> "Figure":
    """Loss against passes by weight decay, against width, and of ensembles."""
    figure, axes = panels(1, 3, width=11.5, height=3.4)
    own = records.part("fixed")
    widths = fixed_data.widths(own)
    found = fixed_data.table(own).loc[widths[-1]]
    for decay, colour in zip(fixed_data.DECAYS, COLOURS, strict=False):
        losses = found.xs(decay, level="decay")
        counts = np.asarray(fixed_data.EPOCHS[: len(losses)], float)
        band(axes[0, 0], counts, losses.to_numpy(float), f"decay {decay:g}", colour)
    for regularised, label, colour in ((False, "no decay", COLOURS[0]), (True, "decay tuned", COLOURS[1])):
        losses = [fixed_data.losses(own, width, regularised=regularised) for width in widths]
        band(axes[0, 1], np.asarray(widths, float), np.asarray(losses), label, colour)
    _ensembles(records, axes[0, 2])
    axes[0, 0].set(xlabel="passes", ylabel=_LOSS)
    axes[0, 1].set(xlabel="width", ylabel=_LOSS)
    for axis in axes[0, :2]:
        axis.set_xscale("log", base=2)
    axes[0, 0].legend(title=bands(found.shape[1]), fontsize=8, title_fontsize=7)
    axes[0, 1].legend(fontsize=8)
    return figure


def _ensembles(records: Records, axes: "Axes") -> None:
    losses = fixed_data.ensembles(records)
    counts = losses.index.to_numpy(float)
    band(axes, 1 / counts, losses.to_numpy(float), "ensembles of the narrowest", COLOURS[2])
    axes.plot(1 / counts, losses.mean(axis=1), "o", color=COLOURS[2], markersize=3)
    limit, excess, _ = fixed_data.fits(records).mean(axis=0)
    grid = np.linspace(0, 1, 20)
    axes.plot(grid, limit + excess * grid, **_GUIDE, label="E + A / K")
    axes.set(xlabel="1 / K, K members", ylabel=_LOSS)
    axes.legend(fontsize=8)


def random_features(records: Records) -> "Figure":
    """Test error of every way of solving, and how ill conditioned the features are."""
    figure, axes = panels(1, 2, width=9.5, height=3.6)
    left, right = axes[0]
    for way, colour in zip(_WAYS, COLOURS, strict=False):
        means = measured.errors(records, way).mean(axis=1)
        left.plot(means.index, means, "-", color=colour, linewidth=1.3, label=way)
        left.plot(measured.COUNTS, measured.INDEPENDENT[way], "x", color=colour, markersize=4)
    conditions = measured.conditions(records)
    right.plot(conditions.index, conditions, "o-", color=COLOURS[0], markersize=3)
    left.set(xscale="log", yscale="log", ylim=(0.05, 2e4), xlabel="features", ylabel="test error")
    right.set(xscale="log", yscale="log", xlabel="features", ylabel="condition number")
    left.legend(fontsize=8)
    return figure


def regimes(records: Records) -> "Figure":
    """What is missing to the limit, and the error, against samples and features."""
    figure, axes = panels(1, 2, width=9.0, height=3.4)
    for name, colour in ((measured.FEW_FEATURES, COLOURS[0]), (measured.FEW_SAMPLES, COLOURS[1])):
        _line(axes[0, 0], measured.regime(records, name, 1.0), name, colour, 1.0)
    lines = [(name, exponent) for exponent in measured.EXPONENTS for name in measured.RESOLUTION]
    for (name, exponent), colour in zip(lines, COLOURS, strict=False):
        _line(axes[0, 1], measured.regime(records, name, exponent), f"{name}, a = {exponent:g}", colour, exponent)
    axes[0, 0].set(xlabel="samples or features", ylabel="error less its limit")
    axes[0, 1].set(xlabel="samples or features", ylabel="error")
    for axis in axes[0]:
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.legend(fontsize=7)
    return figure


def _line(axes: "Axes", found: "pd.DataFrame", label: str, colour: str, exponent: float) -> None:
    means = found.mean(axis=1)
    axes.plot(means.index, means, "o-", color=colour, markersize=3, label=label)
    ideal = means.iloc[0] * (means.index.to_numpy(float) / means.index[0]) ** -exponent
    axes.plot(means.index, ideal, **_GUIDE)


def law_table(records: Records) -> "pd.DataFrame":
    """The law's numbers, fitted to the cells that are not held out and to all, these with 95% intervals."""
    import pandas as pd

    cells = law.cells(records)
    some, every = law.fit(cells, intervals=False), law.fit(cells, everything=True)
    rows: list[dict[str, Any]] = []
    for number in law.NUMBERS:
        low, high = every.intervals[number]
        row = {"number": number, "without the held out": float(getattr(some.law, number))}
        row |= {"all cells": float(getattr(every.law, number)), "low": low, "high": high}
        rows.append({**row, "identified": bool(every.identified[number])})
    return pd.DataFrame(rows)


def sizes_table(records: Records) -> "pd.DataFrame":
    """One row a cell."""
    import pandas as pd

    cells = law.cells(records)
    fitted = law.fit(cells, intervals=False).law
    columns = {"N": cells.sizes.astype(int), "D": cells.tokens.astype(int), "best rate": cells.rates}
    columns |= {"on edge": cells.on_edge, "loss": cells.losses.mean(axis=1)}
    columns |= {"the law's": law.predicted(fitted, cells.sizes, cells.tokens), "held out": cells.held_out}
    return pd.DataFrame(columns)


def repeats_table(records: Records) -> "pd.DataFrame":
    """One row a setting."""
    import pandas as pd

    kinds = (
        ("passes over fewer windows", repetition.passes(records)),
        ("one pass, updates over", repetition.shorter(records)),
        *((f"one of {every} from a slice, seen", repetition.slices(records, every)) for every in repetition.SLICED),
    )
    rows = [
        {"runs": name, "number": number, "loss": values.mean(), "lowest": values.min(), "highest": values.max()}
        for name, found in kinds
        for number, values in found.items()
    ]
    return pd.DataFrame(rows)


def fixed_table(records: Records) -> "pd.DataFrame":
    """One row a width, with and without weight decay."""
    import pandas as pd

    own = records.part("fixed")
    rows = []
    for width in fixed_data.widths(own):
        for regularised in (False, True):
            steps, decay = fixed_data.tuned(own, width, regularised=regularised)
            losses = fixed_data.losses(own, width, regularised=regularised)
            row = {"width": width, "decay": decay, "updates": steps, "loss": losses.mean()}
            rows.append({**row, "lowest": losses.min(), "highest": losses.max()})
    return pd.DataFrame(rows)


def features_table(records: Records) -> "pd.DataFrame":
    """One row a number of features: every way's mean error and that of the independent computation."""
    import pandas as pd

    columns: dict[str, Any] = {"features": measured.COUNTS}
    for way in _WAYS:
        columns |= {way: measured.errors(records, way).mean(axis=1).to_numpy(float)}
        columns |= {f"{way}, independent": measured.INDEPENDENT[way]}
    columns["penalty"] = measured.best_penalties(records).to_numpy(float)
    columns["condition number"] = measured.conditions(records).to_numpy(float)
    return pd.DataFrame(columns)
