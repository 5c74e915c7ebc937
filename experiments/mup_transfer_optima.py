"""Best rates of the transfer study: losses by rate and seed for every arm and size, and how their optima move."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.parametrization import learning_rate_at_threshold, learning_rate_sensitivity, optimal_learning_rate
from lrstudy.study.claims import Measurement, jackknife
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Cell = tuple[str, int]
"""An arm, and the width or depth of its model."""
Curves = Mapping[Cell, "pd.DataFrame"]
"""Logarithms of the final losses of every cell: rates (index) by seeds (columns), infinite where a run diverged."""
Places = Sequence[int] | np.ndarray | None
"""Places of the chosen seeds; ``None``: each once."""

LAST = 5
"""Updates at the end of a run whose batch losses are averaged for its final training loss."""
THRESHOLD = 0.5
"""Loss (nats) on digits whose crossing marks a rate, or a decay, that does not depend on the flat bottom of a curve."""
TEXT_THRESHOLD = 3.2
"""The same on text (nats/byte), a little below what the bytes' frequencies alone give (3.24)."""
NO_RULE = "no depth rule"
KEPT, FALLING = "kept", "over the fan-in"
"""The decay of a hidden tensor at other widths: as it is, or falling as it would if it were scaled like the rate."""


def _with_shared(cells: dict[Cell, "pd.DataFrame"], arm: str) -> dict[Cell, "pd.DataFrame"]:
    """Every arm with the smallest model of one of them."""
    base = min(size for name, size in cells if name == arm)
    return {(name, base): cells[arm, base] for name in arms(cells)} | cells


def training_losses(records: Records) -> "pd.Series":
    """Mean batch loss over a run's last updates, in the order of the runs.

    Every row is the loss of a fresh batch before its update, while the rate falls to zero: several batches of nearly
    the final parameters hold most of the training set, where one would be noise.
    """
    lengths = records.runs.set_index("run_id")["steps"].astype(int)
    rows = records.metrics[["run_id", "step", "loss"]]
    late = rows[rows["step"] >= rows["run_id"].map(lengths) - LAST]
    means = late.groupby("run_id")["loss"].mean()
    return records.runs["run_id"].map(means).astype(float)


def initial_loss(records: Records, part: str) -> float:
    """Mean batch loss before the first update, over all runs of a part."""
    rows = records.part(part).metrics
    return float(rows.loc[rows["step"] == 0, "loss"].mean())


def arms(curves: Curves) -> list[str]:
    """The arms, in the order of the plan."""
    return list(dict.fromkeys(arm for arm, _ in curves))


def sizes(curves: Curves, arm: str) -> list[int]:
    """The sizes of an arm, increasing.

    Raises:
        StudyError: there is no such arm.
    """
    found = sorted(size for name, size in curves if name == arm)
    if not found:
        raise StudyError(f"no runs of {arm}")
    return found


def means(curves: Curves, cell: Cell, seeds: Places = None) -> "pd.Series":
    """The mean log loss of every rate over some seeds; infinite where one of them diverged."""
    losses = curves[cell]
    chosen = losses if seeds is None else losses.iloc[:, np.asarray(seeds)]
    return chosen.mean(axis=1, skipna=False)


def best_rate(curves: Curves, cell: Cell, seeds: Places = None) -> float:
    """The optimum by the parabola in the log rate; NaN where the lowest loss is on the grid's edge, or all diverged."""
    losses = means(curves, cell, seeds)
    if not np.isfinite(losses).any():
        return float("nan")
    optimum = optimal_learning_rate(losses.index.to_list(), losses.to_list())
    return float("nan") if optimum.on_edge else optimum.value


def crossing_at(level: float) -> "Rate":
    """The lowest rate at which the loss falls to a level, interpolated; NaN where none does."""

    def rate(curves: Curves, cell: Cell, seeds: Places = None) -> float:
        losses = np.exp(means(curves, cell, seeds))
        return float(learning_rate_at_threshold(losses.index.to_list(), losses.to_list(), level))

    return rate


crossing, text_crossing = crossing_at(THRESHOLD), crossing_at(TEXT_THRESHOLD)


def sensitivity(curves: Curves, cell: Cell, initial: float, between: tuple[float, float]) -> float:
    """Mean excess of the loss, never above the initial one, over the lowest, over a fixed range of rates (nats)."""
    losses = np.exp(means(curves, cell)).loc[between[0] : between[1]]
    return float(learning_rate_sensitivity(losses.to_list(), initial))


def ceiling(curves: Curves, cell: Cell, seeds: Places = None) -> float:
    """The lowest rate, or decay, at which the loss has risen to ``THRESHOLD``, interpolated; NaN where none does."""
    losses = np.exp(means(curves, cell, seeds))
    # Read from the other end, a curve that rises once falls once.
    return 1 / float(learning_rate_at_threshold((1 / losses.index).to_list(), losses.to_list(), THRESHOLD))


Rate = Callable[[Curves, Cell, Places], float]
"""``best_rate``, one of ``crossing_at``, or ``ceiling``; the seeds may be left out."""


def log_rates(curves: Curves, arm: str, rate: Rate = best_rate, seeds: Places = None) -> np.ndarray:
    """Base-2 logarithms of an arm's rates, one a size; NaN where there is none."""
    return np.log2([rate(curves, (arm, size), seeds) for size in sizes(curves, arm)])


