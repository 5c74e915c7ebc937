"""What an experiment is: parts, claims, probes, figures and tables."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lrstudy.study.claims import Claim
from lrstudy.study.derived import Parts
from lrstudy.study.probes import Probe
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as MatplotlibFigure


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
    draw: Callable[[Records], "MatplotlibFigure"]


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
    compute: Callable[[Records], "pd.DataFrame"]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A study: what is asked, what is run, what is claimed.

    Attributes:
        name: module name below ``experiments``.
        title: one line.
        paper: what it reproduces, empty for none.
        question: a paragraph for a stranger.
        asks: the question in one line, for lists of studies.
        presets: preset name to its parts; a single unnamed part is called ``""``.
        claims: with thresholds fixed before the run.
        probes: measurements on finished parameters that become records.
        figures: drawn from records.
        tables: computed from records.
        aliases: short names of leaves, ``--config.<name>``, to where they are, ``<part>.<path>``.
    """

    name: str
    title: str
    question: str
    presets: Mapping[str, Callable[[], Parts]]
    paper: str = ""
    asks: str = ""
    claims: Sequence[Claim] = ()
    probes: Sequence[Probe] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
