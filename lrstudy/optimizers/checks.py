"""Checks of arguments that may be traced, in which case they are left to the caller."""

import math
import numbers
from typing import Any

import jax
from jax.core import Tracer

Real = float | int | jax.Array
"""A number that may be traced."""


def check_choice(argument: str, value: Any, choices: tuple[str, ...]) -> None:
    """Checks a name.

    Raises:
        ValueError: a name that is not among the choices.
    """
    if value not in choices:
        raise ValueError(f"{argument} must be one of {list(choices)}, got {value!r}")


def check_period(argument: str, value: Any) -> None:
    """Checks a number of updates.

    Raises:
        ValueError: a value that is known and is no whole number of at least 1.
    """
    if isinstance(value, Tracer | jax.Array):
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{argument} must be an int of at least 1, got {value!r}")


def check_number(argument: str, value: Any, low: float, high: float = math.inf) -> None:
    """Checks a number.

    Raises:
        ValueError: a value that is known and is not in [low, high].
    """
    if isinstance(value, Tracer | jax.Array):
        return
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not low <= float(value) <= high:
        raise ValueError(f"{argument} must be a number in [{low:g}, {high:g}], got {value!r}")
