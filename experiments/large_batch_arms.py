"""What the study of large batches trains: methods, their grids of rates, rules for other batches, arms of a regime."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lrstudy.optimizers import adapted_regime
from lrstudy.schedules import lr_from_batch
from lrstudy.study.choices import Choice, choice
from lrstudy.study.errors import StudyError
from lrstudy.study.part import Assignment
from lrstudy.study.records import Records
from lrstudy.tasks.digits import TRAIN_EXAMPLES

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = 32
"""The small batch, for which a rate is tuned before a rule scales it."""

WARMUP = 0.1
"""Share of the updates."""

KEPT, LINEAR, SQRT, TUNED = RULES = ("kept", "linear", "sqrt", "tuned")
"""What becomes of the rate at another batch than the reference: nothing, two rules, and a search of its own."""

METRIC = "validation_loss"


@dataclasses.dataclass(frozen=True)
class Method:
    """An optimizer of the first question.

    Attributes:
        label: in figures.
        optimizer: with its settings, the same at every batch.
        least: lowest rate of its grid at the reference batch.
        rule: by which its users scale the rate with the batch.
    """

    label: str
    optimizer: Choice
    least: float
    rule: str


# Nothing decays weights, and gradients are clipped for all. LARS leaves biases to the plain rate, and has a coefficient
# with which that rate suits them.
METHODS: Mapping[str, Method] = {
    "adamw": Method("Adam", choice("optimizer", "adamw", weight_decay=0.0), 0.002, SQRT),
    "lamb": Method("LAMB", choice("optimizer", "lamb", weight_decay=0.0), 0.002, SQRT),
    "momentum": Method("Nesterov", choice("optimizer", "momentum", nesterov=True), 0.02, LINEAR),
    "lars": Method("LARS", choice("optimizer", "lars", nesterov=True, coefficient=0.1), 0.01, LINEAR),
}


def updates(batch: int, epochs: float) -> int:
    """Updates of so many epochs, each of as many whole batches as the training set has."""
    return max(2, round(epochs * (TRAIN_EXAMPLES // batch)))


def lengths(batch: int, epochs: float) -> Assignment:
    """The values that give a run its batch, its length and its warmup."""
    steps = updates(batch, epochs)
    return {"task.batch_size": batch, "steps": steps, "schedule.warmup_steps": max(1, round(WARMUP * steps))}


def grid(least: float, batch: int, points: int) -> tuple[float, ...]:
    """Octaves, the lowest following the root of the batch: as many points for every method at every batch."""
    return tuple(lr_from_batch(least * 2**i, batch, REFERENCE, rule=SQRT) for i in range(points))


def tuning_runs(batches: Sequence[int], epochs: float, points: int) -> Sequence[Assignment]:
    """Every method at every batch and rate of its grid."""
    return [
        {"optimizer": method.optimizer, "schedule.peak": peak, **lengths(batch, epochs)}
        for method in METHODS.values()
        for batch in batches
        for peak in grid(method.least, batch, points)
    ]


@dataclasses.dataclass(frozen=True)
class Best:
    """What a search over a grid of rates found.

    Attributes:
        peak: with the smallest mean loss over the tuning seeds; where a seed diverged there is no mean.
        loss: that mean.
        edge: whether it is the lowest or highest of the grid.
    """

    peak: float
    loss: float
    edge: bool


def best_of(runs: "pd.DataFrame") -> Best:
    """The best peak of these runs, which differ in peak and seed alone.

    Raises:
        StudyError: every peak diverged, or there are no runs.
    """
    loss = runs[METRIC].where(runs["outcome"] == "ok").astype(float)
    means = loss.groupby(runs["schedule.peak"].astype(float)).agg(lambda own: own.mean(skipna=False)).dropna()
    if not len(means):
        raise StudyError("no rate of a grid trains")
    peak = float(means.idxmin())
    ends = runs["schedule.peak"].astype(float).agg(["min", "max"])
    return Best(peak, float(means.min()), peak in set(ends))


def tuned(records: Records) -> dict[tuple[str, int], Best]:
    """(method, batch) to what tuning found."""
    groups = records.part("tuning").runs.groupby(["optimizer", "task.batch_size"], sort=False)
    return {(str(method), int(batch)): best_of(own) for (method, batch), own in groups}


def _found(found: "Mapping[Any, Best]", key: Any) -> Best:
    """The best of a setting that the others are scaled from or compared with.

    Raises:
        StudyError: it was not searched, because a user asked for others.
    """
    if key not in found:
        raise StudyError(f"tuning must search {key}, got {list(found)}")
    return found[key]


def peaks_by_rule(found: Mapping[tuple[str, int], Best]) -> dict[tuple[str, str, int], float]:
    """(method, rule, batch) to the peak.

    Raises:
        StudyError: a method was not tuned at the reference batch.
    """
    peaks = {}
    for (method, batch), own in found.items():
        base = _found(found, (method, REFERENCE)).peak
        scaled = {rule: lr_from_batch(base, batch, REFERENCE, rule=rule) for rule in (LINEAR, SQRT)}
        for rule, peak in {KEPT: base, **scaled, TUNED: own.peak}.items():
            peaks[method, rule, batch] = peak
    return peaks


def deciding_runs(records: Records, epochs: float) -> Sequence[Assignment]:
    """Every method at every batch with the rate of every rule; rules that give one rate share the run."""
    runs: list[dict[str, Any]] = []
    for (method, _, batch), peak in peaks_by_rule(tuned(records)).items():
        run = {"optimizer": METHODS[method].optimizer, "schedule.peak": peak, **lengths(batch, epochs)}
        if run not in runs:
            runs.append(run)
    return runs


# -- ghosts and regime -------------------------------------------------------------------------------------------------

SMALL, LARGE, ROOT, GHOSTS, REGIME = LADDER = ("small", "large", "root", "ghosts", "regime")
"""Each but the first two adds an ingredient to the one before."""

WHOLE, BEST, BEST_GHOSTS = ASIDE = ("whole", "best", "best_ghosts")
"""The regime without ghosts, and the large batch with a rate of its own, without and with them."""

ARMS: Mapping[str, str] = {
    SMALL: "small batch",
    LARGE: "large batch, same rate",
    ROOT: "+ root of the batch",
    GHOSTS: "+ ghosts",
    REGIME: "+ as many updates",
    WHOLE: "as many updates, no ghosts",
    BEST: "own rate",
    BEST_GHOSTS: "own rate, ghosts",
}


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to train the network with batch norm.

    Attributes:
        batch: examples of an update.
        ghost_size: 0: the whole batch is normalised at once.
        peak: of the schedule.
        epochs: passes over the training set.
    """

    batch: int
    ghost_size: int
    peak: float
    epochs: float

    def assignment(self) -> Assignment:
        """The values that make a run one of this arm."""
        return {"model.ghost_size": self.ghost_size, "schedule.peak": self.peak, **lengths(self.batch, self.epochs)}


