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


_LARGEST = float(np.finfo(np.float64).max)
LEVEL = 0.95
"""Of intervals: that of every claim."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A number with its uncertainty.

    Attributes:
        value: what is compared with the threshold.
        n: independent samples behind it (seeds, or chains times seeds).
        low: lower end of the 95% interval; NaN where there is no noise to speak of, infinite where there is some that
            cannot be bounded.
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
            "ci_low": _end(measured.low),
            "ci_high": _end(measured.high),
        }


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def _end(value: float) -> float | None:
    """An interval's end; JSON has no infinity, so one that is not bounded is the largest number that there is."""
    return None if math.isnan(value) else float(np.clip(value, -_LARGEST, _LARGEST))


def mean_interval(samples: Sequence[float] | np.ndarray, level: float = LEVEL) -> Measurement:
    """Mean with Student's interval over independent samples."""
    values = np.asarray(samples, dtype=np.float64)
    mean = float(np.mean(values))
    if len(values) < 2:
        return Measurement(mean, len(values))
    half = _student(level, len(values)) * float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return Measurement(mean, len(values), mean - half, mean + half)


def _student(level: float, n: int) -> float:
    """How many standard errors the interval of a mean of n samples reaches to either side."""
    from scipy import stats

    return float(stats.t.ppf((1 + level) / 2, n - 1))


def largest(found: Callable[[float], Sequence[Measurement]]) -> Measurement:
    """The largest of several numbers, with a 95% interval of the largest of what they estimate.

    The upper end is the largest of the upper ends. Of k numbers that all estimate the same one, the largest is too
    high by chance, so the lower end is the largest of the lower ends at a level corrected for k choices (Bonferroni).

    Args:
        found: level to the numbers with intervals of that level.
    """
    usual = found(LEVEL)
    corrected = found(1 - (1 - LEVEL) / len(usual))
    value, high = (float(np.max([getattr(one, name) for one in usual])) for name in ("value", "high"))
    return Measurement(value, usual[0].n, float(np.max([one.low for one in corrected])), high)


def smallest(found: Callable[[float], Sequence[Measurement]]) -> Measurement:
    """The smallest of several numbers, with an interval like that of ``largest``."""
    mirrored = largest(lambda level: [_negated(one) for one in found(level)])
    return _negated(mirrored)


def _negated(one: Measurement) -> Measurement:
    return Measurement(-one.value, one.n, -one.high, -one.low)


def absolute(error: Measurement) -> Measurement:
    """The size of an error; the interval is mirrored with it, so its lower end may be negative."""
    return error if error.value >= 0 else _negated(error)


def exponentiated(logarithm: Measurement) -> Measurement:
    """A positive number, measured by its logarithm; an upper end that no float holds is infinite."""
    with np.errstate(over="ignore"):
        value, low, high = (float(np.exp(getattr(logarithm, name))) for name in ("value", "low", "high"))
    return Measurement(value, logarithm.n, low, high)


def ratio(first: np.ndarray, second: np.ndarray, level: float = LEVEL) -> Measurement:
    """The ratio of the means of two positive samples that share their seeds; the interval is taken in its logarithm.

    Args:
        first: one value a seed.
        second: one value a seed, in the same order.
        level: of the interval.
    """
    return exponentiated(paired(first, second, lambda one, other: np.log(one / other), level))


def paired(
    first: np.ndarray, second: np.ndarray, statistic: Callable[[Any, Any], Any], level: float = LEVEL
) -> Measurement:
    """A statistic of the means of two samples that share their seeds, with the jackknife's interval.

    Of a difference the interval is Student's of the differences; of a ratio it belongs to the ratio of the means, as
    the value does, and not to the mean of the ratios.

    Args:
        first: one value a seed.
        second: one value a seed, in the same order.
        statistic: of two means.
        level: of the interval.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    return jackknife(lambda chosen: statistic(np.mean(one[chosen]), np.mean(other[chosen])), len(one), level)


def jackknife(statistic: Callable[[np.ndarray], Any], n: int, level: float = LEVEL) -> Measurement:
    """A statistic of n independent samples, with the jackknife's interval: each sample is left out in turn.

    Args:
        statistic: of the places of the chosen samples, which are all of them or all but one.
        n: how many samples there are.
        level: of the interval.
    """
    places = np.arange(n)
    value = float(statistic(places))
    if n < 2:
        return Measurement(value, n)
    rest = np.asarray([statistic(np.delete(places, i)) for i in range(n)])
    error = np.sqrt((n - 1) * np.mean((rest - rest.mean()) ** 2))
    if not np.isfinite(error):
        # Without some of the samples there is no value: nothing bounds what other samples would give.
        return unbounded(value, n)
    half = _student(level, n) * float(error)
    return Measurement(value, n, value - half, value + half)


def unbounded(value: float, n: int) -> Measurement:
    """A number that other seeds could change, by how much is not known."""
    return Measurement(value, n, -math.inf, math.inf)


def unsettled(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids of the claims that other seeds could decide otherwise.

    Their interval has ends on both sides of the threshold.
    """
    ids = []
    for entry in entries:
        compare = _COMPARISONS[entry["comparison"]]
        ends = [entry[end] for end in ("ci_low", "ci_high") if entry[end] is not None]
        if len({compare(end, entry["threshold"]) for end in ends}) > 1:
            ids.append(entry["id"])
    return ids


def interval_text(entry: Mapping[str, Any]) -> str:
    """The interval in brackets; nothing where there is no noise, and ``inf`` for an end that is not bounded."""
    ends = [entry[end] for end in ("ci_low", "ci_high")]
    if None in ends:
        return ""
    low, high = (end * (math.inf if abs(end) == _LARGEST else 1) for end in ends)
    return f"[{low:.4g}, {high:.4g}]"


def caveat(entries: Sequence[Mapping[str, Any]]) -> str:
    """One sentence that names the claims that are not settled; empty where all are."""
    ids = unsettled(entries)
    noun = "claim is" if len(ids) == 1 else "claims are"
    return (
        f"Not settled (?): {', '.join(ids)}; the {noun} decided by the mean, and the 95% interval reaches across the "
        "threshold."
        if ids
        else ""
    )


def verdict(entry: Mapping[str, Any]) -> str:
    """``yes`` or ``NO``, with a question mark where other seeds could decide otherwise."""
    return ("yes" if entry["holds"] else "NO") + ("?" if unsettled([entry]) else "")


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """The claims as text of fixed columns, and which of them noise could turn."""
    lines = [
        f"{'claim':<6} {'holds':<6} {'measured':>10}    {'threshold':>9}  {'95% interval':<22} {'n':>4}  statement"
    ]
    for entry in entries:
        measured = "none" if entry["measured"] is None else f"{entry['measured']:.4g}"
        lines.append(
            f"{entry['id']:<6} {verdict(entry):<6} {measured:>10} {entry['comparison']:>2} {entry['threshold']:>9.4g}  "
            f"{interval_text(entry):<22} {entry['n']:>4}  {entry['statement']}"
        )
    return "\n".join([*lines, *filter(None, [caveat(entries)])])
