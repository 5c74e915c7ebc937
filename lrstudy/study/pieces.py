"""What the runs of one plan have in common, made once."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_BY_VALUE = (int, str)


class Pieces:
    """What was made, by what it was made from.

    Ten thousand runs of a sweep share one task and a hundred schedules: the same objects, and not merely equal ones,
    which 1 and 1.0 are too. A plan has one of these and drops it when it is made, so what a piece was read from may
    change between two plans.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] = {}

    def of(self, name: str, given: tuple[Any, ...], make: Callable[[], T]) -> T:
        """A piece; what ``make`` raises is raised anew every time.

        Args:
            name: what it is.
            given: all that it depends on.
            make: makes it.
        """
        key = (name, *map(_key, given))
        found = self._made.get(key)
        if found is None:
            # What was given is kept, so that no other object takes its identity.
            found = self._made[key] = (given, make())
        return found[1]


def _key(given: Any) -> Any:
    """Whole numbers and text by their value, everything else by its identity."""
    return (given,) if type(given) in _BY_VALUE else id(given)
