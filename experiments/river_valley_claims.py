"""The claims of the river-valley study: what is measured, and thresholds that were fixed before the run."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments import river_valley_budgets as budgets
from lrstudy.study.claims import Claim, Measurement, absolute, mean_interval, paired
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records
from lrstudy.study.views import losses_by
from lrstudy.tasks.quadratic import expected_loss, stationary_loss

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]
Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]

_SECTION_3, _SECTION_4, _SECTION_5 = "section 3", "section 4", "section 5"


# -- noisy quadratic ---------------------------------------------------------------------------------------------------


def stationary_table(records: Records) -> "pd.DataFrame":
    """Simulated and closed-form loss of every (sharpness, rate); simulated means over the second half of the run."""
    import pandas as pd

    part = records.part("stationary")
    half = part.runs["steps"].max() // 2
    tail = part.metrics[part.metrics["step"] >= half].groupby("run_id")["hill_loss"].mean()
    sharpness_of = part.runs["task.eigenvalues"].map(lambda spectrum: float(spectrum[0]))
    rows = []
    for (rate, sharpness), runs in part.runs.groupby([part.runs["schedule.peak"], sharpness_of]):
        closed = stationary_loss(rate, (sharpness,), (1.0,))
        error = mean_interval(tail[runs["run_id"]].to_numpy() / closed - 1)
        row = {"sharpness": sharpness, "rate": rate, "closed form": closed, "relative error": error.value}
        rows.append({**row, "ci low": error.low, "ci high": error.high, "seeds": error.n})
    return pd.DataFrame(rows)


def _stationary(records: Records) -> Measurement:
    table = stationary_table(records)
    worst = table.loc[table["relative error"].abs().idxmax()]
    return absolute(Measurement(worst["relative error"], int(worst["seeds"]), worst["ci low"], worst["ci high"]))


def recursion(records: Records) -> float:
    """The exact expected final loss of runs that share one schedule and spectrum."""
    row = records.runs.iloc[0]
    rates = np.asarray(records.schedules[row["run_id"]](np.arange(int(row["steps"]))), dtype=np.float64)
    spectrum = [tuple(float(v) for v in row[f"task.{name}"]) for name in ("eigenvalues", "noise", "start")]
    return expected_loss(rates, *spectrum)


def _recursion_error(schedule: str) -> Measure:
    def measure(records: Records) -> Measurement:
        part = records.part("quadratic").where(schedule=schedule)
        return absolute(mean_interval(part.final("hill_loss").to_numpy() / recursion(part) - 1))

    return measure


# -- curved river ------------------------------------------------------------------------------------------------------

HIGH, LOW = 0.02, 0.002


def river_series(records: Records) -> dict[str, Records]:
    """The four schedules of the curved river."""
    part = records.part("river")
    return {
        "WSD": part.where(schedule="WSD"),
        "cosine": part.where(schedule="Cosine"),
        f"constant {HIGH:g}": part.where(schedule="Constant", schedule__peak=HIGH),
        f"constant {LOW:g}": part.where(schedule="Constant", schedule__peak=LOW),
    }


def _river(first: str, second: str, metric: str, statistic: Statistic) -> Measure:
    def measure(records: Records) -> Measurement:
        series = river_series(records)
        one, other = (series[name].final(metric).to_numpy() for name in (first, second))
        return paired(one, other, statistic)

    return measure


def _hill_removed(records: Records) -> Measurement:
    """Share of the hill loss that the decay takes away: from the step at which it starts to the end."""
    wsd = river_series(records)["WSD"]
    start = decay_start(wsd)
    before, after = wsd.at_step("hill_loss", start).to_numpy(), wsd.final("hill_loss").to_numpy()
    return paired(before, after, lambda b, a: 1 - a / b)


def decay_start(records: Records) -> int:
    """The step at which the WSD runs begin to decay."""
    trunk = records.schedules[records.runs["run_id"].iloc[0]].trunk()
    if trunk is None:
        raise StudyError("these runs have no decay")
    return trunk[1]


# -- bigram table ------------------------------------------------------------------------------------------------------


def _bigram_cut(metric: str, statistic: Statistic) -> Measure:
    def measure(records: Records) -> Measurement:
        wsd = records.part("bigram").where(schedule="WSD")
        before, after = wsd.at_step(metric, decay_start(wsd)).to_numpy(), wsd.final(metric).to_numpy()
        return paired(before, after, statistic)

    return measure


def _bigram_low(records: Records) -> Measurement:
    part = records.part("bigram")
    low = part.where(schedule="Constant", schedule__peak=1.0).final("deterministic_excess").to_numpy()
    high = part.where(schedule="WSD").final("deterministic_excess").to_numpy()
    return paired(low, high, lambda a, b: a / b)


# -- text --------------------------------------------------------------------------------------------------------------


def text_losses(records: Records) -> dict[str, "pd.DataFrame"]:
    """Final validation loss of every schedule: peaks (rows) by seeds (columns), NaN where a run diverged."""
    part = records.part("text")
    names = ("WSD", "Cosine", "Constant")
    return {name: losses_by(part.where(schedule=name), "schedule.peak", "validation_loss") for name in names}


def best_peak(losses: "pd.DataFrame") -> float:
    """The grid's best peak by the mean over seeds."""
    return float(losses.mean(axis=1, skipna=False).idxmin())


