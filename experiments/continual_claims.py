"""The claims of the continual study: what is measured, and thresholds that were fixed before the run."""

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.study import claims as statistics
from lrstudy.study.claims import Claim, Measurement, mean_interval
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records
from lrstudy.study.stability import Accuracies

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]
Samples = Sequence[np.ndarray]

PROSE, CODE, BOTH = "validation_loss_0", "validation_loss_1", "validation_loss"
REPLAYS = (0.0, 0.05, 0.25)
WARMUPS = (0.0, 0.01, 0.02)
SECOND_PEAKS = (0.5, 1.0, 2.0)
UPSAMPLED = (0.1, 0.4, 0.7)
EXPONENT = 1.0
CODE_ONLY, UNION = (1.0, 1.0), (0.5, 0.5)

_WARM, _SCALABLE, _COSINE = "arXiv 2308.04014", "arXiv 2403.08763", "arXiv 2503.02844"
_GAP, _UPSAMPLING, _REHEARSAL = "arXiv 2205.13452, section 4", "arXiv 2406.03476", "arXiv 2401.10393"


def shares_of(replay: float) -> tuple[float, float]:
    """English alone in the first stage; in the second code, and a share of replayed English.

    Args:
        replay: that share.
    """
    return (0.0, 1.0 - replay)


# -- selection ---------------------------------------------------------------------------------------------------------


def with_list(records: Records, column: str, values: Sequence[float]) -> Records:
    """The records of the runs that have these numbers in a column of lists.

    Raises:
        StudyError: no run fits.
    """
    fits = [cell is not None and [float(v) for v in cell] == list(values) for cell in records.runs[column]]
    runs = records.runs[fits].reset_index(drop=True)
    if not len(runs):
        raise StudyError(f"no run has {column} of {tuple(values)}")
    metrics = records.metrics[records.metrics["run_id"].isin(runs["run_id"])]
    return Records(runs, metrics, records.probes, records.parts)


def text_runs(records: Records, schedule: str, replay: float) -> Records:
    """The two-stage runs of one schedule and share of replay."""
    return with_list(records.part("text").where(schedule=schedule), "task.shares", shares_of(replay))


def baseline(records: Records, schedule: str, shares: Sequence[float]) -> Records:
    """The baselines of one schedule that draw the domains by these shares."""
    return with_list(records.part("baselines").where(schedule=schedule), "task.shares", shares)


def stage_of(records: Records) -> int:
    """Updates of one of the two stages."""
    return int(records.runs["steps"].iloc[0]) // 2


def _final(records: Records, metric: str) -> np.ndarray:
    return records.final(metric).to_numpy()


# -- measures ----------------------------------------------------------------------------------------------------------


def largest(samples: Samples) -> Measurement:
    """The largest of several means over seeds."""
    return statistics.largest(lambda level: [mean_interval(sample, level) for sample in samples])


def smallest(samples: Samples) -> Measurement:
    """The smallest of several means over seeds."""
    return statistics.smallest(lambda level: [mean_interval(sample, level) for sample in samples])


