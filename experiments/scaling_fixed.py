"""What the study of scaling measures where data are fixed: passes, weight decay, width, and ensembles."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.study.claims import Measurement, mean_interval, smallest
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

EPOCHS = (2, 4, 8, 16)
DECAYS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Weight decays, coupled to the rate; the first is none."""
LOSS = "validation_loss"


def table(own: Records) -> "pd.DataFrame":
    """Final losses by width, updates and weight decay (index), and seed (columns); diverged runs are infinite."""
    runs = own.runs
    frame = runs[["seed", "steps"]].assign(
        width=runs["model.width"].astype(int),
        decay=runs["optimizer.weight_decay"].astype(float),
        loss=runs[LOSS].where(runs["outcome"] == "ok").astype(float).fillna(np.inf),
    )
    return frame.pivot_table(index=["width", "steps", "decay"], columns="seed", values="loss")


def tuned(own: Records, width: int, *, regularised: bool = True) -> tuple[int, float]:
    """The updates and the weight decay of the lowest mean loss over seeds at a width.

    Args:
        own: the records of the part.
        width: of the model.
        regularised: choose the decay as well; else it is none.

    Raises:
        StudyError: no run has this width.
    """
    means = table(own).mean(axis=1)
    if width not in means.index.get_level_values("width"):
        raise StudyError(f"no run has width {width}")
    found = means.loc[width]
    if not regularised:
        found = found[found.index.get_level_values("decay") == DECAYS[0]]
    steps, decay = found.idxmin()  # pyright: ignore[reportGeneralTypeIssues]
    return int(steps), float(decay)


def widths(own: Records) -> list[int]:
    """All widths, in order."""
    return sorted(int(width) for width in table(own).index.get_level_values("width").unique())


def losses(own: Records, width: int, *, regularised: bool) -> np.ndarray:
    """Losses of one width, tuned, one number a seed."""
    return table(own).loc[(width, *tuned(own, width, regularised=regularised))].to_numpy(float)


def unregularised(records: Records) -> "pd.DataFrame":
    """Losses of the widest model without decay by updates (index) and seed (columns)."""
    found = table(records.part("fixed"))
    widest = widths(records.part("fixed"))[-1]
    return found.xs((widest, DECAYS[0]), level=("width", "decay"))


def turn(last: bool) -> Measure:
    """The loss without decay after the most (or fewest) passes less that after the best number of them, widest model.

    Which number is the best is decided by the mean over seeds.
    """

    def measure(records: Records) -> Measurement:
        found = unregularised(records)
        best = found.mean(axis=1).idxmin()
        return mean_interval((found.iloc[-1 if last else 0] - found.loc[best]).to_numpy(float))

    return measure


def smallest_gain(records: Records) -> Measurement:
    """The smallest fall of the tuned loss from a width to the next one."""
    own = records.part("fixed")
    found = [losses(own, width, regularised=True) for width in widths(own)]
    steps = [narrow - wide for narrow, wide in itertools.pairwise(found)]
    return smallest(lambda level: [mean_interval(step, level) for step in steps])


def decay_gain(records: Records) -> Measurement:
    """Widest model: loss at the best passes without decay less that at the best passes and decay."""
    own = records.part("fixed")
    widest = widths(own)[-1]
    return mean_interval(losses(own, widest, regularised=False) - losses(own, widest, regularised=True))


def decay_ratio(records: Records) -> Measurement:
    """The tuned decay of the widest model, none counting as half of the least, over that of the narrowest."""
    own = records.part("fixed")
    floor = DECAYS[1] / 2
    ends = [max(tuned(own, width)[1], floor) for width in (widths(own)[0], widths(own)[-1])]
    return Measurement(ends[1] / ends[0], len(table(own).columns))


# -- ensembles ---------------------------------------------------------------------------------------------------------


def ensembles(records: Records) -> "pd.DataFrame":
    """Loss by members K (index) and fixed set (columns), mean over the sets of K that can be chosen."""
    found = records.probes["ensembles"]
    return found.pivot_table(index="members", columns="data_seed", values="loss")


def fitted(values: np.ndarray, counts: np.ndarray) -> tuple[float, float, float]:
    """E, A and the share of the variance that E + A / K explains."""
    columns = np.stack([np.ones(len(counts)), 1 / counts], axis=1)
    solution = np.linalg.lstsq(columns, values, rcond=None)[0]
    left = values - columns @ solution
    return float(solution[0]), float(solution[1]), 1 - float(left @ left / np.sum((values - values.mean()) ** 2))


def fits(records: Records) -> np.ndarray:
    """E, A and the explained share, one row a fixed set."""
    found = ensembles(records)
    counts = found.index.to_numpy(float)
    return np.asarray([fitted(found[name].to_numpy(float), counts) for name in found])


def explained(records: Records) -> Measurement:
    """The smallest explained share over the fixed sets."""
    found = fits(records)[:, 2]
    return Measurement(float(found.min()), len(found))


def ensemble_gain(records: Records) -> Measurement:
    """Loss of one member less that of all."""
    found = ensembles(records)
    return mean_interval((found.iloc[0] - found.iloc[-1]).to_numpy(float))


def limit_gain(records: Records) -> Measurement:
    """Tuned loss of the widest single model less the limit of ensembles of the narrowest, on the same fixed sets."""
    own = records.part("fixed")
    single = losses(own, widths(own)[-1], regularised=True)
    return mean_interval(single - fits(records)[:, 0])
