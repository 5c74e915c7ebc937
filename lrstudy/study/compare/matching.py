"""Which run of one study is which of another: runs are matched by what they were configured to be."""

import dataclasses
import numbers
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.study import views
from lrstudy.study.records import Records
from lrstudy.study.report.runs import values_text

if TYPE_CHECKING:
    import pandas as pd

_FACTS = frozenset({"run_id", "parts", "group", "outcome", "updates"})


@dataclasses.dataclass(frozen=True)
class Matching:
    """The runs of a part in two studies.

    Attributes:
        part: its name.
        settings: the columns by which runs are told apart and were matched.
        first: the runs of the first study that have a match.
        second: theirs in the second, in the same order.
        sizes: how many runs each study has in all.
        differing: configuration columns that do not have the same values in both, each with what they have.
    """

    part: str
    settings: Sequence[str]
    first: "pd.DataFrame"
    second: "pd.DataFrame"
    sizes: tuple[int, int]
    differing: Sequence[tuple[str, str, str]]


def match_parts(first: Records, second: Records) -> list[Matching]:
    """The parts that both studies have; where they have no name in common, one part of everything.

    Runs that nobody asked for, for they only serve as starts, are left out.
    """
    names = [name for name in first.parts if name in second.parts]
    if names:
        return [_match(name or "all", first.part(name), second.part(name)) for name in names]
    return [_match("all", first.asked(), second.asked())]


def _match(part: str, first: Records, second: Records) -> Matching:
    frames = (views.comparable(first), views.comparable(second))
    told_apart = dict.fromkeys((*_settings(first), *_settings(second), "seed"))
    # A setting that has no value in common was changed from one study to the other: it tells no two runs apart.
    keys = [name for name in told_apart if _shared(*(_cells(frame, name) for frame in frames))]
    places = [_unique(list(zip(*(_cells(frame, name) for name in keys), strict=True))) for frame in frames]
    both = [key for key in places[0] if key in places[1]]
    own, other = (
        records.runs.iloc[[at[key] for key in both]] for records, at in zip((first, second), places, strict=True)
    )
    return Matching(
        part,
        [name for name in keys if len({*_cells(own, name)}) > 1],
        own.reset_index(drop=True),
        other.reset_index(drop=True),
        (len(first.runs), len(second.runs)),
        list(_differing(*frames, _configured(first), _configured(second))),
    )


def _settings(records: Records) -> list[str]:
    return views.settings(records) if len(records.runs) else []


def _configured(records: Records) -> list[str]:
    """The columns of a run's configuration."""
    return [name for name in records.runs.columns if name not in _FACTS | {*records.metrics.columns}]


def _cells(frame: "pd.DataFrame", name: str) -> list[Any]:
    """A column's cells so that equal ones are equal in any study; ``None`` for what is missing."""
    return [_cell(value) for value in frame[name]] if name in frame else [None] * len(frame)


def _cell(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, list | tuple | np.ndarray):
        return tuple(_cell(one) for one in value)
    if pd.isna(value):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return float(value) if isinstance(value, numbers.Real) else str(value)


def _shared(first: Sequence[Any], second: Sequence[Any]) -> bool:
    return bool({*first} & {*second} - {None}) or {*first} == {*second} == {None}


def _unique(keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], int]:
    """Key to place of those that are there once."""
    places: dict[tuple[Any, ...], list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return {key: own[0] for key, own in places.items() if len(own) == 1}


def _differing(
    first: "pd.DataFrame", second: "pd.DataFrame", names: Sequence[str], others: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    if not (len(first) and len(second)):
        return  # none of its runs is finished yet, which says nothing about their settings
    for name in dict.fromkeys((*names, *others)):
        if {*_cells(first, name)} != {*_cells(second, name)}:
            yield name, _values(first, name), _values(second, name)


def _values(frame: "pd.DataFrame", name: str) -> str:
    return values_text(frame[name]) if name in frame else "none"
