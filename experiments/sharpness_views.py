"""The figures and tables of the study of sharpness, each made from records alone."""

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import sharpness_measures as measures
from lrstudy.study.errors import StudyError
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_THRESHOLD = {"color": "black", "linewidth": 0.8, "linestyle": "--"}
_FLOOR = 1e-6
"""Of a density's share of the largest, below which it is the smoothing's own tail."""


def _lines(axis: "Axes", frame: "pd.DataFrame", label: str, colour: str) -> None:
    band(axis, frame.index.to_numpy(float), frame.to_numpy(float), label, colour)


def _legend(figure: "Figure", axes: "list[Axes]", records: Records, part: str, note: str = "") -> None:
    """One legend below the panels, each label once."""
    found: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    title = bands(records.part(part).runs["seed"].nunique()) + note
    figure.legend(
        list(found.values()), list(found), loc="outside lower center", ncols=3, fontsize=8, title=title,
        title_fontsize=7,
    )  # fmt: skip


def edge(records: Records) -> "Figure":
    """The sharpness over the threshold of descent and its momenta, and the preconditioned one of Adam."""
    figure, axes = panels(1, 2, width=9.0, height=3.2)
    left, right = axes[0]
    for method, colour in zip(measures.METHODS, COLOURS, strict=False):
        _lines(left, measures.method_share(records, method), method.name, colour)
    left.axhline(1, **_THRESHOLD)
    left.set(xlabel="update", ylabel="sharpness over threshold", ylim=(0, None))
    left.set_title("whole sample, descent and its momenta", fontsize=8, loc="left")
    for rate, colour in zip(measures.ADAM_RATES, COLOURS[4:], strict=False):
        _lines(right, measures.adam_level(records, rate), f"Adam, rate {rate:g}", colour)
    right.axhline(measures.ADAM_THRESHOLD, **_THRESHOLD)
    right.set(xlabel="update", ylabel="rate x preconditioned sharpness", ylim=(0, 1.6 * measures.ADAM_THRESHOLD))
    right.set_title("whole sample, Adam", fontsize=8, loc="left")
    _legend(figure, [left, right], records, "descent", "; dashed: edge of stability")
    return figure


def noise(records: Records) -> "Figure":
    """What is stable from single examples, and the traces at which runs end."""
    figure, axes = panels(1, 3, width=10.5, height=3.2)
    first, *rest = axes[0]
    for single, label, colour in _ways():
        found = measures.growth(records, "exact", single=single)
        _lines(first, found.set_index(found.index * measures.exact_trace(records) / 2), label, colour)
    first.axvline(1, **_THRESHOLD)
    first.axhline(1, color="black", linewidth=0.5)
    first.set(xlabel="rate x trace / 2", ylabel="loss after training over before", yscale="log")
    first.set_title("orthogonal examples", fontsize=8, loc="left")
    for axis, part, title in zip(rest, ("relu", "diagonal"), ("two-layer ReLU", "diagonal linear"), strict=True):
        rates = np.asarray(measures.traces(records, part).index, float)
        for single, label, colour in _ways():
            _lines(axis, measures.traces(records, part, single=single), label, colour)
        top = axis.get_ylim()[1]
        axis.plot(rates, 2 / rates, **_THRESHOLD)
        axis.set(xlabel="rate", ylabel="trace of the Hessian after training", xscale="log", ylim=(0, 1.1 * top))
        axis.set_title(title, fontsize=8, loc="left")
    _legend(figure, [first], records, "exact", "; dashed: trace = 2 / rate")
    return figure


def _ways() -> tuple[tuple[bool, str, str], ...]:
    return (True, "single examples", COLOURS[0]), (False, "whole sample", COLOURS[1])


def above(records: Records) -> "Figure":
    """Starts above the edge: loss and rate times sharpness; and a warmup to a rate far above it."""
    figure, axes = panels(1, 3, width=10.5, height=3.2)
    for rate, colour in zip((measures.LOW, measures.HIGH), COLOURS, strict=False):
        own = records.part("catapult").where(schedule__peak=rate)
        _lines(axes[0, 0], own.curves("loss"), f"rate {rate:g}", colour)
        _lines(axes[0, 1], measures.catapulted(records, rate), f"rate {rate:g}", colour)
    axes[0, 0].set(xlabel="update", ylabel="training loss", yscale="log")
    axes[0, 1].set(xlabel="update", ylabel="rate x sharpness", ylim=(0, None))
    axes[0, 1].axhline(2, **_THRESHOLD)
    last = axes[0, 2]
    for warmup, label, colour in ((True, "with warmup", COLOURS[2]), (False, "without", COLOURS[3])):
        _lines(last, measures.warmed(records, warmup=warmup), f"large rate, {label}", colour)
    frame = measures.warmed(records, warmup=True)
    top = 1.2 * float(np.nanmax(frame.to_numpy(float)))
    with np.errstate(divide="ignore"):
        last.plot(frame.index, 2 / measures.rates_along(records, frame.index), **_THRESHOLD)
    last.set(xlabel="update", ylabel="sharpness", ylim=(0, top))
    _legend(figure, list(axes[0]), records, "catapult", "; dashed: 2 / rate")
    return figure


