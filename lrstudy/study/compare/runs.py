"""Runs of two studies that were configured alike, and how far apart they end."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy import tasks
from lrstudy.study.claims import mean_interval
from lrstudy.study.compare.matching import Matching
from lrstudy.study.report.markup import counted
from lrstudy.study.report.runs import SIGNS, filters
from lrstudy.study.report.tables import shown_rows, table

if TYPE_CHECKING:
    import pandas as pd


def overview(matchings: Sequence[Matching], metrics: Sequence[str]) -> str:
    """One row a part: how many runs match, and how far apart they end on average."""
    import pandas as pd

    rows = [_part_row(matching, _judged(matching, metrics)) for matching in matchings]
    caption = (
        "The parts of both studies; differences are second less first, of matched runs that were trained to their ends"
    )
    return table(pd.DataFrame(rows), caption, "parts-table")


def _part_row(matching: Matching, judged: Sequence[str]) -> dict[str, Any]:
    same = int((matching.first["run_id"] == matching.second["run_id"]).sum())
    facts = dict(zip(("runs, first", "runs, second"), matching.sizes, strict=True))
    found = {"part": matching.part, **facts, "matched": len(matching.first), "the same run": same}
    for metric in judged[:1]:
        differences = _difference(matching, metric)[_ended(matching)]
        differences = differences[np.isfinite(differences)]
        mean = mean_interval(differences) if len(differences) else None
        words = "" if mean is None or np.isnan(mean.low) else f"{mean.low:.4g} to {mean.high:.4g}"
        found |= {"metric": metric, "mean difference": mean and mean.value, "95% interval over runs": words}
    return found


def part_body(matching: Matching, metrics: Sequence[str], identity: str) -> str:
    """The matched runs of a part with their final metrics and differences.

    Args:
        matching: the runs.
        metrics: columns that both studies have.
        identity: of the table in the page.
    """
    unmatched = [size - len(matching.first) for size in matching.sizes]
    alone = f"{counted(unmatched[0], 'run')} of the first and {unmatched[1]:,} of the second have no match."
    if not len(matching.first):
        return f"<p>No run of one is a run of the other but for what differs: {alone}</p>"
    frame, extra = _frame(matching, metrics)
    rows = shown_rows(frame)
    left = f" The table has the first {rows:,}." if rows < len(frame) else ""
    caption = f"Matched runs of part “{matching.part}”: final metrics in both, and second less first"
    ends = frame["outcome"].tolist()
    classes = ["" if set(end.split(" → ")) == {"ok"} else end.split(" → ")[-1] for end in ends]
    signed = [" → ".join(f"{SIGNS.get(one, '?')} {one}" for one in end.split(" → ")) for end in ends]
    marked: Mapping[str, Sequence[str]] = {"outcome": signed[:rows]}
    own = table(frame, caption, identity, extra=extra, classes=classes[:rows], marked=marked)
    return f"<p>{alone}{left}</p>{filters(identity, ['outcome'], bool(extra))}{own}"


def _frame(matching: Matching, metrics: Sequence[str]) -> "tuple[pd.DataFrame, list[str]]":
    """One row a pair, and the columns that are wanted last."""
    import pandas as pd

    first, second = matching.first, matching.second
    columns: dict[str, Any] = {name: first[name] for name in matching.settings}
    columns = columns or {"run_id": first["run_id"]}
    ends = [
        one if one == other else f"{one} → {other}"
        for one, other in zip(first["outcome"], second["outcome"], strict=True)
    ]
    named = next(iter(columns))
    columns = {named: columns.pop(named), "outcome": ends, **columns}
    judged, extra = _judged(matching, metrics), []
    for metric in (*judged, *(name for name in metrics if name not in judged)):
        values = {f"{metric}, first": first[metric].astype(float), f"{metric}, second": second[metric].astype(float)}
        own = {**values, f"{metric}, difference": np.where(_ended(matching), _difference(matching, metric), np.nan)}
        columns |= own
        extra += [] if metric in judged else list(own)
    return pd.DataFrame(columns), extra


def _judged(matching: Matching, metrics: Sequence[str]) -> list[str]:
    """Those of the metrics by which the tasks of the first study judge its runs."""
    named = [tasks.TABLE[name].objective for name in matching.first["task"].unique() if name in tasks.TABLE]
    return [name for name in dict.fromkeys(named) if name in metrics]


def _difference(matching: Matching, metric: str) -> np.ndarray:
    """Second less first; NaN where either has none."""
    first, second = (frame[metric].to_numpy(np.float64, na_value=np.nan) for frame in (matching.first, matching.second))
    with np.errstate(invalid="ignore"):  # of two infinite losses
        return second - first


def _ended(matching: Matching) -> np.ndarray:
    """Whether both runs of a pair were trained to their ends."""
    return ((matching.first["outcome"] == "ok") & (matching.second["outcome"] == "ok")).to_numpy()
