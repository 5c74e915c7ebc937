"""What the study of large batches computes from records: rises of the loss with the batch, and gaps that are closed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from experiments import large_batch_arms as arms
from experiments.large_batch_arms import ARMS, LARGE, METHODS, METRIC, REFERENCE, RULES, SMALL
from lrstudy.study.claims import LEVEL, Measurement, jackknife, largest, mean_interval
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records
from lrstudy.tasks.digits import CLASSES

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

MARGIN = 0.05
"""Nats of validation loss over the method's own at the reference batch: beyond it a batch is too large."""

UNTRAINED = float(np.log(CLASSES))
"""The loss of a run that diverged, and the most that any run counts: no class is likelier than another."""


def final_losses(runs: "pd.DataFrame") -> "pd.Series":
    """Validation losses in nats by seed, those of runs that diverged and larger ones as ``UNTRAINED``."""
    loss = runs[METRIC].where(runs["outcome"] == "ok").astype(float).fillna(UNTRAINED)
    return loss.clip(upper=UNTRAINED).set_axis(runs["seed"].astype(int)).sort_index()


# -- rules and methods -------------------------------------------------------------------------------------------------


def losses(records: Records) -> "pd.DataFrame":
    """Validation loss: (method, rule, batch) by seed.

    Raises:
        StudyError: nothing has been decided.
    """
    import pandas as pd

    runs = records.part("rules").runs
    if not len(runs):
        raise StudyError("no rule has been tried")
    peaks = runs["schedule.peak"].astype(float)
    rows = {}
    for key, peak in arms.peaks_by_rule(arms.tuned(records)).items():
        method, _, batch = key
        own = (runs["optimizer"] == method) & (runs["task.batch_size"] == batch) & np.isclose(peaks, peak, rtol=1e-9)
        rows[key] = final_losses(runs[own])
    found = pd.DataFrame(rows).T
    return found.rename_axis(index=["method", "rule", "batch"])


def batches(table: "pd.DataFrame") -> list[int]:
    """All, the reference first."""
    return sorted(table.index.get_level_values("batch").unique())


def rise(table: "pd.DataFrame", method: str, rule: str, batch: int) -> np.ndarray:
    """Loss at a batch less the method's at the reference batch with its tuned rate, seed by seed."""
    return (table.loc[(method, rule, batch)] - table.loc[(method, arms.TUNED, REFERENCE)]).to_numpy(float)


def held_to(table: "pd.DataFrame", method: str, rule: str) -> int:
    """The largest batch up to which the mean rise is nowhere beyond the margin."""
    found = REFERENCE
    for batch in batches(table)[1:]:
        if rise(table, method, rule, batch).mean() > MARGIN:
            break
        found = batch
    return found


def rise_of(method: str, rule: str) -> Measure:
    """The rise at the full batch."""

    def measure(records: Records) -> Measurement:
        table = losses(records)
        return mean_interval(rise(table, method, rule, batches(table)[-1]))

    return measure


def own_rise(method: str) -> Measure:
    """That under the method's own rule."""
    return rise_of(method, METHODS[method].rule)


def advantage(layerwise: str, plain: str, rule: str | None = None) -> Measure:
    """How much less the loss of the method with trust ratios rises to the full batch, in nats.

    Args:
        layerwise: the method with trust ratios.
        plain: the one without.
        rule: of both; ``None``: of each its own.
    """

    def measure(records: Records) -> Measurement:
        table = losses(records)
        full = batches(table)[-1]
        second, first = (rise(table, name, rule or METHODS[name].rule, full) for name in (plain, layerwise))
        return mean_interval(second - first)

    return measure


def _leads(table: "pd.DataFrame", layerwise: str, plain: str, level: float = LEVEL) -> list[Measurement]:
    """The loss of the plain method less that of the other, both tuned at every batch; one number a batch."""
    pairs = ([table.loc[(name, arms.TUNED, b)].to_numpy(float) for name in (plain, layerwise)] for b in batches(table))
    return [mean_interval(second - first, level) for second, first in pairs]


def lead(layerwise: str, plain: str) -> Measure:
    """That at the full batch."""
    return lambda records: _leads(losses(records), layerwise, plain)[-1]


def largest_lead(layerwise: str, plain: str) -> Measure:
    """That at the batch where it is largest."""

    def measure(records: Records) -> Measurement:
        table = losses(records)
        return largest(lambda level: _leads(table, layerwise, plain, level))

    return measure


