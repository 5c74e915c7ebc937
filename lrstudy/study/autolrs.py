"""AutoLRS: a learning rate found for every stage of a training run while it runs (Jin et al. 2021, arXiv 2105.10762).

A stage saves the training state, tries candidate rates for tau' steps each, forecasts from their losses where each
would be after tau steps, goes back to the saved state and trains tau steps at the rate of the lowest forecast. With
tau = candidates * tau' the search costs as many updates as the training. Both double from stage to stage up to a
largest tau; after that candidates are judged by validation losses, whose evaluations come on top: they are not updates.

Two faults of the authors' program are not repeated: all candidates of a stage have the same number of steps (there,
all but the first have one less), and the first update after going back already uses the new rate.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from lrstudy.study.autolrs_stages import Mode, Settings, Stage, stage_plan
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.forecast import forecast
from lrstudy.study.proposals import Proposals
from lrstudy.study.workdir import read_json, write_json

S = TypeVar("S")

HISTORY = "history.json"
EVALUATIONS = 16
"""Parts into which validation losses cut a search, and those of the run a stage."""


@dataclasses.dataclass(frozen=True)
class Trial(Generic[S]):
    """What came of training at one rate.

    Attributes:
        state: after the last step.
        losses: batch loss of every step, NaN from the first that was not finite.
        rates: the rate applied at every step.
        validation: validation loss wherever one was asked for, NaN where the run had diverged.
    """

    state: S
    losses: np.ndarray
    rates: np.ndarray
    validation: np.ndarray


class Training(Protocol[S]):
    """What the controller needs of a training run; its state is a value that running does not change."""

    @property
    def run_id(self) -> str:
        """What is trained: stages of another run are not gone on from."""
        ...

    def start(self) -> S:
        """The state before the first update."""
        ...

    def run(self, state: S, rates: Sequence[float], steps: int, evaluate_at: Sequence[int]) -> Sequence[Trial[S]]:
        """Trains from one state at every rate.

        Args:
            state: where every trial starts; what the controller goes back to by using it again.
            rates: one trial each; the first update already uses the trial's own.
            steps: updates of each.
            evaluate_at: updates, in [0, steps] and increasing, after which the validation loss is measured.
        """
        ...

    def save(self, folder: Path, step: int, state: S) -> None:
        """Keeps the state after ``step`` updates."""
        ...

    def restore(self, folder: Path, up_to: int) -> tuple[int, S] | None:
        """The newest intact saved state of at most ``up_to`` updates, with its updates; ``None`` if there is none."""
        ...


def control(
    settings: Settings,
    training: Training[S],
    *,
    folder: Path | None = None,
    between: Callable[[Sequence[Stage]], None] = lambda _: None,
) -> tuple[tuple[Stage, ...], S]:
    """Trains with AutoLRS to the end.

    Args:
        settings: what to try.
        training: what is trained.
        folder: where every finished stage is saved, to go on from after a kill; ``None``: nowhere.
        between: called with the finished stages before every stage; it may raise to stop.

    Returns:
        The stages, and the trained state.

    Raises:
        ConfigError: the folder holds the stages of another run or of other settings.
        StudyError: every candidate of a stage diverged, or every one whose rate was then trained on with.
    """
    stages, state = _resumed(settings, training, folder)
    while (done := stages[-1].end if stages else 0) < settings.total_steps:
        between(stages)
        make = _warmup if done < settings.warmup_steps else _stage
        stage, state = make(settings, training, stages, state)
        stages = (*stages, stage)
        if folder is not None:
            _save(settings, training, folder, stages, state)
    return stages, state


def _warmup(settings: Settings, training: Training[S], stages: Sequence[Stage], state: S) -> tuple[Stage, S]:
    del stages
    rate, steps = settings.peak_of_warmup, settings.warmup_steps
    marks = _marks(steps)
    [trial] = training.run(state, [rate], steps, marks)
    if not _finite(trial):
        raise StudyError(f"AutoLRS: training diverged in the warmup to rate {rate:g}; lower warmup_rate")
    return Stage("warmup", 0, steps, 0, (), (), rate, steps, _curve(trial, 0, marks)), trial.state


def _stage(settings: Settings, training: Training[S], stages: Sequence[Stage], state: S) -> tuple[Stage, S]:
    """Searches from ``state``, goes back to it and trains on with the best rate that does not diverge."""
    number = sum(stage.mode != "warmup" for stage in stages)
    mode, steps, search_steps = stage_plan(settings)[number]
    rates, forecasts, first = _search(settings, training, number, state)
    start, marks, spent = stages[-1].end if stages else 0, _marks(steps), settings.candidates * search_steps
    for place in np.argsort(forecasts, kind="stable"):
        if not math.isfinite(forecasts[place]):
            break
        [trial] = training.run(state, [rates[place]], steps, marks)
        spent += steps
        if _finite(trial):
            told = tuple(value if math.isfinite(value) else None for value in forecasts)
            stage = Stage(
                mode, start, steps, search_steps, tuple(rates), told, rates[place], spent,
                _curve(trial, start, marks), tuple(first),
            )  # fmt: skip
            return stage, trial.state
    raise StudyError(f"AutoLRS: every rate of the stage at step {start} diverged; lower min_rate")


def _search(
    settings: Settings, training: Training[S], number: int, state: S
) -> tuple[list[float], list[float], list[float]]:
    """The candidates of a stage, their forecasts, and the rates that their first updates used."""
    mode, steps, search_steps = stage_plan(settings)[number]
    every = max(1, search_steps // EVALUATIONS)
    marks = tuple(range(0, search_steps + 1, every)) if mode == "validation" else ()
    proposals = Proposals(settings.min_rate, settings.max_rate, kappa=settings.kappa, seed=(settings.seed, number))
    rates, forecasts, first = list[float](), list[float](), list[float]()
    while len(rates) < settings.candidates:
        asked = proposals.ask(settings.side_by_side)
        trials = training.run(state, asked, search_steps, marks)
        found = [judge(trial, steps, mode, every, smoothing=settings.smoothing) for trial in trials]
        proposals.tell(asked, found)
        rates += asked
        forecasts += found
        first += [float(trial.rates[0]) for trial in trials]
    return rates, forecasts, first


def _finite(trial: Trial[Any]) -> bool:
    return bool(np.isfinite(trial.losses).all() and np.isfinite(trial.validation).all())


def judge(trial: Trial[Any], horizon: int, mode: Mode, every: int, *, smoothing: bool = True) -> float:
    """The forecast loss of a candidate ``horizon`` steps after the stage began; infinite if it diverged.

    Judged by validation, a candidate whose loss is anywhere at least what it was at the beginning has no decaying
    curve to extrapolate: its last loss stands for the forecast.

    Args:
        trial: the candidate.
        horizon: tau.
        mode: which losses count.
        every: steps between two validation losses.
        smoothing: whether they are smoothed first.
    """
    if not np.isfinite(trial.losses).all():
        return math.inf
    if mode == "train":
        return forecast(trial.losses, horizon, smoothing="train" if smoothing else "none")
    initial, later = trial.validation[0], trial.validation[1:]
    if not np.isfinite(later).all():
        return math.inf
    if later.max() >= initial:
        return float(later[-1])
    kind = "validation" if smoothing else "none"
    return forecast(trial.validation, horizon, spacing=every, smoothing=kind)


def _marks(steps: int) -> tuple[int, ...]:
    """Where the validation loss of the run is measured within a stage; its end is among them."""
    return tuple(sorted({round(steps * part / EVALUATIONS) for part in range(1, EVALUATIONS + 1)} - {0}))


def _curve(trial: Trial[Any], start: int, marks: Sequence[int]) -> dict[str, list[float]]:
    return {
        "step": [start + step for step in range(len(trial.losses))],
        "loss": np.asarray(trial.losses, np.float64).tolist(),
        "learning_rate": np.asarray(trial.rates, np.float64).tolist(),
        "validation_step": [start + mark for mark in marks],
        "validation_loss": np.asarray(trial.validation, np.float64).tolist(),
    }


def finished_stages(settings: Settings, run_id: str, folder: Path) -> tuple[Stage, ...]:
    """The stages that a folder tells of; none where it has no history.

    Raises:
        ConfigError: they are those of another run or of other settings.
        StudyError: the history is damaged.
    """
    history = read_json(folder / HISTORY)
    if history is None:
        return ()
    if history.get("run_id") != run_id:
        theirs = history.get("run_id")
        raise ConfigError(f"folder must be empty or hold stages of run {run_id}, got '{folder}' with those of {theirs}")
    if history["settings"] != dataclasses.asdict(settings):
        raise ConfigError(f"folder must be empty or hold stages of the same settings, got '{folder}'")
    return tuple(_stage_of(entry) for entry in history["stages"])


def _save(settings: Settings, training: Training[S], folder: Path, stages: Sequence[Stage], state: S) -> None:
    """The history before the state: what a history tells beyond the newest state is made again."""
    told = [dataclasses.asdict(stage) for stage in stages]
    history = {"run_id": training.run_id, "settings": dataclasses.asdict(settings), "stages": told}
    write_json(folder / HISTORY, history)
    training.save(folder, stages[-1].end, state)


def _resumed(settings: Settings, training: Training[S], folder: Path | None) -> tuple[tuple[Stage, ...], S]:
    """The stages whose end state is there, and that state."""
    stages = () if folder is None else finished_stages(settings, training.run_id, folder)
    restored = training.restore(folder, stages[-1].end) if folder is not None and stages else None
    if restored is None:
        return (), training.start()
    step, state = restored
    return tuple(stage for stage in stages if stage.end <= step), state


def _stage_of(entry: Mapping[str, Any]) -> Stage:
    tuples = {name: tuple(entry[name]) for name in ("rates", "forecasts", "first_rates")}
    return Stage(**{**entry, **tuples})