def regime_tuning(large: int, epochs: float, least: float, points: int) -> Sequence[Assignment]:
    """The small batch, and the large one without and with ghosts, at every rate of their grids."""
    settings = ((REFERENCE, 0), (large, 0), (large, REFERENCE))
    return [
        Arm(batch, ghosts, peak, epochs).assignment()
        for batch, ghosts in settings
        for peak in grid(least, batch, points)
    ]


def regime_tuned(records: Records) -> dict[tuple[int, int], Best]:
    """(batch, ghost size) to what tuning found."""
    groups = records.part("regime_tuning").runs.groupby(["task.batch_size", "model.ghost_size"])
    return {(int(batch), int(ghosts)): best_of(own) for (batch, ghosts), own in groups}


def regime_arms(records: Records, large: int, epochs: float) -> dict[str, Arm]:
    """The arms, with the rates that tuning found.

    Raises:
        StudyError: one of the three settings was not tuned.
    """
    found = regime_tuned(records)
    rate = _found(found, (REFERENCE, 0)).peak
    adapted = adapted_regime(rate, epochs, batch=large, reference_batch=REFERENCE)
    return {
        SMALL: Arm(REFERENCE, 0, rate, epochs),
        LARGE: Arm(large, 0, rate, epochs),
        ROOT: Arm(large, 0, adapted.learning_rate, epochs),
        GHOSTS: Arm(large, REFERENCE, adapted.learning_rate, epochs),
        REGIME: Arm(large, REFERENCE, adapted.learning_rate, adapted.epochs),
        WHOLE: Arm(large, 0, adapted.learning_rate, adapted.epochs),
        BEST: Arm(large, 0, _found(found, (large, 0)).peak, epochs),
        BEST_GHOSTS: Arm(large, REFERENCE, _found(found, (large, REFERENCE)).peak, epochs),
    }
