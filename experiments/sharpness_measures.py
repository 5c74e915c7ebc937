"""What the study of sharpness measures in its records."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.curvature import thresholds
from lrstudy.study.choices import Choice, choice
from lrstudy.study.claims import Measurement, largest, mean_interval, ratio
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

GAMMA = 8.0
"""Output scale of the tanh network at the edge; rates are given over its square."""
LATE = 0.75
"""Share of the updates from which on a run is taken to have arrived."""


@dataclasses.dataclass(frozen=True)
class Method:
    """Full-batch descent with one kind of momentum.

    Attributes:
        name: as people say it.
        optimizer: of the configuration.
        kind: row of ``curvature.thresholds``.
        momentum: b.
        rate: over gamma squared.
    """

    name: str
    optimizer: Choice
    kind: str
    momentum: float
    rate: float

    @property
    def threshold(self) -> float:
        """The sharpness at the edge of stability times the rate."""
        return float(thresholds(self.kind, 1.0, momentum=self.momentum))

    def of(self, runs: "pd.DataFrame") -> "pd.Series":
        """Whether each run is one of this method."""
        chosen = runs["optimizer"] == self.optimizer.name
        for name, value in self.optimizer.arguments.items():
            chosen &= runs[f"optimizer.{name}"] == value
        return chosen


METHODS = (
    Method("gradient descent", choice("optimizer", "sgd"), "gd", 0.0, 1.0),
    Method("heavy ball", choice("optimizer", "momentum", momentum=0.5, nesterov=False), "heavy_ball", 0.5, 0.75),
    Method("Nesterov", choice("optimizer", "momentum", momentum=0.5, nesterov=True), "nesterov", 0.5, 0.75),
    Method("EMA momentum", choice("optimizer", "ema_momentum", momentum=0.25), "ema_momentum", 0.25, 1.67),
)
ADAM_RATES = (0.02, 0.05)
ADAM_THRESHOLD = float(thresholds("adam", 1.0, momentum=0.9))
EXACT_RATES = tuple(2 * share for share in (0.97, 0.98, 0.99, 1.01, 1.02, 1.03))
"""Near 2 / trace, the trace of orthogonal examples being 1; claims and figure take the recorded one."""
RELU_RATES = (0.1, 0.4, 1.2, 2.0)
DIAGONAL_RATES = (0.005, 0.01, 0.02, 0.03)
LOW, HIGH = 10.0, 45.0
"""Rates of the network with gamma 1: below and above 2 / sharpness before training."""
WARMUP_RATE = 8.0
"""Over gamma squared: four times 2 / sharpness before training."""
TEXT_RATE = 0.006


def late(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The rows from ``LATE`` of the last step on."""
    return frame[frame.index >= LATE * frame.index[-1]]


def method_share(records: Records, method: Method) -> "pd.DataFrame":
    """The sharpness over the method's threshold by step and seed."""
    own = records.part("descent")
    return own.chosen(method.of(own.runs)).curves("sharpness") * method.rate * GAMMA**2 / method.threshold


def distance_from_edge(method: Method) -> Measure:
    """How far a seed's mean late sharpness is from the threshold, over it; mean over seeds."""
    return lambda records: mean_interval((late(method_share(records, method)).mean() - 1).abs().to_numpy())


def largest_start(records: Records) -> Measurement:
    """The sharpness before training over the threshold, the largest of the methods'."""
    starts = [method_share(records, method).iloc[0].to_numpy() for method in METHODS]
    return largest(lambda level: [mean_interval(start, level) for start in starts])


def adam_level(records: Records, rate: float) -> "pd.DataFrame":
    """Rate times the preconditioned sharpness by step and seed."""
    return records.part("adam").where(schedule__peak=rate).curves("sharpness") * rate


def adam_at_edge(extreme: Callable[..., Measurement]) -> Measure:
    """Mean of that late in training, the smallest or the largest of the rates'."""

    def measure(records: Records) -> Measurement:
        ends = [late(adam_level(records, rate)).mean().to_numpy() for rate in ADAM_RATES]
        return extreme(lambda level: [mean_interval(end, level) for end in ends])

    return measure


def growth(records: Records, part: str, *, single: bool) -> "pd.DataFrame":
    """The sample's loss after training over the one before, by rate (rows) and seed; infinite where a run diverged.

    Args:
        records: of the study.
        part: one of the parts on single examples.
        single: of the runs from single examples, or from the whole sample.
    """
    own = examples(records, part, single=single)
    first = own.metrics[own.metrics["step"] == 0].set_index("run_id")["sample_loss"]
    runs = own.runs.assign(growth=own.runs["sample_loss"] / own.runs["run_id"].map(first))
    runs["growth"] = runs["growth"].where(runs["outcome"] == "ok", np.inf)
    return runs.pivot_table(index="schedule.peak", columns="seed", values="growth")


