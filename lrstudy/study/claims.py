"""Claims: a statement, how it is measured from records, a threshold fixed before the run, and whether it holds."""

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lrstudy.study.records import Records

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A number with its uncertainty.

    Attributes:
        value: what is compared with the threshold.
        n: independent samples behind it (seeds, or chains times seeds).
        low: lower end of the 95% interval; NaN where there is no noise to speak of.
        high: upper end.
    """

    value: float
    n: int
    low: float = float("nan")
    high: float = float("nan")


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a paper says, as a comparison of one number with a threshold.

    Attributes:
        claim_id: starts with the letter that the study's plan gives it.
        statement: in words.
        source: where the paper says it.
        parts: the parts whose records it needs.
        measure: records to a number.
        comparison: one of ``< <= > >=``.
        threshold: fixed before the run.
    """

    claim_id: str
    statement: str
    source: str
    parts: tuple[str, ...]
    measure: Callable[[Records], Measurement]
    comparison: str
    threshold: float

    def decide(self, records: Records) -> dict[str, Any]:
        """The claim's entry of ``claims.json``; a number that could not be measured does not hold."""
        measured = self.measure(records)
        value = float(measured.value)
        holds = math.isfinite(value) and _COMPARISONS[self.comparison](value, self.threshold)
        return {
            "id": self.claim_id,
            "statement": self.statement,
            "source": self.source,
            "measured": _finite(value),
            "comparison": self.comparison,
            "threshold": self.threshold,
            "holds": holds,
            "n": int(measured.n),
            "ci_low": _finite(measured.low),
            "ci_high": _finite(measured.high),
        }


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def mean_interval(samples: Sequence[float] | np.ndarray) -> Measurement:
    """Mean with Student's 95% interval over independent samples."""
    from scipy import stats

    values = np.asarray(samples, dtype=np.float64)
    mean = float(np.mean(values))
    if len(values) < 2:
        return Measurement(mean, len(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Measurement(mean, len(values), mean - half, mean + half)


def paired(first: np.ndarray, second: np.ndarray, statistic: Callable[[Any, Any], Any]) -> Measurement:
    """A statistic of the means of two samples that share their seeds, with the jackknife's 95% interval.

    Of a difference the interval is Student's of the differences; of a ratio it belongs to the ratio of the means, as
    the value does, and not to the mean of the ratios.

    Args:
        first: one value a seed.
        second: one value a seed, in the same order.
        statistic: of two means.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    return jackknife(lambda chosen: statistic(np.mean(one[chosen]), np.mean(other[chosen])), len(one))


def jackknife(statistic: Callable[[np.ndarray], Any], n: int) -> Measurement:
    """A statistic of n independent samples, with the jackknife's 95% interval: each sample is left out in turn.

    Args:
        statistic: of the places of the chosen samples, which are all of them or all but one.
        n: how many samples there are.
    """
    from scipy import stats

    places = np.arange(n)
    value = float(statistic(places))
    if n < 2:
        return Measurement(value, n)
    rest = np.asarray([statistic(np.delete(places, i)) for i in range(n)])
    error = np.sqrt((n - 1) * np.mean((rest - rest.mean()) ** 2))
    half = float(stats.t.ppf(0.975, n - 1) * error)
    return Measurement(value, n, value - half, value + half)


def unsettled(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids of the claims whose interval has ends on both sides of the threshold: other seeds could decide otherwise."""
    ids = []
    for entry in entries:
        if entry["ci_low"] is not None:
            compare = _COMPARISONS[entry["comparison"]]
            ends = {compare(entry[end], entry["threshold"]) for end in ("ci_low", "ci_high")}
            if len(ends) > 1:
                ids.append(entry["id"])
    return ids


def caveat(entries: Sequence[Mapping[str, Any]]) -> str:
    """One sentence that names the claims that are not settled; empty where all are."""
    ids = unsettled(entries)
    noun = "claim is" if len(ids) == 1 else "claims are"
    return (
        f"{', '.join(ids)}: the {noun} decided by the mean; the 95% interval reaches across the threshold."
        if ids
        else ""
    )


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """The claims as text of fixed columns, and which of them noise could turn."""
    lines = [
        f"{'claim':<6} {'holds':<6} {'measured':>10}    {'threshold':>9}  {'95% interval':<22} {'n':>4}  statement"
    ]
    for entry in entries:
        interval = "" if entry["ci_low"] is None else f"[{entry['ci_low']:.4g}, {entry['ci_high']:.4g}]"
        measured = "none" if entry["measured"] is None else f"{entry['measured']:.4g}"
        verdict = "yes" if entry["holds"] else "NO"
        lines.append(
            f"{entry['id']:<6} {verdict:<6} {measured:>10} {entry['comparison']:>2} {entry['threshold']:>9.4g}  "
            f"{interval:<22} {entry['n']:>4}  {entry['statement']}"
        )
    return "\n".join([*lines, *filter(None, [caveat(entries)])])
