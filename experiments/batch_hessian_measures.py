"""What the study of batch Hessians measures in its records: eigenvalues of batches, and largest rates that train."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.parametrization import learning_rate_at_threshold
from lrstudy.study.claims import Measurement, mean_interval, smallest
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, None)
"""Of the batches whose eigenvalue is measured; ``None``: all examples."""
SPIKED = (32, 512)
"""Batch sizes, from and to, over which the excess is claimed to fall as 1 / b'."""
HESSIAN, GGN = "hessian", "ggn"

BATCHES = (1, 2, 4, 8, 16, 32, 128, 718, 1437)
"""Whose largest rate is sought; the last two are half of the training set and all of it."""
CONTROL = (1, 4, 16, 64, 256)
DIRECTIONS, SAMPLES, NO_NOISE = 127, 2048, 1e-12
"""Of the linear regression: features of unit variance, examples, and the variance of its labels' noise."""
GUESS = math.log(10)
"""Loss (nats) of digits that are guessed."""


# -- eigenvalues -------------------------------------------------------------------------------------------------------


def table_of(records: Records, curvature: str) -> "pd.DataFrame":
    """The probe's rows of one curvature.

    Raises:
        StudyError: the networks have not been probed.
    """
    if "eigenvalues" not in records.probes:
        raise StudyError("the trained networks have not been probed")
    table = records.probes["eigenvalues"]
    return table[table["curvature"] == curvature]


def full(records: Records, curvature: str) -> "pd.Series":
    """The largest eigenvalue of all data, by seed."""
    return table_of(records, curvature).groupby("seed")["full"].first()


def excess(records: Records, curvature: str, *, over: str = "along") -> "pd.DataFrame":
    """How far the largest eigenvalue of batches is above that of all data: size (index) by seed.

    Of a batch, its largest eigenvalue less its curvature in the leading direction of all data is taken: over batches
    drawn at random that curvature is the eigenvalue of all data in the mean, and taking it from the same batch removes
    most of the noise. Batches that hold what a partition left over do not count.

    Args:
        records: of the study.
        curvature: whose.
        over: ``along``, that curvature; ``full``: the eigenvalue of all data itself, of the same mean and noisier.
    """
    table = table_of(records, curvature)
    own = table[table["examples"] == table["size"]]
    return (own["value"] - own[over]).groupby([own["size"], own["seed"]]).mean().unstack("seed")


def eigenvalues(records: Records, curvature: str) -> "pd.DataFrame":
    """The mean largest eigenvalue of batches, as ``excess`` measures it: size (index) by seed."""
    return excess(records, curvature) + full(records, curvature)


def effective(sizes: Sequence[int] | np.ndarray, examples: int) -> np.ndarray:
    """The effective batch size, b' = B / (1 - B / N), infinite at N."""
    chosen = np.asarray(sizes, np.float64)
    with np.errstate(divide="ignore"):
        return chosen / (1 - chosen / examples)


def fitted(records: Records, curvature: str, *, over: str = "along") -> np.ndarray:
    """Slope and intercept of log ``excess`` against log b' over ``SPIKED``, by seed: shape (2, seeds)."""
    found = excess(records, curvature, over=over)
    own = found.loc[SPIKED[0] : SPIKED[1]]
    if len(own) < 2:
        raise StudyError(f"fewer than two batch sizes were measured between {SPIKED[0]} and {SPIKED[1]}")
    with np.errstate(invalid="ignore"):
        heights = np.log(own.to_numpy(float))
    return np.polyfit(np.log(effective(own.index.to_numpy(), int(found.index.max()))), heights, 1)


def slope(curvature: str, *, over: str = "along") -> Measure:
    """The slope of log ``excess`` against log b'."""
    return lambda records: mean_interval(fitted(records, curvature, over=over)[0])


def full_error(curvature: str) -> Measure:
    """Relative distance of the eigenvalue at B = N, in another order and piece by piece, from that of all data."""

    def measure(records: Records) -> Measurement:
        table = table_of(records, curvature)
        own = table[table["examples"] == table["examples"].max()]
        return Measurement(float(np.max(np.abs(own["value"] / own["full"] - 1))), own["seed"].nunique())

    return measure


def least_partition(curvature: str) -> Measure:
    """The least mean over a partition of batch over full eigenvalue, below B = N: over sizes, partitions, seeds.

    A batch counts by its examples, so that the mean of the batches' matrices is that of all data.
    """

    def measure(records: Records) -> Measurement:
        table = table_of(records, curvature)
        own = table[table["size"] < table["examples"].max()]
        keys = [own[name] for name in ("size", "partition", "seed")]
        weighted = (own["value"] * own["examples"]).groupby(keys).sum() / own["examples"].groupby(keys).sum()
        ratios = weighted / own["full"].groupby(keys).first()
        return Measurement(float(ratios.min()), own["seed"].nunique())

    return measure


def least_rise(curvature: str) -> Measure:
    """The mean largest eigenvalue at a batch size over that at the next larger one, least over the sizes."""

    def measure(records: Records) -> Measurement:
        found = eigenvalues(records, curvature).to_numpy(float)
        ratios = [small / large for small, large in itertools.pairwise(found)]
        return smallest(lambda level: [mean_interval(ratio, level) for ratio in ratios])

    return measure