def examples(records: Records, part: str, *, single: bool) -> Records:
    """The runs from single examples, or those from the whole sample."""
    own = records.part(part)
    return own.chosen((own.runs["task.batch_size"] == 1) if single else own.runs["task.batch_size"].isna())


def _edge(records: Records, *, stable: bool) -> Measurement:
    """Of each seed, the largest rate up to which every one shrinks the loss, or the smallest from which none does.

    NaN where the first rate does not, or the last one does.
    """
    found = growth(records, "exact", single=True)
    edges = []
    for seed in found.columns:
        good, rates = (found[seed] < 1).to_numpy(), found.index.to_numpy(float)
        inside = rates[np.logical_and.accumulate(good)]
        outside = rates[np.logical_and.accumulate(~good[::-1])[::-1]]
        edges.append([np.nan, *inside][-1] if stable else [*outside, np.nan][0])
    return mean_interval(np.asarray(edges) * exact_trace(records) / 2)


def exact_trace(records: Records) -> float:
    """The trace of the Hessian of the orthogonal examples, as it was recorded before training; the same everywhere."""
    own = records.part("exact").metrics
    return float(own[own["step"] == 0]["tangent_trace"].mean())


largest_stable: Measure = functools.partial(_edge, stable=True)
smallest_unstable: Measure = functools.partial(_edge, stable=False)


def whole_sample_growth(records: Records) -> Measurement:
    """The largest growth of the loss among the runs on the whole sample."""
    found = growth(records, "exact", single=False)
    return mean_interval(found.to_numpy().max(axis=0))


def traces(records: Records, part: str, *, single: bool = True) -> "pd.DataFrame":
    """The trace of the Hessian after training by rate and seed, without those that diverged.

    Raises:
        StudyError: the part has not been probed.
    """
    name = f"{part}_traces"
    if name not in records.probes:
        raise StudyError(f"part {part} has not been probed")
    own = examples(records, part, single=single)
    table = own.runs.merge(records.probes[name], on="run_id")
    return table.pivot_table(index="schedule.peak", columns="seed", values="trace")


def trace_falls(part: str) -> Measure:
    """The largest ratio of a rate's final trace to that of the rate before."""

    def measure(records: Records) -> Measurement:
        found = traces(records, part).to_numpy()
        return largest(lambda level: [ratio(b, a, level) for a, b in itertools.pairwise(found)])

    return measure


def trace_drop(part: str) -> Measure:
    """The final trace at the largest rate over that at the smallest."""

    def measure(records: Records) -> Measurement:
        found = traces(records, part).to_numpy()
        return ratio(found[-1], found[0])

    return measure


def trace_of_noise(part: str) -> Measure:
    """At the largest rate, the final trace from single examples over that from the whole sample."""

    def measure(records: Records) -> Measurement:
        one, whole = (traces(records, part, single=single).iloc[-1] for single in (True, False))
        return ratio(one.to_numpy(), whole.reindex(one.index).to_numpy())

    return measure


def trace_share(part: str) -> Measure:
    """The largest final trace over 2 / rate among the rates."""

    def measure(records: Records) -> Measurement:
        found = traces(records, part)
        return largest(lambda level: [mean_interval(rate * row / 2, level) for rate, row in _rows(found)])

    return measure


def _rows(frame: "pd.DataFrame") -> list[tuple[float, np.ndarray]]:
    return [(float(rate), row.to_numpy(float)) for rate, row in frame.iterrows()]  # pyright: ignore[reportArgumentType]


EARLY = 0.25
"""Share of the runs that start above the edge after which their sharpness has fallen."""


def catapulted(records: Records, rate: float) -> "pd.DataFrame":
    """Rate times sharpness by step and seed."""
    return records.part("catapult").where(schedule__peak=rate).curves("sharpness") * rate


def before_training(rate: float) -> Measure:
    """Rate times the sharpness before training."""
    return lambda records: mean_interval(catapulted(records, rate).iloc[0].to_numpy())


def early_change(rate: float) -> Measure:
    """The sharpness after ``EARLY`` of the updates over that before training."""

    def measure(records: Records) -> Measurement:
        found = catapulted(records, rate)
        at = int(np.searchsorted(found.index.to_numpy(float), EARLY * found.index[-1]))
        return ratio(found.iloc[at].to_numpy(), found.iloc[0].to_numpy())

    return measure


def at_the_end(rate: float) -> Measure:
    """Rate times the sharpness after training."""
    return lambda records: mean_interval(catapulted(records, rate).iloc[-1].to_numpy())


def loss_rise(records: Records) -> Measurement:
    """At the high rate, the largest loss over the one before training."""
    losses = records.part("catapult").where(schedule__peak=HIGH).curves("loss")
    return ratio(losses.max().to_numpy(), losses.iloc[0].to_numpy())


