"""What the study of sharpness over sizes measures in its records: rate times sharpness, and its spread."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from experiments.mup_transfer_optima import Cell, Curves, Places, best_rate, crossing_at, means
from lrstudy.study.claims import Measurement, exponentiated, jackknife, largest, mean_interval, ratio
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]
Arms = Callable[["pd.DataFrame"], "pd.Series"]

MUP, NTK, SP = "muP", "NTK", "SP"
SCALED, UNSCALED = "scaled", "not scaled"
NAMES: Mapping[str, str] = {"mean_field": MUP, "ntk": NTK, "sp": SP}
LATE = 1 / 3
"""Share of a run from which on its sharpness is to be that of every width."""


@dataclasses.dataclass(frozen=True)
class Family:
    """Runs of several sizes, once in each of several ways.

    Attributes:
        part: of the study.
        size: column of the size.
        arms: runs to the name of the way.
    """

    part: str
    size: str
    arms: Arms

    @property
    def noun(self) -> str:
        """What the size is called."""
        return "depth" if self.size == "task.layers" else self.size.rpartition(".")[2]

    def sizes(self, records: Records) -> list[int]:
        """The sizes, increasing.

        Raises:
            StudyError: the part has no runs.
        """
        runs = records.part(self.part).runs
        if not len(runs):
            raise StudyError(f"part {self.part} has no run")
        return sorted(set(runs[self.size].astype(int)))

    def names(self, records: Records) -> list[str]:
        """The arms, in the order of the plan."""
        return list(dict.fromkeys(self.arms(records.part(self.part).runs)))

    def of(self, records: Records, arm: str, size: int) -> Records:
        """The records of one arm and size.

        Raises:
            StudyError: there are none.
        """
        own = records.part(self.part)
        chosen = (self.arms(own.runs) == arm) & (own.runs[self.size] == size)
        if not chosen.any():
            raise StudyError(f"part {self.part} has no run of {arm} at {self.noun} {size}")
        return own.chosen(chosen)

    def scaled(self, records: Records, arm: str) -> dict[int, "pd.DataFrame"]:
        """Rate times sharpness by step (index) and seed (columns) for every size of an arm, the final one included."""
        found = {}
        for size in self.sizes(records):
            own = self.of(records, arm, size)
            found[size] = own.curves("sharpness") * _rate(own.runs)
        return found


def _rate(runs: "pd.DataFrame") -> float:
    """The rate of all tensors.

    The sharpness times the rate says something where all tensors have one. Under muP as the library writes it they have
    rates of their own, by which the Hessian would have to be scaled; written as mean field it is the same function on
    the same path, and for SGD every tensor's rate is m times the global one, m being the width over the base's. (The
    readout's bias alone keeps the global one; its ten numbers are counted with the others' rate.)
    """
    run = runs.iloc[0]
    widened = run.get("parametrization") == "mean_field"
    return float(run["schedule.peak"]) * (run["model.width"] / run["parametrization.base_width"] if widened else 1)


def _by_gamma(runs: "pd.DataFrame") -> "pd.Series":
    return runs["task.gamma"].map(lambda gamma: NTK if gamma == 1 else MUP)


def _by_branch(runs: "pd.DataFrame") -> "pd.Series":
    return runs["task.branch_scale"].map(lambda scale: UNSCALED if scale == 1 else SCALED)


def _by_parametrization(runs: "pd.DataFrame") -> "pd.Series":
    return runs["parametrization"].map(NAMES)


REGRESSION = Family("regression", "task.width", _by_gamma)
RATES = Family("rates", "task.width", _by_gamma)
DEPTH = Family("depth", "task.layers", _by_branch)
DIGITS = Family("digits", "model.width", _by_parametrization)
CONVNET = Family("convnet", "model.width", _by_parametrization)


def variation(by_size: Mapping[int, "pd.DataFrame"]) -> "pd.DataFrame":
    """The coefficient of variation over the sizes, by step and seed; NaN where a size was not measured.

    Args:
        by_size: size to values by step and seed.
    """
    import pandas as pd

    frames = list(by_size.values())
    steps, seeds = frames[0].index, frames[0].columns
    stacked = np.stack([frame.reindex(index=steps, columns=seeds).to_numpy(float) for frame in frames])
    return pd.DataFrame(stacked.std(axis=0) / np.abs(stacked.mean(axis=0)), index=steps, columns=seeds)


def late(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The rows from ``LATE`` of the last step on."""
    return frame[frame.index >= LATE * frame.index[-1]]


