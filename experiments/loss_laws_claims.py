"""What the papers on laws of loss curves say, as numbers; thresholds were fixed before the deciding seeds were run.

Schedules, sizes and thresholds were chosen on seeds 1 to 3 (curves) and 5 to 8 (best schedules), on which the mean
relative errors were 1.4% (annealing, the paper's decay of 0.999), 0.66% (annealing with the best decay), 0.50%
(Multi-Power), 0.46% (stopped early) and 0.52% (functional scaling); the papers' models are a thousand times larger,
and so are their runs. Intervals of a, b and d are the jackknife's over seeds, of which every curve is a mean.
"""

from collections.abc import Callable

import numpy as np

from experiments import loss_laws_measures as measures
from lrstudy.laws.scores import average
from lrstudy.study.claims import Claim, Measurement, jackknife, mean_interval
from lrstudy.study.records import Records

_ANNEALING = "Tissue et al. 2024, figures of unseen schedules"
_MULTI_POWER = "Luo et al. 2025, table 1"
_FUNCTIONAL = "Li et al. 2025, language models"
_BEST = "Luo et al. 2025, optimised schedules"

Measure = Callable[[Records], Measurement]
Scores = dict[str, dict[str, float]]


def _held_out(law: str, statistic: Callable[[Scores], float]) -> Measure:
    """A statistic of the scores on the five schedules that were not fitted."""

    def measure(records: Records) -> Measurement:
        seeds = np.unique(records.part("curves").runs["seed"])

        def of(places: np.ndarray) -> float:
            return statistic(measures.held_out(records, law, seeds[places].tolist(), resamples=0))

        return jackknife(of, len(seeds))

    return measure


def _error(law: str) -> Measure:
    return _held_out(law, lambda scores: average(scores.values())["relative_error"])


def _explained(law: str) -> Measure:
    return _held_out(law, lambda scores: average(scores.values())["r2"])


def _long(law: str) -> Measure:
    return _held_out(law, lambda scores: scores["cosine_long"]["relative_error"])


def _error_ratio(law: str, other: str) -> Measure:
    def measure(records: Records) -> Measurement:
        seeds = np.unique(records.part("curves").runs["seed"])

        def of(places: np.ndarray) -> float:
            found = [measures.held_out(records, one, seeds[places].tolist(), resamples=0) for one in (law, other)]
            first, second = (average(scores.values())["relative_error"] for scores in found)
            return first / second

        return jackknife(of, len(seeds))

    return measure


def _behind(law: str) -> Measure:
    """How far the law's schedule ends above the best made by hand, in standard errors of the paired difference."""

    def measure(records: Records) -> Measurement:
        table = measures.finals(records)
        gap = (table.loc[law] - measures.best_by_hand(table)).to_numpy()
        return Measurement(float(gap.mean() / (np.std(gap, ddof=1) / np.sqrt(len(gap)))), len(gap))

    return measure


def _mistaken(law: str) -> Measure:
    """How far the mean final loss of the law's schedule is from what the law predicts, as a share."""

    def measure(records: Records) -> Measurement:
        trained = measures.finals(records).loc[law].to_numpy()
        predicted = measures.predicted_finals(records)[law]
        return jackknife(lambda places: abs(predicted / trained[places].mean() - 1), len(trained))

    return measure


def _gain(law: str, hand: str) -> Measure:
    def measure(records: Records) -> Measurement:
        table = measures.finals(records)
        return mean_interval((table.loc[hand] - table.loc[law]).to_numpy())

    return measure


_ALL = ("curves", "hand", "best")
_EARLY = "multi-power, stopped early"
_FITTED_DECAY = "annealing, decay fitted"

CLAIMS = (
    Claim("a1", "Annealing law, decay 0.999: mean relative error on five schedules, from four", _ANNEALING, ("curves",),
          _error("annealing"), "<=", 0.01),
    Claim("a2", "Annealing law, best decay: mean relative error on five schedules, from four", _ANNEALING, ("curves",),
          _error(_FITTED_DECAY), "<=", 0.01),
    Claim("a3", "Annealing law, best decay: mean R2 on five schedules, from four", _ANNEALING, ("curves",),
          _explained(_FITTED_DECAY), ">=", 0.95),
    Claim("b1", "Multi-Power Law: mean relative error on five schedules, from four", _MULTI_POWER, ("curves",),
          _error("multi-power"), "<=", 0.0075),
    Claim("b2", "Multi-Power Law: mean R2 on five schedules, from four", _MULTI_POWER, ("curves",),
          _explained("multi-power"), ">=", 0.97),
    Claim("b3", "Multi-Power Law: relative error over the annealing law's (best decay)", _MULTI_POWER, ("curves",),
          _error_ratio("multi-power", _FITTED_DECAY), "<=", 1),
    Claim("b4", "Multi-Power Law: relative error on a cosine run of twice the length", _MULTI_POWER, ("curves",),
          _long("multi-power"), "<=", 0.01),
    Claim("b5", "Multi-Power Law, stopped early: mean relative error on five schedules, from four", _MULTI_POWER,
          ("curves",), _error(_EARLY), "<=", 0.0075),
    Claim("c1", "Best schedule of the Multi-Power Law: final loss above the best made by hand, in standard errors",
          _BEST, _ALL, _behind("multi-power"), "<=", 1),
    Claim("c2", "Best schedule of the Multi-Power Law, stopped early: the same", _BEST, _ALL, _behind(_EARLY), "<=", 1),
    Claim("c3", "Best schedule of the functional scaling law: the same", _BEST, _ALL, _behind("functional scaling"),
          "<=", 1),
    Claim("c4", "Best schedule of the Multi-Power Law: error of its predicted final loss, as a share", _BEST, _ALL,
          _mistaken("multi-power"), "<=", 0.01),
    Claim("c5", "Cosine to a tenth of the peak: final loss above that of the Multi-Power Law's best (nats/byte)",
          _BEST, _ALL, _gain("multi-power", "cosine"), ">=", 0.01),
    Claim("d1", "Functional scaling law: mean relative error on five schedules, from four", _FUNCTIONAL, ("curves",),
          _error("functional scaling"), "<=", 0.0075),
    Claim("d2", "Functional scaling law: mean R2 on five schedules, from four", _FUNCTIONAL, ("curves",),
          _explained("functional scaling"), ">=", 0.97),
)  # fmt: skip