def _best(records: Records, schedule: str) -> np.ndarray:
    losses = text_losses(records)[schedule]
    return losses.loc[best_peak(losses)].to_numpy(dtype=np.float64)


def _standard_errors_behind(records: Records) -> Measurement:
    """WSD minus cosine, each at its best peak, in standard errors of the mean difference of seeds."""
    gaps = _best(records, "WSD") - _best(records, "Cosine")
    if len(gaps) < 2:
        return Measurement(float("nan"), len(gaps))
    error = np.std(gaps, ddof=1) / np.sqrt(len(gaps))
    interval = mean_interval(gaps)
    return Measurement(interval.value / error, len(gaps), interval.low / error, interval.high / error)


def _text_difference(first: str, second: str) -> Measure:
    def measure(records: Records) -> Measurement:
        return mean_interval(_best(records, first) - _best(records, second))

    return measure


def decay_drops(records: Records) -> "pd.DataFrame":
    """Fall of the validation loss during the decay: peaks (rows) by seeds (columns)."""
    import pandas as pd

    wsd = records.part("text").where(schedule="WSD")
    drops = {}
    for peak in sorted(wsd.runs["schedule.peak"].unique()):
        own = wsd.where(schedule__peak=peak)
        drops[peak] = own.at_step("validation_loss", decay_start(own)) - own.final("validation_loss")
    return pd.DataFrame(drops).T


def _drop_grows(records: Records) -> Measurement:
    """Spearman's correlation of peak and mean drop; the drops with their standard errors are in the text's table."""
    from scipy import stats

    drops = decay_drops(records)
    correlation = float(stats.spearmanr(drops.index, drops.mean(axis=1)).statistic)
    return Measurement(round(correlation, 12), drops.shape[1])


def text_table(records: Records) -> "pd.DataFrame":
    """Mean and standard error of the final validation loss, and the drop of the decay, by schedule and peak."""
    import pandas as pd

    rows = []
    drops = decay_drops(records)
    for schedule, losses in text_losses(records).items():
        for peak, values in losses.iterrows():
            row = {"schedule": schedule, "peak": peak, "mean": values.mean(), "standard error": values.sem()}
            for name, statistic in (("drop in decay", "mean"), ("standard error of the drop", "sem")):
                row[name] = getattr(drops.loc[peak], statistic)() if schedule == "WSD" else float("nan")
            rows.append({**row, "seeds": values.notna().sum(), "best": "best" if peak == best_peak(losses) else ""})
    return pd.DataFrame(rows)


# -- budgets -----------------------------------------------------------------------------------------------------------


def _ahead(part: str, metric: str, other: str) -> Measure:
    """The worst of the three checkpoints: WSD-S minus the other, negative where WSD-S is ahead at all of them.

    The interval's ends are the largest of the three intervals' ends: below zero only if all three are.
    """

    def measure(records: Records) -> Measurement:
        gaps = [mean_interval(gap) for gap in budgets.budget_gaps(records.part(part), metric, other)]
        worst = max(gap.value for gap in gaps)
        return Measurement(worst, gaps[0].n, max(gap.low for gap in gaps), max(gap.high for gap in gaps))

    return measure


# -- every part --------------------------------------------------------------------------------------------------------


def _recorded_rate(records: Records) -> Measurement:
    """Largest distance of a recorded rate from the schedule at its step, over the peak."""
    peaks = records.runs.set_index("run_id")["schedule.peak"]
    return _largest_distance(records, records.metrics["learning_rate"], peaks)


def _moved_rate(records: Records) -> Measurement:
    """Under plain SGD an update is rate times gradient: largest distance of their norms' ratio from the rate."""
    sgd = records.where(optimizer="sgd")
    peaks = sgd.runs.set_index("run_id")["schedule.peak"]
    moved = sgd.metrics["update_norm"].astype(float) / sgd.metrics["grad_norm_l2"]
    return _largest_distance(sgd, moved, peaks)


def _largest_distance(records: Records, rates: "pd.Series", peaks: "pd.Series") -> Measurement:
    """Largest distance of the rows' rates from their schedules, over the peak; a missing rate is no rate at all.

    Raises:
        StudyError: a run without rows.
    """
    if set(records.runs["run_id"]) != set(records.metrics["run_id"]):
        raise StudyError("some runs have no metric rows")
    distances = []
    for run_id, own in records.metrics.groupby("run_id"):
        expected = np.asarray(records.schedules[run_id](own["step"].to_numpy()), dtype=np.float64)
        distances.append(np.abs(rates[own.index].to_numpy(dtype=np.float64) - expected) / peaks[run_id])
    return Measurement(float(np.max(np.concatenate(distances))), len(records.metrics))


