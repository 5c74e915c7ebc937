"""Figures and tables of any sweep: what varied is found in the runs, not told."""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy import tasks
from lrstudy.study.choices import KINDS
from lrstudy.study.errors import StudyError
from lrstudy.study.figures.curves import rate_and_metric
from lrstudy.study.figures.rates import loss_against_rate, optimum_of
from lrstudy.study.figures.units import in_words
from lrstudy.study.records import Records, numbered

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RATE = "schedule.peak"
_NO_SETTING = {"run_id", "parts", "group", "outcome", "updates", "seed"}
_MOST_SERIES = 8
_DIGITS = (4, 8, 17)


def objective(records: Records) -> str:
    """The metric by which runs of one task are compared; of several tasks, the first one's.

    Raises:
        StudyError: there are no runs.
    """
    if not len(records.runs):
        raise StudyError("no run has begun")
    return tasks.TABLE[str(records.runs["task"].iloc[0])].objective


def settings(records: Records) -> list[str]:
    """Configuration columns that tell runs apart, less the seed.

    A column that merely follows from those before it is none: ``schedule.total_steps`` follows from ``steps``, the
    fields that only one class has follow from the class, a text's digest from its path.
    """
    frame = comparable(records)
    metrics = set(records.metrics.columns)
    names = [n for n in frame.columns if n not in _NO_SETTING | metrics]
    names.sort(key=lambda name: (name not in KINDS, name != RATE))
    found: list[str] = []
    groups = np.zeros(len(frame), dtype=np.int64)
    for name in names:
        finer = _finer(groups, frame[name])
        if finer.max(initial=0) > groups.max(initial=0):
            found.append(name)
            groups = finer
    return found


def _finer(groups: np.ndarray, column: "pd.Series") -> np.ndarray:
    """Groups of runs split by the cells of a column, numbered from 0 in the order of their first runs."""
    import pandas as pd

    own = numbered(column)
    return pd.factorize(groups * (own.max(initial=0) + 1) + own)[0]


def comparable(records: Records) -> "pd.DataFrame":
    """The runs, those that start from other runs by the step alone: each seed starts from a run of its own."""
    # A column of texts has NaN for none.
    steps = records.runs["start"].map(lambda start: start.partition("@")[2], na_action="ignore")
    return records.runs.assign(start=steps)


def axis_of(records: Records) -> str | None:
    """The setting along the horizontal axis: the peak rate if it was swept, else the first that is always a number."""
    import pandas as pd

    def is_number(name: str) -> bool:
        column = records.runs[name]
        is_bool = pd.api.types.is_bool_dtype(column)
        return pd.api.types.is_numeric_dtype(column) and not is_bool and not column.isna().any()

    numeric = [name for name in settings(records) if is_number(name)]
    return RATE if RATE in numeric else next(iter(numeric), None)


def series(records: Records, along: str | None) -> dict[str, Records]:
    """Records by the settings other than ``along``, each labelled by its values."""
    others = [name for name in settings(records) if name != along]
    if not others:
        return {"all runs": records}
    return _parted(records, others, _grouped(records, others))


def _grouped(records: Records, names: Sequence[str]) -> np.ndarray:
    """A number for every run, equal where these settings are, from 0 in the order of the runs."""
    frame = comparable(records)
    return functools.reduce(_finer, (frame[name] for name in names), np.zeros(len(frame), dtype=np.int64))


def _parted(records: Records, names: Sequence[str], groups: np.ndarray) -> dict[str, Records]:
    """The records of every group from 0 on, labelled by its values of these settings; of -1 there are none."""
    runs = records.runs
    number = dict(zip(runs["run_id"], groups.tolist(), strict=True))
    rows = records.metrics["run_id"].map(number).fillna(-1).to_numpy(np.int64)
    firsts = np.unique(groups[groups >= 0], return_index=True)[1]
    first_rows = comparable(records).loc[groups >= 0, list(names)].iloc[firsts]
    found = {}
    labels = _labels(names, list(first_rows.itertuples(index=False, name=None)))
    for own, own_rows, label in zip(_places(groups), _places(rows, len(firsts)), labels, strict=True):
        found[label] = Records(runs.iloc[own].reset_index(drop=True), records.metrics.iloc[own_rows], {}, {})
    return found


