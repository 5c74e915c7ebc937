"""What the budget study trains: methods, settings, and the parts that tune, refine and decide."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.parametrization import optimal_learning_rate
from lrstudy.schedules import Tabulated, refined
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import RunConfig
from lrstudy.study.derived import Derived
from lrstudy.study.errors import StudyError
from lrstudy.study.part import Assignment, Part, axis
from lrstudy.study.records import Records
from lrstudy.study.refine import NORMS, gradient_norms, norm_of

if TYPE_CHECKING:
    import pandas as pd

FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Budgets as shares of the full number of updates."""

METHODS: Mapping[str, str] = {
    "Rex": "REX",
    "Linear": "linear",
    "Tabulated": "refined",
    "Cosine": "cosine",
    "StepDecay": "step",
    "OneCycle": "OneCycle",
    "WSD": "WSD",
    "ScheduleFree": "Schedule-Free",
    "Constant": "constant",
}
"""Schedule class (``ScheduleFree``: an optimizer that needs none) to what tables call it."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A task with an optimizer.

    Attributes:
        base: the full run.
        peaks: highest rates that are tried, increasing.
        free: the Schedule-Free optimizer of the same family.
        free_peaks: its rates; it asks for larger ones (Defazio et al. 2024, arXiv 2405.15682).
        warmup: updates of the warmup, the same at every budget, of the methods that have one as an argument.
    """

    base: RunConfig
    peaks: tuple[float, ...]
    free: Choice
    free_peaks: tuple[float, ...]
    warmup: int = 0

    def budgets(self) -> tuple[int, ...]:
        """Updates of every budget."""
        return tuple(round(fraction * self.base.steps) for fraction in FRACTIONS)


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What tuning found for one method at one budget.

    Attributes:
        peak: of the grid, with the lowest mean loss over the tuning seeds.
        on_edge: whether it is the grid's first or last.
        losses: peaks (index) by tuning seeds (columns).
    """

    peak: float
    on_edge: bool
    losses: "pd.DataFrame"


def assignment(setting: Setting, method: str, steps: int, peak: float) -> Assignment:
    """The values that make a run one of this method, for every method but the refined one.

    The step schedule falls to a tenth at a half and again at three quarters of the budget; WSD decays in its last fifth
    by 1-sqrt; OneCycle rises in the first 30% from a 25th; all others but the constant go to zero.
    """
    fixed: Mapping[str, Mapping[str, Any]] = {
        "OneCycle": {},
        "StepDecay": {"boundaries": (steps // 2, 3 * steps // 4), "warmup_steps": setting.warmup},
        "WSD": {"decay_fraction": 0.2, "warmup_steps": setting.warmup},
    }
    arguments = {"peak": peak, **fixed.get(method, {"warmup_steps": setting.warmup})}
    if method == "ScheduleFree":
        return {"steps": steps, "schedule": choice("schedule", "Constant", **arguments), "optimizer": setting.free}
    return {"steps": steps, "schedule": choice("schedule", method, **arguments)}


def _from_table(steps: int, peak: float, table: Tabulated) -> Assignment:
    values = tuple(np.asarray(table.values, np.float64).tolist())
    return {"steps": steps, "schedule": choice("schedule", "Tabulated", values=values, scale=peak)}


def tuning(setting: Setting, seeds: Sequence[int]) -> Part:
    """Every method but the refined one, at every budget and peak."""
    runs = [
        assignment(setting, method, steps, peak)
        for method in METHODS
        if method != "Tabulated"
        for steps in setting.budgets()
        for peak in (setting.free_peaks if method == "ScheduleFree" else setting.peaks)
    ]
    return Part(setting.base, [runs, axis("seed", seeds)])


def refining(name: str, setting: Setting, seeds: Sequence[int]) -> Derived:
    """The schedule refined from the linear run of each budget at its tuned peak, at every peak (arXiv 2310.07831)."""

    def make(records: Records) -> Part:
        source = records.part(f"tune_{name}")
        found = tuned(source)
        runs = []
        for steps in setting.budgets():
            linear = source.where(schedule="Linear", steps=steps, schedule__peak=found["Linear", steps].peak)
            table = _refined(linear, setting)
            runs += [_from_table(steps, peak, table) for peak in setting.peaks]
        return Part(setting.base, [runs, axis("seed", seeds)])

    return Derived((f"tune_{name}",), make)


def _refined(linear: Records, setting: Setting) -> Tabulated:
    """From the mean norm over the seeds; as many points at every budget, so that one program serves them all."""
    norm = norm_of(setting.base.optimizer.name)
    norms = np.mean([gradient_norms(linear, run_id, norm) for run_id in linear.runs["run_id"]], axis=0)
    return refined(norms, optimizer=NORMS[norm], points=setting.base.steps)


def deciding(name: str, setting: Setting, seeds: Sequence[int]) -> Derived:
    """Every method at every budget with its tuned peak, on seeds that chose nothing."""

    def make(records: Records) -> Part:
        runs = []
        sources = [records.part(f"{stage}_{name}") for stage in ("tune", "refine")]
        found = {key: value for source in sources for key, value in tuned(source).items()}
        tables = refined_tables(sources[1])
        for method in METHODS:
            for steps in setting.budgets():
                peak = found[method, steps].peak
                refined_run = method == "Tabulated"
                runs.append(
                    _from_table(steps, peak, tables[steps]) if refined_run else assignment(setting, method, steps, peak)
                )
        return Part(setting.base, [runs, axis("seed", seeds)])

    return Derived((f"tune_{name}", f"refine_{name}"), make)


def refined_tables(records: Records) -> dict[int, Tabulated]:
    """Updates of the budget to its refined schedule, at one of the peaks that were tried."""
    steps = records.runs.set_index("run_id")["steps"]
    found = records.schedules.items()
    return {int(steps[run_id]): schedule for run_id, schedule in found if isinstance(schedule, Tabulated)}


def final_losses(records: Records) -> "pd.DataFrame":
    """One row a run: ``method``, ``steps``, ``peak``, ``seed`` and the final ``loss``, NaN where it diverged."""
    runs = records.runs
    free = runs["optimizer"].str.startswith("schedule_free")
    # A table's highest value is 1, so its scale is its peak.
    peak = runs.reindex(columns=["schedule.peak", "schedule.scale"]).astype(float).bfill(axis=1)["schedule.peak"]
    method = runs["schedule"].mask(free, "ScheduleFree")
    loss = runs["validation_loss"].where(runs["outcome"] == "ok").astype(float)
    return runs[["steps", "seed"]].astype(int).assign(method=method, peak=peak, loss=loss)


def tuned(records: Records) -> dict[tuple[str, int], Tuned]:
    """(method, steps) to what tuning found.

    Raises:
        StudyError: a method diverged at every peak of a budget.
    """
    return dict(_tuned(final_losses(records)))


def _tuned(frame: "pd.DataFrame") -> Iterator[tuple[tuple[str, int], Tuned]]:
    for (method, steps), own in frame.groupby(["method", "steps"], sort=False):
        losses = own.pivot_table(index="peak", columns="seed", values="loss", dropna=False)
        means = losses.mean(axis=1, skipna=False).fillna(np.inf)
        if not np.isfinite(means).any():
            raise StudyError(f"{METHODS[method]} diverged at every peak of the budget of {steps} updates")
        on_edge = optimal_learning_rate(means.index.to_list(), means.to_list()).on_edge
        yield (method, int(steps)), Tuned(float(means.idxmin()), on_edge, losses)
