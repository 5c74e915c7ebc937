"""What the study of scaling measures of least squares on random features."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.laws import random_features
from lrstudy.laws.feature_regimes import slope
from lrstudy.study.claims import Measurement, absolute, exponentiated, jackknife, largest, mean_interval
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

COUNTS = (20, 50, 80, 95, 100, 105, 120, 200, 400, 1_000)
SAMPLES = 100
"""As many features as samples: where the peak is."""
TRAINED = (50, 100, 400)
"""Features of the runs that are trained step by step."""
FEW_STEPS, MANY_STEPS = 100, 10_000
MIN_NORM, RIDGE, FEW, MANY = "minimum norm", "tuned ridge", "100 steps", "10,000 steps"
PENALTIES = tuple(float(penalty) for penalty in np.geomspace(0.01, 1_000, 26))
INDEPENDENT = {
    MIN_NORM: (0.689, 0.647, 1.649, 8.17, 4_732, 9.85, 2.22, 0.595, 0.319, 0.239),
    RIDGE: (0.603, 0.321, 0.230, 0.211, 0.199, 0.202, 0.178, 0.147, 0.116, 0.101),
    FEW: (0.649, 0.332, 0.232, 0.212, 0.199, 0.198, 0.175, 0.138, 0.107, 0.091),
    MANY: (0.689, 0.647, 1.22, 1.39, 1.34, 1.30, 1.16, 0.584, 0.319, 0.239),
}
"""Test errors of an independent computation, means over 20 samples that were others."""

FEW_FEATURES, FEW_SAMPLES = "samples grow, features few", "features grow, samples few"
RESOLUTION = ("samples grow, features without limit", "features grow, samples without limit")
HELD, LARGE_SIZES, DIRECTIONS = 16, (256, 512, 1_024, 2_048), 1_000
SMALL_SIZES, MANY_DIRECTIONS = (32, 64, 128, 256), 4_000
EXPONENTS = (1.0, 1.5)
DRAWS = 20


def ways() -> dict[tuple[str, float], random_features.Filter]:
    """Name and penalty of every way of solving, to what it leaves of least squares."""
    found = {
        (MIN_NORM, np.nan): random_features.minimum_norm,
        (FEW, np.nan): random_features.gradient_descent(FEW_STEPS),
        (MANY, np.nan): random_features.gradient_descent(MANY_STEPS),
    }
    return found | {(RIDGE, penalty): random_features.ridge(penalty) for penalty in PENALTIES}


def errors(records: Records, way: str) -> "pd.DataFrame":
    """Test error by number of features (index) and sample (columns).

    The ridge's penalty is, for each number of features, the one of the lowest mean over the samples.
    """
    found = records.probes["solved"]
    own = found[found["way"] == way]
    if way == RIDGE:
        means = own.groupby(["features", "penalty"])["error"].mean().unstack()
        best = means.idxmin(axis=1)
        own = own[own["penalty"] == own["features"].map(best)]
    return own.pivot_table(index="features", columns="data_seed", values="error")


def best_penalties(records: Records) -> "pd.Series":
    """The ridge's penalty by number of features."""
    found = records.probes["solved"]
    own = found[found["way"] == RIDGE]
    return own.groupby(["features", "penalty"])["error"].mean().unstack().idxmin(axis=1)


def peak(way: str) -> Measure:
    """Mean error with as many features as samples over the larger of those with half and twice as many."""

    def measure(records: Records) -> Measurement:
        found = errors(records, way)

        def of(chosen: np.ndarray) -> float:
            means = np.log(found.iloc[:, chosen].mean(axis=1))
            return float(means[SAMPLES] - max(means[SAMPLES // 2], means[2 * SAMPLES]))

        return exponentiated(jackknife(of, found.shape[1]))

    return measure


def largest_rise(way: str) -> Measure:
    """The largest rise of the error from one number of features to the next, mean over samples."""

    def measure(records: Records) -> Measurement:
        steps = errors(records, way).diff().iloc[1:]
        return largest(lambda level: [mean_interval(row.to_numpy(float), level) for _, row in steps.iterrows()])

    return measure


def from_independent(way: str) -> Measure:
    """The largest |log| of a mean error over an independent computation's, over the numbers of features."""

    def measure(records: Records) -> Measurement:
        found = errors(records, way)
        wanted = np.log(np.asarray(INDEPENDENT[way]))

        def at(place: int, level: float) -> Measurement:
            row = found.iloc[place].to_numpy(float)
            return absolute(jackknife(lambda chosen: np.log(row[chosen].mean()) - wanted[place], len(row), level))

        return largest(lambda level: [at(place, level) for place in range(len(found))])

    return measure


def conditions(records: Records) -> "pd.Series":
    """Median condition number of the Gram matrix by number of features."""
    found = records.probes["solved"]
    return found.groupby("features")["condition"].median()


def condition_peak(records: Records) -> Measurement:
    """The median with as many features as samples over the largest of the other medians."""
    found = conditions(records)
    samples = records.probes["solved"]["data_seed"].nunique()
    return Measurement(float(found[SAMPLES] / found.drop(SAMPLES).max()), samples)


def trained_error(records: Records) -> Measurement:
    """Test error of the trained runs less that of the formula, the largest, relative to the formula's."""
    runs = records.part("random_features").runs
    exact = errors(records, FEW)
    pairs = zip(runs["task.features"].astype(int), runs["task.data_seed"].astype(int), strict=True)
    wanted = np.asarray([exact.loc[count, data_seed] for count, data_seed in pairs])
    off = np.abs(runs["test_error"].to_numpy(float) / wanted - 1)
    return Measurement(float(off.max()), len(off))


# -- the four regimes --------------------------------------------------------------------------------------------------


def regime(records: Records, name: str, exponent: float) -> "pd.DataFrame":
    """Errors by size (index) and draw (columns)."""
    found = records.probes["regimes"]
    own = found[(found["regime"] == name) & (found["exponent"] == exponent)]
    return own.pivot_table(index="size", columns="draw", values="error")


def _slope(found: "pd.DataFrame", chosen: np.ndarray) -> float:
    return slope(found.index.to_numpy(float), found.iloc[:, chosen].mean(axis=1).to_numpy(float))


def slope_error(name: str, exponent: float = 1.0) -> Measure:
    """How far a regime's exponent, of mean errors over draws, is from the one that theory has."""

    def measure(records: Records) -> Measurement:
        found = regime(records, name, exponent)
        return absolute(jackknife(lambda chosen: _slope(found, chosen) - exponent, found.shape[1]))

    return measure


def slope_difference(exponent: float) -> Measure:
    """How far the exponents of samples and of features are apart where either is limited alone."""

    def measure(records: Records) -> Measurement:
        one, other = (regime(records, name, exponent) for name in RESOLUTION)
        return absolute(jackknife(lambda chosen: _slope(one, chosen) - _slope(other, chosen), one.shape[1]))

    return measure
