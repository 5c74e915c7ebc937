"""Rows that a notebook or a script adds to the tables of what a configuration can name, for as long as it runs.

A row of the package is written into the table of its room; that of a reader, who tries something, is added here.
"""

from typing import Any

from lrstudy import optimizers, schedules
from lrstudy.optimizers import Optimizer
from lrstudy.schedules import Schedule
from lrstudy.study import choices
from lrstudy.study.errors import ConfigError

_ADDED: set[tuple[str, str]] = set()


def add_schedule(cls: type[Schedule]) -> type[Schedule]:
    """Lets flags name a schedule, by its class: ``--config.schedule=Mine``; a class decorator.

    Defined again it takes the place of the one before, as when a cell is run twice.

    Raises:
        ConfigError: it is no schedule, or the package has one of that name.
    """
    if not (isinstance(cls, type) and issubclass(cls, Schedule)):
        raise ConfigError(f"schedule must be a subclass of Schedule, got {cls!r}")
    _claim("schedule", cls.__name__, taken=cls.__name__ in schedules.TABLE)
    named: Any = choices.TABLES["schedule"]  # a table of its own, for it lacks what is made of other schedules
    schedules.TABLE[cls.__name__] = named[cls.__name__] = cls
    return cls


def add_optimizer(name: str, row: Optimizer) -> None:
    """Lets flags name an optimizer: ``--config.optimizer=mine``, and its hyperparameters.

    Args:
        name: of the row; added again it takes the place of the one before.
        row: of the table.

    Raises:
        ConfigError: the package has one of that name.
    """
    _claim("optimizer", name, taken=name in optimizers.TABLE)
    optimizers.TABLE[name] = row


def _claim(kind: str, name: str, *, taken: bool) -> None:
    """Refuses a name of the package's, and forgets what is remembered of a row that was added before."""
    if taken and (kind, name) not in _ADDED:
        raise ConfigError(f"{kind} must have a name of its own, got {name!r}, which the package has")
    _ADDED.add((kind, name))
    choices.arguments_of.cache_clear()
