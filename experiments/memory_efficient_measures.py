"""What the study of memory computes from records: bytes, tuned losses, and differences of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.study.claims import Measurement, absolute, jackknife, mean_interval
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records
from lrstudy.study.views import RATE, losses_by

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

METRIC = "validation_loss"
METHODS: Mapping[str, str] = {
    "adamw": "AdamW",
    "adamw_half": "AdamW, narrower (1/2)",
    "adamw_quarter": "AdamW, narrower (1/4)",
    "adamw_none": "AdamW, narrower (0)",
    "frugal_half": "FRUGAL, 1/2 of the columns",
    "frugal_quarter": "FRUGAL, 1/4 of the columns",
    "frugal_svd": "FRUGAL, singular directions",
    "frugal_none": "FRUGAL, density 0",
    "galore": "GaLore",
    "lisa": "LISA",
    "reset": "AdamW that begins anew",
}
"""Parts of the study, one a method, and what figures call them."""

ALL_STATE = ("adamw", "adamw_half", "adamw_quarter", "adamw_none")


def probe_of(method: str) -> str:
    """The probe that counts a method's bytes."""
    return f"memory_{method}"


# -- memory ------------------------------------------------------------------------------------------------------------


def memory_of(records: Records, method: str) -> dict[str, int]:
    """Parameters and bytes of one method (see ``memory_efficient_probes.memory``), and ``total``: weights and state."""
    row = records.probes[probe_of(method)].iloc[0]
    counts = {str(name): int(value) for name, value in row.items()}
    return {**counts, "total": counts["weights"] + counts["state"]}


def largest_share(pairs: Mapping[str, str]) -> Measure:
    """The largest share that the bytes of a method are of another's, weights and state."""

    def measure(records: Records) -> Measurement:
        shares = [memory_of(records, one)["total"] / memory_of(records, other)["total"] for one, other in pairs.items()]
        return Measurement(max(shares), 1)

    return measure


def unequal(methods: Sequence[str], what: str) -> Measure:
    """How far the most of some methods' bytes is above the least, as a share."""

    def measure(records: Records) -> Measurement:
        found = [memory_of(records, method)[what] for method in methods]
        return Measurement(max(found) / min(found) - 1, 1)

    return measure


# -- tuned losses ------------------------------------------------------------------------------------------------------


def losses(records: Records, method: str) -> "pd.DataFrame":
    """Final validation losses, rates (rows) by seeds (columns); NaN where a run diverged."""
    return losses_by(records.part(method), RATE, METRIC)


def best_rate(found: "pd.DataFrame") -> float:
    """The rate of the smallest mean over the seeds, of those at which none diverged.

    Raises:
        StudyError: there is none.
    """
    means = found.mean(axis=1, skipna=False).dropna()
    if not len(means):
        raise StudyError("a method has no rate at which all seeds have finished")
    return float(means.idxmin())


def tuned(records: Records, method: str) -> "pd.Series":
    """Losses by seed at the method's best rate."""
    found = losses(records, method)
    return found.loc[best_rate(found)]


def more(one: str, other: str) -> Measure:
    """Tuned loss of one method less that of another, nats.

    Seeds are shared. In every replica of the jackknife both rates are chosen anew, so that the interval knows of the
    choice.
    """

    def measure(records: Records) -> Measurement:
        first, second = losses(records, one), losses(records, other)
        if list(first.columns) != list(second.columns):
            raise StudyError(f"{one} and {other} have other seeds")

        def difference(places: np.ndarray) -> float:
            means = [found.iloc[:, places] for found in (first, second)]
            best = [own.loc[best_rate(own)].mean() for own in means]
            return float(best[0] - best[1])

        return jackknife(difference, first.shape[1])

    return measure


def apart(one: str, other: str) -> Measure:
    """The size of that difference."""
    return lambda records: absolute(more(one, other)(records))


def _on_edge(found: "pd.DataFrame") -> bool:
    return best_rate(found) in (found.index.min(), found.index.max())


def table(records: Records) -> "pd.DataFrame":
    """One row a method."""
    import pandas as pd

    rows = []
    for method, label in METHODS.items():
        memory, found = memory_of(records, method), losses(records, method)
        loss, rate = mean_interval(tuned(records, method)), best_rate(found)
        rows.append(
            {
                "method": label,
                "parameters": memory["parameters"],
                "hidden (%)": 100 * memory["hidden"] / memory["parameters"],
                "weights": memory["weights"],
                "state": memory["state"],
                "weights + state": memory["total"],
                "with gradients": memory["total"] + memory["gradients"],
                "best rate": rate,
                "on edge": "yes" if _on_edge(found) else "",
                "loss": loss.value,
                "low": loss.low,
                "high": loss.high,
                "less AdamW": more(method, "adamw")(records).value,
            }
        )
    return pd.DataFrame(rows)
