"""The figures of the study of instabilities, each drawn from records alone."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments import instability_proxies_claims as claims
from lrstudy.study.figures.rates import optimum_of
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES: Mapping[str, str] = {
    "default": "default",
    "short_warmup": f"warmup of {claims.ARMS['short_warmup']['warmup']:.0%}",
    "long_warmup": f"warmup of {claims.ARMS['long_warmup']['warmup']:.0%}",
    "coupled": "coupled decay",
    "independent": "independent decay",
    "no_z_loss": "no z-loss",
    "no_qk_norm": "no qk-norm",
    "peri": "Peri-LN",
    "peri_no_qk_norm": "Peri-LN, no qk-norm",
}
"""Arm to what legends and tables call it."""

_PEAK = "peak learning rate"
_WARNING = "#B00020"
_SHOWN = {
    "Normalisation": ("default", "no_qk_norm", "peri", "peri_no_qk_norm"),
    "z-loss": ("default", "no_z_loss"),
    "Warmup": ("default", "short_warmup", "long_warmup"),
    "Weight decay": ("default", "coupled", "independent"),
}


def _over_rates(axis: "Axes", values: "pd.DataFrame", label: str, colour: str) -> None:
    """A line with its range over seeds, and a dot at every rate."""
    rates = values.index.to_numpy(float)
    band(axis, rates, values.to_numpy(float), label, colour)
    axis.plot(rates, values.mean(axis=1), "o", color=colour, markersize=3)


def _legend(figure: "Figure", axis: "Axes", seeds: int, columns: int = 4) -> None:
    handles = axis.get_legend_handles_labels()
    style = {"loc": "outside lower center", "fontsize": 8, "title_fontsize": 7}
    figure.legend(*handles, ncols=columns, title=bands(seeds), **style)


def attention(records: Records) -> "Figure":
    """The largest attention logit at the end, with and without query and key norms."""
    figure, axes = panels(1, 1, height=3.4)
    axis, seeds = axes[0, 0], 0
    for name, colour in zip(_SHOWN["Normalisation"], COLOURS, strict=False):
        logits = claims.by_rate(claims.arm(records, name), "max_attention_logit")
        _over_rates(axis, logits, NAMES[name], colour)
        seeds = max(seeds, logits.shape[1])
    axis.set(xscale="log", yscale="log", xlabel=_PEAK, ylabel="largest attention logit after training")
    axis.legend(fontsize=8, title=bands(seeds), title_fontsize=7)
    return figure


def log_z(records: Records) -> "Figure":
    """Log Z over training, a panel for every high peak."""
    arms = {name: claims.arm(records, name) for name in ("no_z_loss", "default")}
    rates = claims.high_rates(arms["default"])
    figure, axes = panels(1, len(rates), width=9.0, height=3.0)
    seeds = 0
    for axis, rate in zip(axes[0], rates, strict=True):
        if axis is not axes[0, 0]:
            axis.sharey(axes[0, 0])
        for (name, own), colour in zip(arms.items(), COLOURS, strict=False):
            curves = claims.log_z(own, rate)
            label = NAMES[name] if name == "no_z_loss" else f"z-loss of {claims.Z_LOSS:g}"
            band(axis, curves.index.to_numpy(), curves.to_numpy(), label, colour)
            seeds = max(seeds, curves.shape[1])
        axis.axhline(0, color="black", linewidth=0.7, linestyle=":")
        axis.set_xlabel("step (optimizer updates)")
        axis.set_title(f"peak {rate:.3g}", fontsize=9, loc="left")
    axes[0, 0].set_ylabel("mean log Z of the output logits (nats)")
    _legend(figure, axes[0, 0], seeds)
    return figure


def sensitivity(records: Records) -> "Figure":
    """Final loss against the peak, a panel for every kind of intervention, the sensitivity in the legends."""
    figure, axes = panels(2, 2, width=9.0, height=3.1)
    for axis, (title, names) in zip(axes.flat, _SHOWN.items(), strict=True):
        if axis is not axes[0, 0]:
            axis.sharey(axes[0, 0])
        warnings = [_losses(axis, records, name, colour) for name, colour in zip(names, COLOURS, strict=False)]
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_title("\n".join(filter(None, warnings)), fontsize=7, color=_WARNING, loc="right")
        axis.set(xscale="log", xlabel=_PEAK)
        axis.legend(fontsize=7, title="dotted: optimum", title_fontsize=7)
    for axis in axes[:, 0]:
        axis.set_ylabel("validation loss (nats/byte)")
    return figure


def _losses(axis: "Axes", records: Records, name: str, colour: str) -> str:
    """Draws one arm; returns a warning if its best peak is on the grid's edge."""
    own = claims.arm(records, name)
    losses = claims.by_rate(own, "validation_loss")
    _over_rates(axis, losses, f"{NAMES[name]}, S = {claims.sensitivities(own).mean():.3f}", colour)
    optimum = optimum_of(losses)
    if optimum is None:
        return f"{NAMES[name]}: every rate diverged"
    axis.axvline(optimum.value, color=colour, linewidth=0.8, linestyle=":")
    return f"{NAMES[name]}: best peak {optimum.value:.3g} on the grid's edge" if optimum.on_edge else ""


