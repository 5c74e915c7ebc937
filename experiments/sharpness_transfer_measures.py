"""What the study of sharpness over sizes measures in its records: rate times sharpness, and its spread."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from experiments.mup_transfer_optima import Curves
from lrstudy.study.claims import Measurement, largest, mean_interval, ratio
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]
Arms = Callable[["pd.DataFrame"], "pd.Series"]

MUP, NTK, SP = "muP", "NTK", "SP"
SCALED, UNSCALED = "scaled", "not scaled"
NAMES: Mapping[str, str] = {"mup": MUP, "ntk": NTK, "sp": SP}
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
        runs = own.runs[(self.arms(own.runs) == arm) & (own.runs[self.size] == size)]
        if not len(runs):
            raise StudyError(f"part {self.part} has no run of {arm} at {self.noun} {size}")
        rows = own.metrics[own.metrics["run_id"].isin(runs["run_id"])]
        return Records(runs.reset_index(drop=True), rows, records.probes, {})

    def scaled(self, records: Records, arm: str) -> dict[int, "pd.DataFrame"]:
        """Rate times sharpness by step (index) and seed (columns) for every size of an arm, the final one included."""
        found = {}
        for size in self.sizes(records):
            own = self.of(records, arm, size)
            found[size] = own.curves("sharpness") * own.runs["schedule.peak"].astype(float).iloc[0]
        return found


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


def mean_spread(family: Family, arm: str) -> Measure:
    """The mean of that coefficient from ``LATE`` of the training on."""
    return lambda records: mean_interval(late(variation(family.scaled(records, arm))).mean(axis=0).to_numpy())


def spread_ratio(family: Family, arm: str, other: str) -> Measure:
    """The mean coefficient of one arm over that of another, from ``LATE`` of the training on."""

    def measure(records: Records) -> Measurement:
        first, second = (late(variation(family.scaled(records, name))).mean(axis=0) for name in (arm, other))
        return ratio(first.to_numpy(), second.reindex(first.index).to_numpy())

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
        return largest(lambda level: [ratio(b, a, level) for a, b in zip(ends[:-1], ends[1:], strict=True)])

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


def excess_spread(column: str, *, at_the_end: bool) -> Measure:
    """Under muP, the coefficient of variation over the widths of a probed number less that of the sharpness.

    Args:
        column: ``kernel`` or ``loss``.
        at_the_end: of training; else the mean over the probed steps from ``LATE`` on.
    """

    def measure(records: Records) -> Measurement:
        own = variation(probed(records, MUP, column))
        sharp = variation(REGRESSION.scaled(records, MUP)).reindex(index=own.index, columns=own.columns)
        difference = own - sharp
        rows = difference.iloc[[-1]] if at_the_end else late(difference)
        return mean_interval(rows.mean(axis=0).to_numpy())

    return measure


def rate_curves(records: Records) -> Curves:
    """Logarithms of the last recorded losses by arm and width: rates over gamma^2 by seeds, infinite where diverged."""
    records = records.part(RATES.part)
    runs = records.runs
    if not len(runs):
        raise StudyError(f"part {RATES.part} has no run")
    ends = records.metrics.sort_values("step").groupby("run_id")["loss"].last()
    finite = runs["run_id"].map(ends).astype(float).where(runs["outcome"] == "ok").fillna(np.inf)
    frame = runs[["seed"]].assign(arm=RATES.arms(runs), size=runs[RATES.size].astype(int), loss=np.log(finite))
    frame["rate"] = (runs["schedule.peak"].astype(float) / runs["task.gamma"].astype(float) ** 2).round(6)
    return {
        (str(arm), int(size)): own.pivot_table(index="rate", columns="seed", values="loss", dropna=False)
        for (arm, size), own in frame.groupby(["arm", "size"], sort=False)
    }
