"""The claims of the curriculum study: what is measured, and thresholds that were fixed before the run.

What the cpu preset cannot settle, or contradicts, and why:

* a5 is a tie. The exact expectations of the two arms at their tuned peaks are 1% apart, the decay's being the lower,
  and the interval over seeds holds both signs; the table of differences says so beside the numbers. The moderate decay
  with an average (a7) is ahead of both.
* c5 does not hold. At a base share of a tenth the target is so far from learnt that every further tenth of the steps
  gains it more than the general domain loses, up to the largest duration; c6 looks beyond it.

In the first deciding run c1 and c2 compared Spearman's correlation of the share and the mean loss with -1 and 1, a
number without an interval. They now measure the smallest step of the mean loss from one share to
the next, in nats, against zero: it is above zero exactly where the correlation is -1 or 1, so that the question and the
verdict on any records are the same, and the table of trends gives both.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments import curriculum_arms as arms
from experiments.curriculum_arms import ARMS, CONSTANT, DECAY, MODERATE, ORDERED, RANDOM
from lrstudy.study.claims import Claim, Measurement, mean_interval, smallest
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

# -- order and decay ---------------------------------------------------------------------------------------------------

EMA, NORMALISED, COMBINED = "constant + EMA", "constant + normalised EMA", "moderate + EMA"


def _more_gain(part: str, arm: str) -> Measure:
    """The gain of an arm less that of the decay to zero, seed by seed."""

    def measure(records: Records) -> Measurement:
        found = arms.gains(records, part)
        return mean_interval(found[arm] - found[DECAY])

    return measure


COMPARED = {
    "5": ((EMA, ORDERED), (DECAY, ORDERED)),
    "6": ((EMA, ORDERED), (DECAY, RANDOM)),
    "7": ((COMBINED, ORDERED), (DECAY, ORDERED)),
}
"""Claim's number to the two (arm, ordering) of which the first is said to end lower."""


def _lower(part: str, number: str) -> Measure:
    """The first (arm, ordering)'s loss less the second's, seed by seed."""
    first, second = COMPARED[number]

    def measure(records: Records) -> Measurement:
        losses = arms.decided(records, part)
        return mean_interval(losses[first] - losses[second])

    return measure


def differences(records: Records) -> "pd.DataFrame":
    """The differences of losses behind a5 to a7, beside those of the exact expectations, and which of them are ties."""
    import pandas as pd

    exact = arms.exact_losses(records, "regression")
    rows = []
    for number, (first, second) in COMPARED.items():
        found = _lower("regression", number)(records)
        expected = exact[first] - exact[second]
        row = {"claim": f"a{number}", "difference": found.value, "ci low": found.low, "ci high": found.high}
        rows.append({**row, "seeds": found.n, "exact difference": expected, "reading": reading(found, expected)})
    return pd.DataFrame(rows)


def reading(difference: Measurement, expected: float) -> str:
    """In words: a difference of losses whose interval holds both signs is a tie."""
    side = "below" if difference.value < 0 else "not below"
    words = "tie: the interval over seeds holds both signs" if difference.low <= 0 <= difference.high else side
    return words + ("; the exact expectation has the opposite sign" if difference.value * expected < 0 else "")


def exact_distances(records: Records) -> "pd.DataFrame":
    """Simulated and exact loss of every (arm, ordering) of the regression, and their distance in standard errors."""
    import pandas as pd

    losses, exact = arms.decided(records, "regression"), arms.exact_losses(records, "regression")
    rows = []
    for (arm, ordering), values in losses.items():
        error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
        expected = exact[arm, ordering]
        distance = (float(np.mean(values)) - expected) / error
        rows.append({"arm": arm, "ordering": ordering, "exact": expected, "distance": distance, "seeds": len(values)})
    return pd.DataFrame(rows)


def _worst_distance(records: Records) -> Measurement:
    table = exact_distances(records)
    return Measurement(float(table["distance"].abs().max(skipna=False)), int(table["seeds"].min()))


# -- upsampling --------------------------------------------------------------------------------------------------------

