"""What an experiment is: parts (a base run and axes), claims, probes and figures."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrstudy.study.choices import KINDS
from lrstudy.study.config import RunConfig, with_value

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as MatplotlibFigure

    from lrstudy.study.claims import Claim
    from lrstudy.study.probes import Probe
    from lrstudy.study.records import Records

Assignment = Mapping[str, Any]
Axis = Sequence[Assignment]


def axis(path: str, values: Sequence[Any]) -> Axis:
    """An axis along one path."""
    return tuple({path: value} for value in values)


@dataclasses.dataclass(frozen=True)
class Part:
    """Runs that belong together: the product of the axes over a base run.

    Attributes:
        base: the run that the axes change.
        axes: each a sequence of assignments path -> value; an assignment may set several paths at once.
    """

    base: RunConfig
    axes: Sequence[Axis] = ()

    def overridden(self, values: Assignment, sweeps: Mapping[str, Axis]) -> "Part":
        """The part with a user's fixed values and axes in place of its own along the same paths."""
        base = _assigned(self.base, values)
        taken = {*values, *sweeps}
        axes = [_without(own, taken) for own in self.axes]
        return Part(base, [*(a for a in axes if a), *sweeps.values()])

    def configs(self) -> Iterator[RunConfig]:
        """The runs, the last axis fastest."""
        for assignments in itertools.product(*self.axes):
            merged: dict[str, Any] = {}
            for assignment in assignments:
                merged |= assignment
            yield _assigned(self.base, merged)


def _assigned(config: RunConfig, values: Assignment) -> RunConfig:
    """Whole choices first, so that an argument is set on the class it is meant for."""
    for path in sorted(values, key=lambda p: (p not in KINDS, p)):
        config = with_value(config, path, values[path])
    return config


def _without(own: Axis, taken: set[str]) -> Axis:
    """An axis less the paths that a user has taken, each distinct assignment once, nothing if none is left."""
    left = [{path: value for path, value in assignment.items() if path not in taken} for assignment in own]
    distinct = [a for i, a in enumerate(left) if a and a not in left[:i]]
    return tuple(distinct)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure that is drawn from records alone.

    Attributes:
        name: file name without its ending.
        caption: what the reader sees in it, with units.
        parts: the parts whose runs it needs.
        draw: records to a matplotlib figure.
    """

    name: str
    caption: str
    parts: tuple[str, ...]
    draw: Callable[["Records"], "MatplotlibFigure"]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that is computed from records alone.

    Attributes:
        name: unique in the experiment.
        caption: what its rows and columns are, with units.
        parts: the parts whose runs it needs.
        compute: records to a data frame.
    """

    name: str
    caption: str
    parts: tuple[str, ...]
    compute: Callable[["Records"], "pd.DataFrame"]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A study: what is asked, what is run, what is claimed.

    Attributes:
        name: module name below ``experiments``.
        title: one line.
        paper: what it reproduces, empty for none.
        question: a paragraph for a stranger.
        presets: preset name to its parts; a single unnamed part is called ``""``.
        claims: with thresholds fixed before the run.
        probes: measurements on finished parameters that become records.
        figures: drawn from records.
        tables: computed from records.
        source: the file that defines it.
    """

    name: str
    title: str
    question: str
    presets: Mapping[str, Callable[[], Mapping[str, Part]]]
    paper: str = ""
    claims: Sequence["Claim"] = ()
    probes: Sequence["Probe"] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    source: Path | None = None
