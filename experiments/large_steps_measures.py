"""What the study of large steps measures in its records."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.study.claims import Measurement, exponentiated, mean_interval
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

PUBLISHED = {(False, 100.0): 308, (True, 100.0): 2, (True, 10.0): 2, (True, 1.0): 16, (True, 0.1): 157}
"""Whether normalised, and the step gamma, to the updates of table 1 at 1,000 examples."""
SIZES = (10, 30, 100, 300, 1_000, 3_000, 10_000)
STEPS = (1.0, 3.0, 10.0, 30.0, 100.0, 1_000.0)
"""Gammas at which the iterates approach the perceptron's; at the last two float32 tells no difference."""
HUGE = 1e4
NORMALISED_STEPS = (0.1, 1.0, 10.0, 100.0)
SMALL, LARGE = 0.5, 5.5
RATES = (SMALL, 1.0, 2.0, 4.0, 5.0, LARGE)
"""Of the network on features and noise; above the largest some runs diverge (seeds 1-9: 4 of 9 at 6)."""
CHANCE = 0.5


# -- updates until every example is classified correctly ---------------------------------------------------------------


def iterations(records: Records) -> "pd.Series":
    """Run id to the first count of updates after which nothing is misclassified; NaN where there is none."""
    rows = records.metrics[records.metrics["run_id"].isin(records.runs["run_id"])]
    done = rows[rows["misclassified"] == 0].groupby("run_id")["step"].min()
    return records.runs["run_id"].map(done)


def _one(records: Records, part: str, **wanted: object) -> float:
    found = iterations(records.part(part).where(**wanted))
    return float(found.iloc[0]) if len(found) == 1 else float("nan")


def from_published(normalised: bool, step: float) -> Measure:
    """How far a count of updates is from the paper's."""

    def measure(records: Records) -> Measurement:
        found = _one(records, "published", task__normalised=normalised, schedule__peak=step)
        return Measurement(abs(found - PUBLISHED[normalised, step]), 1)

    return measure


def from_solvers(records: Records) -> Measurement:
    """The largest distance of a run's count from that of the solver of ``lrstudy.optimizers`` on all rows."""
    own = records.part("table")
    runs = own.runs[["run_id"]].assign(run=iterations(own)).merge(records.probes["solvers"], on="run_id")
    return Measurement(float((runs["run"] - runs["updates"]).abs().max(skipna=False)), len(runs))


def growth(records: Records, *, normalised: bool) -> np.ndarray:
    """Updates for every size, in order."""
    return np.asarray([_one(records, "growth", task__normalised=normalised, task__examples=n) for n in SIZES])


def growth_slope(records: Records) -> Measurement:
    """How far the slope of log updates against log examples is from 1, without normalisation."""
    slope = np.polyfit(np.log(SIZES), np.log(growth(records, normalised=False)), 1)[0]
    return Measurement(abs(float(slope) - 1), 1)


def growth_range(records: Records) -> Measurement:
    """Largest less smallest count over the sizes, normalised."""
    found = growth(records, normalised=True)
    return Measurement(float(found.max() - found.min()), 1)


# -- the perceptron's iterates -----------------------------------------------------------------------------------------


def iterates(records: Records, step: float) -> np.ndarray:
    """Iterates theta / gamma after 0, 1, ... updates, one row each."""
    rows = records.part("opposed").where(schedule__peak=step).metrics.sort_values("step")
    return rows[["theta_0", "theta_1"]].to_numpy(float) / step


def perceptron_iterates(count: int) -> np.ndarray:
    """The batch perceptron's on the sample of theorem 4.1, after 0, 1, ... updates."""
    rows = np.asarray([[1.0, -1.0], [1.0, 4.0]])
    found = [np.zeros(2)]
    for _ in range(count - 1):
        found.append(found[-1] + np.heaviside(-(rows @ found[-1]), 0.5) @ rows / 2)
    return np.stack(found)


def distance(records: Records, step: float) -> float:
    """Largest distance of theta / gamma from the perceptron's iterate of the same count."""
    own = iterates(records, step)
    return float(np.max(np.linalg.norm(own - perceptron_iterates(len(own)), axis=1)))


def iterate_error(count: int, step: float, published: Sequence[float]) -> Measure:
    """Largest distance of a coordinate of theta / gamma after so many updates from the published one."""

    def measure(records: Records) -> Measurement:
        return Measurement(float(np.max(np.abs(iterates(records, step)[count] - np.asarray(published)))), 1)

    return measure


