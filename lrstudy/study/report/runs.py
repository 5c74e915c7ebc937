"""The runs of a study: what was asked for, what became of it, and a table of all that a reader can sort and filter."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy import tasks
from lrstudy.study import views
from lrstudy.study.records import TRUNK, Records, numbered
from lrstudy.study.report.markup import counted, plain, text
from lrstudy.study.report.tables import shown_rows, table

if TYPE_CHECKING:
    import pandas as pd

SIGNS = {"ok": "✓", "diverged": "✕", "failed": "!", "stopped": "■", "preempted": "…"}
"""What stands before an outcome, for it must not be told by its colour alone."""

_MOST_VALUES = 8


def outcomes(records: Records) -> str:
    """How many runs ended how."""
    return ", ".join(f"{count:,} {name}" for name, count in records.runs["outcome"].value_counts().items())


def parts_body(records: Records) -> str:
    """One row a part: its runs, how they ended, and what was varied in them."""
    import pandas as pd

    rows = []
    for name in records.parts:
        own = records.part(name)
        if len(own.runs):
            varied = "; ".join(f"{path}: {values}" for path, values in varied_values(own))
            facts = {"runs": len(own.runs), "outcomes": outcomes(own), "varied": varied}
            rows.append({"part": name or "all", **facts})
    return table(pd.DataFrame(rows), "The parts of the study and what their runs differ in", "parts-table")


def varied_values(records: Records) -> Iterator[tuple[str, str]]:
    """What tells the runs apart, the seed included, each with the values that it took."""
    varied = views.settings(records)
    seeds = ["seed"] if records.runs["seed"].nunique() > 1 else []
    for name in [*varied, *seeds]:
        yield name, values_text(records.runs[name])


def values_text(column: "pd.Series") -> str:
    """The different values of a column, in order; the ends alone of many numbers."""
    distinct = column.iloc[sorted(dict(zip(numbered(column)[::-1], range(len(column))[::-1], strict=True)).values())]
    values = [tuple(value.tolist()) if isinstance(value, np.ndarray) else value for value in distinct.dropna()]
    with contextlib.suppress(TypeError):  # lists beside single values
        values = sorted(values)
    shown = [f"[{plain(value)}]" if isinstance(value, tuple) else plain(value) or "empty" for value in values]
    missing = ["none"] * bool(distinct.isna().any())
    if len(shown) <= _MOST_VALUES:
        return ", ".join([*shown, *missing])
    ends = f"{', '.join(shown[:3])}, … {shown[-1]} ({counted(len(shown), 'value')})"
    return ", ".join([ends, *missing])


def runs_body(records: Records) -> str:
    """The table of runs and what filters it; diverged, failed and stopped runs are marked."""
    frame, extra = ordered(records)
    rows = shown_rows(frame)
    ends = frame["outcome"].head(rows).tolist()
    marked = {"outcome": [outcome_markup(end) for end in ends]}
    classes = [end if end != "ok" else "" for end in ends]
    caption = "One row a run: what tells it apart from the others, and its final metrics"
    left = f" The table has the first {rows:,}; <code>runs.parquet</code> has them all." if rows < len(frame) else ""
    note = f"<p>{counted(len(frame), 'run')}: {text(outcomes(records))}.{left}{_trunks(records)}</p>"
    own = table(frame, caption, "runs-table", extra=extra, classes=classes, marked=marked)
    return note + filters("runs-table", [name for name in ("outcome", "parts") if name in frame], bool(extra)) + own


def _trunks(records: Records) -> str:
    count = int((records.runs["parts"] == TRUNK).sum())
    return f" {counted(count, 'run')} of part “{TRUNK}” nobody asked for: others start from them." if count else ""


def outcome_markup(outcome: str) -> str:
    """An outcome behind its sign."""
    return f"{SIGNS.get(outcome, '?')} {text(outcome)}"


def filters(identity: str, columns: Sequence[str], extra: bool) -> str:
    """What filters a table; the page's script shows it, for without one it would do nothing.

    Args:
        identity: of the table.
        columns: those of which a reader chooses one value.
        extra: whether there are columns that are hidden at first.
    """
    choices = "".join(
        f'<label>{column} <select data-column="{column}"><option value="">all</option></select></label>'
        for column in columns
    )
    every = '<label class="check"><input type="checkbox"> every column</label>' if extra else ""
    return (
        f'<div class="filters" role="search" aria-label="Filter the runs" data-table="{identity}" hidden>'
        '<label>words in a row <input type="search" autocomplete="off" spellcheck="false"></label>'
        f'{choices}{every}<output aria-live="polite"></output></div>'
    )


def ordered(records: Records) -> "tuple[pd.DataFrame, list[str]]":
    """The runs' columns that are not all equal, those that a reader wants first; and those that are wanted last.

    What tells runs apart comes first, then the metrics by which they are judged.
    """
    parts = records.runs["parts"]
    # Those that others start from come last, and what has no name is still to be chosen by it.
    frame = records.runs.assign(parts=parts.replace("", "asked for")).loc[
        (parts == TRUNK).sort_values(kind="stable").index
    ]
    varying = [name for name in frame.columns if numbered(frame[name].dropna()).any()]
    judged = objectives(records)
    first = ["run_id", "outcome", *[name for name in ("parts",) if name in varying], *views.settings(records)]
    first += [name for name in ("seed", "updates", *judged) if name in frame and (name in varying or name in judged)]
    first = list(dict.fromkeys(first))
    extra = [name for name in varying if name not in first]
    return frame[[*first, *extra]], extra


def objectives(records: Records) -> list[str]:
    """The final metrics by which the runs are judged, which their tasks say."""
    named = [tasks.TABLE[name].objective for name in records.runs["task"].unique() if name in tasks.TABLE]
    return [name for name in dict.fromkeys(named) if name in records.runs]