def _rise_after_rewarming(records: Records) -> Measurement:
    """Code in both stages: loss a tenth into the second stage, less that at the end of the first."""
    own = baseline(records, "Rewarmed", CODE_ONLY)
    stage = stage_of(own)
    return mean_interval((own.at_step(CODE, stage + stage // 10) - own.at_step(CODE, stage)).to_numpy())


def _rise_of_prose(records: Records) -> Measurement:
    """The old domain's loss a tenth into the second stage: re-warmed less not re-warmed, without replay."""
    found = []
    for schedule in ("Rewarmed", "Cosine"):
        own = text_runs(records, schedule, 0.0)
        found.append(own.at_step(PROSE, stage_of(own) + stage_of(own) // 10).to_numpy())
    return mean_interval(found[0] - found[1])


def _schedules_apart(first: str, second: str, metric: str) -> Measure:
    """One schedule's final loss less another's at the share of replay at which that is worst."""

    def measure(records: Records) -> Measurement:
        return largest(
            [
                _final(text_runs(records, first, replay), metric) - _final(text_runs(records, second, replay), metric)
                for replay in REPLAYS
            ]
        )

    return measure


def _scratch(records: Records) -> np.ndarray:
    own = baseline(records, "Cosine", CODE_ONLY)
    return own.at_step(CODE, stage_of(own)).to_numpy()


def _beats_scratch(records: Records) -> Measurement:
    return mean_interval(_final(text_runs(records, "Rewarmed", 0.0), CODE) - _scratch(records))


def rewarmings(records: Records) -> dict[tuple[float, float], Records]:
    """(share of warmup, second peak over the first) to the runs that re-warm so, all without replay."""
    part = records.part("rewarming")
    first = float(part.runs["schedule.peaks"].iloc[0][0])
    settings = [*((warmup, 1.0) for warmup in WARMUPS), *((0.01, second) for second in SECOND_PEAKS if second != 1.0)]
    return {
        (warmup, second): with_list(
            part.where(schedule__warmup_fraction=warmup), "schedule.peaks", (first, second * first)
        )
        for warmup, second in settings
    }


def _warmup_matters(records: Records) -> Measurement:
    """The largest mean difference of the final loss between any two lengths of the warmup."""
    found = rewarmings(records)
    losses = [_final(found[warmup, 1.0], BOTH) for warmup in WARMUPS]
    return largest([one - other for one, other in itertools.permutations(losses, 2)])


def _second_peak(metric: str) -> Measure:
    """Final loss at the highest second peak less that at the lowest."""

    def measure(records: Records) -> Measurement:
        found = rewarmings(records)
        return mean_interval(
            _final(found[0.01, SECOND_PEAKS[-1]], metric) - _final(found[0.01, SECOND_PEAKS[0]], metric)
        )

    return measure


def forgetting(records: Records) -> np.ndarray:
    """Rise of the old domain's loss from the end of the first stage to the end of the second."""
    return (records.final(PROSE) - records.at_step(PROSE, stage_of(records))).to_numpy()


def _replay_spares(schedule: str) -> Measure:
    """The smallest fall of the forgetting from one share of replay to the next."""

    def measure(records: Records) -> Measurement:
        losses = [forgetting(text_runs(records, schedule, replay)) for replay in REPLAYS]
        return smallest([less - more for less, more in itertools.pairwise(losses)])

    return measure


def _behind_union(records: Records) -> Measurement:
    """Re-warmed with the most replay less both domains in equal shares under one cosine, mean of both domains.

    At the ``cpu`` preset this came out at 0.058 against a threshold of 0.05 (three seeds, interval across it). All of
    it is English, 0.11 behind; the code is level. A model this small and this early still gains from every window of
    English, of which the union has a half of the second stage and replay a quarter; the paper compares models that
    are near their best.
    """
    union = _final(baseline(records, "Cosine", UNION), BOTH)
    return mean_interval(_final(text_runs(records, "Rewarmed", REPLAYS[-1]), BOTH) - union)


def upsampled(records: Records, share: float) -> Records:
    """The runs that end with this share of code."""
    return with_list(records.part("upsampling"), "task.shares", (UPSAMPLED[0], share))


def _upsampling(metric: str) -> Measure:
    """The smallest change of the final loss from one share of code in the last fifth to the next."""

    def measure(records: Records) -> Measurement:
        losses = [_final(upsampled(records, share), metric) for share in UPSAMPLED]
        sign = -1 if metric == CODE else 1
        return smallest([sign * (later - earlier) for earlier, later in itertools.pairwise(losses)])

    return measure


# -- digits ------------------------------------------------------------------------------------------------------------


def accuracies(records: Records) -> list[Accuracies]:
    """Accuracy of every task after every update, run by run, in the order of the seeds."""
    row = records.runs.iloc[0]
    tasks, length = int(row["task.tasks"]), int(row["task.steps_per_task"])
    curves = [records.curves(f"accuracy_{task}") for task in range(tasks)]
    ends = [length * (task + 1) for task in range(tasks)]
    steps = curves[0].index.to_numpy()
    return [
        Accuracies(steps, np.stack([curve[seed].to_numpy() for curve in curves], axis=1), ends)
        for seed in sorted(curves[0].columns)
    ]


def rehearsed(records: Records, replay: float, exponent: float = 0.0) -> list[Accuracies]:
    """The permuted digits at one share of replay and one power of age."""
    digits = records.part("digits")
    length = digits.runs["task.steps_per_task"].min()
    return accuracies(digits.where(task__replay=replay, task__exponent=exponent, task__steps_per_task=length))


def without_switch(records: Records) -> Records:
    """The runs that stay on their first task for as long as the others have five."""
    digits = records.part("digits")
    return digits.where(task__steps_per_task=digits.runs["task.steps_per_task"].max())


def old_tasks(own: Accuracies) -> float:
    """Mean accuracy on all tasks but the last when the last is over: what evaluating at the end alone would report."""
    return float(np.mean(own.at_end(own.tasks)[:-1]))


def _gap(own: Accuracies) -> float:
    return own.minimum(own.tasks) - old_tasks(own)


def jitter(accuracy: "pd.Series", ends: Sequence[int]) -> float:
    """What ``_gap`` would be of a run that never leaves its first task, if all tasks behaved like that one.

    The least of many noisy evaluations lies below the last of them without any change of the task.

    Args:
        accuracy: on the first task, of such a run, indexed by the updates made.
        ends: the updates after which the tasks of the others are over.
    """
    last = ends[-1]
    lows = [accuracy[(accuracy.index > end) & (accuracy.index <= last)].min() for end in ends[:-1]]
    return float(np.mean(lows) - accuracy[last])


def stability_gaps(records: Records, replay: float) -> np.ndarray:
    """By seed, how far the old tasks' accuracies fell below their end, less the jitter of a run without a switch."""
    runs, still = rehearsed(records, replay), without_switch(records).curves("accuracy_0").sort_index(axis=1)
    pairs = zip(runs, still.columns, strict=True)
    return np.asarray([_gap(own) - jitter(still[seed], own.ends) for own, seed in pairs])


def _gap_with_replay(records: Records) -> Measurement:
    """At the share of replay at which the gap is least. Without replay the old tasks are forgotten, for good."""
    return largest([stability_gaps(records, replay) for replay in REPLAYS if replay])


def _worst_case_rises(records: Records) -> Measurement:
    """The smallest rise of WC-ACC from one share of replay to the next."""
    found = [np.asarray([own.worst_case(own.tasks) for own in rehearsed(records, replay)]) for replay in REPLAYS]
    return smallest([later - earlier for earlier, later in itertools.pairwise(found)])


def averages(runs: Sequence[Accuracies]) -> np.ndarray:
    """ACC of the last task, run by run."""
    return np.asarray([own.average(own.tasks) for own in runs])


def _rehearsal_helps(records: Records) -> Measurement:
    return mean_interval(averages(rehearsed(records, REPLAYS[-1], EXPONENT)) - averages(rehearsed(records, 0.0)))


_TEXT, _DIGITS = "Text: ", "Digits: "

CLAIMS: Sequence[Claim] = (
    Claim("a1", _TEXT + "code in both stages, re-warming raises the validation loss; a tenth into the stage, nats",
          _WARM, ("baselines",), _rise_after_rewarming, ">", 0.0),
    Claim("a2", _TEXT + "re-warmed minus not, English a tenth into the stage of code, nats", _WARM, ("text",),
          _rise_of_prose, ">", 0.0),
    Claim("a3", _TEXT + "re-warmed minus not, code at the end, worst share of replay, nats", _WARM, ("text",),
          _schedules_apart("Rewarmed", "Cosine", CODE), "<", 0.0),
    Claim("a4", _TEXT + "re-warmed minus trained from scratch, code at the end, nats", _WARM, ("text", "baselines"),
          _beats_scratch, "<", 0.0),
    Claim("b1", _TEXT + "largest difference of the final mean loss between warmups of 0, 1 and 2% of the stage, nats",
          _WARM, ("rewarming",), _warmup_matters, "<=", 0.03),
    Claim("b2", _TEXT + "second peak doubled minus halved, code at the end, nats", _WARM, ("rewarming",),
          _second_peak(CODE), "<", 0.0),
    Claim("b3", _TEXT + "second peak doubled minus halved, English at the end, nats", _WARM, ("rewarming",),
          _second_peak(PROSE), ">", 0.0),
    Claim("c1", _TEXT + "infinite minus repeated cosine, mean of both domains, worst share of replay, nats", _COSINE,
          ("text",), _schedules_apart("Infinite", "Rewarmed", BOTH), "<=", 0.02),
    Claim("d1", _TEXT + "smallest fall of the forgetting from one share of replay to the next, re-warmed, nats",
          _SCALABLE, ("text",), _replay_spares("Rewarmed"), ">", 0.0),
    Claim("d2", _TEXT + "smallest fall of the forgetting from one share of replay to the next, infinite, nats",
          _COSINE, ("text",), _replay_spares("Infinite"), ">", 0.0),
    Claim("d3", _TEXT + "re-warmed with 25% replay minus both domains from the beginning, mean of both, nats",
          _SCALABLE, ("text", "baselines"), _behind_union, "<=", 0.05),
    Claim("e1", _DIGITS + "min-ACC minus the old tasks' accuracy at the end, less the same of a run without a switch, "
          "worst share of replay above 0", _GAP, ("digits",), _gap_with_replay, "<", -0.01),
    Claim("e2", _DIGITS + "smallest rise of WC-ACC from one share of replay to the next", _GAP, ("digits",),
          _worst_case_rises, ">", 0.0),
    Claim("e3", _DIGITS + "ACC with power-law rehearsal minus without rehearsal", _REHEARSAL,
          ("digits",), _rehearsal_helps, ">", 0.0),
    Claim("f1", _TEXT + "smallest fall of the code's loss from one share of code in the last fifth to the next, nats",
          _UPSAMPLING, ("upsampling",), _upsampling(CODE), ">", 0.0),
    Claim("f2", _TEXT + "smallest rise of the English's loss from one share of that to the next, nats",
          _UPSAMPLING, ("upsampling",), _upsampling(PROSE), ">", 0.0),
)  # fmt: skip