def text(records: Records) -> "Figure":
    """Rate, sharpness and preconditioned sharpness through a warmup, a constant rate and a decay."""
    figure, axes = panels(3, 1, height=1.9)
    own = records.part("text").where(sharpness__operator="hessian")
    rates = own.curves("learning_rate")
    axes[0, 0].plot(rates.index, rates.iloc[:, 0], color=COLOURS[0], linewidth=1.3)
    axes[0, 0].set_ylabel("learning rate")
    names = (("hessian", "sharpness"), ("preconditioned", "preconditioned\nsharpness"))
    for axis, (name, label), colour in zip(axes[1:, 0], names, COLOURS[1:], strict=False):
        _lines(axis, measures.text_curve(records, name), label.replace("\n", " "), colour)
        axis.set(yscale="log", ylabel=label)
    for axis in axes[:-1, 0]:
        axis.tick_params(labelbottom=False)
        axis.sharex(axes[-1, 0])
    # Adam's edge, 38 over the rate; batches keep runs below it.
    steps = rates.index[rates.iloc[:, 0].to_numpy(float) > 0]
    edge_of = measures.ADAM_THRESHOLD / rates.loc[steps].iloc[:, 0]
    axes[2, 0].plot(steps, edge_of, **_THRESHOLD)
    axes[2, 0].set_ylim(top=10 * float(edge_of.min()))
    axes[2, 0].set_xlabel("update")
    _legend(figure, list(axes[1:, 0]), records, "text", "; dashed: Adam's edge of stability without noise")
    return figure


def spectra(records: Records) -> "Figure":
    """Densities of eigenvalues: of descent in the midst of training and after, on text before the decay and after."""
    figure, axes = panels(1, 2, width=9.0, height=3.2)
    method = measures.METHODS[0]
    for axis, part in zip(axes[0], ("descent", "text"), strict=True):
        if part == "descent":
            axis.axvline(method.threshold / (method.rate * measures.GAMMA**2), **_THRESHOLD)
        for (step, rows), colour in zip(spectrum(records, part).groupby("step"), COLOURS, strict=False):
            shown = rows["density"].to_numpy(float)
            shown = np.where(shown > _FLOOR * shown.max(), shown, np.nan)
            axis.plot(rows["value"], shown, color=colour, linewidth=1.3, label=f"{step} updates")
        axis.set(yscale="log", xlabel="eigenvalue of the Hessian")
        axis.set_title({"descent": "gradient descent", "text": "transformer on text"}[part], fontsize=8, loc="left")
        axis.legend(fontsize=7)
    axes[0, 0].set_ylabel("density")
    return figure


def spectrum(records: Records, part: str) -> "pd.DataFrame":
    """The probed densities of a part.

    Raises:
        StudyError: it has not been probed.
    """
    name = f"{part}_spectrum"
    if name not in records.probes:
        raise StudyError(f"part {part} has not been probed")
    return records.probes[name]


def edges_table(records: Records) -> "pd.DataFrame":
    """One row a method."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for method in measures.METHODS:
        found = measures.method_share(records, method)
        rate = method.rate * measures.GAMMA**2
        row = {"method": method.name, "momentum": method.momentum, "rate": rate, "threshold": method.threshold / rate}
        rows.append(
            row | {"before, over it": found.iloc[0].mean(), "late, over it": measures.late(found).mean().mean()}
        )
    for rate in measures.ADAM_RATES:
        found = measures.adam_level(records, rate) / measures.ADAM_THRESHOLD
        row = {"method": "Adam", "momentum": 0.9, "rate": rate, "threshold": measures.ADAM_THRESHOLD / rate}
        rows.append(row | {"before, over it": np.nan, "late, over it": measures.late(found).mean().mean()})
    return pd.DataFrame(rows)


def traces_table(records: Records) -> "pd.DataFrame":
    """One row a network and rate."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for part in ("relu", "diagonal"):
        one, whole = (measures.traces(records, part, single=single) for single in (True, False))
        for rate in one.index:
            row = {"network": part, "rate": rate, "trace, single examples": one.loc[rate].mean()}
            other = whole.loc[rate].mean() if rate in whole.index else np.nan
            rows.append(row | {"trace, whole sample": other, "2 / rate": 2 / rate})
    return pd.DataFrame(rows)
