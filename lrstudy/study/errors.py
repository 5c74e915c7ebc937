"""What can go wrong with a study, apart from its numbers."""

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A configuration that cannot be run: the message names the path, the rule and the value."""


class StudyError(RuntimeError):
    """A study that cannot go on: the message says what stands in the way."""


def one_of(path: str, given: str, known: Iterable[str]) -> ConfigError:
    """The error for a name outside a table, with the nearest name where one is near."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1) or [n for n in names if n.lower() == given.lower()]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"{path} must be one of {names}, got {given!r}{hint}")