def loss_error(step: float, published: float) -> Measure:
    """Relative distance of the loss after one update from the published one."""

    def measure(records: Records) -> Measurement:
        loss = float(records.part("opposed").where(schedule__peak=step).at_step("loss", 1).iloc[0])
        return Measurement(abs(loss / published - 1), 1)

    return measure


def largest_distance_ratio(records: Records) -> Measurement:
    """The distance from the perceptron at each gamma up to 30 over that at the one before, largest."""
    found = np.asarray([distance(records, step) for step in STEPS[:4]])
    return Measurement(float(np.max(found[1:] / found[:-1])), 1)


def huge_distance(records: Records) -> Measurement:
    """Distance of theta / gamma from the perceptron's iterates at the largest gamma."""
    return Measurement(distance(records, STEPS[-1]), 1)


# -- random samples ----------------------------------------------------------------------------------------------------


def bound_shares(records: Records) -> "pd.DataFrame":
    """Runs on random samples: updates, their bound, and the one over the other."""
    runs = records.part("random").runs
    table = records.probes["margins"].set_index("data_seed").loc[runs["task.data_seed"].astype(int)]
    squared = (table["radius"] / table["margin"]).to_numpy() ** 2
    examples, step = runs["task.examples"].to_numpy(float), runs["schedule.peak"].to_numpy(float)
    logarithm = 2 * np.log(2 * examples - 1) / (step * table["margin"].to_numpy() ** 2)
    normalised = runs["task.normalised"].to_numpy(bool)
    found = iterations(records.part("random")).to_numpy(float)
    bound = np.where(normalised, squared + logarithm, examples * squared)
    columns = {"normalised": normalised, "step": step, "seed": runs["task.data_seed"].to_numpy()}
    return runs[["run_id"]].assign(**columns, updates=found, bound=bound, share=found / bound)


def largest_share(*, normalised: bool) -> Measure:
    """The largest share of its bound that any run on a random sample needed."""

    def measure(records: Records) -> Measurement:
        table = bound_shares(records)
        own = table[table["normalised"] == normalised]
        return Measurement(float(own["share"].max(skipna=False)), own["seed"].nunique())

    return measure


# -- features and noise ------------------------------------------------------------------------------------------------


def test_accuracy(records: Records, rate: float) -> np.ndarray:
    """Accuracy where only the weak feature tells the label, one number a seed; a diverged run counts as chance."""
    own = records.part("benign").where(schedule__peak=rate).runs.sort_values("seed")
    accuracy = 1 - own["test_error"].astype(float).to_numpy()
    return np.where((own["outcome"] == "ok").to_numpy(), accuracy, CHANCE)


def accuracy(rate: float) -> Measure:
    """Its mean over seeds."""
    return lambda records: mean_interval(test_accuracy(records, rate))


def accuracy_gain(records: Records) -> Measurement:
    """Accuracy at the large rate less that at the small one."""
    return mean_interval(test_accuracy(records, LARGE) - test_accuracy(records, SMALL))


def sample_error(records: Records) -> Measurement:
    """The largest share of training examples on the wrong side after training, over both rates and all seeds."""
    own = [records.part("benign").where(schedule__peak=rate).runs for rate in (SMALL, LARGE)]
    errors = np.concatenate([runs["sample_error"].astype(float).to_numpy() for runs in own])
    return Measurement(float(np.max(errors)), len(own[0]))


def unrest(records: Records, rate: float) -> np.ndarray:
    """How much the sample's loss moves between evaluations once it was below a tenth of its start; one number a seed.

    Root mean square of the changes, over the start.
    """
    curves = records.part("benign").where(schedule__peak=rate).curves("sample_loss").dropna(how="all")
    relative = (curves / curves.iloc[0]).to_numpy(float)
    found = []
    for values in relative.T:
        below = np.flatnonzero(values < 0.1)
        found.append(np.sqrt(np.nanmean(np.diff(values[below[0] :]) ** 2)) if len(below) else np.nan)
    return np.asarray(found)


def unrest_ratio(records: Records) -> Measurement:
    """That at the large rate over that at the small one, by the mean of its logarithm."""
    return exponentiated(mean_interval(np.log(unrest(records, LARGE) / unrest(records, SMALL))))
