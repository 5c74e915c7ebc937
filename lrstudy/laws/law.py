"""The base of every law that is fitted: a frozen dataclass of parameters with a formula."""

import abc
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from lrstudy import pytrees
from lrstudy.laws.drops import Drops, joined_drops
from lrstudy.laws.errors import ExtrapolationWarning, fail
from lrstudy.laws.parameters import Parameter


@dataclasses.dataclass(frozen=True)
class Range:
    """What a law was fitted to, of one quantity.

    Attributes:
        name: of the quantity, in words.
        low: smallest that is not far outside.
        high: largest.
    """

    name: str
    low: float
    high: float

    def check(self, owner: str, values: Any) -> None:
        """Warns where a value is outside."""
        values = np.asarray(values, np.float64)
        outside = (values < self.low) | (values > self.high)
        if outside.any():
            warnings.warn(
                f"{owner}: {self.name} {values[outside].flat[0]:.4g} is far outside of what the law was fitted to, "
                f"{self.low:.4g} to {self.high:.4g}",
                ExtrapolationWarning,
                stacklevel=4,
            )


@dataclasses.dataclass(frozen=True)
class Law(abc.ABC):
    """A loss as a function of something, with a few parameters.

    Subclasses are frozen dataclasses whose parameters are pytree leaves. Fields that are no parameters are settings:
    they are held while the parameters are fitted.

    Attributes:
        fitted: ranges of what the law was fitted to; empty for a law that was written down.
    """

    parameters: ClassVar[tuple[Parameter, ...]] = ()
    paper: ClassVar[str] = ""
    """Where the law comes from."""

    fitted: tuple[Range, ...] = dataclasses.field(default=(), kw_only=True, compare=False, repr=False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        pytrees.register(cls, lambda field: field.name in {p.name for p in cls.parameters})

    def __post_init__(self) -> None:
        for parameter in self.parameters:
            value = getattr(self, parameter.name)
            if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not np.isfinite(value):
                fail(type(self).__name__, parameter.name, "a finite number", value)

    @classmethod
    def unfitted(cls, **settings: Any) -> Self:
        """A law whose settings are known and whose parameters are not; for the fit alone."""
        return cls(**{p.name: 0.5 for p in cls.parameters}, **settings)

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """This law with other parameters, which may be tracers."""
        law = object.__new__(type(self))
        for field in dataclasses.fields(self):
            object.__setattr__(law, field.name, values.get(field.name, getattr(self, field.name)))
        return law

    @property
    def values(self) -> dict[str, float]:
        """The parameters by name."""
        return {p.name: float(getattr(self, p.name)) for p in self.parameters}

    @abc.abstractmethod
    def formula(self, rows: Mapping[str, Any]) -> Any:
        """The losses, shape (n,), of n rows: arrays of shape (n,), and ``drops``, which are ``Drops``.

        It takes NumPy's arrays and JAX's.
        """

    @abc.abstractmethod
    def starts(self, rng: np.random.Generator, count: int, sample: "Sample") -> dict[str, np.ndarray]:
        """Parameters from which a fit to the sample may begin, each of shape (count,), scattered widely."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows that a law is fitted to, with their losses.

    Attributes:
        rows: see ``Law.formula``.
        losses: shape (n,), above 0.
        runs: shape (n,), whole numbers: which rows are of one curve, whose errors are alike where they are neighbours.
        independent: whether all rows err independently, each being a run of its own.
    """

    rows: Mapping[str, Any]
    losses: np.ndarray
    runs: np.ndarray
    independent: bool = False


def joined(samples: Sequence[tuple[Mapping[str, Any], np.ndarray]]) -> Sample:
    """The rows and losses of several runs as one sample."""
    counts = [len(losses) for _, losses in samples]

    def join(each: Sequence[Any]) -> Any:
        return joined_drops(each, counts) if isinstance(each[0], Drops) else np.concatenate(each)

    rows = {name: join([rows[name] for rows, _ in samples]) for name in samples[0][0]}
    runs = np.repeat(np.arange(len(samples)), counts)
    return Sample(rows, np.concatenate([losses for _, losses in samples]), runs)
