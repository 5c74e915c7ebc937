"""Runs that belong together: a base run and the axes along which it varies."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lrstudy.study.choices import KINDS, Choice
from lrstudy.study.config import PLAIN_FIELDS, RunConfig, has_argument, with_value
from lrstudy.study.pieces import Pieces

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
        late: values for arguments of a class that an axis names; they go to the classes that have such an argument.
        kept_steps: updates after which the checkpoints of its runs are kept, for probes that ask for them.
    """

    base: RunConfig
    axes: Sequence[Axis] = ()
    late: Assignment = dataclasses.field(default_factory=dict)
    kept_steps: tuple[int, ...] = ()

    def overridden(self, values: Assignment, sweeps: Mapping[str, Axis]) -> "Part":
        """The part with a user's fixed values and axes in place of its own along the same paths."""
        taken = {*values, *sweeps}
        axes = [*filter(None, (_without(own, taken) for own in self.axes)), *sweeps.values()]
        named = {path for own in axes for assignment in own for path in assignment if path in KINDS}
        late = {path: value for path, value in values.items() if "." in path and path.split(".")[0] in named}
        base = _assigned(self.base, {path: value for path, value in values.items() if path not in late})
        return Part(base, axes, late, self.kept_steps)

    def configs(self) -> Iterator[RunConfig]:
        """The runs, the last axis fastest; what two of them are assigned alike is one object in both."""
        pieces = Pieces()
        for assignments in itertools.product(*self.axes):
            merged: dict[str, Any] = {}
            for assignment in assignments:
                merged |= assignment
            named = {k: v for k, v in merged.items() if k in KINDS}
            config, late = pieces.of(f"named {[*named]}", tuple(named.values()), functools.partial(self._named, named))
            yield _with_arguments(config, {**late, **{k: v for k, v in merged.items() if k not in KINDS}}, pieces)

    def _named(self, named: Assignment) -> tuple[RunConfig, Assignment]:
        """The base run with these classes, and the late values that they have arguments for."""
        config = _assigned(self.base, named)
        return config, {k: v for k, v in self.late.items() if has_argument(config, k)}


def _assigned(config: RunConfig, values: Assignment) -> RunConfig:
    """Whole choices first, so that an argument is set on the class it is meant for."""
    for path in sorted(values, key=lambda p: (p not in KINDS, p)):
        config = with_value(config, path, values[path])
    return config


def _with_arguments(config: RunConfig, values: Assignment, pieces: Pieces) -> RunConfig:
    """As ``_assigned``, of values that name no class; a class with equal arguments is one object in all runs."""
    fields: dict[str, Any] = {}
    arguments: dict[str, dict[str, Any]] = {}
    for path in sorted(values):
        kind, dot, _ = path.partition(".")
        if dot and kind in KINDS:
            arguments.setdefault(kind, {})[path] = values[path]
        elif path in PLAIN_FIELDS:
            fields[path] = values[path]
        else:
            with_value(config, path, values[path])  # which says what paths there are
    for kind, own in arguments.items():
        # Which arguments a model has that nobody named depends on the task.
        given = getattr(config, kind), config.task, *own.values()
        fields[kind] = pieces.of(f"{kind} {[*own]}", given, functools.partial(_with_own, config, kind, own))
    return dataclasses.replace(config, **fields)


def _with_own(config: RunConfig, kind: str, own: Assignment) -> Choice | None:
    return getattr(_assigned(config, own), kind)


def _without(own: Axis, taken: set[str]) -> Axis:
    """An axis less the paths that a user has taken, each distinct assignment once, nothing if none is left."""
    left = [{path: value for path, value in assignment.items() if path not in taken} for assignment in own]
    distinct = [a for i, a in enumerate(left) if a and a not in left[:i]]
    return tuple(distinct)
