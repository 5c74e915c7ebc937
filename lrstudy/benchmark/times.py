"""From evaluations to the time of a trial, and from trials and studies to the time of a submission."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from lrstudy.schedules.checks import one_of

TrialRule = Literal["time", "eval_index"]
Mode = Literal["min", "max"]


def times_of(trials: Any, *, evaluations: Any = None, trial_rule: TrialRule = "time") -> float:
    """The time of a submission on a workload: the median over studies of the best trial's time to the target.

    A miss is infinite and takes part: a study is missed when all its trials are, and of an even number of studies one
    miss in the middle makes the median infinite.

    Args:
        trials: (studies, trials) times to the target; infinity or NaN for a miss.
        evaluations: (studies, trials) how many evaluations the trial had made when it met the target; for
            ``eval_index``. Not read where the trial missed.
        trial_rule: which trial is a study's best. ``time``: that of the least time. ``eval_index``: that which met the
            target at the earliest of its own evaluations, the first of several, which is what AlgoPerf's code takes,
            however long it took.

    Raises:
        ValueError: tables of another shape, times that are not positive, an unknown rule, or one without evaluations.
    """
    if trial_rule not in get_args(TrialRule):
        raise ValueError(f"trial_rule must be {one_of(get_args(TrialRule), trial_rule)}, got {trial_rule!r}")
    try:
        table = np.asarray(trials, np.float64)
    except ValueError as error:
        raise ValueError(f"trials must be a table of studies x trials, got {trials!r}") from error
    if table.ndim != 2 or not table.size:
        raise ValueError(f"trials must be a table of studies x trials, got one of shape {table.shape}")
    table = np.where(np.isnan(table), np.inf, table)
    if not (table > 0).all():
        raise ValueError(f"trials must be positive, infinite for a miss, got {float(table.min())!r}")
    if trial_rule == "time":
        return float(np.median(table.min(1)))
    if evaluations is None or np.shape(evaluations) != table.shape:
        shape = None if evaluations is None else np.shape(evaluations)
        raise ValueError(f"evaluations must be given for eval_index, of shape {table.shape}, got {shape!r}")
    order = np.where(np.isinf(table), np.inf, np.asarray(evaluations, np.float64))
    return float(np.median(table[np.arange(len(table)), order.argmin(1)]))


def reached(values: Sequence[float] | np.ndarray, target: float, *, mode: Mode) -> int | None:
    """The place of the first evaluation that meets the target, ``None`` for a miss.

    Args:
        values: the metric at every evaluation, NaN where there was none.
        target: to be met: an equal value does.
        mode: whether the metric is to be small, ``min``, or large, ``max``.

    Raises:
        ValueError: another mode.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be {one_of(get_args(Mode), mode)}, got {mode!r}")
    found = np.asarray(values, np.float64)
    hits = np.flatnonzero(found <= target if mode == "min" else found >= target)
    return int(hits[0]) if len(hits) else None
