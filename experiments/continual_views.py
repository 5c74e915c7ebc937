"""The figures of the continual study, each drawn from records alone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from experiments import continual_claims as claims
from experiments.continual_tables import DOMAINS, SCHEDULES
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN_REPLAY = claims.REPLAYS[1]
_STAGE_LINE = {"color": "black", "linewidth": 0.7, "linestyle": ":"}


def _stages(series: Mapping[str, Records], metrics: Mapping[str, str]) -> "Figure":
    """The rate above, one panel for each metric below, over one step axis with the change of stage marked.

    Args:
        series: legend label to runs that differ in the seed alone.
        metrics: label of the vertical axis to column.
    """
    figure, axes = panels(1 + len(metrics), 1, height=2.0)
    stage, seeds = 0, 0
    for (label, records), colour in zip(series.items(), COLOURS, strict=False):
        rates = records.curves("learning_rate")
        axes[0, 0].plot(rates.index, rates.iloc[:, 0], color=colour, linewidth=1.3)
        for axis, metric in zip(axes[1:, 0], metrics.values(), strict=True):
            curves = records.curves(metric)
            band(axis, curves.index.to_numpy(), curves.to_numpy(), label, colour)
            seeds = max(seeds, curves.shape[1])
        stage = claims.stage_of(records)
    axes[0, 0].set_ylabel("learning rate")
    for axis, ylabel in zip(axes[1:, 0], metrics, strict=True):
        axis.set_ylabel(ylabel)
        _crop(axis, stage)
    for axis in axes[:, 0]:
        axis.axvline(stage, **_STAGE_LINE)
        axis.sharex(axes[-1, 0])
        axis.tick_params(labelbottom=axis is axes[-1, 0])
    axes[-1, 0].set_xlabel("step (optimizer updates); dotted: the second stage begins")
    _legend_below(figure, axes[1, 0], bands(seeds))
    return figure


def _crop(axis: "Axes", stage: int) -> None:
    """Lets the axis span what is there from the middle of the first stage on, past the fall from initialisation."""
    lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata(), float)) for line in axis.get_lines()]
    shown = [y[x >= stage / 2] for x, y in lines]
    finite = np.concatenate([values[np.isfinite(values)] for values in shown])
    if finite.size and np.ptp(finite) > 0:
        axis.set_ylim(finite.min() - 0.06 * np.ptp(finite), finite.max() + 0.06 * np.ptp(finite))


def _legend_below(figure: "Figure", axis: "Axes", title: str) -> None:
    handles = axis.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=8, title=title, title_fontsize=7)


def text(records: Records) -> "Figure":
    """Both domains under the three schedules."""
    series = {label: claims.text_runs(records, name, _SHOWN_REPLAY) for name, label in SCHEDULES.items()}
    return _stages(series, {f"{name} (nats/byte)": DOMAINS[name] for name in ("English", "code")})


def same(records: Records) -> "Figure":
    """Code in both stages."""
    series = {SCHEDULES[name]: claims.baseline(records, name, claims.CODE_ONLY) for name in ("Rewarmed", "Cosine")}
    return _stages(series, {"code (nats/byte)": claims.CODE})


def replay(records: Records) -> "Figure":
    """Final losses against the share of replay."""
    figure, axes = panels(1, len(DOMAINS), width=9.0, height=3.2)
    places, seeds = np.arange(len(claims.REPLAYS)), 0
    for (schedule, label), colour in zip(SCHEDULES.items(), COLOURS, strict=False):
        runs = [claims.text_runs(records, schedule, share) for share in claims.REPLAYS]
        for axis, (name, metric) in zip(axes[0], DOMAINS.items(), strict=True):
            losses = np.stack([own.final(metric).to_numpy() for own in runs])
            band(axis, places, losses, label, colour)
            axis.set(title=name, xlabel="share of replay")
            seeds = max(seeds, losses.shape[1])
    for axis in axes[0]:
        axis.set_xticks(places, [f"{share:.0%}" for share in claims.REPLAYS])
    axes[0, 0].set_ylabel("final loss (nats/byte)")
    _legend_below(figure, axes[0, 0], bands(seeds))
    return figure


def _accuracies(series: Mapping[str, Records]) -> "Figure":
    """One panel for each of several settings: accuracy on every task, after every update."""
    figure, axes = panels(len(series), 1, height=2.0)
    seeds = 0
    for axis, (label, records) in zip(axes[:, 0], series.items(), strict=True):
        runs = claims.accuracies(records)
        seeds = len(runs)
        for task, colour in zip(range(runs[0].tasks), COLOURS, strict=False):
            band(
                axis, runs[0].steps, np.stack([own.values[:, task] for own in runs], axis=1), f"task {task + 1}", colour
            )
        for end in runs[0].ends[:-1]:
            axis.axvline(end, **_STAGE_LINE)
        axis.set(ylabel="accuracy", ylim=(0, 1))
        axis.set_title(label, fontsize=8, loc="left")
        axis.tick_params(labelbottom=axis is axes[-1, 0])
    axes[-1, 0].set_xlabel("step (optimizer updates); dotted: the next task begins")
    _legend_below(figure, axes[0, 0], bands(seeds))
    return figure


def digits(records: Records) -> "Figure":
    """Permuted digits, a panel for each share of replay."""
    part = records.part("digits")
    length = part.runs["task.steps_per_task"].min()  # a run without a switch is there to compare with
    alike = part.where(task__exponent=0.0, task__steps_per_task=length)
    return _accuracies({f"{share:.0%} replay": alike.where(task__replay=share) for share in claims.REPLAYS})


def rotated(records: Records) -> "Figure":
    """Rotated digits."""
    return _accuracies({"half of each batch replayed": records.part("rotated")})
