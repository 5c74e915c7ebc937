"""The figures and tables of the curriculum study, each computed from records alone."""

from typing import TYPE_CHECKING

from experiments import curriculum_arms as arms
from experiments import curriculum_claims as claims
from lrstudy.study.claims import mean_interval
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ORDERS = {arms.RANDOM: "random order", arms.ORDERED: "noisiest first"}
_EXCESS, _NATS = "excess loss", "validation loss (nats)"


def regression_gain(records: Records) -> "Figure":
    """Gains of the regression, beside their exact expectation."""
    exact = arms.exact_losses(records, "regression")
    expected = [exact[arm, arms.RANDOM] - exact[arm, arms.ORDERED] for arm in arms.ARMS]
    figure = _gain(records, "regression", _EXCESS)
    axis = figure.axes[0]
    axis.plot(expected, range(len(expected)), "x", color="black", markersize=7, label="exact expectation")
    axis.legend(fontsize=8)
    return figure


def digits_gain(records: Records) -> "Figure":
    """Gains on digits."""
    return _gain(records, "digits", _NATS)


def _gain(records: Records, part: str, unit: str) -> "Figure":
    """One row an arm: mean gain and its 95% interval over seeds."""
    figure, axes = panels(1, 1, height=3.0)
    axis = axes[0, 0]
    found = arms.gains(records, part)
    for place, (arm, values) in enumerate(found.items()):
        mean = mean_interval(values)
        colour = COLOURS[1] if arm == arms.DECAY else COLOURS[0]
        half = [[mean.value - mean.low], [mean.high - mean.value]] if mean.n > 1 else None
        axis.errorbar(mean.value, place, xerr=half, fmt="o", color=colour, capsize=4)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel=f"gain of visiting the noisiest first ({unit})")
    axis.set_yticks(range(len(found)), list(found))
    axis.invert_yaxis()
    axis.set_title(f"95% interval over {len(next(iter(found.values())))} seeds", fontsize=8, loc="left")
    return figure


def regression_losses(records: Records) -> "Figure":
    """Losses of the regression."""
    return _losses(records, "regression", _EXCESS)


def digits_losses(records: Records) -> "Figure":
    """Losses on digits."""
    return _losses(records, "digits", _NATS)


def _losses(records: Records, part: str, unit: str) -> "Figure":
    """One row an arm: the mean loss in both orders with 95% intervals over seeds."""
    figure, axes = panels(1, 1, height=3.2)
    axis = axes[0, 0]
    losses = arms.decided(records, part)
    for ordering, colour, shift in ((arms.RANDOM, COLOURS[1], -0.1), (arms.ORDERED, COLOURS[0], 0.1)):
        for place, arm in enumerate(arms.ARMS):
            mean = mean_interval(losses[arm, ordering])
            half = [[mean.value - mean.low], [mean.high - mean.value]] if mean.n > 1 else None
            label = ORDERS[ordering] if place == 0 else None
            axis.errorbar(mean.value, place + shift, xerr=half, fmt="o", color=colour, capsize=3, label=label)
    axis.set(xlabel=unit)
    axis.set_yticks(range(len(arms.ARMS)), list(arms.ARMS))
    axis.invert_yaxis()
    axis.legend(fontsize=8)
    return figure


def regression_peaks(records: Records) -> "Figure":
    """Tuning of the regression."""
    return _peaks(records, "regression", _EXCESS)


def digits_peaks(records: Records) -> "Figure":
    """Tuning of digits."""
    return _peaks(records, "digits", _NATS)


