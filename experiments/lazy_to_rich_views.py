"""The figures and tables of the study of laziness, each made from records alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import lazy_to_rich_measures as measures
from lrstudy.study.claims import mean_interval
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = (measures.ALPHAS[0], measures.MIDDLE, measures.RICH_ALPHAS[-1], measures.ALPHAS[-1])
_OPTIMIZERS = {"nap": "projected", "adam": "not projected"}
_GUIDE = {"color": "black", "linewidth": 0.8, "linestyle": ":"}


def losses(records: Records) -> "Figure":
    """A panel for each of four scales: loss on the sample and on all inputs against the time."""
    figure, axes = panels(1, len(_SHOWN), width=11.0, height=3.0)
    for axis, alpha in zip(axes[0], _SHOWN, strict=True):
        own = measures.at_scale(records, alpha)
        for metric, label, colour in (("train_loss", "sample", COLOURS[0]), ("test_loss", "all inputs", COLOURS[1])):
            curves = measures.relative_curves(own, metric)
            later = curves[curves.index > 0]
            band(axis, later.index.to_numpy(), later.to_numpy(), label, colour)
        times, linear = _kernel_regression(own, alpha)
        axis.plot(times, linear, "x", color="black", markersize=5, label="all inputs, kernel regression")
        axis.axhline(measures.TOLERANCE, **_GUIDE)
        axis.set(xscale="log", yscale="log", xlabel="time eta k", ylim=(1e-4, 2), title=f"alpha {alpha:g}")
    axes[0, 0].set_ylabel("loss over that before training")
    _legend(figure, axes[0, 0], bands(_seeds(records)))
    return figure


def _kernel_regression(own: Records, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Times and the mean test loss of the linearised model, over that before training."""
    table = own.probes["linear"]
    table = table[table["alpha"] == alpha]
    before = table["seed"].map(own.at_step("test_loss", 0))
    losses = table.assign(loss=table["linear_test_loss"] / before).groupby("step")["loss"].mean()
    last = float(measures.relative_curves(own, "test_loss").index[-1])
    return losses.index.to_numpy() * last / float(own.runs["steps"].iloc[0]), losses.to_numpy()


def _seeds(records: Records) -> int:
    return records.runs["seed"].nunique()


def kernel(records: Records) -> "Figure":
    """Kernel's change, its alignment, and the distance from kernel regression, against alpha."""
    figure, axes = panels(1, 3, width=10.0, height=3.0)
    alphas = np.asarray(measures.ALPHAS)
    scales = [measures.at_scale(records, alpha) for alpha in alphas]
    change = np.stack([measures.kernel_change(own) for own in scales])
    gap = np.stack([measures.gaps(records, alpha) for alpha in alphas])
    for axis, values, ylabel in (
        (axes[0, 0], change, "relative change of the kernel"),
        (axes[0, 2], gap, "largest |f - f_lin| over |y|"),
    ):
        band(axis, alphas, values, "", COLOURS[0])
        axis.plot(alphas, values.mean(axis=1), "o", color=COLOURS[0], markersize=3)
        axis.plot(alphas, values[-1].mean() * alphas[-1] / alphas, "--", color="black", linewidth=0.8)
        axis.set(xscale="log", yscale="log", ylabel=ylabel)
    for values, label, colour in (
        ([own.at_step("kernel_alignment", 0).to_numpy() for own in scales], "before training", COLOURS[1]),
        ([own.final("kernel_alignment").to_numpy() for own in scales], "after training", COLOURS[0]),
    ):
        band(axes[0, 1], alphas, np.stack(values), label, colour)
    axes[0, 1].set(xscale="log", ylabel="alignment with the target", ylim=(0, None))
    for axis in axes[0]:
        axis.set_xlabel("output scale alpha")
    _legend(figure, axes[0, 1], bands(_seeds(records)))
    return figure


def delay(records: Records) -> "Figure":
    """Both times and the delay, against alpha and against eps."""
    figure, axes = panels(1, 2, width=9.0, height=3.2)
    _times(axes[0, 0], measures.ALPHAS, [measures.at_scale(records, alpha) for alpha in measures.ALPHAS])
    _times(axes[0, 1], measures.ALIGNMENTS, measures.by_alignment(records))
    axes[0, 0].set(xlabel="output scale alpha (lazier to the right)", ylabel="time eta k")
    axes[0, 1].set_xlabel(f"eps, at alpha {measures.MIDDLE:g} (aligned to the right)")
    axes[0, 1].set_xticks(measures.ALIGNMENTS, [f"{eps:g}" for eps in measures.ALIGNMENTS])
    axes[0, 1].minorticks_off()
    _legend(figure, axes[0, 0], f"{bands(_seeds(records))}; dotted: the end of training; left out: what is not reached")
    return figure


def _times(axis: "Axes", values: Sequence[float], settings: Sequence[Records]) -> None:
    """Where a seed has not generalised by the end of training, its setting's line begins or ends."""
    end = float(measures.relative_curves(settings[0], "test_loss").index[-1])
    fitted = np.stack([measures.fitted_at(own) for own in settings])
    generalised = np.stack([measures.generalised_at(own) for own in settings])
    generalised[(generalised >= end).any(axis=1)] = np.nan
    times = {"sample fitted": fitted, "generalised": generalised, "delay": generalised - fitted}
    for (label, found), colour in zip(times.items(), COLOURS, strict=False):
        band(axis, np.asarray(values), found, label, colour)
        axis.plot(values, found.mean(axis=1), "o", color=colour, markersize=3)
    axis.axhline(end, **_GUIDE)
    axis.set(xscale="log", yscale="log")


