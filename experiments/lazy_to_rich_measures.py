"""What the study of laziness measures in its records."""

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.study import claims as statistics
from lrstudy.study.claims import Measurement, absolute, mean_interval, paired, ratio
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]
Samples = np.ndarray
"""One value a seed."""

EPS, MIDDLE = 0.25, 0.4
RICH_ALPHAS, LAZY_ALPHAS = (0.1, 0.2, 0.4, 0.8, 1.6), (1e3, 3e3, 1e4)
ALPHAS = (*RICH_ALPHAS, 5.0, 30.0, 200.0, *LAZY_ALPHAS)
"""Kernel regression is the limit of scales far above D / eps, 120 at the sizes of ``cpu``."""
ALIGNMENTS = (0.4, 0.25, 0.15, 0.1)
"""Quadratic parts of the activation from aligned to misaligned, all at the scale ``MIDDLE``."""
TOLERANCE = 0.05
"""Of a loss, over that before training: what counts as fitted, and as generalised."""
FITTED = 0.002
"""Level of the sample's loss, over that before training, at which test losses are compared."""
BURN_IN = 0.1
"""Share of the updates on the digits before the rate's effect is measured: the first fall of the loss."""
# -- the regression ----------------------------------------------------------------------------------------------------


def at_scale(records: Records, alpha: float) -> Records:
    """The runs at one output scale."""
    return records.part("scale").where(task__alpha=alpha)


def at_alignment(records: Records, eps: float) -> Records:
    """The runs at one quadratic part of the activation."""
    return records.part("alignment").where(task__eps=eps)


def relative_curves(records: Records, metric: str) -> "pd.DataFrame":
    """A loss over that before training, by the time eta k (rows) and seed (columns)."""
    curves = records.curves(metric)
    run = records.runs.iloc[0]
    curves.index = curves.index * float(run["schedule.peak"] * run["task.alpha"] ** 2 / run["task.units"])
    return curves / curves.iloc[0]


def crossings(curves: "pd.DataFrame", level: float) -> np.ndarray:
    """The first time at which each column is below a level, one number a column; NaN where it never is.

    Between two evaluations the logarithm is taken to be a straight line.
    """
    times, found = curves.index.to_numpy(float), []
    for column in curves:
        values = curves[column].to_numpy(float)
        below = np.flatnonzero(values < level)
        if not len(below):
            found.append(np.nan)
        elif below[0] == 0:
            found.append(times[0])
        else:
            place = below[0]
            before, after = np.log(np.maximum(values[place - 1 : place + 1], np.finfo(float).tiny))
            share = (before - np.log(level)) / (before - after)
            found.append(times[place - 1] + share * (times[place] - times[place - 1]))
    return np.asarray(found)


def fitted_at(records: Records) -> np.ndarray:
    """The time at which the sample's loss is below the tolerance, one number a seed."""
    return crossings(relative_curves(records, "train_loss"), TOLERANCE)


def generalised_at(records: Records) -> np.ndarray:
    """The same of the loss over all inputs; a run that never gets there counts with its end, which is too early."""
    curves = relative_curves(records, "test_loss")
    return np.nan_to_num(crossings(curves, TOLERANCE), nan=float(curves.index[-1]))


def delays(records: Records) -> np.ndarray:
    """From the one time to the other, one number a seed."""
    return generalised_at(records) - fitted_at(records)


def loss_at_fit(records: Records) -> np.ndarray:
    """Test loss over that before training, when the sample's loss first is below ``FITTED``, one number a seed."""
    train, test = (relative_curves(records, f"{name}_loss") for name in ("train", "test"))
    fitted = train < FITTED
    return np.asarray([test[seed][fitted[seed]].iloc[0] if fitted[seed].any() else np.nan for seed in test])


def kernel_change(records: Records) -> np.ndarray:
    """Relative change of the tangent kernel after training, one number a seed."""
    return records.final("kernel_change").to_numpy()


def alignment_gain(records: Records) -> np.ndarray:
    """The kernel's alignment with the target after training over that before, one number a seed."""
    return records.final("kernel_alignment").to_numpy() / records.at_step("kernel_alignment", 0).to_numpy()


def gaps(records: Records, alpha: float) -> np.ndarray:
    """The largest distance from kernel regression on the way, one number a seed."""
    table = records.probes["linear"]
    return table[table["alpha"] == alpha].groupby("seed")["gap"].max().sort_index().to_numpy()


def slopes(positions: Sequence[float], values: Sequence[np.ndarray]) -> np.ndarray:
    """Slopes of logarithms by least squares, one number a seed.

    Args:
        positions: one number a setting.
        values: one value a seed, for every setting.
    """
    logs = np.log(np.asarray(values, float))
    centred = np.log(np.asarray(positions, float)) - np.mean(np.log(positions))
    return centred @ logs / (centred @ centred)


