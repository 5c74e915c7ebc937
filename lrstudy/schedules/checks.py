"""Checks of a schedule's arguments, all of which fail in one form.

A check reads one field of a schedule under construction, stores it back as a plain Python number and returns it. A
field that holds an array or a tracer cannot be looked at; its check returns ``UNKNOWN``, which is nan: every comparison
with it is false, so a rule with an unknown side is not violated. Rules are therefore written as violations, never as
conditions that must hold.
"""

import difflib
import itertools
import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Number: TypeAlias = float | jax.Array | np.ndarray
Steps: TypeAlias = int | jax.Array | np.ndarray

UNKNOWN = math.nan
# Steps are int32 on the device. The limit leaves room for the `t + 1` of a warmup.
STEP_LIMIT = 2**31 - 1
# Beyond the largest float32 a rate would be infinite on the device, so it counts as infinite here.
LARGEST = float(np.finfo(np.float32).max)
ABOVE_ZERO = math.nextafter(0.0, 1.0)
BELOW_ONE = math.nextafter(1.0, 0.0)

_INTS = (int, np.integer)
_NUMBERS = (float, int, np.floating, np.integer)


class Range(NamedTuple):
    """The numbers from `low` to `high`, both allowed, either of them UNKNOWN; `rule` says it in words."""

    low: float
    high: float
    rule: str


class ScheduleError(ValueError):
    """A bad argument: ``{Schedule}: {argument} must be {rule}, got {value!r}``."""


def fail(owner: str, argument: str, rule: str, value: object) -> NoReturn:
    """Raises the one form of `ScheduleError`.

    Args:
        owner: the class or function whose argument is bad.
        argument: the argument's name.
        rule: what it must be, in words; other arguments are named, not evaluated.
        value: what was given.

    Raises:
        ScheduleError: always.
    """
    raise ScheduleError(f"{owner}: {argument} must be {rule}, got {value!r}")


def one_of(names: Collection[str], given: object = None) -> str:
    """The rule of a choice, with the name that a misspelt `given` comes nearest to."""
    near = difflib.get_close_matches(given, names, n=1) if isinstance(given, str) else []
    return f"one of {list(names)}" + (f" (nearest: {near[0]!r})" if near else "")


def store(schedule: object, name: str, value: object) -> None:
    """Sets a field of a frozen schedule that is still under construction."""
    object.__setattr__(schedule, name, value)


def is_array(value: object) -> bool:
    """Whether `value` is a NumPy or JAX array or a tracer, of any shape. NumPy scalars are not."""
    return isinstance(value, np.ndarray | jax.Array)


def known(value: Any) -> float:
    """A field that has passed its check, or UNKNOWN for an array."""
    return UNKNOWN if is_array(value) else value


def positive_number(schedule: object, name: str) -> float:
    """Checks a finite number above zero; returns it, or UNKNOWN.

    Raises:
        ScheduleError: for another type, nan, infinity, zero and below.
    """
    rule = "a finite positive number"
    return number_in(schedule, name, Range(ABOVE_ZERO, LARGEST, rule), kind=rule)


def number_in(schedule: object, name: str, *ranges: Range, kind: str = "a finite number") -> float:
    """Checks a number against every one of `ranges`; returns it, or UNKNOWN.

    Args:
        schedule: the schedule under construction.
        name: the field.
        *ranges: what the number must be in; the first broken one is reported.
        kind: the rule that another type, nan or infinity breaks.

    Raises:
        ScheduleError: for another type, nan, infinity and a number out of range.
    """
    owner, given = type(schedule).__name__, getattr(schedule, name)
    if not isinstance(given, _NUMBERS) or isinstance(given, bool):
        return _unknown(owner, name, given, kind, given)
    value = given.item() if isinstance(given, np.generic) else given
    if not -LARGEST <= value <= LARGEST:
        fail(owner, name, kind, given)
    for low, high, rule in ranges:
        if value < low or value > high:
            fail(owner, name, rule, given)
    store(schedule, name, float(value))
    return float(value)


def int_in(schedule: object, name: str, allowed: Range, *, kind: str = "an int") -> float:
    """Checks an int; returns it, or UNKNOWN.

    An array may hold floats, which is how a gradient with respect to a number of steps is taken.

    Args:
        schedule: the schedule under construction.
        name: the field.
        allowed: what the int must be in.
        kind: the rule that another type breaks.

    Raises:
        ScheduleError: for another type (bool and float included) and an int out of range.
    """
    owner, given = type(schedule).__name__, getattr(schedule, name)
    value = _int(owner, name, given, kind, given)
    if value < allowed.low or value > allowed.high:
        fail(owner, name, allowed.rule, given)
    if not is_array(given):
        store(schedule, name, value)
    return value


def increasing_ints(schedule: object, name: str) -> list[float]:
    """Checks a non-empty sequence of increasing positive ints, by `ints`; returns its values or UNKNOWNs.

    Raises:
        ScheduleError: for anything else.
    """
    given, rule = getattr(schedule, name), "a non-empty sequence of strictly increasing positive ints"
    values = ints(schedule, name, rule)
    if any(after <= before for before, after in itertools.pairwise([0, *values])):
        fail(type(schedule).__name__, name, rule, given)
    return values


