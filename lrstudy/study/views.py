"""Figures and tables of any sweep: what varied is found in the runs, not told."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy import tasks
from lrstudy.study.choices import KINDS
from lrstudy.study.errors import StudyError
from lrstudy.study.figures.curves import rate_and_metric
from lrstudy.study.figures.rates import loss_against_rate, optimum_of
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RATE = "schedule.peak"
_NO_SETTING = {"run_id", "parts", "group", "outcome", "updates", "seed"}
_MOST_SERIES = 8


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
    frame = _comparable(records)
    metrics = set(records.metrics.columns)
    names = [n for n in frame.columns if n not in _NO_SETTING | metrics]
    names.sort(key=lambda name: (name not in KINDS, name != RATE))
    found: list[str] = []
    groups = np.zeros(len(frame), dtype=np.int64)
    for name in names:
        finer = _groups([*zip(groups.tolist(), map(_key, frame[name]), strict=True)])
        if finer.max(initial=0) > groups.max(initial=0):
            found.append(name)
            groups = finer
    return found


def _comparable(records: Records) -> "pd.DataFrame":
    """The runs, those that start from other runs by the step alone: each seed starts from a run of its own."""
    return records.runs.assign(start=records.runs["start"].map(lambda start: start and start.partition("@")[2]))


def _groups(keys: Sequence[Hashable]) -> np.ndarray:
    """Equal keys to equal numbers, from 0."""
    numbers: dict[Hashable, int] = {}
    return np.asarray([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _key(value: Any) -> Hashable:
    """A cell of the table of runs as something that can be compared: lists as tuples, what is missing as None."""
    import pandas as pd

    if isinstance(value, list | np.ndarray):
        return tuple(_key(v) for v in value)
    return None if pd.isna(value) else value


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
    found = {}
    rows = _comparable(records)[others].itertuples(index=False, name=None)
    keys = [tuple(_key(value) for value in row) for row in rows]
    groups = _groups(keys)
    for number in range(int(groups.max(initial=-1)) + 1):
        frame, values = records.runs[groups == number], keys[int(np.argmax(groups == number))]
        label = ", ".join(_label(name, value) for name, value in zip(others, values, strict=True))
        metrics = records.metrics[records.metrics["run_id"].isin(frame["run_id"])]
        found[label] = Records(frame.reset_index(drop=True), metrics, {}, {})
    return found


def losses_by(records: Records, along: str, metric: str) -> "pd.DataFrame":
    """A final metric by setting (rows) and seed (columns); NaN where the run diverged."""
    frame = records.runs.assign(_loss=records.runs[metric].where(records.runs["outcome"] == "ok").astype(float))
    return frame.pivot_table(index=along, columns="seed", values="_loss", dropna=False)


def sweep_figure(records: Records) -> "Figure":
    """Loss against the swept rate (or first swept number), one line for every other setting.

    Raises:
        StudyError: no number was swept.
    """
    records = records.asked()
    along = axis_of(records)
    if along is None:
        raise StudyError("no number was swept")
    parts = series(records, along)
    metrics = dict.fromkeys(objective(part).replace("_", " ") for part in parts.values())
    lines = {label: losses_by(part, along, objective(part)) for label, part in parts.items()}
    stopped = {label for label, part in parts.items() if _any_stopped(part)}
    return loss_against_rate(lines, f"final {' or '.join(metrics)}", along, stopped)


def curves_figure(records: Records) -> "Figure":
    """Learning rate and objective against the step for every setting, the best eight if there are more."""
    records = records.asked()
    found = series(records, None)
    metrics = {objective(part) for part in found.values()}

    def mean(part: Records) -> float:
        value = float(part.runs[objective(part)].astype(float).mean())
        return value if np.isfinite(value) else float("inf")

    chosen = sorted(found, key=lambda label: mean(found[label]))[:_MOST_SERIES]
    # Tasks that are judged by different metrics still share the loss that they train.
    metric = metrics.pop() if len(metrics) == 1 else "loss"
    curve = metric if records.metrics[metric].notna().any() else "loss"
    return rate_and_metric({label: found[label] for label in chosen}, curve, f"{curve.replace('_', ' ')}", crop=True)


def summary(records: Records) -> "pd.DataFrame":
    """One row a setting: mean, standard error, seeds, diverged and stopped runs, whether it is the best of its line."""
    import pandas as pd

    records = records.asked()
    along = axis_of(records)
    rows: list[dict[str, Any]] = []
    for label, part in series(records, along).items():
        metric = objective(part)
        if along is None:
            rows.append({"setting": label, **_statistics(part.runs[metric], part)})
            continue
        losses, stopped = losses_by(part, along, metric), _any_stopped(part)
        optimum = optimum_of(losses)
        best = losses.mean(axis=1, skipna=False).idxmin() if optimum else None
        for value in losses.index:
            own = part.runs[part.runs[along] == value]
            row = {"setting": label, along: value, **_statistics(losses.loc[value], Records(own, part.metrics, {}, {}))}
            row["note"] = _note(value, best, optimum, stopped)
            rows.append(row)
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


def _statistics(values: "pd.Series", part: Records) -> dict[str, Any]:
    finite = values.dropna().astype(float)
    error = float(finite.std(ddof=1) / np.sqrt(len(finite))) if len(finite) > 1 else float("nan")
    counts = part.runs["outcome"].value_counts()
    ended = {name: int(counts.get(name, 0)) for name in ("diverged", "stopped") if name == "diverged" or name in counts}
    mean = float(finite.mean())
    if "stopped" in ended:
        # Of seeds that were left by a choice among them, neither says anything.
        mean = error = float("nan")
    return {"mean": mean, "standard error": error, "seeds": len(part.runs), **ended}


def _label(name: str, value: Any) -> str:
    short = f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)
    return short if name in KINDS else f"{name.rpartition('.')[2]} {short}"
