"""The looks that all figures share."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's palette: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8B6C42")
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "lrstudy",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def panels(rows: int, columns: int, width: float = 7.0, height: float = 2.4) -> tuple["Figure", np.ndarray]:
    """A figure of ``rows`` x ``columns`` axes, each ``height`` inches high, without any global state."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def literal(words: str, width: int = 100) -> str:
    """Words as they are: between two dollar signs there would be a formula, and a path with two would not be drawn.

    Args:
        words: perhaps of several lines.
        width: of a line in characters, beyond which it is broken.
    """
    lines = [part for line in words.split("\n") for part in textwrap.wrap(line, width, break_on_hyphens=False) or [""]]
    return "\n".join(lines).replace("$", r"\$")


_LABEL = 70  # characters of a legend's line


def band(axes: "Axes", x: np.ndarray, samples: np.ndarray, label: str, colour: str, dashed: bool = False) -> None:
    """Mean over seeds as a line and the range over seeds as a band.

    Args:
        axes: to draw on.
        x: positions, shape (points,).
        samples: shape (points, seeds).
        label: for the legend.
        colour: of line and band.
        dashed: for a second quantity of the same run.
    """
    mean = np.ma.masked_invalid(samples).mean(axis=1).filled(np.nan)
    axes.plot(x, mean, label=literal(label, _LABEL), color=colour, linewidth=1.3, linestyle="--" if dashed else "-")
    if samples.shape[1] > 1:
        low, high = np.fmin.reduce(samples, axis=1), np.fmax.reduce(samples, axis=1)
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def bands(seeds: int) -> str:
    """What a legend says of lines and bands.

    Args:
        seeds: of the line that has most.
    """
    return f"line: mean over {seeds} seeds; band: range" if seeds > 1 else "one seed"


LARGEST = 300_000
"""Bytes of an SVG above which its lines and areas are kept as pixels: they have thousands of points."""

_RESOLUTION = 220  # pixels an inch


def save(figure: "Figure", path: Path, title: str = "") -> None:
    """Writes an SVG that is the same for the same records; axes and words stay sharp in a large one too.

    Args:
        figure: to write.
        path: of the file.
        title: what the file says of itself; empty for nothing.
    """
    import matplotlib as mpl

    from lrstudy.study.workdir import replacing

    metadata = {"Date": None, **({"Title": title} if title else {})}
    with mpl.rc_context(SETTINGS), replacing(path) as temporary:
        figure.savefig(temporary, format="svg", metadata=metadata)
        if temporary.stat().st_size > LARGEST:
            for axes in figure.axes:
                for artist in (*axes.lines, *axes.collections):
                    artist.set_rasterized(True)
            figure.savefig(temporary, format="svg", metadata=metadata, dpi=_RESOLUTION)
