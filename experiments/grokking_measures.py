"""What the study of grokking computes from records."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.study.claims import LEVEL, Measurement, absolute, largest, mean_interval, smallest, unbounded
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

PERP, PLAIN = "perp_adamw", "adamw"
TRAIN, TEST, COLLAPSE = "train_accuracy", "validation_accuracy", "softmax_collapse"
EARLY = 150
"""Updates by which perpGrad has learnt the rule, and AdamW the table by heart."""
RATES = (0.001, 0.003, 0.01, 0.03)
DECAY = 5.0
"""Against wrong results: on seed 1 a decay of 3 remembers them all, and one of 10 never learns the rule."""
WRONG = (0.1, 0.2)
"""Shares of wrong results."""
FITTED = 0.99
PUBLISHED_UPDATES = 40_000
"""The fewest after which StableMax is said to generalise."""


def optimized(records: Records, part: str, optimizer: str) -> Records:
    """The runs of one optimizer."""
    return records.part(part).where(optimizer=optimizer)


def labelled(records: Records, share: float, decay: float) -> Records:
    """The runs with a share of wrong results and a weight decay."""
    return records.part("corrupted").where(task__corrupted=share, optimizer__weight_decay=decay)


def at(own: Records, metric: str, step: int) -> np.ndarray:
    """A metric after so many updates, one number a seed.

    Raises:
        StudyError: the runs are shorter.
    """
    found = own.at_step(metric, step).to_numpy()
    if not len(found):
        raise StudyError(f"no run was evaluated at step {step}")
    return found


def final(own: Records, metric: str) -> np.ndarray:
    """A metric of the final parameters, one number a seed; NaN of a run that diverged."""
    return own.final(metric).where(own.runs.set_index("seed")["outcome"].sort_index() == "ok").to_numpy()


def most(own: Records, metric: str) -> np.ndarray:
    """The largest that a metric is along training, one number a seed."""
    return own.curves(metric).max().to_numpy(float)


def least(own: Records, metric: str) -> np.ndarray:
    """The smallest that a metric is along training, one number a seed."""
    return own.curves(metric).min().to_numpy(float)


def reached(own: Records, metric: str, level: float = FITTED) -> np.ndarray:
    """The first evaluated count of updates after which a metric is at least so large, one a seed; NaN: never."""
    curves = own.curves(metric)
    found = curves >= level
    return np.where(found.any(), found.idxmax(), np.nan)


def still_falling(own: Records) -> np.ndarray:
    """The recorded training loss at the end over that halfway, one number a seed; NaN where both are 0."""
    losses = own.curves("loss").to_numpy(float)
    with np.errstate(invalid="ignore"):
        return losses[-1] / losses[len(losses) // 2]


def delay(records: Records) -> Measurement:
    """Updates between 99% of the training pairs and 99% of the others."""
    own = optimized(records, "early", PERP)
    return mean_interval(reached(own, TEST) - reached(own, TRAIN))


def pulled_though_collapsed(records: Records) -> Measurement:
    """Largest difference of two shares along training: collapsed pairs, and pairs that do not pull their own score.

    A pair that is misclassified pulls, collapsed or not, so evaluations count at which none is.
    """
    own = optimized(records, "collapse", PLAIN)
    right = own.curves(TRAIN) == 1
    differences = (own.curves(COLLAPSE) - own.curves("zero_pull")).abs().where(right)
    return mean_interval(differences.max().to_numpy(float))


def grokked(records: Records) -> Measurement:
    """StableMax: the final accuracy on unseen pairs; a run that is shorter than the published ones settles nothing."""
    own = records.part("stablemax")
    found = mean_interval(final(own, TEST))
    enough = int(own.runs["steps"].min()) >= PUBLISHED_UPDATES
    return found if enough else unbounded(found.value, found.n)


def at_rates(records: Records, optimizer: str) -> list[np.ndarray]:
    """Final accuracies on unseen pairs, an array of one number a seed for every rate."""
    own = optimized(records, "rates", optimizer)
    return [final(own.where(schedule__peak=rate), TEST) for rate in RATES]


def best_rate(optimizer: str) -> Measure:
    """The final accuracy on unseen pairs, largest over the rates."""

    def measure(records: Records) -> Measurement:
        runs = at_rates(records, optimizer)
        return largest(lambda level: [mean_interval(found, level) for found in runs])

    return measure


def from_right_share(records: Records) -> Measurement:
    """With decay: how far the final training accuracy is from the share of right results, largest over the shares."""

    def distances(level: float) -> list[Measurement]:
        runs = {share: final(labelled(records, share, DECAY), TRAIN) for share in WRONG}
        return [absolute(mean_interval(found - (1 - share), level)) for share, found in runs.items()]

    return largest(distances)


def smallest_over_shares(decay: float, values: Callable[[Records], np.ndarray]) -> Measure:
    """A number of every run with one decay: its mean over seeds, smallest over the shares of wrong results."""

    def measure(records: Records) -> Measurement:
        def means(level: float) -> list[Measurement]:
            return [mean_interval(values(labelled(records, share, decay)), level) for share in WRONG]

        return smallest(means)

    return measure


def gain_of_decay(records: Records) -> Measurement:
    """Final accuracy on unseen pairs with decay less that without, smallest over the shares."""

    def gains(level: float = LEVEL) -> list[Measurement]:
        return [
            mean_interval(final(labelled(records, s, DECAY), TEST) - final(labelled(records, s, 0.0), TEST), level)
            for s in WRONG
        ]

    return smallest(gains)


def settings(records: Records) -> list[tuple[str, Records]]:
    """Every setting of the study with its runs."""
    found = [
        (f"p {_one(own, 'task.modulus'):g}, {label}", own)
        for part in ("early", "collapse")
        for name, label in ((PERP, "perpGrad"), (PLAIN, "AdamW"))
        for own in [optimized(records, part, name)]
    ]
    stable = records.part("stablemax")
    found.append((f"p {_one(stable, 'task.modulus'):g}, AdamW, StableMax", stable))
    for share in WRONG:
        for decay in (DECAY, 0.0):
            own = labelled(records, share, decay)
            label = f"p {_one(own, 'task.modulus'):g}, {100 * share:g}% of the results wrong, decay {decay:g}"
            found.append((label, own))
    return found


def _one(own: Records, column: str) -> Any:
    return own.runs[column].iloc[0]


def table(records: Records) -> "pd.DataFrame":
    """One row a setting, means over seeds."""
    import pandas as pd

    rows = []
    for label, own in settings(records):
        means = {
            "train accuracy": final(own, TRAIN),
            "test accuracy": final(own, TEST),
            "updates to 99% train": reached(own, TRAIN),
            "updates to 99% test": reached(own, TEST),
            "both accuracies at least": _both(own),
            "softmax collapsed, most": most(own, COLLAPSE),
            "loss, least": least(own, "loss"),
        }
        row = {"setting": label, "updates": int(_one(own, "steps"))}
        row |= {name: float(np.mean(values)) for name, values in means.items()}
        rows.append(row | {"seeds": len(own.runs), "diverged": int((own.runs["outcome"] == "diverged").sum())})
    return pd.DataFrame(rows)


def _both(own: Records) -> np.ndarray:
    """The largest along training of the smaller of both accuracies, one number a seed."""
    return np.minimum(own.curves(TRAIN), own.curves(TEST)).max().to_numpy(float)
