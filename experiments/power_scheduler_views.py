"""The figures of the Power study, each drawn from records alone."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from experiments import power_scheduler_claims as claims
from experiments.power_scheduler_law import cells, fit, optima
from lrstudy.study.figures.style import COLOURS, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _tick_tokens(axis: "Axes", tokens: Iterable[int]) -> None:
    """Ticks at the lengths that were run, in thousands."""
    axis.set_xscale("log")
    ticks = sorted(set(tokens))
    axis.set_xticks(ticks, [f"{tick / 1_000:.0f}k" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("tokens of the run")


def law(records: Records) -> "Figure":
    """Best rates against tokens, one colour a batch size, with both laws."""
    table = optima(cells(records.part("sweep")))
    found = fit(table)
    figure, axes = panels(1, 1, height=3.6)
    axis = axes[0, 0]
    tokens = np.geomspace(table["tokens"].min(), table["tokens"].max(), 50)
    for (batch, own), colour in zip(table.groupby("batch"), COLOURS, strict=False):
        inside, edge = own[~own["on_edge"]], own[own["on_edge"]]
        axis.plot(inside["tokens"], inside["rate"], "o", color=colour, label=f"batch {batch}")
        axis.plot(edge["tokens"], edge["rate"], "o", color=colour, markerfacecolor="none")
        axis.plot(tokens, batch * found.a * tokens**found.b, color=colour, linewidth=1.0)
        dotted = found.constant * batch**found.batch_exponent * tokens**found.token_exponent
        axis.plot(tokens, dotted, color=colour, linewidth=1.0, linestyle=":")
    axis.set(yscale="log", ylabel="best WSD rate")
    _tick_tokens(axis, table["tokens"])
    axis.set_title(
        f"lines: batch {found.a:.3g} tokens^{found.b:.2f}; "
        f"dotted: {found.constant:.3g} batch^{found.batch_exponent:.2f} tokens^{found.token_exponent:.2f}",
        fontsize=8,
        loc="left",
    )
    axis.legend(fontsize=8)
    return figure


def sweep(records: Records) -> "Figure":
    """One panel a batch size."""
    found = cells(records.part("sweep"))
    batches = sorted({batch for batch, _ in found})
    figure, axes = panels(-(-len(batches) // 2), 2, width=8.0, height=2.6)
    for batch, axis in zip(batches, axes.flat, strict=False):
        for (_, tokens), colour in zip(sorted(cell for cell in found if cell[0] == batch), COLOURS, strict=False):
            losses = found[batch, tokens].replace(np.inf, np.nan)
            axis.plot(losses.index, losses.mean(axis=1), "o-", color=colour, markersize=3, label=f"{tokens:,} tokens")
            axis.fill_between(losses.index, losses.min(axis=1), losses.max(axis=1), color=colour, alpha=0.18)
        axis.set_xscale("log")
        axis.set_title(f"batch {batch}", fontsize=9, loc="left")
        axis.set_xlabel("peak learning rate")
    for unused in axes.flat[len(batches) :]:
        unused.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("validation loss (nats/byte)")
    seeds = max(losses.shape[1] for losses in found.values())
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=8, title=bands(seeds), title_fontsize=7)
    return figure


def regret(records: Records) -> "Figure":
    """One panel a schedule, one line a batch size."""
    found = claims.regrets(records)
    titles = {"power": "Power, one setting", "free": "Power, fitted batch exponent", "single": "WSD, one peak"}
    figure, axes = panels(1, 3, width=9.0, height=3.0)
    for (name, gaps), axis in zip(found.items(), axes.flat, strict=True):
        if axis is not axes[0, 0]:
            axis.sharey(axes[0, 0])
        batches = sorted({batch for batch, _ in gaps})
        for batch, colour in zip(batches, COLOURS, strict=False):
            own = {tokens: values for (one, tokens), values in sorted(gaps.items()) if one == batch}
            samples = np.stack(list(own.values()))
            error = claims.standard_error(samples)
            style = {"color": colour, "marker": "o", "markersize": 3, "capsize": 2, "label": f"batch {batch}"}
            axis.errorbar(list(own), samples.mean(axis=1), error, **style)
        axis.axhline(0, color="black", linewidth=0.8)
        _tick_tokens(axis, (tokens for _, tokens in gaps))
        axis.set_title(titles[name], fontsize=9, loc="left")
    axes[0, 0].set_ylabel("loss above the tuned WSD (nats/byte)")
    axes[0, 0].legend(fontsize=8)
    return figure


def schedules(records: Records) -> "Figure":
    """Rates against tokens at the middle batch size."""
    swept = cells(records.part("sweep"))
    tuned = {(row.batch, row.tokens): row.best for row in optima(swept).itertuples()}
    batches = sorted({batch for batch, _ in swept})
    batch = batches[len(batches) // 2]
    figure, axes = panels(1, 1, height=3.2)
    axis = axes[0, 0]
    lengths = sorted(tokens for one, tokens in swept if one == batch)
    for tokens, colour in zip(lengths, COLOURS, strict=False):
        power = records.part("power").where(task__batch_size=batch)
        wsd = records.part("wsd").where(task__batch_size=batch, schedule__peak=tuned[batch, tokens])
        for part, dashed, label in ((power, False, f"Power, {tokens:,} tokens"), (wsd, True, "tuned WSD")):
            each = int(part.runs["task.batch_size"].iloc[0] * part.runs["task.context"].iloc[0])
            steps = np.arange(1, tokens // each)
            schedule = next(iter(part.where(steps=tokens // each).schedules.values()))
            style = {"linestyle": "--"} if dashed else {}
            axis.plot(steps * each, np.asarray(schedule(steps)), color=colour, linewidth=1.2, label=label, **style)
    axis.set(xscale="log", yscale="log", xlabel="tokens", ylabel="learning rate")
    axis.set_title(f"batch {batch}", fontsize=9, loc="left")
    figure.legend(loc="outside lower center", ncols=4, fontsize=7)
    return figure
