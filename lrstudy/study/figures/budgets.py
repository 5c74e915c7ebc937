"""Several training budgets served by one run, or by branches of one."""

from typing import TYPE_CHECKING

from lrstudy.study.figures.style import COLOURS, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def losses_at_budgets(table: "pd.DataFrame", ylabel: str) -> "Figure":
    """Loss of every method's checkpoints against the optimizer updates on the checkpoint's own path.

    Args:
        table: columns ``method``, ``path_steps``, ``mean``, ``standard error``, ``seeds``.
        ylabel: the loss with units.
    """
    figure, axes = panels(1, 1, height=3.0)
    axis = axes[0, 0]
    for (method, rows), colour in zip(table.groupby("method", sort=False), COLOURS * len(table), strict=False):
        axis.errorbar(
            rows["path_steps"], rows["mean"], rows["standard error"], color=colour, marker="o", capsize=3, label=method
        )
    axis.set(xscale="log", xlabel="updates on the checkpoint's own path", ylabel=ylabel)
    ticks = sorted(set(table["path_steps"]))
    axis.set_xticks(ticks, [str(t) for t in ticks], rotation=45)
    axis.minorticks_off()
    axis.legend(fontsize=8, title=f"mean and standard error over {table['seeds'].max()} seeds", title_fontsize=7)
    return figure