def ints(schedule: object, name: str, rule: str) -> list[float]:
    """Checks a non-empty sequence of ints; stores it as a tuple, returns its values or UNKNOWNs.

    A one-dimensional array is taken apart: each element is a leaf of its own.

    Raises:
        ScheduleError: for another type, an empty sequence or an element that is not an int.
    """
    owner, given = type(schedule).__name__, getattr(schedule, name)
    elements = _elements(given)
    if not elements:
        fail(owner, name, rule, given)
    values = [_int(owner, name, element, rule, given) for element in elements]
    kept = (e if is_array(e) else v for e, v in zip(elements, values, strict=True))
    store(schedule, name, tuple(kept))
    return values


def numbers(schedule: object, name: str, allowed: Range, count: int) -> list[float]:
    """Checks a sequence of so many numbers; stores it as a tuple of floats, returns its values or UNKNOWNs.

    A one-dimensional array is taken apart: each element is a leaf of its own.

    Args:
        schedule: the schedule under construction.
        name: the field.
        allowed: what every element must be in; its rule speaks of the sequence.
        count: of its elements.

    Raises:
        ScheduleError: for another type, another number of elements or an element that is not such a number.
    """
    owner, given = type(schedule).__name__, getattr(schedule, name)
    elements = _elements(given)
    if len(elements) != count:
        fail(owner, name, allowed.rule, given)
    values = [_number(owner, name, element, allowed, given) for element in elements]
    kept = (e if is_array(e) else v for e, v in zip(elements, values, strict=True))
    store(schedule, name, tuple(kept))
    return values


def choice(schedule: object, name: str, names: Collection[str]) -> None:
    """Checks that a field is one of `names`.

    Raises:
        ScheduleError: for any other value, of any type.
    """
    given = getattr(schedule, name)
    if not isinstance(given, str) or given not in names:
        fail(type(schedule).__name__, name, one_of(names), given)


def plain_number(owner: str, argument: str, given: Any, allowed: Range) -> float:
    """Checks a function's argument that is one concrete number; returns it.

    Raises:
        ScheduleError: for another type, nan and a number out of range.
    """
    if not isinstance(given, _NUMBERS) or isinstance(given, bool) or not allowed.low <= given <= allowed.high:
        fail(owner, argument, allowed.rule, given)
    return float(given)


def plain_int(owner: str, argument: str, given: Any, allowed: Range) -> int:
    """Checks a function's argument that is one concrete int; returns it.

    Raises:
        ScheduleError: for another type (bool and float included) and an int out of range.
    """
    if not isinstance(given, _INTS) or isinstance(given, bool) or not allowed.low <= given <= allowed.high:
        fail(owner, argument, allowed.rule, given)
    return int(given)


def tokens_in(owner: str, argument: str, given: Any, low: int) -> int:
    """Checks a whole number of tokens, which people also write as 4e9; returns it, exact at any size.

    Raises:
        ScheduleError: for another type, a number that is not whole and one below `low`.
    """
    rule = f"a whole number of at least {low}"
    number = isinstance(given, _NUMBERS) and not isinstance(given, bool)
    if not number or not (isinstance(given, _INTS) or float(given).is_integer()) or given < low:
        fail(owner, argument, rule, given)
    return int(given)


def _elements(given: Any) -> tuple[Any, ...]:
    if isinstance(given, np.ndarray) and given.ndim == 1:
        return tuple(given.tolist())
    if isinstance(given, jax.Array) and given.ndim == 1:
        return tuple(given)
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        return tuple(given)
    return ()


def _int(owner: str, name: str, element: Any, kind: str, given: object) -> float:
    """`element` as a Python int, or UNKNOWN for an array."""
    if not isinstance(element, _INTS) or isinstance(element, bool):
        return _unknown(owner, name, element, kind, given)
    value = int(element)
    if value >= STEP_LIMIT:
        fail(owner, name, "less than 2**31 - 1", given)
    return value


def _number(owner: str, name: str, element: Any, allowed: Range, given: object) -> float:
    """`element` as a Python float in `allowed`, or UNKNOWN for an array."""
    if not isinstance(element, _NUMBERS) or isinstance(element, bool):
        return _unknown(owner, name, element, allowed.rule, given)
    value = element.item() if isinstance(element, np.generic) else element
    if not max(allowed.low, -LARGEST) <= value <= min(allowed.high, LARGEST):
        fail(owner, name, allowed.rule, given)
    return float(value)


def _unknown(owner: str, name: str, element: Any, kind: str, given: object) -> float:
    """UNKNOWN for an array of numbers; fails by the rule `kind` for anything else."""
    if not is_array(element) or not any(jnp.issubdtype(element.dtype, t) for t in (np.integer, np.floating)):
        fail(owner, name, kind, given)
    return UNKNOWN
