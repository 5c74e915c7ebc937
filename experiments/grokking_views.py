"""The figures of the study of grokking, each drawn from records alone."""

from typing import TYPE_CHECKING

import numpy as np

from experiments import grokking_measures as measures
from experiments.grokking_measures import COLLAPSE, DECAY, PERP, PLAIN, RATES, TEST, TRAIN, WRONG
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OPTIMIZERS = ((PLAIN, "AdamW", COLOURS[1]), (PERP, "perpGrad", COLOURS[0]))
_GUIDE = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
_FLOOR = 1e-9
"""A logarithmic axis has no 0."""


def early(records: Records) -> "Figure":
    """Accuracies and the training loss by update, of both optimizers."""
    figure, axes = panels(1, 2, width=9.0, height=3.2)
    for name, label, colour in _OPTIMIZERS:
        own = measures.optimized(records, "early", name)
        _accuracies(axes[0, 0], own, label, colour)
        _line(axes[0, 1], own, "loss", label, colour)
    axes[0, 0].axvline(measures.EARLY, **_GUIDE)
    axes[0, 0].set(xlabel="updates", ylabel="accuracy")
    axes[0, 1].set(xlabel="updates", ylabel="training loss (nats)", yscale="log")
    _legend(figure, axes[0, 0], records)
    return figure


def rates(records: Records) -> "Figure":
    """Accuracies at the end against the rate, of both optimizers."""
    figure, axes = panels(1, 1, width=5.5, height=3.2)
    for name, label, colour in _OPTIMIZERS:
        own = measures.optimized(records, "rates", name)
        for metric, what, dashed in ((TEST, "unseen", False), (TRAIN, "training", True)):
            values = np.stack([measures.final(own.where(schedule__peak=rate), metric) for rate in RATES])
            band(axes[0, 0], np.asarray(RATES), values, f"{label}, {what} pairs", colour, dashed)
    axes[0, 0].set(xlabel="learning rate", ylabel="accuracy at the end", xscale="log")
    _legend(figure, axes[0, 0], records, columns=2)
    return figure


def collapse(records: Records) -> "Figure":
    """Shares of collapsed pairs, the training loss and the norm of the weights by update."""
    figure, axes = panels(1, 3, width=11.0, height=3.2)
    for name, label, colour in _OPTIMIZERS:
        own = measures.optimized(records, "collapse", name)
        _line(axes[0, 0], own, COLLAPSE, f"{label}, collapsed", colour)
        _line(axes[0, 0], own, "zero_loss", f"{label}, loss of 0", colour, dashed=True)
        _line(axes[0, 1], own, "loss", label, colour)
        _line(axes[0, 2], own, "param_norm", label, colour)
    axes[0, 0].set(xlabel="updates", ylabel="share of the training pairs")
    axes[0, 1].set(xlabel="updates", ylabel=f"training loss (nats; 0 at {_FLOOR:g})", yscale="log")
    axes[0, 2].set(xlabel="updates", ylabel="norm of the weights")
    _legend(figure, axes[0, 0], records)
    return figure


def stablemax(records: Records) -> "Figure":
    """Accuracies, the training loss, and shares of the training pairs by update."""
    figure, axes = panels(1, 2, width=9.0, height=3.2)
    own = records.part("stablemax")
    _line(axes[0, 0], own, COLLAPSE, "a softmax would collapse", COLOURS[4])
    _line(axes[0, 0], own, "zero_pull", "no pull on the own score", COLOURS[3])
    _accuracies(axes[0, 0], own, "accuracy", COLOURS[2])
    _line(axes[0, 1], own, "loss", "training loss", COLOURS[2])
    axes[0, 0].set(xlabel="updates", ylabel="share of pairs")
    axes[0, 1].set(xlabel="updates", ylabel="training loss (nats)", yscale="log")
    _legend(figure, axes[0, 0], records)
    return figure


def corrupted(records: Records) -> "Figure":
    """A panel for each share of wrong results: accuracies by update, with decay and without."""
    figure, axes = panels(1, len(WRONG), width=9.0, height=3.2)
    for axis, share in zip(axes[0], WRONG, strict=True):
        for decay, label, colour in ((0.0, "no decay", COLOURS[1]), (DECAY, f"decay {DECAY:g}", COLOURS[0])):
            _accuracies(axis, measures.labelled(records, share, decay), label, colour)
        axis.axhline(1 - share, **_GUIDE)
        axis.set(xlabel="updates", title=f"{100 * share:g}% of the results wrong")
    axes[0, 0].set_ylabel("accuracy")
    _legend(figure, axes[0, 0], records)
    return figure


def _accuracies(axis: "Axes", own: Records, label: str, colour: str) -> None:
    """On unseen pairs a line, on training pairs a dashed one."""
    _line(axis, own, TEST, f"{label}, unseen pairs", colour)
    _line(axis, own, TRAIN, f"{label}, training pairs", colour, dashed=True)


def _line(axis: "Axes", own: Records, metric: str, label: str, colour: str, *, dashed: bool = False) -> None:
    curves = own.curves(metric)
    values = curves.to_numpy(float)
    if metric == "loss":
        values = np.maximum(values, _FLOOR)
    band(axis, curves.index.to_numpy(), values, label, colour, dashed)


def _legend(figure: "Figure", axis: "Axes", records: Records, *, columns: int = 4) -> None:
    """Below the panels, where it hides nothing."""
    handles, labels = axis.get_legend_handles_labels()
    title = bands(records.runs["seed"].nunique())
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=title, fontsize=8)