def spread(curves: Curves, arm: str, rate: Rate = best_rate, seeds: Places = None) -> float:
    """Octaves between the lowest and the highest rate of an arm; NaN where one is missing."""
    return float(np.ptp(log_rates(curves, arm, rate, seeds)))


def slope(curves: Curves, arm: str, rate: Rate = best_rate, seeds: Places = None) -> float:
    """Octaves by which an arm's rate moves when the size doubles, by least squares; NaN where one is missing."""
    found = log_rates(curves, arm, rate, seeds)
    if not np.isfinite(found).all() or len(found) < 2:
        return float("nan")
    return float(np.polyfit(np.log2(sizes(curves, arm)), found, 1)[0])


def regret(curves: Curves, arm: str, seeds: Places = None) -> float:
    """Log ratio of two losses of the largest model: at the grid's best rate of the smallest one, and the lowest."""
    small, *_, large = sizes(curves, arm)
    tuned = means(curves, (arm, small), seeds).idxmin()
    losses = means(curves, (arm, large), seeds)
    return float(losses.loc[tuned] - losses.min())


def penalty(curves: Curves, arm: str, between: tuple[float, float], seeds: Places = None) -> float:
    """Loss of the largest model above that of the smallest at the same rates, mean over a range of them (nats)."""
    small, *_, large = sizes(curves, arm)
    both = [np.exp(means(curves, (arm, size), seeds)).loc[between[0] : between[1]] for size in (large, small)]
    return float((both[0] - both[1]).mean())


def edges(curves: Curves, names: Sequence[str]) -> int:
    """How many cells of some arms have their lowest loss on the grid's edge."""
    return sum(int(np.isnan(log_rates(curves, name)).sum()) for name in names)


def over_seeds(curves: Curves, statistic: Callable[[Places], float]) -> Measurement:
    """A statistic with the jackknife's 95% interval over seeds."""
    return jackknife(statistic, next(iter(curves.values())).shape[1])


@dataclasses.dataclass(frozen=True)
class Sweep:
    """How the runs of a part become curves.

    Attributes:
        part: its name.
        arm: the table of its runs to the arm of every run.
        size: column of the width or depth.
        along: column along which the optimum is sought.
        training: judge by the training loss at the end (see ``LAST``), not by the validation loss.
        level: the loss whose crossing is measured beside or instead of the optimum.
        shared: the arm whose smallest model is that of every arm, and was trained once.
        between: the rates, both included, over which the sensitivity is averaged; fixed before the run.
        rate: what is followed over the sizes.
    """

    part: str
    arm: Callable[["pd.DataFrame"], "pd.Series"]
    size: str = "model.width"
    along: str = "schedule.peak"
    training: bool = False
    level: float | None = None
    shared: str | None = None
    between: tuple[float, float] | None = None
    rate: Rate = best_rate

    @property
    def noun(self) -> str:
        """What the size is called."""
        return self.size.rpartition(".")[2]

    def curves(self, records: Records) -> dict[Cell, "pd.DataFrame"]:
        """The logarithms of the final losses.

        Raises:
            StudyError: the part has no runs, or runs that differ in more than arm, size, rate and seed.
        """
        records = records.part(self.part)
        runs = records.runs
        if not len(runs):
            raise StudyError(f"part {self.part} has no run")
        found = training_losses(records) if self.training else runs["validation_loss"].astype(float)
        finite = found.where(runs["outcome"] == "ok").fillna(np.inf)
        frame = runs[["seed"]].assign(arm=self.arm(runs), size=runs[self.size].astype(int), loss=np.log(finite))
        frame["rate"] = runs[self.along].astype(float)
        if frame.duplicated(["arm", "size", "rate", "seed"]).any():
            raise StudyError(f"part {self.part} varies along more than {self.size}, {self.along} and the seed")
        cells = {
            (str(arm), int(size)): own.pivot_table(index="rate", columns="seed", values="loss", dropna=False)
            for (arm, size), own in frame.groupby(["arm", "size"], sort=False)
        }
        return cells if self.shared is None else _with_shared(cells, self.shared)


def _parametrization(runs: "pd.DataFrame") -> "pd.Series":
    return runs["parametrization"]


def _decay(runs: "pd.DataFrame") -> "pd.Series":
    exponents = runs["parametrization.decay_exponent"].astype(float)
    names = exponents.map({0.0: KEPT, -1.0: FALLING})
    return names + runs["schedule.peak"].map(", peak {:.3g}".format)


def _depth_rule(runs: "pd.DataFrame") -> "pd.Series":
    ruled = runs["parametrization.alpha"].astype(float).map("alpha {:g}".format)
    return ruled.where(runs["parametrization.base_layers"].notna(), NO_RULE)


MLP = Sweep("mlp", _parametrization, training=True, level=THRESHOLD, between=(2.0**-6, 2.0**-2))
NTK = Sweep("ntk", _parametrization, training=True, level=THRESHOLD, between=MLP.between)
TRANSFORMER = Sweep("transformer", _parametrization, level=TEXT_THRESHOLD, between=(2.0**-7, 2.0**-3))
DECAY = Sweep("decay", _decay, along="optimizer.weight_decay", level=THRESHOLD, rate=ceiling)
DEPTH = Sweep("depth", _depth_rule, size="model.layers", shared=NO_RULE)
LION = Sweep("lion", _parametrization, training=True, level=THRESHOLD)
MUON = Sweep("muon", _parametrization, training=True, level=THRESHOLD)
SWEEPS = (MLP, NTK, DECAY, LION, MUON, TRANSFORMER, DEPTH)
