"""The figures of the study of rates found while training, each drawn from records alone."""

from typing import TYPE_CHECKING

import numpy as np

from experiments import auto_lr_claims as claims
from lrstudy.study.figures.curves import rate_and_metric
from lrstudy.study.figures.rates import loss_against_rate
from lrstudy.study.figures.style import COLOURS, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNITS = {"digits": "validation loss (nats)", "text": "validation loss (nats/byte)"}


_SCALES = {"digits": "log", "text": "linear"}


def autolrs_records(task: str, records: Records) -> Records:
    """AutoLRS's runs as records, so that what draws a run draws them."""
    import pandas as pd

    updates = claims.autolrs_table(task, records, "update")
    evaluations = claims.autolrs_table(task, records, "evaluation")
    rates = updates[["seed", "step", "learning_rate"]]
    metrics = rates.merge(evaluations[["seed", "step", claims.METRIC]], on=["seed", "step"], how="left")
    final = evaluations.sort_values("step").groupby("seed").last().reset_index()
    runs = final.assign(run_id=final["seed"].map("seed {}".format), outcome="ok", steps=final["step"])
    metrics = metrics.assign(run_id=metrics["seed"].map("seed {}".format)).drop(columns="seed")
    return Records(pd.DataFrame(runs[["run_id", "seed", "steps", "outcome", claims.METRIC]]), metrics, {}, {})


def cost(task: str, records: Records) -> "Figure":
    """Loss against everything that was spent on it."""
    steps = int(records.part(task).runs["steps"].iloc[0])
    figure, axes = panels(1, 1, height=3.6)
    axis = axes[0, 0]
    for (schedule, label), colour in zip((("Constant", "constant"), ("Cosine", "cosine")), COLOURS, strict=False):
        losses = claims.grid_losses(task, schedule, records)
        counts = np.arange(1, len(losses) + 1)
        best = np.stack([claims.expected_best(losses, int(count)) for count in counts])
        axis.plot(counts * steps, best.mean(axis=1), "o-", color=colour, markersize=3, label=f"{label}, from the grid")
        axis.fill_between(counts * steps, best.min(axis=1), best.max(axis=1), color=colour, alpha=0.15, linewidth=0)
    table = claims.cost_table(task, records)
    own = table[table["method"].str.startswith(("AutoLRS", "hypergradient"))]
    for (_, row), colour, mark in zip(own.iterrows(), COLOURS[2:], "D^v", strict=False):
        axis.errorbar(row["updates"], row["mean"], row["standard error"], fmt=mark, color=colour, capsize=3,
                      label=row["method"])  # fmt: skip
    axis.set(xlabel="updates spent in all", ylabel=f"final {_UNITS[task]}", yscale=_SCALES[task])
    seeds = records.part(task).runs["seed"].nunique()
    axis.legend(fontsize=8, title=f"{bands(seeds)}; bars: standard error", title_fontsize=7)
    return figure


def curves(task: str, records: Records) -> "Figure":
    """Rate and loss of every method."""
    part = records.part(task)
    found = {}
    for schedule, label in (("Constant", "constant"), ("Cosine", "cosine")):
        peak = claims.best_peak(claims.grid_losses(task, schedule, records))
        found[f"{label}, peak {peak:g}"] = part.where(schedule=schedule, schedule__peak=peak)
    found["AutoLRS"] = autolrs_records(task, records)
    for low in (True, False):
        own = claims.hypergradient(task, records, low=low)
        found[f"hypergradient from {own.runs['schedule.peak'].iloc[0]:g}"] = own
    figure = rate_and_metric(
        found, claims.METRIC, _UNITS[task], log=_SCALES[task] == "log", crop=_SCALES[task] == "linear"
    )
    # A cosine ends at zero, which has no place on this axis.
    figure.axes[0].set_yscale("log")
    figure.axes[0].set_ylim(bottom=part.runs["schedule.peak"].min() / 10)
    return figure


def search(task: str, records: Records) -> "Figure":
    """Forecasts of the candidates of every stage of the first seed."""
    candidates = claims.autolrs_table(task, records, "candidate")
    own = candidates[candidates["seed"] == candidates["seed"].min()]
    stages = sorted(own["stage"].unique())
    figure, axes = panels(1, len(stages), width=max(4.0, 3.0 * len(stages)), height=2.8)
    for axis, stage in zip(axes[0], stages, strict=True):
        rows = own[own["stage"] == stage].sort_values("rate")
        axis.plot(rows["rate"], rows["forecast"], "o-", color=COLOURS[0], markerfacecolor="white", linewidth=0.8)
        chosen = rows[rows["chosen"].astype(bool)]
        axis.plot(chosen["rate"], chosen["forecast"], "o", color=COLOURS[1])
        axis.set(xscale="log", xlabel="candidate rate")
        mode = "training" if rows["mode"].iloc[0] == "train" else "validation"
        axis.set_title(f"from step {int(rows['step'].iloc[0])}, by {mode} loss", fontsize=8, loc="left")
    axes[0, 0].set_ylabel("forecast loss (nats)")
    return figure


def grid(task: str, records: Records) -> "Figure":
    """Final loss of both schedules against their peaks."""
    losses = {name: claims.grid_losses(task, name, records) for name in ("Constant", "Cosine")}
    figure = loss_against_rate(losses, f"final {_UNITS[task]}")
    figure.axes[0].set_yscale(_SCALES[task])
    return figure