def loss_fall(records: Records) -> Measurement:
    """At the high rate, the last recorded loss over the one before training."""
    losses = records.part("catapult").where(schedule__peak=HIGH).curves("loss")
    return ratio(losses.iloc[-1].to_numpy(), losses.iloc[0].to_numpy())


def warmed(records: Records, *, warmup: bool) -> "pd.DataFrame":
    """The sharpness by step and seed of the runs to the large rate, with a warmup or without."""
    own = records.part("warmup")
    return own.chosen((own.runs["schedule.warmup_steps"] > 0) == warmup).curves("sharpness")


def rates_along(records: Records, steps: "pd.Index") -> np.ndarray:
    """The rate of the warmup at some steps, shape (steps,)."""
    own = records.part("warmup")
    run = own.chosen(own.runs["schedule.warmup_steps"] > 0).runs.iloc[0]
    schedule = records.schedules[run["run_id"]]
    return np.asarray([float(schedule(int(step))) for step in steps])


def after_edge(records: Records) -> list["pd.DataFrame"]:
    """Of each seed, the rates and sharpnesses of the warmup from when their product was first at least 2."""
    import pandas as pd

    found = warmed(records, warmup=True)
    rates = rates_along(records, found.index)
    own = records.part("warmup").runs
    rising = found.index.to_numpy() <= int(own["schedule.warmup_steps"].max())
    frames = []
    for seed in found.columns:
        sharp = found[seed].to_numpy(float)
        over = np.nonzero(rates * sharp >= 2)[0]
        keep = rising & (np.arange(len(sharp)) >= over[0]) if len(over) else np.zeros(len(sharp), bool)
        frames.append(pd.DataFrame({"rate": rates[keep], "sharpness": sharp[keep]}, index=found.index[keep]))
    return frames


def warmup_fall(records: Records) -> Measurement:
    """The sharpness at the warmup's end over that when rate times sharpness first reached 2."""
    return _over_seeds(records, lambda own: own["sharpness"].iloc[-1] / own["sharpness"].iloc[0])


def warmup_level(records: Records) -> Measurement:
    """Mean of rate times sharpness from then on to the warmup's end."""
    return _over_seeds(records, lambda own: float((own["rate"] * own["sharpness"]).mean()))


def _over_seeds(records: Records, number: Callable[["pd.DataFrame"], float]) -> Measurement:
    found = [number(own) if len(own) else np.nan for own in after_edge(records)]
    return mean_interval(found)


def text_curve(records: Records, operator: str) -> "pd.DataFrame":
    """The sharpness of the text runs by step and seed."""
    return records.part("text").where(sharpness__operator=operator).curves("sharpness").astype(float)


@dataclasses.dataclass(frozen=True)
class Phases:
    """Counts of updates at which the phases of the text runs end.

    Attributes:
        warm: the warmup.
        stable: the constant rate.
        end: the decay.
    """

    warm: int
    stable: int
    end: int

    def window(self, name: str) -> tuple[int, int]:
        """First and last step of a stretch over which measurements, which batches make noisy, are averaged.

        Args:
            name: ``early``, the warmup's first half, from the first update; ``stable``, the constant rate's second
                half; ``end``, after the last update.
        """
        return {
            "early": (1, self.warm // 2),
            "stable": ((self.warm + self.stable) // 2, self.stable),
            "end": (self.end, self.end),
        }[name]


def phases(records: Records) -> Phases:
    """Those of the text runs."""
    run = records.part("text").runs.iloc[0]
    steps = int(run["steps"])
    return Phases(int(run["schedule.warmup_steps"]), steps - steps // 5, steps)


def _within(frame: "pd.DataFrame", first: int, last: int) -> "pd.DataFrame":
    return frame[(frame.index >= first) & (frame.index <= last)]


def text_change(operator: str, first: str, last: str) -> Measure:
    """The mean sharpness of one window over that of another before it; see ``Phases.window``."""

    def measure(records: Records) -> Measurement:
        found, at = text_curve(records, operator), phases(records)
        one, other = (_within(found, *at.window(name)).mean().to_numpy() for name in (first, last))
        return ratio(other, one)

    return measure


def text_agreement(operator: str, *, decay: bool) -> Measure:
    """Spearman's correlation of rate and sharpness along the warmup or the decay, mean over seeds."""
    from scipy import stats

    def measure(records: Records) -> Measurement:
        found, at = text_curve(records, operator), phases(records)
        own = _within(found, at.stable, at.end) if decay else _within(found, 1, at.warm)
        schedule = records.schedules[records.part("text").runs["run_id"].iloc[0]]
        rates = [float(schedule(int(step))) for step in own.index]
        return mean_interval([float(stats.spearmanr(rates, own[seed]).statistic) for seed in own.columns])

    return measure
