"""What the papers on laws of loss curves say, as numbers; thresholds were fixed before the deciding seeds were run."""

from collections.abc import Callable

import numpy as np

from experiments import loss_laws_measures as measures
from lrstudy.laws.scores import average
from lrstudy.study.claims import Claim, Measurement, paired
from lrstudy.study.records import Records

_ANNEALING = "Tissue et al. 2024, figures of unseen schedules"
_MULTI_POWER = "Luo et al. 2025, table 1"
_FUNCTIONAL = "Li et al. 2025, language models"
_BEST = "Luo et al. 2025, optimised schedules"

Measure = Callable[[Records], Measurement]


def _score(law: str, name: str) -> Measure:
    def measure(records: Records) -> Measurement:
        scores = measures.held_out(records, law)
        return Measurement(average(scores.values())[name], len(scores))

    return measure


def _long(law: str) -> Measure:
    def measure(records: Records) -> Measurement:
        return Measurement(measures.held_out(records, law)["cosine_long"]["relative_error"], 1)

    return measure


def _behind(law: str) -> Measure:
    """By how many standard errors of the paired difference the law's schedule ends above the best made by hand."""

    def measure(records: Records) -> Measurement:
        table = measures.finals(records)
        gap = (table.loc[law] - measures.best_by_hand(table)).to_numpy()
        error = np.std(gap, ddof=1) / np.sqrt(len(gap))
        return Measurement(float(gap.mean() / error), len(gap))

    return measure


def _predicted(law: str) -> Measure:
    """How far the final loss of the law's schedule is from what the law predicts, as a share."""

    def measure(records: Records) -> Measurement:
        predicted = measures.predicted_finals(records)[law]
        trained = measures.finals(records).loc[law].to_numpy()
        return paired(trained, trained, lambda one, _: abs(predicted / one - 1))

    return measure


CLAIMS = (
    Claim("a1", "Annealing law: R2 of five schedules from four, mean", _ANNEALING, ("curves",),
          _score("annealing", "r2"), ">=", 0.98),
    Claim("a2", "Annealing law: relative error of their losses, mean", _ANNEALING, ("curves",),
          _score("annealing", "relative_error"), "<=", 0.01),
    Claim("a3", "Multi-Power Law: R2 of five schedules from four, mean", _MULTI_POWER, ("curves",),
          _score("multi-power", "r2"), ">=", 0.98),
    Claim("c1", "Best schedule of the Multi-Power Law: final loss above the best made by hand, in standard errors",
          _BEST, ("curves", "hand", "best"), _behind("multi-power"), "<=", 1),
)  # fmt: skip