def spread_at_the_end(family: Family, arm: str) -> Measure:
    """Coefficient of variation over the sizes of the final rate times sharpness."""
    return lambda records: mean_interval(variation(family.scaled(records, arm)).iloc[-1].to_numpy())


def spread_on_the_way(family: Family, arm: str, extreme: Callable[..., np.ndarray]) -> Measure:
    """The largest (``np.max``) or smallest (``np.min``) of that coefficient from ``LATE`` of the training on."""

    def measure(records: Records) -> Measurement:
        return mean_interval(extreme(late(variation(family.scaled(records, arm))).to_numpy(), axis=0))

    return measure


def ratio_at_the_end(family: Family, arm: str, other: str) -> Measure:
    """The final coefficient of one arm over that of another."""

    def measure(records: Records) -> Measurement:
        first, second = (variation(family.scaled(records, name)).iloc[-1] for name in (arm, other))
        return ratio(first.to_numpy(), second.reindex(first.index).to_numpy())

    return measure


def courses(family: Family, records: Records, arm: str) -> np.ndarray:
    """Rate times sharpness, mean over the measurements after the first update, by size and seed."""
    return np.stack([frame[frame.index > 0].mean(axis=0) for frame in family.scaled(records, arm).values()])


def _spread_of_means(values: np.ndarray) -> float:
    """Coefficient of variation over the sizes (rows) of the means over seeds."""
    means = values.mean(axis=1)
    return float(means.std() / means.mean())


def course_spread(family: Family, arm: str) -> Measure:
    """Coefficient of variation over the sizes of the mean over seeds of the ``courses``.

    Batches and initial weights of one seed are others at every width, and their noise is as large as what is sought, so
    the seeds are averaged before the sizes are compared.
    """

    def measure(records: Records) -> Measurement:
        found = courses(family, records, arm)
        return jackknife(lambda seeds: _spread_of_means(found[:, seeds]), found.shape[1])

    return measure


def course_ratio(family: Family, arm: str, other: str) -> Measure:
    """That coefficient of one arm over another's."""

    def measure(records: Records) -> Measurement:
        one, two = courses(family, records, arm), courses(family, records, other)
        return exponentiated(
            jackknife(
                lambda seeds: np.log(_spread_of_means(one[:, seeds]) / _spread_of_means(two[:, seeds])), one.shape[1]
            )
        )

    return measure


def course_falls(family: Family, arm: str) -> Measure:
    """The largest ratio of a size's mean sharpness along training to that of the size before."""

    def measure(records: Records) -> Measurement:
        found = courses(family, records, arm)
        return largest(lambda level: [ratio(b, a, level) for a, b in itertools.pairwise(found)])

    return measure


def level(family: Family, arm: str) -> Measure:
    """Final rate times sharpness, mean over the sizes."""

    def measure(records: Records) -> Measurement:
        ends = [frame.iloc[-1] for frame in family.scaled(records, arm).values()]
        return mean_interval(np.mean(np.stack(ends), axis=0))

    return measure


def falls(family: Family, arm: str) -> Measure:
    """The largest ratio of a size's final sharpness to that of the size before."""

    def measure(records: Records) -> Measurement:
        ends = [frame.iloc[-1].to_numpy() for frame in family.scaled(records, arm).values()]
        return largest(lambda level: [ratio(b, a, level) for a, b in itertools.pairwise(ends)])

    return measure


