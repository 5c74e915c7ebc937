"""The runs of a study as a table: what varies between them, how they ended, and their metrics."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from lrstudy import tasks
from lrstudy.study.errors import one_of
from lrstudy.study.standing import UNFINISHED, RunStanding, Standing, varying
from lrstudy.study.text_table import TextTable, number
from lrstudy.training.step import METRICS

_FIRST = ("run_id", "outcome", "step")


def run_table(standing: Standing, sort: str | None = None, limit: int | None = None) -> TextTable:
    """A row for every run that has begun or is planned.

    Args:
        standing: of the study.
        sort: column, the smallest first; with a ``-`` before it the largest. ``None``: the metric by which runs are
            judged, those that diverged, failed or were stopped after the others.
        limit: rows; ``None``: all.

    Raises:
        ConfigError: there is no such column.
    """
    runs = standing.runs
    leaves = varying([run.config for run in runs])
    named = {run.config["task"] for run in runs if run.config}
    metrics = metric_order({name for run in runs for name in run.metrics}, named)
    names = ["run_id", *leaves, "outcome", *metrics[:1], "step", *metrics[1:]]
    cells = [_cells(run) for run in runs]
    key, largest = (sort.removeprefix("-"), sort.startswith("-")) if sort else (next(iter(metrics), "run_id"), False)
    if key not in names:
        raise one_of("sort", key, names)

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        lost = sort is None and row["outcome"] not in ("ok", UNFINISHED)
        return lost, *_place(row.get(key), largest)

    ordered = sorted(cells, key=place)[:limit]
    rows = [[number(row.get(name)) for name in names] for row in ordered]
    numeric = {name for name in names if all(isinstance(row.get(name), int | float | None) for row in cells)}
    return TextTable(names, rows, frozenset(numeric))


def metric_order(names: Iterable[str], tasks_named: Iterable[str]) -> list[str]:
    """Metrics as a reader wants them: those that the tasks are judged by first, those of every training step last.

    Args:
        names: of the metrics.
        tasks_named: names of the tasks.
    """
    judged = {tasks.TABLE[name].objective for name in tasks_named if name in tasks.TABLE}
    return sorted(names, key=lambda name: (name not in judged, name != "loss", name in METRICS, name))


def _cells(run: RunStanding) -> dict[str, Any]:
    facts = dict(zip(_FIRST, (run.run_id, run.outcome, run.step), strict=True))
    return {**run.metrics, **run.config, **facts}


def _place(cell: Any, largest: bool) -> tuple[Any, ...]:
    """Where a cell belongs: numbers before texts, and what is missing or no number last."""
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return 2, 0.0, ""
    if isinstance(cell, int | float):
        return 0, -cell if largest else cell, ""
    text = str(cell)
    return 1, 0.0, tuple(-ord(letter) for letter in text) if largest else tuple(map(ord, text))
