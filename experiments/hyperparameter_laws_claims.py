"""What Step Law says, as numbers; thresholds were fixed before the deciding seeds were run."""

from collections.abc import Callable, Sequence

import numpy as np

from experiments import hyperparameter_laws_measures as measures
from lrstudy.study.claims import Claim, Measurement, absolute, jackknife
from lrstudy.study.records import Records

_LAW = "Li et al. 2025, equation 1"
_BATCH = "Li et al. 2025, batch size and model size"
_REGRET = "Li et al. 2025, distance from the global optimum"

Measure = Callable[[Records], Measurement]


def _over_seeds(statistic: Callable[[Records, Sequence[int]], float]) -> Measure:
    """A statistic of means over seeds, with the jackknife's interval."""

    def measure(records: Records) -> Measurement:
        seeds = np.unique(records.part("grid").runs["seed"])
        return jackknife(lambda places: statistic(records, seeds[places].tolist()), len(seeds))

    return measure


def _field(name: str) -> Measure:
    return _over_seeds(lambda records, seeds: getattr(measures.fitted(records, seeds).law, name))


def _size_of_batch(records: Records) -> Measurement:
    return absolute(_over_seeds(measures.batch_by_size)(records))


def _regret(unseen: bool, statistic: Callable[[np.ndarray], float]) -> Measure:
    return _over_seeds(lambda records, seeds: float(statistic(measures.regret(records, seeds, unseen=unseen))))


CLAIMS = (
    Claim("a1", "Best rate: exponent of the size", _LAW, ("grid",), _field("rate_size"), "<", 0),
    Claim("a2", "Best rate: exponent of the tokens", _LAW, ("grid",), _field("rate_tokens"), ">", 0),
    Claim("a3", "Best batch: exponent of the tokens", _LAW, ("grid",), _field("batch_tokens"), ">", 0),
    Claim("b1", "Best batch: absolute exponent of the model's size, where both are fitted", _BATCH, ("grid",),
          _size_of_batch, "<=", 0.2),
    Claim("c1", "Regret of the law in the cells that it was fitted to, mean", _REGRET, ("grid",),
          _regret(False, np.mean), "<=", 0.005),
    Claim("c2", "Regret of the law in the cells held out, largest", _REGRET, ("grid",),
          _regret(True, np.max), "<=", 0.01),
    Claim("c3", "Regret of the law in the cells held out, mean", _REGRET, ("grid",),
          _regret(True, np.mean), "<=", 0.005),
)  # fmt: skip
