"""The probe that trains with AutoLRS, and the table that it leaves."""

from typing import TYPE_CHECKING, Any

from lrstudy.study.autolrs import control
from lrstudy.study.autolrs_lanes import LaneTraining, make_engine
from lrstudy.study.autolrs_stages import Settings, Stage
from lrstudy.study.config import Run
from lrstudy.study.probes import Context, digest

if TYPE_CHECKING:
    import pandas as pd


CANDIDATES = 10
"""Rates tried a stage, as in the paper."""
_LONG = 5_000


def settings_of(run: Run, lowest: float, highest: float, **given: Any) -> Settings:
    """AutoLRS's settings for a run: the paper's for long runs, scaled down for short ones.

    From 5,000 updates on tau' is 100 at first and tau at most 8,000. A shorter run has a stage of a fifth of its
    updates and then two of two fifths, the last of which is judged by validation losses.

    Args:
        run: whose length and seed count.
        lowest: smallest rate to try.
        highest: largest.
        **given: settings that do not follow from the run.

    Raises:
        ConfigError: a value is out of range, or the run is too short to try every candidate for an update.
    """
    steps = run.config.steps
    search_steps, longest = (100, 8_000)
    if steps < _LONG:
        search_steps = max(1, steps // 50)
        longest = 2 * CANDIDATES * search_steps
    follows = {"search_steps": search_steps, "candidates": CANDIDATES, "max_stage_steps": longest}
    return Settings(lowest, highest, steps, **{**follows, "seed": run.config.seed, **given})


def searched(context: Context) -> "pd.DataFrame":
    """Runs AutoLRS once for every seed of a part, between the lowest and the highest of the part's peaks."""
    import pandas as pd

    peaks = [run.columns["schedule.peak"] for run in context.runs]
    by_seed: dict[int, Run] = {}
    for run in context.runs:
        by_seed.setdefault(run.config.seed, run)
    rows: list[dict[str, Any]] = []
    engine = make_engine(context.runs[0])
    for seed, run in sorted(by_seed.items()):
        settings = settings_of(run, min(peaks), max(peaks))
        folder = context.folder / digest([run.run_id, repr(settings)])
        stages, _ = control(settings, LaneTraining(run, engine, pause=context.pause), folder=folder)
        for number, stage in enumerate(stages):
            rows += _rows(seed, number, stage)
    return pd.DataFrame(rows)


def _rows(seed: int, number: int, stage: Stage) -> list[dict[str, Any]]:
    """One row for the stage, one for every candidate, one for every update of the run, one for every evaluation."""
    common = {"seed": seed, "stage": number, "mode": stage.mode}
    rows: list[dict[str, Any]] = [
        {**common, "kind": "stage", "step": stage.start, "steps": stage.steps, "search_steps": stage.search_steps,
         "rate": stage.chosen, "spent": stage.spent}
    ]  # fmt: skip
    for rate, forecast, first in zip(stage.rates, stage.forecasts, stage.first_rates, strict=True):
        found = {"rate": rate, "forecast": forecast, "learning_rate": first, "chosen": rate == stage.chosen}
        rows.append({**common, "kind": "candidate", "step": stage.start, **found})
    curve = stage.curve
    for step, loss, rate in zip(curve["step"], curve["loss"], curve["learning_rate"], strict=True):
        updated = {"step": int(step), "rate": stage.chosen, "loss": loss, "learning_rate": rate}
        rows.append({**common, "kind": "update", **updated})
    for step, loss in zip(curve["validation_step"], curve["validation_loss"], strict=True):
        rows.append({**common, "kind": "evaluation", "step": int(step), "validation_loss": loss})
    return rows
