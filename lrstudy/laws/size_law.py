"""Laws of the loss at the end of runs: a function of sizes and budgets, one row a run."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from lrstudy.laws.errors import fail
from lrstudy.laws.fit import Fit, Settings, fit_sample
from lrstudy.laws.law import Law, Range, Sample

FARTHER = 10.0
"""Beyond this many times what it was fitted to, a law of sizes is asked far outside."""


class SizeLaw(Law):
    """A law whose rows are runs. Subclasses name the columns that they read."""

    columns: ClassVar[tuple[str, ...]] = ()

    def _losses(self, **given: Any) -> np.ndarray:
        """The losses at columns that are broadcast against each other.

        Raises:
            LawError: a value that is not positive and finite.
        """
        owner = type(self).__name__
        rows = {name: positive(owner, name, values) for name, values in given.items()}
        for one in self.fitted:
            one.check(owner, rows[one.name])
        return np.asarray(self.formula(rows))

    @classmethod
    def fit(
        cls,
        runs: Any,
        *,
        starts: int = 64,
        converge: bool = True,
        key: Any = None,
        resamples: int = 192,
    ) -> Fit[Self]:
        """Fits the law to runs.

        Args:
            runs: a data frame or mapping with the law's columns (see the class) and ``loss``, one row a run.
            starts: of the solver.
            converge: to the solver's tolerance; False: a start has 20 iterations.
            key: of the starts and of the bootstrap.
            resamples: of the bootstrap; 0: no intervals.

        Raises:
            LawError: a bad column, or fewer runs than parameters.
        """
        rows = run_columns(cls.__name__, runs, (*cls.columns, "loss"))
        losses = rows.pop("loss")
        sample = Sample(rows, losses, np.zeros(len(losses), int), independent=True)
        fit = fit_sample(cls.unfitted(), sample, Settings(starts, converge, key, resamples))
        fitted = (Range(name, float(row.min()) / FARTHER, float(row.max()) * FARTHER) for name, row in rows.items())
        object.__setattr__(fit.law, "fitted", tuple(fitted))
        return fit


def run_columns(owner: str, runs: Any, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Columns of a table of runs, shape (n,) each.

    Args:
        owner: whose error it is.
        runs: a data frame or a mapping of columns.
        names: of the columns.

    Raises:
        LawError: one is missing, not of the others' length, or holds what is not positive and finite.
    """
    known = list(runs) if isinstance(runs, Mapping) else list(getattr(runs, "columns", ()))
    for name in names:
        if name not in known:
            fail(owner, "runs", f"a table with the columns {', '.join(names)}", known or runs)
    rows = {name: np.atleast_1d(positive(owner, name, runs[name])) for name in names}
    lengths = {len(row) for row in rows.values()}
    if len(lengths) != 1 or any(row.ndim != 1 for row in rows.values()):
        fail(owner, "runs", "columns of one length", {name: row.shape for name, row in rows.items()})
    return rows


def positive(owner: str, name: str, given: Any) -> np.ndarray:
    """Positive finite numbers as float64.

    Raises:
        LawError: others.
    """
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        values = np.zeros(())
    good = np.isfinite(values) & (values > 0)
    if not good.all():
        fail(owner, name, "finite and positive", given if values.ndim == 0 else float(values[~good].flat[0]))
    return values