def extrapolation(records: Records) -> "Figure":
    """The largest logit against the size: measured, fitted through all sizes but the largest, and predicted there."""
    rates = claims.size_rates(records)
    figure, axes = panels(1, len(rates), width=9.0, height=3.0)
    seeds = 0
    for axis, rate, colour in zip(axes[0], rates, COLOURS, strict=False):
        logits = claims.logits_by_size(records, rate)
        sizes = logits.index.to_numpy(float)
        grid = np.geomspace(sizes[0], sizes[-1], 60)
        means = np.exp(np.log(logits).mean(axis=1))
        error = means.to_numpy() - logits.min(axis=1), logits.max(axis=1) - means.to_numpy()
        style = {"fmt": "o", "color": colour, "markersize": 4, "capsize": 2}
        axis.errorbar(sizes, means, np.stack(error), **style, label="measured")
        axis.plot(grid, claims.fitted(logits, grid), color=colour, linewidth=1.2, label="fit without the largest")
        predicted = claims.fitted(logits, sizes[-1:])
        axis.plot(sizes[-1:], predicted, "*", color="black", markersize=9, label="predicted", zorder=3)
        error_share = predicted[0] / means.iloc[-1] - 1
        axis.set(xscale="log", yscale="log", xlabel="parameters")
        axis.set_title(f"peak {rate:.3g}: {error_share:+.0%}", fontsize=9, loc="left")
        _tick_sizes(axis, sizes)
        seeds = max(seeds, logits.shape[1])
    axes[0, 0].set_ylabel("largest attention logit")
    handles = axes[0, 0].get_legend_handles_labels()
    title = f"geometric mean over {seeds} seeds; bars: range; no qk-norm"
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=8, title=title, title_fontsize=7)
    return figure


def _tick_sizes(axis: "Axes", sizes: Sequence[float] | np.ndarray) -> None:
    """Ticks at the sizes that were run, in thousands of parameters."""
    axis.set_xticks(list(sizes), [f"{size / 1_000:.0f}k" for size in sizes], rotation=45)
    axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)


def gradients(records: Records) -> "Figure":
    """The gradient's root mean square against the size and against the peak, with epsilons to compare."""
    figure, axes = panels(1, 2, width=9.0, height=3.2)
    by_size = claims.gradients(records)
    seeds = [by_size.shape[1], 0]
    for rate, colour in zip(claims.size_rates(records), COLOURS, strict=False):
        own = by_size.xs(rate, level="schedule.peak")
        sizes = own.index.to_numpy(float)
        band(axes[0, 0], sizes, own.to_numpy(float), f"peak {rate:.3g}", colour)
        axes[0, 0].plot(sizes, own.mean(axis=1), "o", color=colour, markersize=3)
        _tick_sizes(axes[0, 0], sizes)
    for name, colour in zip(_SHOWN["Normalisation"][:2], COLOURS[3:], strict=False):
        table = claims.gradients_by_rate(claims.arm(records, name))
        _over_rates(axes[0, 1], table, NAMES[name], colour)
        seeds[1] = max(seeds[1], table.shape[1])
    for axis, xlabel, count in zip(axes[0], ("parameters", _PEAK), seeds, strict=True):
        axis.set(xscale="log", yscale="log", xlabel=xlabel)
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.4 * claims.COMPARABLE), high)
        axis.axhline(claims.COMPARABLE, color="black", linewidth=0.8, linestyle="--", label="epsilon 1e-3")
        axis.legend(fontsize=7, title=bands(count), title_fontsize=7, loc="lower left")
    _tick_sizes(axes[0, 0], sorted(set(by_size.index.get_level_values("parameters"))))
    axes[0, 0].set_ylabel("RMS of the gradient, second half")
    return figure


def epsilon(records: Records) -> "Figure":
    """The update's root mean square against Adam's epsilon, and the loss, with the gradients' size marked."""
    figure, axes = panels(1, 2, width=9.0, height=3.2)
    seeds = 0
    for width, colour in zip(claims.epsilon_widths(records), COLOURS, strict=False):
        own = claims.root_mean_squares(records.part("epsilon").where(model__width=width))
        for axis, metric in zip(axes[0], ("update", "validation_loss"), strict=True):
            table = own.pivot_table(index="optimizer.eps", columns="seed", values=metric).astype(float).sort_index()
            _over_rates(axis, table, f"width {width}", colour)
            seeds = max(seeds, table.shape[1])
        least = own[own["optimizer.eps"] == own["optimizer.eps"].min()]
        for axis in axes[0]:
            axis.axvline(least["gradient"].mean(), color=colour, linewidth=0.9, linestyle=":")
    for axis, ylabel in zip(axes[0], ("RMS of update / rate, second half", "validation loss (nats/byte)"), strict=True):
        axis.set(xscale="log", xlabel="Adam's epsilon; dotted: the gradient's RMS", ylabel=ylabel)
    axes[0, 0].set_yscale("log")
    axes[0, 0].legend(fontsize=8, title=bands(seeds), title_fontsize=7)
    return figure