def _peaks(records: Records, part: str, unit: str) -> "Figure":
    """Loss against the peak, one panel an order; the peak that was chosen is ringed."""
    losses = arms.arm_losses(records, arms.tuning_of(part))
    best, seeds = arms.best_peaks(losses), losses["seed"].nunique()
    figure, axes = panels(1, 2, height=3.4)
    for axis, (ordering, name) in zip(axes[0], ORDERS.items(), strict=True):
        for arm, colour in zip(arms.ARMS, COLOURS, strict=True):
            own = arms.losses_by_peak(losses, arm, ordering)
            band(axis, own.index.to_numpy(float), own.to_numpy(float), arm, colour)
            peak = best[arm, ordering]
            axis.plot(peak, own.loc[peak].mean(), "o", color=colour, markersize=7, fillstyle="none")
        limits = (0.9 * losses["loss"].min(), 1.1 * losses["loss"].max())
        axis.set(xscale="log", yscale="log", xlabel="peak learning rate", ylim=limits)
        axis.set_title(name, fontsize=9, loc="left")
        peaks = sorted(losses["peak"].unique())
        axis.set_xticks(peaks, [f"{peak:.3g}" for peak in peaks])
        axis.xaxis.minorticks_off()
    axes[0, 0].set_ylabel(unit)
    _legend_below(figure, 3, f"{bands(seeds)}; circle: chosen")
    return figure


def _legend_below(figure: "Figure", columns: int, title: str) -> None:
    """The legend of the first axes, where it hides none of the lines."""
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        fontsize=8,
        title=title,
        title_fontsize=7,
    )


def regression_table(records: Records) -> "pd.DataFrame":
    """Losses and gains of the regression, beside their exact expectation."""
    exact = claims.exact_distances(records).set_index(["arm", "ordering"])
    table = _table(records, "regression")
    for ordering, name in ORDERS.items():
        table[f"exact, {name}"] = [exact.loc[(arm, ordering), "exact"] for arm in table["arm"]]
        table[f"distance, {name} (standard errors)"] = [exact.loc[(arm, ordering), "distance"] for arm in table["arm"]]
    return table


def digits_table(records: Records) -> "pd.DataFrame":
    """Losses and gains on digits."""
    return _table(records, "digits")


def _table(records: Records, part: str) -> "pd.DataFrame":
    """One row an arm: the tuned peak and mean loss of both orders, and the gain with its 95% interval."""
    import pandas as pd

    best = arms.best_peaks(arms.arm_losses(records, arms.tuning_of(part)))
    losses, found = arms.decided(records, part), arms.gains(records, part)
    rows = []
    for arm in arms.ARMS:
        row: dict[str, object] = {"arm": arm}
        for ordering, name in ORDERS.items():
            row |= {f"peak, {name}": best[arm, ordering], name: float(losses[arm, ordering].mean())}
        gain = mean_interval(found[arm])
        rows.append({**row, "gain": gain.value, "ci low": gain.low, "ci high": gain.high, "seeds": gain.n})
    return pd.DataFrame(rows)


def upsampling(records: Records) -> "Figure":
    """Losses on both domains against the target's share, one line a duration."""
    figure, axes = panels(1, 2, height=3.0)
    seeds = 1
    for axis, domain in zip(axes[0], ("target", "general"), strict=True):
        for fraction, colour in zip(claims.FRACTIONS, COLOURS, strict=False):
            losses = claims.by_share(records, fraction, domain)
            seeds = losses.shape[1]
            label = f"last {100 * fraction:.0f}% of the steps"
            band(axis, losses.index.to_numpy(float), losses.to_numpy(float), label, colour)
        axis.set(xlabel="target's share of the windows at the end", ylabel=f"{domain} validation loss (nats/byte)")
    _legend_below(figure, 3, bands(seeds))
    return figure


def durations(records: Records) -> "Figure":
    """Sum of both losses against the duration, one line a share."""
    figure, axes = panels(1, 1, height=3.0)
    axis, seeds = axes[0, 0], 1
    for share, colour in zip(claims.SHARES, COLOURS, strict=False):
        totals = claims.by_fraction(records, share)
        seeds = totals.shape[1]
        band(axis, 100 * totals.index.to_numpy(float), totals.to_numpy(float), f"share {share:g}", colour)
    axis.set(xlabel="last steps with the larger share (%)", ylabel="sum of both losses (nats/byte)")
    _legend_below(figure, 4, bands(seeds))
    return figure