def steps_between(values: Sequence[np.ndarray], level: float) -> list[Measurement]:
    """Each setting's mean over that of the setting before."""
    return [ratio(after, before, level) for before, after in itertools.pairwise(values)]


def change_falls(records: Records) -> Measurement:
    """The largest ratio of the kernel's change at one alpha to that at the next smaller one."""
    values = [kernel_change(at_scale(records, alpha)) for alpha in ALPHAS]
    return statistics.largest(lambda level: steps_between(values, level))


def change_slope(records: Records) -> Measurement:
    """How far the slope of the kernel's change in the lazy regime is from -1."""
    values = [kernel_change(at_scale(records, alpha)) for alpha in LAZY_ALPHAS]
    return absolute(mean_interval(slopes(LAZY_ALPHAS, values) + 1))


def gap_slope(records: Records) -> Measurement:
    """How far the slope of the distance from kernel regression in the lazy regime is from -1."""
    values = [gaps(records, alpha) for alpha in LAZY_ALPHAS]
    return absolute(mean_interval(slopes(LAZY_ALPHAS, values) + 1))


def smallest_growth(chosen: Callable[[Records], list[Records]]) -> Measure:
    """The smallest ratio of the delay at one setting to that at the setting before."""

    def measure(records: Records) -> Measurement:
        values = [delays(own) for own in chosen(records)]
        return statistics.smallest(lambda level: steps_between(values, level))

    return measure


def by_scale(records: Records) -> list[Records]:
    """The runs from the richest to the laziest that still generalises."""
    return [at_scale(records, alpha) for alpha in RICH_ALPHAS]


def by_alignment(records: Records) -> list[Records]:
    """The runs from the aligned to the misaligned."""
    return [at_alignment(records, eps) for eps in ALIGNMENTS]


def delay_slope(records: Records) -> Measurement:
    """Slope of the delay against alpha in logarithms."""
    return mean_interval(slopes(RICH_ALPHAS, [delays(own) for own in by_scale(records)]))


def ratio_grows(chosen: Callable[[Records], list[Records]]) -> Measure:
    """Time to generalise over time to fit: at the last setting over at the first."""

    def measure(records: Records) -> Measurement:
        first, *_, last = chosen(records)
        relative, before = (generalised_at(own) / fitted_at(own) for own in (last, first))
        return ratio(relative, before)

    return measure


def of_scale(value: Callable[[Records], np.ndarray], alpha: float) -> Measure:
    """The mean of a value over the runs at one output scale."""
    return lambda records: mean_interval(value(at_scale(records, alpha)))


# -- the digits --------------------------------------------------------------------------------------------------------


def trained_by(records: Records, optimizer: str) -> Records:
    """The digits runs of one optimizer."""
    return records.part("projection").where(optimizer=optimizer)


def angles(records: Records) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Rate, and norm of an update over that of all parameters, after the burn-in: by step (rows) and seed (columns)."""
    rates = records.curves("learning_rate")
    sizes = records.curves("update_norm") / records.curves("param_norm")
    late = rates.index >= BURN_IN * records.runs["steps"].iloc[0]
    return rates[late], sizes[late]


def rate_slopes(records: Records) -> np.ndarray:
    """Slope of the angle against the rate in logarithms, one number a seed."""
    rates, sizes = angles(records)
    return np.asarray([np.polyfit(np.log(rates[seed]), np.log(sizes[seed]), 1)[0] for seed in rates])


def drifts(records: Records) -> np.ndarray:
    """Logarithm of the angle over the rate, mean over the last fifth less that over the first, one number a seed."""
    rates, sizes = angles(records)
    relative = np.log(sizes / rates).to_numpy()
    count = max(1, len(relative) // 5)
    return relative[-count:].mean(axis=0) - relative[:count].mean(axis=0)


def growth(records: Records) -> np.ndarray:
    """The norm of all parameters at the last recorded step over that at the first, one number a seed."""
    curves = records.curves("param_norm")
    return (curves.iloc[-1] / curves.iloc[0]).to_numpy()


def norm_error(records: Records) -> Measurement:
    """The farthest that a projected kernel's norm is from its initial one, relative to that."""
    table = records.probes["norms"]
    kernels = table[(table["optimizer"] == "nap") & table["tensor"].str.endswith("kernel")]
    errors = (kernels["norm"] / kernels["initial"] - 1).abs()
    return Measurement(float(errors.max()), kernels["seed"].nunique())


def finals(metric: str) -> Measure:
    """The mean of a final metric with the projection less that without."""

    def measure(records: Records) -> Measurement:
        with_it, without = (trained_by(records, name).final(metric).to_numpy() for name in ("nap", "adam"))
        return paired(with_it, without, np.subtract)

    return measure


def projected_drift(records: Records) -> Measurement:
    """The size of the drift with the projection."""
    return absolute(mean_interval(drifts(trained_by(records, "nap"))))
