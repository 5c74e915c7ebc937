"""Checks of a model's fields."""

import math
from collections.abc import Collection

from lrstudy.schedules.checks import one_of


def check_sizes(**sizes: tuple[int, int]) -> None:
    """Refuses a size below its least.

    Args:
        **sizes: field to its value and the least that it may be.

    Raises:
        ValueError: for the first that is too small.
    """
    for name, (value, least) in sizes.items():
        if value < least:
            raise ValueError(f"model.{name} must be an int of at least {least}, got {value!r}")


def check_name(field: str, value: str, names: Collection[str]) -> None:
    """Refuses a name that is not one of ``names``.

    Raises:
        ValueError: it is another; the message has the nearest.
    """
    if value not in names:
        raise ValueError(f"model.{field} must be {one_of(names, value)}, got {value!r}")


def check_positive(field: str, value: float) -> None:
    """Refuses a number that is not positive and finite.

    Raises:
        ValueError: it is neither.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"model.{field} must be a positive finite number, got {value!r}")
