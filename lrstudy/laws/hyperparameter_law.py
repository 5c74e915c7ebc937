"""Laws that say which hyperparameters are best: straight lines in logarithms, with bootstrap intervals."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from lrstudy import pytrees
from lrstudy.laws.errors import LawError
from lrstudy.laws.fit import Fit, Settings
from lrstudy.laws.intervals import LEVEL
from lrstudy.laws.law import Range
from lrstudy.laws.size_law import FARTHER


@dataclasses.dataclass(frozen=True)
class HyperparameterLaw(abc.ABC):
    """A law whose coefficients follow from the best runs of a grid; a pytree of these.

    Attributes:
        fitted: ranges of what the law was fitted to; empty for a law that was written down.
    """

    paper: ClassVar[str] = ""
    """Where the law comes from."""

    fitted: tuple[Range, ...] = dataclasses.field(default=(), kw_only=True, compare=False, repr=False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        pytrees.register(cls, lambda field: field.name != "fitted")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The coefficients."""
        return tuple(field.name for field in dataclasses.fields(cls) if field.name != "fitted")

    @classmethod
    @abc.abstractmethod
    def _of(cls, rows: Mapping[str, np.ndarray]) -> Self:
        """The law of these best runs; name to shape (n,)."""

    @classmethod
    def _fit(
        cls,
        rows: Mapping[str, np.ndarray],
        asked: tuple[str, ...],
        score: Callable[[Any], dict[str, float]],
        settings: Settings,
    ) -> Fit[Self]:
        """A law of these rows, and intervals of its coefficients from rows drawn with replacement.

        Args:
            rows: name to shape (n,).
            asked: the columns that the law is asked by.
            score: the law to its metrics.
            settings: ``key`` and ``resamples``; there is one start, as the fit is linear.
        """
        ranges = (Range(name, float(rows[name].min()) / FARTHER, float(rows[name].max()) * FARTHER) for name in asked)
        law = dataclasses.replace(cls._of(rows), fitted=tuple(ranges))
        rng = settings.generator()
        drawn: list[list[float]] = []
        count, names = len(next(iter(rows.values()))), cls.names()
        for places in rng.integers(count, size=(settings.resamples, count)):
            try:
                other = cls._of({name: row[places] for name, row in rows.items()})
            except LawError:
                continue  # the rows that were drawn are too alike to determine it
            drawn.append([getattr(other, name) for name in names])
        intervals = dict.fromkeys(names, (float("nan"), float("nan")))
        if drawn:
            ends = np.percentile(drawn, (50 * (1 - LEVEL), 50 * (1 + LEVEL)), axis=0)
            intervals = {name: (float(low), float(high)) for name, low, high in zip(names, *ends, strict=True)}
        identified = {name: high - low <= abs(getattr(law, name)) for name, (low, high) in intervals.items()}
        return Fit(law, score(law), intervals, identified, converged=True, agreeing=1.0)

    def _check(self, **asked: Any) -> None:
        """Warns of what is far outside of what the law was fitted to."""
        for one in self.fitted:
            one.check(type(self).__name__, asked[one.name])
