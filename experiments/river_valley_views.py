"""The figures of the river-valley study, each drawn from records alone."""

from typing import TYPE_CHECKING

import numpy as np

from experiments import river_valley_budgets as budgets
from experiments import river_valley_claims as claims
from lrstudy.study.figures.budgets import losses_at_budgets
from lrstudy.study.figures.curves import rate_and_metric
from lrstudy.study.figures.landscape import trajectories
from lrstudy.study.figures.line import loss_along_line
from lrstudy.study.figures.rates import loss_against_rate
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VALIDATION = "validation loss (nats/byte)"


def text(records: Records) -> "Figure":
    """Every schedule at its best peak."""
    part = records.part("text")
    best = {name: claims.best_peak(losses) for name, losses in claims.text_losses(records).items()}
    series = {f"{name}, peak {peak:g}": part.where(schedule=name, schedule__peak=peak) for name, peak in best.items()}
    return rate_and_metric(series, "validation_loss", _VALIDATION, crop=True)


def text_rates(records: Records) -> "Figure":
    """Final loss of every schedule against its peak."""
    return loss_against_rate(claims.text_losses(records), f"final {_VALIDATION}")


def text_line(records: Records) -> "Figure":
    """Through the decay of every WSD run."""
    return loss_along_line(records.probes["line"], "validation_loss", _VALIDATION)


def text_budgets(records: Records) -> "Figure":
    """Three budgets on text."""
    return losses_at_budgets(budgets.text_budget_table(records), _VALIDATION)


def river_budgets(records: Records) -> "Figure":
    """Three budgets on the curved river."""
    return losses_at_budgets(budgets.river_budget_table(records), "expected loss")


def _paths(part: Records) -> dict[str, Records]:
    shortened = budgets.shortened_budgets(int(part.runs["steps"].max()))
    branches = {f"WSD, {steps} updates": part.where(schedule="WSD", steps=steps) for steps, _ in shortened}
    return {"Cyclic-Cosine": part.where(schedule="CyclicCosine"), "WSD-S": part.where(schedule="WSDS"), **branches}


def text_paths(records: Records) -> "Figure":
    """Rate and loss along the paths behind the budgets on text."""
    return rate_and_metric(_paths(records.part("text_budgets")), "validation_loss", _VALIDATION, crop=True)


def river_paths(records: Records) -> "Figure":
    """Rate and loss along the paths behind the budgets on the curved river."""
    return rate_and_metric(_paths(records.part("river_budgets")), "expected_loss", "expected loss")


def river(records: Records) -> "Figure":
    """Rate and expected loss on the curved river."""
    return rate_and_metric(claims.river_series(records), "expected_loss", "expected loss (mean over chains)")


def landscape(records: Records) -> "Figure":
    """The river from above."""
    row = records.part("river").runs.iloc[0]
    return trajectories(claims.river_series(records), row["task.curvature"], row["task.slope"])


def bigram(records: Records) -> "Figure":
    """Excess cross-entropy of both kinds of contexts."""
    part = records.part("bigram")
    series = {
        "WSD, peak 10": part.where(schedule="WSD"),
        "constant 10": part.where(schedule="Constant", schedule__peak=10.0),
        "constant 1": part.where(schedule="Constant", schedule__peak=1.0),
    }
    figure, axes = panels(1, 3, width=9.0, height=3.3)
    views = {"learning_rate": "learning rate"}
    views |= {f"{kind}_excess": f"excess, {kind} (nats)" for kind in ("uncertain", "deterministic")}
    for axis, (metric, ylabel) in zip(axes[0], views.items(), strict=True):
        for (label, own), colour in zip(series.items(), COLOURS, strict=False):
            curves = own.curves(metric)
            band(axis, curves.index.to_numpy(), curves.to_numpy(), label, colour)
        axis.set(yscale="log", xlabel="step (optimizer updates)", ylabel=ylabel)
    axes[0, 0].set_yscale("linear")
    seeds = bands(part.where(schedule="WSD").curves("loss").to_numpy())
    figure.legend(
        *axes[0, 1].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize=8,
        title=seeds,
        title_fontsize=7,
    )
    return figure


def quadratic(records: Records) -> "Figure":
    """Simulated loss under WSD and cosine, and the exact expectation at the end."""
    part = records.part("quadratic")
    series = {name: part.where(schedule=name) for name in ("WSD", "Cosine")}
    figure = rate_and_metric(series, "hill_loss", "loss (mean over chains)", log=True)
    axis = figure.axes[1]
    for own, colour in zip(series.values(), COLOURS, strict=False):
        end = int(own.runs["steps"].iloc[0])
        [mark] = axis.plot(end, claims.recursion(own), "x", color=colour, markersize=8)
        axis.legend([mark], ["exact expectation"], fontsize=8)
    return figure


def stationary(records: Records) -> "Figure":
    """Simulated over closed-form loss of every constant rate."""
    table = claims.stationary_table(records)
    figure, axes = panels(1, 1, height=2.4)
    axis = axes[0, 0]
    spread = np.stack([table["relative error"] - table["ci low"], table["ci high"] - table["relative error"]])
    labels = [f"sharpness {s:g}\nrate {r:g}" for s, r in zip(table["sharpness"], table["rate"], strict=True)]
    axis.errorbar(labels, 100 * table["relative error"], 100 * spread, fmt="o", color=COLOURS[0], capsize=4)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(ylabel="relative error (%)")
    axis.set_title("simulated over closed form, less one; 95% interval over seeds", fontsize=8, loc="left")
    return figure
