"""The figures and tables of the study of batch Hessians, each made from records alone."""

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import batch_hessian_measures as measures
from experiments.batch_hessian_measures import ADAM, GGN, HESSIAN, REGRESSION, SGD
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_GUIDE = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
_NAMES = {HESSIAN: "Hessian", GGN: "Gauss-Newton"}


def eigenvalues(records: Records) -> "Figure":
    """The largest eigenvalue against the batch size, and its excess against b'."""
    figure, axes = panels(1, 2, width=9.0, height=3.4)
    left, right = axes[0]
    seeds = records.part("trained").runs["seed"].nunique()
    examples = int(measures.excess(records, HESSIAN).index.max())
    for (curvature, name), colour in zip(_NAMES.items(), COLOURS, strict=False):
        values, excess = (f(records, curvature) for f in (measures.eigenvalues, measures.excess))
        # The two are within a percent: dashes leave the line below in sight.
        dashed = curvature == GGN
        band(left, values.index.to_numpy(float), values.to_numpy(float), name, colour, dashed)
        left.axhline(measures.full(records, curvature).mean(), **_GUIDE | {"color": colour})
        below = excess[excess.index < examples]
        sizes = measures.effective(below.index.to_numpy(), examples)
        band(right, sizes, below.to_numpy(float), name, colour, dashed)
        slope, intercept = measures.fitted(records, curvature).mean(axis=1)
        ends = measures.effective(np.asarray(measures.SPIKED), examples)
        line = {"color": "black", "linewidth": 0.8, "label": f"{name}: slope {slope:.2f}"}
        right.plot(ends, np.exp(intercept) * ends**slope, ":" if dashed else "-", zorder=3, **line)
    left.plot(examples, measures.full(records, HESSIAN).mean(), "o", color="black", markersize=4, label="all data")
    left.set(xlabel="batch size B (examples)", ylabel="largest eigenvalue")
    right.set(xlabel="b' = B / (1 - B / N) (examples)", ylabel="excess over the full direction's curvature")
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
    left.legend(title=bands(seeds), title_fontsize=7, fontsize=8)
    right.legend(fontsize=8)
    return figure


def rates(records: Records) -> "Figure":
    """The largest rate against the batch size: digits with SGD and Adam, and the regression."""
    figure, axes = panels(1, 3, width=11.0, height=3.4)
    shown = ((SGD, "digits, SGD", 1.0), (ADAM, "digits, Adam", 0.5), (REGRESSION, "regression, SGD", 1.0))
    for axis, (sweep, title, power), colour in zip(axes[0], shown, COLOURS, strict=False):
        found = measures.largest_rates(records, sweep)
        batches = found.index.to_numpy(float)
        band(axis, batches, found.to_numpy(float), "largest rate that trains", colour)
        axis.plot(batches, found.mean(axis=1), "o", color=colour, markersize=3)
        guide = batches[: len(batches) * 2 // 3]
        axis.plot(guide, found.iloc[0].mean() * (guide / guide[0]) ** power, **_GUIDE, label=f"slope {power:g}")
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        axis.set(xlabel="batch size B (examples)")
    if "eigenvalues" in records.probes:
        values = measures.eigenvalues(records, HESSIAN)
        axes[0, 0].plot(values.index, 2 / values.mean(axis=1), "--", color="black", linewidth=1, label="2 / eigenvalue")
    sizes = np.geomspace(1, 256, 50)
    axes[0, 2].plot(sizes, measures.exact_rate(sizes), "--", color="black", linewidth=1, label="2 B / (B + n + 1)")
    axes[0, 0].set_ylabel("learning rate")
    for axis in axes[0]:
        axis.legend(fontsize=7)
    axes[0, 0].legend(fontsize=7, title=bands(records.part("sgd").runs["seed"].nunique()), title_fontsize=7)
    return figure


def eigenvalues_table(records: Records) -> "pd.DataFrame":
    """One row a curvature and batch size."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for curvature, name in _NAMES.items():
        excess = measures.excess(records, curvature).mean(axis=1)
        full = measures.full(records, curvature).mean()
        sizes = measures.effective(excess.index.to_numpy(), int(excess.index.max()))
        below = np.where(np.isfinite(sizes), excess.to_numpy(float), np.nan)
        with np.errstate(invalid="ignore"):
            slopes = np.diff(np.log(below), prepend=np.nan) / np.diff(np.log(sizes), prepend=np.nan)
        for i, (size, value) in enumerate(excess.items()):
            row: dict[str, Any] = {"curvature": name, "batch": size, "b'": sizes[i], "over all data": 1 + value / full}
            rows.append(row | {"excess x b'": below[i] * sizes[i], "slope": slopes[i]})
    return pd.DataFrame(rows)


def rates_table(records: Records) -> "pd.DataFrame":
    """One row an optimizer and batch size."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for sweep, name in ((SGD, "digits, SGD"), (ADAM, "digits, Adam"), (REGRESSION, "regression, SGD")):
        found = np.log2(measures.largest_rates(records, sweep))
        sizes = np.log2(found.index.to_numpy(float))
        slopes = np.diff(found.mean(axis=1), prepend=np.nan) / np.diff(sizes, prepend=np.nan)
        for i, (size, row) in enumerate(found.iterrows()):
            numbers = {"rate": 2 ** row.mean(), "lowest": 2 ** row.min(), "highest": 2 ** row.max()}
            rows.append({"runs": name, "batch": size, **numbers, "octaves a doubling": slopes[i]})
    return pd.DataFrame(rows)
