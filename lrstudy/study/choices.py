"""Fields of a configuration that can be one of several classes: their tables, their arguments, their construction."""

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from lrstudy import models, optimizers, parametrization, schedules, tasks
from lrstudy.laws.extrapolation import racing
from lrstudy.study.errors import ConfigError, one_of
from lrstudy.training import sharpness

TABLES: dict[str, Mapping[str, Any]] = {
    "task": tasks.TABLE,
    "model": models.TABLE,
    "parametrization": parametrization.TABLE,
    "optimizer": optimizers.TABLE,
    "schedule": {name: row for name, row in schedules.TABLE.items() if name not in schedules.WRAPPERS},
    "sharpness": sharpness.TABLE,
    "early_stop": racing.TABLE,
}
KINDS = tuple(TABLES)
IMPLIED = {"sharpness": "hessian", "early_stop": "predictive"}
"""Rows that are meant where an argument is given and none was named."""
# One of each set is given; naming one on the command line takes the place of another in a preset.
_ALTERNATIVES = ({"decay_fraction", "decay_steps", "decay_lengths"},)
_DECIDED_ELSEWHERE = {
    "task": {"model"},
    "model": {"parent", "name", "vocabulary", "context", "outputs", *parametrization.DECIDED},
}


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument of a class that a configuration can name.

    Attributes:
        type: ``int, float, bool, str``, or ``tuple[float, ...]`` and the like.
        optional: whether ``None`` is a value.
        default: ``dataclasses.MISSING`` where the argument must be given.
    """

    type: Any
    optional: bool
    default: Any

    def item(self) -> "Argument":
        """An element of a tuple."""
        return _argument(typing.get_args(self.type)[0], None)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A class by its name in a table, with the arguments given so far; it is built when a run is resolved.

    Attributes:
        name: row of the table.
        arguments: argument name to plain value.
    """

    name: str
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def with_argument(self, name: str, value: Any) -> "Choice":
        """A copy with one argument changed, and without those that it is an alternative to."""
        others = set().union(*(names for names in _ALTERNATIVES if name in names)) - {name}
        kept = {k: v for k, v in self.arguments.items() if k not in others}
        return dataclasses.replace(self, arguments={**kept, name: value})

    def renamed(self, kind: str, name: str) -> "Choice":
        """Another class, keeping the arguments that it shares with this one."""
        known = arguments_of(kind, name)
        return Choice(name, {k: v for k, v in self.arguments.items() if k in known})


def choice(kind: str, name: str, /, **arguments: Any) -> Choice:
    """A choice whose names have been checked.

    Raises:
        ConfigError: an unknown class or argument.
    """
    known = arguments_of(kind, name)
    for argument in arguments:
        if argument not in known:
            raise one_of(f"an argument of {kind} {name}", argument, known)
    return Choice(name, arguments)


@functools.cache
def arguments_of(kind: str, name: str) -> Mapping[str, Argument]:
    """The arguments of a class, in order.

    Raises:
        ConfigError: the table has no such row.
    """
    if name not in TABLES[kind]:
        raise one_of(kind, name, TABLES[kind])
    row = TABLES[kind][name]
    if kind == "optimizer":
        return {k: Argument(type(v), False, v) for k, v in row.defaults.items()}
    hints = typing.get_type_hints(row)
    skipped = _DECIDED_ELSEWHERE.get(kind, set())
    fields = [f for f in dataclasses.fields(row) if f.init and f.name not in skipped]
    return {f.name: _argument(hints[f.name], f.default) for f in fields}


def build(kind: str, chosen: Choice, **decided: Any) -> Any:
    """The object that a choice stands for.

    Args:
        kind: table.
        chosen: row and arguments.
        **decided: arguments that another part of the configuration decides.

    Raises:
        ConfigError: the class refuses its arguments; the message is the class's own, with what it measures them by.
    """
    known = arguments_of(kind, chosen.name)
    unknown = [name for name in chosen.arguments if name not in known]
    if unknown:
        raise one_of(f"an argument of {kind} {chosen.name}", unknown[0], known)
    given = {**chosen.arguments, **decided}
    missing = [n for n, a in known.items() if a.default is dataclasses.MISSING and n not in given]
    if missing:
        raise ConfigError(f"{kind}.{missing[0]} must be given for {chosen.name}")
    try:
        return TABLES[kind][chosen.name](**given)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(_explained(str(error), given)) from error


def _explained(message: str, given: Mapping[str, Any]) -> str:
    """A message whose rule names other arguments, with their values: a user may have set one of them alone."""
    rule = message.partition(" must be ")[2].partition(", got ")[0]
    named = [name for name in re.findall(r"\w+", rule) if isinstance(given.get(name), int | float)]
    return "; ".join([message, *(f"{name} is {given[name]}" for name in dict.fromkeys(named))])


def column_value(value: Any) -> Any:
    """A field's value as a plain Python value that JSON and parquet hold."""
    if isinstance(value, np.generic | jax.Array | np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [column_value(v) for v in value]
    return value


def columns_of(kind: str, name: str, built: Any) -> dict[str, Any]:
    """Dotted path to value for a built object; the path of the kind itself holds the row's name."""
    fields = {f"{kind}.{field}": column_value(getattr(built, field)) for field in arguments_of(kind, name)}
    return {kind: name, **fields}


def _argument(hint: Any, default: Any) -> Argument:
    """Reads an annotation: a union is the first plain type in it, optional if it holds ``None``."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) or _is_union(hint) else (hint,)
    plain = [o for o in options if o in (int, float, bool, str) or typing.get_origin(o) is tuple]
    if not plain:
        raise TypeError(f"no plain type in the annotation {hint!r}")
    return Argument(plain[0], type(None) in options, default)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Union


def is_module(value: Any) -> bool:
    """Whether a value is a linen module."""
    return isinstance(value, nn.Module)