GENERAL, TARGET = "validation_loss_0", "validation_loss_1"
BASE_SHARE, SHARES = 0.1, (0.2, 0.4, 0.6, 0.8)
FRACTIONS, MAIN_FRACTION = (0.1, 0.2, 0.3), 0.2
MAIN_SHARE, LONG_SHARE, LONG_FRACTIONS = 0.4, 0.8, (0.5, 1.0)
"""The share at which durations of the paper's range are compared, and the one at which longer ones are too."""


def upsampling_losses(records: Records) -> "pd.DataFrame":
    """Final losses of both domains by run: ``fraction, share, seed, general, target``; the base has share 0.1."""
    import pandas as pd

    runs = records.part("upsampling").runs
    # Fractions were rounded to steps; two digits tell them apart again.
    start = runs["task.boundaries"].map(lambda boundaries: int(boundaries[0]))
    ok = runs["outcome"] == "ok"
    return pd.DataFrame(
        {
            "fraction": (1 - start / runs["steps"].astype(float)).round(2),
            "share": runs["task.shares"].map(lambda shares: float(shares[1])),
            "seed": runs["seed"].astype(int),
            "general": runs[GENERAL].where(ok).astype(float),
            "target": runs[TARGET].where(ok).astype(float),
        }
    )


def by_share(records: Records, fraction: float, domain: str) -> "pd.DataFrame":
    """Losses at one duration, the base included: shares (rows, rising) by seeds (columns)."""
    losses = upsampling_losses(records)
    own = losses[(losses["fraction"] == fraction) | (losses["share"] == BASE_SHARE)]
    return own.pivot_table(index="share", columns="seed", values=domain, dropna=False)


def by_fraction(records: Records, share: float) -> "pd.DataFrame":
    """Sum of both losses at one share, the base as duration 0: durations (rows, rising) by seeds (columns)."""
    losses = upsampling_losses(records)
    base = losses["share"] == BASE_SHARE
    own = losses[base | (losses["share"] == share)]
    own = own.assign(fraction=own["fraction"].mask(base, 0.0), total=own["general"] + own["target"])
    return own.pivot_table(index="fraction", columns="seed", values="total", dropna=False)


def upsampling_table(records: Records) -> "pd.DataFrame":
    """Mean and standard error over seeds of both losses for every duration and share."""
    losses = upsampling_losses(records)
    table = losses.groupby(["fraction", "share"])[["general", "target"]].agg(["mean", "sem"])
    table.columns = [" ".join(column) for column in table.columns]
    return table.assign(seeds=losses["seed"].nunique()).reset_index()


DIRECTIONS = {"target": -1, "general": 1}
"""Where the loss of a domain is said to go as the target's share grows."""


def smallest_step(losses: "pd.DataFrame", direction: int) -> Measurement:
    """The smallest step of the mean loss from one share to the next; above zero if all go in the direction.

    Args:
        losses: see ``by_share``.
        direction: 1 for up, -1 for down.
    """
    steps = direction * np.diff(losses.to_numpy(np.float64), axis=0)
    return smallest(lambda level: [mean_interval(step, level) for step in steps])


def _trend(domain: str) -> Measure:
    """Of the loss of a domain over the shares, at 20%."""
    return lambda records: smallest_step(by_share(records, MAIN_FRACTION, domain), DIRECTIONS[domain])


def trend_table(records: Records) -> "pd.DataFrame":
    """How both losses go with the target's share, for every duration: the smallest step, and Spearman's correlation."""
    import pandas as pd
    from scipy import stats

    rows = []
    for fraction in FRACTIONS:
        for domain, direction in DIRECTIONS.items():
            losses = by_share(records, fraction, domain)
            step = smallest_step(losses, direction)
            correlation = stats.spearmanr(losses.index, losses.mean(axis=1, skipna=False)).statistic
            row = {"fraction": fraction, "domain": domain, "said to": "rise" if direction > 0 else "fall"}
            row |= {"smallest step": step.value, "ci low": step.low, "ci high": step.high, "seeds": step.n}
            rows.append({**row, "Spearman of share and mean": round(float(correlation), 12)})
    return pd.DataFrame(rows)


