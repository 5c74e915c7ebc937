"""Fits of laws that say which hyperparameters are best: straight lines in logarithms, with bootstrap intervals."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lrstudy.laws.errors import LawError
from lrstudy.laws.fit import Fit, Settings
from lrstudy.laws.intervals import LEVEL


def fit_with_bootstrap(
    build: Callable[[Mapping[str, np.ndarray]], Any],
    rows: Mapping[str, np.ndarray],
    names: tuple[str, ...],
    score: Callable[[Any], dict[str, float]],
    settings: Settings,
) -> Fit[Any]:
    """A law of these rows, and intervals of its fields from rows drawn with replacement.

    Args:
        build: rows to the law.
        rows: name to shape (n,).
        names: of the law's fields.
        score: the law to its metrics.
        settings: ``key`` and ``resamples``; there is one start, as the fit is linear.
    """
    law = build(rows)
    rng = settings.generator()
    drawn: list[list[float]] = []
    count = len(next(iter(rows.values())))
    for places in rng.integers(count, size=(settings.resamples, count)):
        try:
            other = build({name: row[places] for name, row in rows.items()})
        except LawError:
            continue  # the rows that were drawn are too alike to determine it
        drawn.append([getattr(other, name) for name in names])
    intervals = dict.fromkeys(names, (float("nan"), float("nan")))
    if drawn:
        ends = np.percentile(drawn, (50 * (1 - LEVEL), 50 * (1 + LEVEL)), axis=0)
        intervals = {name: (float(low), float(high)) for name, low, high in zip(names, *ends, strict=True)}
    identified = {name: high - low <= abs(getattr(law, name)) for name, (low, high) in intervals.items()}
    return Fit(law, score(law), intervals, identified, converged=True, agreeing=1.0)
