"""Figures and tables of any sweep: what varied is found in the runs, not told."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy import tasks
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
    """The metric that a sweep compares runs by: the first task's own."""
    return tasks.TABLE[str(records.runs["task"].iloc[0])].objective


def settings(records: Records) -> list[str]:
    """Configuration columns that vary between runs, less the seed and what merely follows from another column."""
    frame = records.runs
    metrics = set(records.metrics.columns)
    names = [n for n in frame.columns if n not in _NO_SETTING | metrics]
    varying = [n for n in names if frame[n].astype(str).nunique() > 1]
    # `schedule` implies fields that only one of its classes has; `steps` implies a schedule's length.
    swept_kinds = {n for n in varying if "." not in n}
    implied = {n for n in varying if "." in n and n.split(".")[0] in swept_kinds and n != RATE}
    return [n for n in varying if n not in implied and not (n == "schedule.total_steps" and "steps" in varying)]


def axis_of(records: Records) -> str | None:
    """The setting along the horizontal axis: the peak rate if it was swept, else the first numeric one."""
    import pandas as pd

    varying = settings(records)
    numeric = [n for n in varying if pd.api.types.is_numeric_dtype(records.runs[n])]
    return RATE if RATE in numeric else next(iter(numeric), None)


def series(records: Records, along: str | None) -> dict[str, Records]:
    """Records by the settings other than ``along``, each labelled by its values."""
    others = [name for name in settings(records) if name != along]
    if not others:
        return {"all runs": records}
    found = {}
    for values, frame in records.runs.groupby(others, sort=False, dropna=False):
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
    metric = objective(records)
    lines = {label: losses_by(part, along, metric) for label, part in series(records, along).items()}
    return loss_against_rate(lines, f"final {metric.replace('_', ' ')}", along)


def curves_figure(records: Records) -> "Figure":
    """Learning rate and objective against the step for every setting, the best eight if there are more."""
    records = records.asked()
    found = series(records, None)
    metric = objective(records)

    def mean(part: Records) -> float:
        value = float(part.runs[metric].astype(float).mean())
        return value if np.isfinite(value) else float("inf")

    chosen = sorted(found, key=lambda label: mean(found[label]))[:_MOST_SERIES]
    curve = metric if records.metrics[metric].notna().any() else "loss"
    return rate_and_metric({label: found[label] for label in chosen}, curve, f"{curve.replace('_', ' ')}", crop=True)


def summary(records: Records) -> "pd.DataFrame":
    """One row a setting: mean, standard error, seeds, diverged runs, and whether it is the best of its line."""
    import pandas as pd

    records = records.asked()
    along, metric = axis_of(records), objective(records)
    rows: list[dict[str, Any]] = []
    for label, part in series(records, along).items():
        if along is None:
            rows.append({"setting": label, **_statistics(part.runs[metric], part)})
            continue
        losses = losses_by(part, along, metric)
        optimum = optimum_of(losses)
        best = losses.mean(axis=1, skipna=False).idxmin() if optimum else None
        for value in losses.index:
            own = part.runs[part.runs[along] == value]
            row = {"setting": label, along: value, **_statistics(losses.loc[value], Records(own, part.metrics, {}, {}))}
            row["note"] = _note(value, best, optimum)
            rows.append(row)
    return pd.DataFrame(rows)


def _note(value: float, best: Any, optimum: Any) -> str:
    if optimum is None or value != best:
        return ""
    if optimum.on_edge:
        return "best, on the grid's edge: extend the grid"
    return f"best; fitted optimum {optimum.value:.3g}"


def _statistics(values: "pd.Series", part: Records) -> dict[str, Any]:
    finite = values.dropna().astype(float)
    error = float(finite.std(ddof=1) / np.sqrt(len(finite))) if len(finite) > 1 else float("nan")
    diverged = int((part.runs["outcome"] == "diverged").sum())
    return {"mean": float(finite.mean()), "standard error": error, "seeds": len(part.runs), "diverged": diverged}


def _label(name: str, value: Any) -> str:
    short = f"{value:.4g}" if isinstance(value, float) else str(value)
    return short if "." not in name else f"{name.rpartition('.')[2]} {short}"