def probed(records: Records, arm: str, column: str) -> dict[int, "pd.DataFrame"]:
    """A column of the regression's probe by step and seed for every width.

    Raises:
        StudyError: the probe has not been made.
    """
    if "kernel" not in records.probes:
        raise StudyError("the regression has not been probed")
    table = records.probes["kernel"]
    own = table[table["arm"] == arm]
    return {
        int(width): rows.pivot_table(index="step", columns="seed", values=column)
        for width, rows in own.groupby("width")
    }


def excess_spread(column: str) -> Measure:
    """Under muP, the final coefficient of variation over the widths of a probed number less that of the sharpness.

    Args:
        column: ``kernel`` or ``loss``.
    """

    def measure(records: Records) -> Measurement:
        own = variation(probed(records, MUP, column)).iloc[-1]
        sharp = variation(REGRESSION.scaled(records, MUP)).iloc[-1].reindex(own.index)
        return mean_interval((own - sharp).to_numpy())

    return measure


def kernel_gap(records: Records) -> Measurement:
    """Under muP, the largest relative distance of the final tangent kernel's eigenvalue from the sharpness."""
    kernels, sharp = probed(records, MUP, "kernel"), REGRESSION.scaled(records, MUP)
    gaps = [np.abs(kernels[size].iloc[-1] / sharp[size].iloc[-1].reindex(kernels[size].columns) - 1) for size in sharp]
    return mean_interval(np.max(np.stack(gaps), axis=0))


def spread_before(family: Family, arm: str) -> Measure:
    """Coefficient of variation over the sizes before the first update."""
    return lambda records: mean_interval(variation(family.scaled(records, arm)).iloc[0].to_numpy())


def rate_curves(records: Records) -> Curves:
    """Mean log losses over the second half of training, by arm and width: rates over gamma^2 by seeds.

    At the edge of stability the loss of a single update is up to a decade from that of the next. Infinite where a run
    diverged, or where the loss ends above what it was before training.
    """
    records = records.part(RATES.part)
    runs = records.runs
    if not len(runs):
        raise StudyError(f"part {RATES.part} has no run")
    rows = records.metrics[["run_id", "step", "loss"]].astype({"loss": float})
    length = runs.set_index("run_id")["steps"].astype(int)
    ends = rows[rows["step"] >= rows["run_id"].map(length) / 2].copy()
    ends["log"] = np.log(ends["loss"])
    losses = runs["run_id"].map(ends.groupby("run_id")["log"].mean())
    before = np.log(runs["run_id"].map(rows[rows["step"] == 0].set_index("run_id")["loss"]))
    trained = (runs["outcome"] == "ok") & (losses < before)
    frame = runs[["seed"]].assign(arm=RATES.arms(runs), size=runs[RATES.size].astype(int))
    frame["loss"] = losses.where(trained).fillna(np.inf)
    frame["rate"] = (runs["schedule.peak"].astype(float) / runs["task.gamma"].astype(float) ** 2).round(6)
    return {
        (str(arm), int(size)): own.pivot_table(index="rate", columns="seed", values="loss", dropna=False)
        for (arm, size), own in frame.groupby(["arm", "size"], sort=False)
    }


def nearest_best(curves: Curves, cell: Cell, seeds: Places = None) -> float:
    """The octave nearest to the optimum by the parabola in the log rate, as the grid has octaves.

    Next to a rate that diverges there is no parabola, and the grid's own best is taken: beside it, the fraction of an
    octave says nothing. NaN where the lowest loss is on the grid's edge, or all diverged.
    """
    return float(2 ** np.round(np.log2(best_rate(curves, cell, seeds))))


def largest_stable(curves: Curves, cell: Cell, seeds: Places = None) -> float:
    """The largest rate of the grid at which no seed diverged; NaN where it is the grid's last."""
    finite = np.isfinite(means(curves, cell, seeds))
    stable = finite.index[finite.to_numpy()]
    return float("nan") if not len(stable) or stable[-1] == finite.index[-1] else float(stable[-1])


LEVEL = 0.1
"""Loss whose crossing marks a rate that does not depend on the flat and noisy bottom of a curve."""
reached = crossing_at(LEVEL)