def _lower(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first - second


def _ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first / second


EVERY_PART = ("stationary", "quadratic", "river", "bigram", "river_budgets", "text", "text_budgets")
_OWN = "the study's own"
_CLOSED = "Noisy quadratic: "
_RIVER = "Curved river: "
_BUDGETS = "Text, three budgets at equal cost, one peak: "
_RIVER_BUDGETS = "Curved river, three budgets at equal cost, one peak: "
_TEXT = "Text, each schedule at its best peak: "

CLAIMS: Sequence[Claim] = (
    Claim("a1", _CLOSED + "stationary loss is eta s / (2 (2 - eta lambda)); worst relative error of four settings",
          _SECTION_3, ("stationary",), _stationary, "<=", 0.05),
    Claim("a2", _CLOSED + "final loss under WSD is that of the exact recursion; relative error",
          _SECTION_3, ("quadratic",), _recursion_error("WSD"), "<=", 0.02),
    Claim("a3", _CLOSED + "final loss under cosine is that of the exact recursion; relative error",
          _SECTION_3, ("quadratic",), _recursion_error("Cosine"), "<=", 0.02),
    Claim("b1", _RIVER + "WSD ends below cosine", _SECTION_3, ("river",),
          _river("WSD", "cosine", "expected_loss", _lower), "<", 0.0),
    Claim("b2", _RIVER + "cosine ends below a low constant rate", _SECTION_3, ("river",),
          _river("cosine", f"constant {LOW:g}", "expected_loss", _lower), "<", 0.0),
    Claim("b3", _RIVER + "a low constant rate ends below a high one", _SECTION_3, ("river",),
          _river(f"constant {LOW:g}", f"constant {HIGH:g}", "expected_loss", _lower), "<", 0.0),
    Claim("b4", _RIVER + "WSD's progress along the river over cosine's", _SECTION_3, ("river",),
          _river("WSD", "cosine", "river_position", _ratio), ">=", 1.8),
    Claim("b5", _RIVER + "WSD's progress along the river over that of a low constant rate", _SECTION_3, ("river",),
          _river("WSD", f"constant {LOW:g}", "river_position", _ratio), ">=", 8.0),
    Claim("b6", _RIVER + "share of the hill loss that the decay removes", _SECTION_3, ("river",),
          _hill_removed, ">=", 0.8),
    Claim("c1", "Bigram: the decay divides the excess cross-entropy of uncertain contexts by", _SECTION_4, ("bigram",),
          _bigram_cut("uncertain_excess", _ratio), ">", 2.0),
    Claim("c2", "Bigram: share of the excess of deterministic contexts that the decay removes", _SECTION_4, ("bigram",),
          _bigram_cut("deterministic_excess", lambda before, after: 1 - after / before), "<", 0.15),
    Claim("c3", "Bigram: deterministic excess of a low constant rate over WSD's", _SECTION_4, ("bigram",),
          _bigram_low, ">=", 5.0),
    Claim("d1", _TEXT + "WSD minus cosine in standard errors", _SECTION_5, ("text",),
          _standard_errors_behind, "<", 1.0),
    Claim("d2", _TEXT + "WSD minus constant, nats", _SECTION_5, ("text",),
          _text_difference("WSD", "Constant"), "<", 0.0),
    Claim("d3", _TEXT + "cosine minus constant, nats", _SECTION_5, ("text",),
          _text_difference("Cosine", "Constant"), "<", 0.0),
    Claim("d4", "Text: the drop during the decay grows with the peak rate (Spearman)", _SECTION_3, ("text",),
          _drop_grows, ">=", 1.0),
    Claim("e1", _BUDGETS + "WSD-S minus shortened WSD, worst checkpoint, nats", _SECTION_5,
          ("text_budgets",), _ahead("text_budgets", "validation_loss", "WSD"), "<", 0.0),
    Claim("e2", _BUDGETS + "WSD-S minus Cyclic-Cosine, worst checkpoint, nats", _SECTION_5,
          ("text_budgets",), _ahead("text_budgets", "validation_loss", "CyclicCosine"), "<", 0.0),
    Claim("e3", _RIVER_BUDGETS + "WSD-S minus shortened WSD, worst checkpoint", _SECTION_5,
          ("river_budgets",), _ahead("river_budgets", "expected_loss", "WSD"), "<", 0.0),
    Claim("e4", _RIVER_BUDGETS + "WSD-S minus Cyclic-Cosine, worst checkpoint", _SECTION_5,
          ("river_budgets",), _ahead("river_budgets", "expected_loss", "CyclicCosine"), "<", 0.0),
    Claim("f1", "Every recorded rate is the schedule's at that count; largest distance over the peak", _OWN,
          EVERY_PART, _recorded_rate, "<=", 2e-7),
    Claim("f2", "Under SGD the update is just that rate times the gradient; largest distance over the peak", _OWN,
          EVERY_PART, _moved_rate, "<=", 1e-5),
)  # fmt: skip