def _labels(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A label for every row of these settings' values, no two alike, with as few digits as tell them apart."""
    labels: list[str] = []
    for digits in _DIGITS:
        labels = [
            ", ".join(_label(name, _plain(value), digits) for name, value in zip(names, row, strict=True))
            for row in rows
        ]
        if len({*labels}) == len(labels):
            return labels
    return [f"{label} ({place})" for place, label in enumerate(labels)]


def _places(groups: np.ndarray, count: int | None = None) -> list[np.ndarray]:
    """Where each group from 0 on is, in order; found in one pass however many groups there are."""
    order = np.argsort(groups, kind="stable")
    count = int(groups.max(initial=-1)) + 1 if count is None else count
    return np.split(order, np.searchsorted(groups[order], np.arange(count + 1)))[1:-1]


def _plain(value: Any) -> Any:
    """A cell of the table of runs as a label shows it: lists as tuples, what is missing as None."""
    import pandas as pd

    if isinstance(value, list | np.ndarray):
        return tuple(_plain(v) for v in value)
    return None if pd.isna(value) else value


def losses_by(records: Records, along: str, metric: str) -> "pd.DataFrame":
    """A final metric by setting (rows) and seed (columns); NaN where the run diverged."""
    frame = records.runs.assign(_loss=records.runs[metric].where(records.runs["outcome"] == "ok").astype(float))
    return frame.pivot_table(index=along, columns="seed", values="_loss", dropna=False)


def sweep_figure(records: Records) -> "Figure":
    """Loss against the swept rate (or first swept number), one line for every other setting, the best eight of more.

    Raises:
        StudyError: no number was swept.
    """
    records = records.asked()
    along = axis_of(records)
    if along is None:
        raise StudyError("no number was swept")
    parts = series(records, along)
    metrics = dict.fromkeys(in_words(objective(part), part.runs["task"].unique()) for part in parts.values())
    lines = {label: losses_by(part, along, objective(part)) for label, part in parts.items()}
    best = {label: float(losses.mean(axis=1, skipna=False).min()) for label, losses in lines.items()}
    shown = sorted(lines, key=lambda label: (not np.isfinite(best[label]), best[label]))[:_MOST_SERIES]
    lines = {label: losses for label, losses in lines.items() if label in shown}
    stopped = {label for label in lines if _any_stopped(parts[label])}
    name = "peak learning rate" if along == RATE else along
    return loss_against_rate(lines, f"final {' or '.join(metrics)}", name, stopped)


def curves_figure(records: Records) -> "Figure":
    """Learning rate and objective against the step for every setting, the best eight if there are more."""
    records = records.asked()
    names = settings(records)
    groups, losses = _grouped(records, names), _objectives(records)
    means = losses.fillna(np.inf).groupby(groups).mean().replace([np.inf, -np.inf], np.nan)
    chosen = means.sort_values(kind="stable", na_position="last").index[:_MOST_SERIES]
    rank = np.full(groups.max(initial=0) + 1, -1, dtype=np.int64)
    rank[chosen] = np.arange(len(chosen))
    found = _parted(records, names, rank[groups]) if names else {"all runs": records}
    metrics = {tasks.TABLE[name].objective for name in records.runs["task"].unique()}
    # Tasks that are judged by different metrics still share the loss that they train.
    metric = metrics.pop() if len(metrics) == 1 else "loss"
    curve = metric if records.metrics[metric].notna().any() else "loss"
    return rate_and_metric(found, curve, in_words(curve, records.runs["task"].unique()), crop=True)


def _objectives(records: Records) -> "pd.Series":
    """The final metric by which each run is judged, which its task says; NaN where it has no end."""
    import pandas as pd

    runs = records.runs
    found = pd.Series(np.nan, index=runs.index)
    for name in runs["task"].unique():
        own = (runs["task"] == name) & (runs["outcome"] == "ok")
        found[own] = runs.loc[own, tasks.TABLE[name].objective].astype(float)
    return found


def summary(records: Records) -> "pd.DataFrame":
    """One row a setting: mean, standard error, seeds, diverged and stopped runs, whether it is the best of its line."""
    import pandas as pd

    records = records.asked()
    along = axis_of(records)
    rows: list[dict[str, Any]] = []
    for label, part in series(records, along).items():
        metric = objective(part)
        if along is None:
            ended = part.runs["outcome"].value_counts().to_frame().T
            losses = part.runs[metric].where(part.runs["outcome"] == "ok").astype(float)
            [statistics] = _statistics(losses.to_frame().T, ended)
            rows.append({"setting": label, **statistics})
            continue
        losses, stopped = losses_by(part, along, metric), _any_stopped(part)
        optimum = optimum_of(losses)
        best = losses.mean(axis=1, skipna=False).idxmin() if optimum else None
        ended = part.runs.groupby([along, "outcome"]).size().unstack(fill_value=0)
        for value, statistics in zip(losses.index, _statistics(losses, ended.loc[losses.index]), strict=True):
            note = _note(value, best, optimum, stopped)
            rows.append({"setting": label, along: value, **statistics, "note": note})
    found = pd.DataFrame(rows)
    return found.fillna({"stopped": 0}).astype({"stopped": int}) if "stopped" in found else found


def _any_stopped(part: Records) -> bool:
    return bool((part.runs["outcome"] == "stopped").any())


def _note(value: float, best: Any, optimum: Any, stopped: bool) -> str:
    if optimum is None or value != best:
        return ""
    if stopped:
        return "best of those that no seed stopped"
    if optimum.on_edge:
        return "best, on the grid's edge: extend the grid"
    return f"best; fitted optimum {optimum.value:.3g}"


def _statistics(losses: "pd.DataFrame", ended: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    """Mean, standard error and what became of the runs, for every row of losses.

    Args:
        losses: settings by seeds; NaN where a run has no end.
        ended: the same settings by outcomes: how many runs.
    """
    means, counts = losses.mean(axis=1), losses.count(axis=1)
    errors = losses.std(axis=1, ddof=1) / np.sqrt(counts)
    none = np.zeros(len(losses), dtype=int)
    diverged, stopped = (ended.get(name, none) for name in ("diverged", "stopped"))
    columns = (means, errors, ended.sum(axis=1), diverged, stopped)
    for mean, error, seeds, lost, left in zip(*columns, strict=True):
        found = {"mean": float(mean), "standard error": float(error), "seeds": int(seeds), "diverged": int(lost)}
        if left:
            # Of seeds that were left by a choice among them, neither says anything.
            found |= {"mean": float("nan"), "standard error": float("nan"), "stopped": int(left)}
        yield found


def _label(name: str, value: Any, digits: int) -> str:
    short = f"{value:.{digits}g}" if isinstance(value, float) else "none" if value is None else str(value)
    return short if name in KINDS else f"{name.rpartition('.')[2]} {short}"