def projection(records: Records) -> "Figure":
    """Norms, the angle over the rate and the validation loss by step; the angle against the rate."""
    figure, axes = panels(2, 2, width=9.0, height=2.8)
    _norms(axes[0, 0], records)
    for (name, label), colour in zip(_OPTIMIZERS.items(), COLOURS, strict=False):
        own = measures.trained_by(records, name)
        rates, sizes = measures.angles(own)
        relative = sizes / rates
        start = relative.iloc[: max(1, len(relative) // 5)].mean()
        band(axes[0, 1], relative.index.to_numpy(), (relative / start).to_numpy(), label, colour)
        line = rates.iloc[:, 0].to_numpy()
        band(axes[1, 0], line, sizes.to_numpy(), label, colour)
        axes[1, 0].plot(line, sizes.iloc[0].mean() * line / line[0], "--", color=colour, linewidth=0.8)
        curves = own.curves("validation_loss")
        band(axes[1, 1], curves.index.to_numpy(), curves.to_numpy(), label, colour)
    axes[0, 1].set(yscale="log", xlabel="step (optimizer updates)", ylabel="angle over rate, over its start")
    axes[1, 0].set(xscale="log", yscale="log", xlabel="learning rate", ylabel="angle of an update |dw| / |w|")
    axes[1, 1].set(yscale="log", xlabel="step (optimizer updates)", ylabel="validation loss (nats)")
    _legend(figure, axes[1, 0], f"{bands(_seeds(records))}; dashed: proportional to the rate")
    return figure


def _norms(axis: "Axes", records: Records) -> None:
    """The mean norm of every kernel over its first."""
    table = records.probes["norms"]
    for (name, label), colour in zip(_OPTIMIZERS.items(), COLOURS, strict=False):
        own = table[(table["optimizer"] == name) & table["tensor"].str.endswith("kernel")]
        for (tensor, rows), style in zip(own.groupby("tensor"), ("-", "--", ":"), strict=True):
            sizes = rows.assign(size=rows["norm"] / rows["initial"]).groupby("step")["size"].mean()
            axis.plot(sizes.index, sizes, color=colour, linestyle=style, linewidth=1.3, label=f"{tensor}, {label}")
    axis.set(yscale="log", xlabel="step (optimizer updates)", ylabel="kernel's norm over its first")
    axis.set_ylim(top=4 * axis.dataLim.y1)  # room for the legend
    axis.legend(fontsize=6, ncols=2, loc="upper left")


def _legend(figure: "Figure", axis: "Axes", title: str) -> None:
    handles = axis.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, fontsize=8, title=title, title_fontsize=7)


def _regression_rows(name: str, values: Sequence[float], settings: Sequence[Records]) -> "pd.DataFrame":
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for value, own in zip(values, settings, strict=True):
        end = float(measures.relative_curves(own, "test_loss").index[-1])
        fitted, generalised = measures.fitted_at(own), measures.generalised_at(own)
        rows.append(
            {
                name: value,
                "kernel's change": measures.kernel_change(own).mean(),
                "alignment, after over before": measures.alignment_gain(own).mean(),
                "fitted at": fitted.mean(),
                "generalised at (the end where never)": generalised.mean(),
                "never": int((generalised >= end).sum()),
                "generalised over fitted": float(generalised.mean() / fitted.mean()),
                "test loss when fitted to the level": measures.loss_at_fit(own).mean(),
                "final test loss": own.final("test_loss").mean(),
                "seeds": len(own.runs),
            }
        )
    return pd.DataFrame(rows)


def scale_table(records: Records) -> "pd.DataFrame":
    """One row an output scale."""
    table = _regression_rows("alpha", measures.ALPHAS, [measures.at_scale(records, alpha) for alpha in measures.ALPHAS])
    return table.assign(
        **{"distance from kernel regression": [measures.gaps(records, a).mean() for a in measures.ALPHAS]}
    )


def alignment_table(records: Records) -> "pd.DataFrame":
    """One row a quadratic part of the activation."""
    return _regression_rows("eps", measures.ALIGNMENTS, measures.by_alignment(records))


def projection_table(records: Records) -> "pd.DataFrame":
    """One row an optimizer."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    norms = records.probes["norms"]
    last = norms[norms["step"] == norms["step"].max()]
    for name, label in _OPTIMIZERS.items():
        own = measures.trained_by(records, name)
        row: dict[str, Any] = {"Adam": label}
        for title, values in (
            ("slope of the angle", measures.rate_slopes(own)),
            ("drift, factor", np.exp(measures.drifts(own))),
            ("norm of all, last over first", measures.growth(own)),
            ("validation loss", own.final("validation_loss").to_numpy()),
            ("validation accuracy", own.final("validation_accuracy").to_numpy()),
        ):
            found = mean_interval(values)
            row |= {title: found.value, f"{title}: interval": f"[{found.low:.4g}, {found.high:.4g}]"}
        biases = last[(last["optimizer"] == name) & last["tensor"].str.endswith("bias")]
        rows.append(row | {"largest norm of a bias": biases["norm"].max(), "seeds": len(own.runs)})
    return pd.DataFrame(rows)