# -- largest rates -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Runs over rates for every batch size.

    Attributes:
        part: of the study.
        metric: final, by which a run is judged.
        level: at most which a run has trained.
        centre: base-2 logarithm of the middle of the window at the batch size 1.
        power: of the batch size, with which the window moves.
        until: batch size from which on the window stays.
    """

    part: str
    metric: str
    level: float
    centre: float
    power: float
    until: int

    def window(self, batch: int, rates: int) -> list[float]:
        """The rates at which a batch size is run, a quarter of an octave apart."""
        middle = self.centre + self.power * math.log2(min(batch, self.until))
        return [2.0 ** (round(4 * middle) / 4 + (i - rates // 2) / 4) for i in range(rates)]


SGD = Sweep("sgd", "validation_loss", GUESS / 2, -3.5, 1.0, 8)
ADAM = Sweep("adam", "validation_loss", GUESS / 2, -5.25, 0.5, 32)
REGRESSION = Sweep("control", "excess_loss", DIRECTIONS / 2, -5.75, 0.75, 512)
SMALL = {"sgd": (1, 4), "adam": (1, 32), "control": (1, 16)}
"""Batch sizes, from and to, over which the largest rate is claimed to grow by its power."""


def largest_rates(records: Records, sweep: Sweep) -> "pd.DataFrame":
    """The largest rate that trains: batch size (index) by seed; NaN where it is on the window's edge.

    It is interpolated in log rate and log loss. Losses above four times the level, and those of runs that diverged,
    count as that.
    """
    import pandas as pd

    runs = records.part(sweep.part).runs
    if not len(runs):
        raise StudyError(f"part {sweep.part} has no run")
    final = runs[sweep.metric].astype(float).where(runs["outcome"] == "ok")
    heights = np.log(np.fmin(final.fillna(np.inf), 4 * sweep.level))
    frame = runs[["seed"]].assign(batch=runs["task.batch_size"].astype(int), height=heights)
    frame["inverse"] = 1 / runs["schedule.peak"].astype(float)
    rows: dict[int, dict[int, float]] = {}
    for (batch, seed), own in frame.groupby(["batch", "seed"]):
        # Read from above, the largest rate that trains is where the loss first falls to the level.
        crossing = learning_rate_at_threshold(own["inverse"].to_list(), own["height"].to_list(), np.log(sweep.level))
        rows.setdefault(int(batch), {})[int(seed)] = 1 / crossing
    return pd.DataFrame.from_dict(rows, orient="index").sort_index()


def powers(records: Records, sweep: Sweep, between: tuple[float, float]) -> np.ndarray:
    """The power of the batch size with which the largest rate grows over a range of sizes, by seed."""
    own = largest_rates(records, sweep).loc[between[0] : between[1]]
    if len(own) < 2:
        raise StudyError(f"part {sweep.part} has fewer than two batch sizes between {between[0]} and {between[1]}")
    heights = np.log(own.to_numpy(float))
    if not np.isfinite(heights).all():
        return np.full(heights.shape[1], np.nan)
    return np.polyfit(np.log(own.index.to_numpy(float)), heights, 1)[0]


def power(sweep: Sweep, between: tuple[float, float]) -> Measure:
    """Its mean over seeds."""
    return lambda records: mean_interval(powers(records, sweep, between))


def exact_rate(batch: float | np.ndarray) -> float | np.ndarray:
    """The largest rate at which SGD on fresh normal features of unit variance does not diverge in mean square.

    With n directions and no noise in the labels the mean squared error is multiplied by (1 - eta)^2 + eta^2 (n + 1) / B
    in every update (from the fourth moments of a normal vector; ``tasks.noisy_regression.expected_excess``).
    """
    return 2 * batch / (batch + DIRECTIONS + 1)


def exact_error(records: Records) -> Measurement:
    """The largest relative distance of the regression's largest rate, mean over seeds, from the exact one."""
    own = largest_rates(records, REGRESSION).loc[SMALL["control"][0] : SMALL["control"][1]]
    ratios = own.to_numpy(float) / np.asarray(exact_rate(own.index.to_numpy(float)))[:, None]
    return mean_interval(np.max(np.abs(ratios - 1), axis=0))


def predicted_power(records: Records) -> Measurement:
    """The power of the batch size with which 2 over the Hessian's largest eigenvalue grows where SGD's rate should."""
    own = eigenvalues(records, HESSIAN).loc[SMALL["sgd"][0] : SMALL["sgd"][1]]
    if len(own) < 2:
        raise StudyError("fewer than two small batch sizes were measured")
    return mean_interval(-np.polyfit(np.log(own.index.to_numpy(float)), np.log(own.to_numpy(float)), 1)[0])


def power_gap(records: Records) -> Measurement:
    """SGD's power less Adam's, both over the batch sizes of SGD's claim."""
    return mean_interval(powers(records, SGD, SMALL["sgd"]) - powers(records, ADAM, SMALL["sgd"]))