def _change(domain: str) -> Measure:
    """The loss at the largest share less that at the base share, at 20%, seed by seed."""

    def measure(records: Records) -> Measurement:
        losses = by_share(records, MAIN_FRACTION, domain)
        return mean_interval((losses.iloc[-1] - losses.iloc[0]).to_numpy())

    return measure


def _interior(share: float) -> Measure:
    """The sum of both losses at the better end of the durations less that at the best between them, seed by seed."""

    def measure(records: Records) -> Measurement:
        totals = by_fraction(records, share)
        means = totals.mean(axis=1, skipna=False)
        end, inside = means.iloc[[0, -1]].idxmin(), means.iloc[1:-1].idxmin()
        return mean_interval((totals.loc[end] - totals.loc[inside]).to_numpy())

    return measure


# -- the claims --------------------------------------------------------------------------------------------------------

_CURRICULUM, _UPSAMPLING, _OWN = "arXiv 2511.18903", "arXiv 2406.03476", "the study's own"


def _order_claims(letter: str, part: str, title: str) -> tuple[Claim, ...]:
    both = (arms.tuning_of(part), part)
    more = f"{title}: the order gains more than under a decay to zero"
    return (
        Claim(f"{letter}1", f"{more}: constant rate", _CURRICULUM, both, _more_gain(part, CONSTANT), ">", 0.0),
        Claim(f"{letter}2", f"{more}: moderate decay", _CURRICULUM, both, _more_gain(part, MODERATE), ">", 0.0),
        Claim(f"{letter}3", f"{more}: constant rate and EMA of six checkpoints", _CURRICULUM, both,
              _more_gain(part, EMA), ">", 0.0),
        Claim(f"{letter}4", f"{more}: constant rate and normalised EMA of six checkpoints", _CURRICULUM, both,
              _more_gain(part, NORMALISED), ">", 0.0),
        Claim(f"{letter}5", f"{title}: ascending order with constant rate and EMA ends below ascending order with a "
              "decay to zero", _CURRICULUM, both, _lower(part, "5"), "<", 0.0),
        Claim(f"{letter}6", f"{title}: ascending order with constant rate and EMA ends below random order with a decay "
              "to zero", _CURRICULUM, both, _lower(part, "6"), "<", 0.0),
        Claim(f"{letter}7", f"{title}: ascending order with moderate decay and EMA ends below ascending order with a "
              "decay to zero", _CURRICULUM, both, _lower(part, "7"), "<", 0.0),
    )  # fmt: skip


CLAIMS: Sequence[Claim] = (
    *_order_claims("a", "regression", "Regression"),
    Claim("a8", f"Regression: the simulated loss is the exact expectation; farthest of {2 * len(ARMS)} arms and "
          "orders, in standard errors", _OWN, (arms.tuning_of("regression"), "regression"), _worst_distance, "<=", 4.0),
    *_order_claims("b", "digits", "Digits"),
    Claim("c1", "Text, last 20%: the target's loss falls from every share to the next; smallest fall, nats",
          _UPSAMPLING, ("upsampling",), _trend("target"), ">", 0.0),
    Claim("c2", "Text, last 20%: the general loss rises from every share of the target to the next; smallest rise, "
          "nats", _UPSAMPLING, ("upsampling",), _trend("general"), ">", 0.0),
    Claim("c3", "Text, last 20%: the target's loss at share 0.8 less that at the base share, nats", _UPSAMPLING,
          ("upsampling",), _change("target"), "<", 0.0),
    Claim("c4", "Text, last 20%: the general loss at share 0.8 less that at the base share, nats", _UPSAMPLING,
          ("upsampling",), _change("general"), ">", 0.0),
    Claim("c5", "Text, share 0.4: the sum of both losses is least at a duration between 0 and 30%, nats below the ends",
          _UPSAMPLING, ("upsampling",), _interior(MAIN_SHARE), ">", 0.0),
    Claim("c6", "Text, share 0.8: the sum of both losses is least at a duration between 0 and all, nats below the ends",
          _OWN, ("upsampling",), _interior(LONG_SHARE), ">", 0.0),
)  # fmt: skip