def gain_of_rule(method: str, rule: str) -> Measure:
    """Loss with the rate of the reference batch less that with the scaled rate, at the full batch."""

    def measure(records: Records) -> Measurement:
        table = losses(records)
        full = batches(table)[-1]
        kept, scaled = (table.loc[(method, own, full)] for own in (arms.KEPT, rule))
        return mean_interval((kept - scaled).to_numpy(float))

    return measure


def held_table(records: Records) -> "pd.DataFrame":
    """One row a method and rule: the largest batch that holds, and the rise at every other."""
    import pandas as pd

    table, rows = losses(records), []
    for name, method in METHODS.items():
        for rule in RULES:
            row = {"method": method.label, "rule": rule, "holds to": held_to(table, name, rule)}
            for batch in batches(table)[1:]:
                found = mean_interval(rise(table, name, rule, batch))
                row[f"rise at {batch}"] = found.value
                row[f"+- {batch}"] = found.high - found.value
            rows.append(row)
    return pd.DataFrame(rows)


def tuning_table(records: Records) -> "pd.DataFrame":
    """One row a method and batch: the best rate of the grid."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "method": METHODS[name].label,
                "batch": batch,
                "best rate": own.peak,
                "loss": own.loss,
                "on edge": own.edge,
            }
            for (name, batch), own in arms.tuned(records).items()
        ]
    )


# -- ghosts and regime -------------------------------------------------------------------------------------------------


def arm_runs(records: Records, arm: str) -> "pd.DataFrame":
    """The runs of one arm.

    Raises:
        StudyError: there are none.
    """
    part = records.part("regime").runs
    if not len(part):
        raise StudyError("no regime has been tried")
    large = int(part["task.batch_size"].max())
    short = part[part["task.batch_size"] == large]["steps"].min()
    own = arms.regime_arms(records, large, short / arms.updates(large, 1))[arm].assignment()
    same = np.logical_and.reduce(
        [np.isclose(part[path].astype(float), value, rtol=1e-9) for path, value in own.items()]
    )
    return part[same]


def arm_losses(records: Records, arm: str) -> np.ndarray:
    """Validation losses of one arm, seed by seed."""
    return final_losses(arm_runs(records, arm)).to_numpy()


def gap(arm: str) -> Measure:
    """Validation loss of an arm less that of the small batch, in nats."""
    return lambda records: mean_interval(arm_losses(records, arm) - arm_losses(records, SMALL))


def closed(first: str, second: str) -> Measure:
    """Which share of the gap is closed from the first arm to the second.

    The gap is that of the large batch with the small one's rate; means over seeds are divided, not seeds' shares.
    """

    def measure(records: Records) -> Measurement:
        one, other, large, small = (arm_losses(records, arm) for arm in (first, second, LARGE, SMALL))

        def share(chosen: np.ndarray) -> float:
            return float((one - other)[chosen].mean() / (large - small)[chosen].mean())

        return jackknife(share, len(one))

    return measure


def difference(first: str, second: str) -> Measure:
    """Validation loss of the first arm less that of the second, in nats."""
    return lambda records: mean_interval(arm_losses(records, first) - arm_losses(records, second))


def arm_table(records: Records) -> "pd.DataFrame":
    """One row an arm: what it is, and losses and accuracy at its end."""
    import pandas as pd

    rows = []
    for arm, label in ARMS.items():
        own, loss = arm_runs(records, arm), mean_interval(arm_losses(records, arm))
        accuracy = own["validation_accuracy"].astype(float)
        rows.append(
            {
                "arm": label,
                "batch": int(own["task.batch_size"].iloc[0]),
                "ghosts of": int(own["model.ghost_size"].iloc[0]) or None,
                "updates": int(own["steps"].iloc[0]),
                "rate": float(own["schedule.peak"].iloc[0]),
                "last batch's loss": float(own["loss"].astype(float).mean()),
                "validation loss": loss.value,
                "+-": loss.high - loss.value,
                "validation accuracy": float(accuracy.mean()),
                "diverged": int((own["outcome"] != "ok").sum()),
            }
        )
    return pd.DataFrame(rows)


def regime_tuning_table(records: Records) -> "pd.DataFrame":
    """One row a batch and size of ghosts: the best rate of the grid."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"batch": batch, "ghosts of": ghosts or None, "best rate": own.peak, "loss": own.loss, "on edge": own.edge}
            for (batch, ghosts), own in arms.regime_tuned(records).items()
        ]
    )
