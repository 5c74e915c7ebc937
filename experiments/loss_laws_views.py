"""The figures of the study of loss laws, each drawn from records alone."""

from typing import TYPE_CHECKING

import numpy as np

from experiments import loss_laws_measures as measures
from lrstudy.study.figures.style import COLOURS, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = "multi-power"


def curves(records: Records) -> "Figure":
    """Fitted schedules beside predicted ones."""
    found = measures.curves_of(records.part("curves"))
    predicted = measures.predictions(found)[DRAWN]
    figure, axes = panels(1, 2, width=9.0, height=3.4)
    titles = ("fitted", "predicted")
    for axis, names, title in zip(axes[0], (measures.FITTED, measures.PREDICTED), titles, strict=True):
        for name, colour in zip(names, COLOURS, strict=False):
            curve = found[name]
            axis.plot(curve.steps, curve.losses, ".", color=colour, markersize=3)
            axis.plot(curve.steps, predicted[name], color=colour, linewidth=1.0, label=name.replace("_", " "))
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_xlabel("updates")
        axis.legend(fontsize=7)
    # The first descent would flatten what tells schedules apart.
    late = np.concatenate([c.losses[len(c.losses) // 4 :] for c in found.values()])
    for axis in axes[0]:
        axis.set_ylim(late.min() - 0.05 * np.ptp(late), late.max() + 0.05 * np.ptp(late))
    axes[0, 0].set_ylabel("validation loss (nats/byte)")
    return figure


def residuals(records: Records) -> "Figure":
    """One panel a law."""
    found = measures.curves_of(records.part("curves"))
    predicted = measures.predictions(found)
    figure, axes = panels(1, len(predicted), width=11.0, height=2.8)
    for axis, (law, own) in zip(axes[0], predicted.items(), strict=True):
        for name, colour in zip(measures.PREDICTED, COLOURS, strict=False):
            curve = found[name]
            error = 100 * (own[name] / curve.losses - 1)
            axis.plot(curve.steps, error, color=colour, linewidth=1.0, label=name.replace("_", " "))
        axis.axhline(0, color="0.6", linewidth=0.8)
        axis.set_title(law, fontsize=9, loc="left")
        axis.set_xlabel("updates")
        axis.set_ylim(-2, 2)
    axes[0, 0].set_ylabel("predicted less measured (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure


def best(records: Records) -> "Figure":
    """Rates, and losses over that of the best schedule made by hand."""
    table = measures.finals(records)
    predicted = measures.predicted_finals(records)
    figure, axes = panels(1, 2, width=10.0, height=3.6)
    left, right = axes[0]
    for name, own in measures.deciding(records).items():
        rates = np.asarray(next(iter(own.schedules.values()))(np.arange(int(own.runs["steps"].iloc[0]))))
        style = {"linewidth": 1.6} if name in measures.ASKED else {"linestyle": ":", "linewidth": 0.9}
        left.plot(rates, label=name.replace("_", " "), **style)
    left.set(xlabel="updates", ylabel="learning rate")
    left.legend(fontsize=6)
    reference = measures.best_by_hand(table)
    gaps = table.sub(reference, axis=1)
    order = gaps.mean(axis=1).sort_values().index
    errors = gaps.std(axis=1, ddof=1) / np.sqrt(gaps.shape[1])
    places = np.arange(len(order))
    right.errorbar(gaps.mean(axis=1)[order], places, xerr=errors[order], fmt="o", color=COLOURS[0], markersize=4)
    for place, name in enumerate(order):
        if name in predicted:
            right.plot(predicted[name] - reference.mean(), place, "x", color=COLOURS[1])
    right.axvline(0, color="0.6", linewidth=0.8)
    right.set_yticks(places, [str(name).replace("_", " ") for name in order], fontsize=7)
    right.set_xlabel("final validation loss over the best made by hand (nats/byte)")
    return figure
