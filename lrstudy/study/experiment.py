"""What an experiment is: parts, claims, probes, figures and tables."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lrstudy.study.claims import Claim
from lrstudy.study.derived import Parts
from lrstudy.study.errors import ConfigError, one_of
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

    def only(self, *names: str) -> "Experiment":
        """The experiment of some of its parts, with the claims, probes, figures and tables that need no other.

        Args:
            *names: of the parts, which every preset has.

        Raises:
            ConfigError: there is no such part, or one follows from a part that is left out.
        """
        kept = set(names)

        def some(make: Callable[[], Parts]) -> Parts:
            parts = make()
            absent = [name for name in names if name not in parts]
            if absent:
                raise one_of("a part", absent[0], list(parts))
            for name in names:
                missing = [source for source in getattr(parts[name], "sources", ()) if source not in kept]
                if missing:
                    raise ConfigError(f"parts must hold {missing[0]}, which {name} follows from, got {list(names)}")
            return {name: part for name, part in parts.items() if name in kept}

        def needing(items: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(item for item in items if item.parts and set(item.parts) <= kept)

        return dataclasses.replace(
            self,
            presets={name: functools.partial(some, make) for name, make in self.presets.items()},
            claims=needing(self.claims),
            probes=tuple(probe for probe in self.probes if probe.part in kept),
            figures=needing(self.figures),
            tables=needing(self.tables),
            aliases={short: path for short, path in self.aliases.items() if path.partition(".")[0] in kept},
        )
