"""Values of a sweep as a user writes them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any


def parse_values(text: str, parse_one: Callable[[str], Any]) -> list[Any]:
    """Reads ``a,b,c`` or, for numbers, ``lo:hi:n`` (evenly spaced) or ``lo:hi:n:log`` (evenly spaced in the logarithm).

    Args:
        text: what stands behind ``--sweep.<path>=``; values that hold commas themselves are separated by semicolons.
        parse_one: reads one value.

    Raises:
        ValueError: an empty list, an unreadable value, or a range that is none.
    """
    parts = text.split(":")
    if len(parts) in (3, 4) and _is_number(parts[0]):
        return [parse_one(v) for v in _range(text, parts)]
    if len(parts) > 1 and all(map(_is_number, parts)):
        raise ValueError(f"a range must be lo:hi:n or lo:hi:n:log, got {text!r}")
    values = [v.strip() for v in text.split(";" if ";" in text else ",")]
    if not all(values):
        raise ValueError(f"a list of values or lo:hi:n[:log] is needed, got {text!r}")
    return [parse_one(value) for value in values]


def read_list(path: Path) -> list[str]:
    """The items of a list that a file holds, as text: a JSON list, or the ``values`` of a schedule that is a table.

    Raises:
        ValueError: the file cannot be read or holds no such list.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"@FILE must be a file of JSON, got '{path}': {reason}") from error
    found = found.get("values") if isinstance(found, dict) else found
    if not isinstance(found, list) or not found:
        raise ValueError(f"@FILE must hold a list, or an object whose 'values' are one, got '{path}'")
    return [str(item) for item in found]


def _range(text: str, parts: list[str]) -> list[str]:
    try:
        low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    except ValueError as error:
        raise ValueError(f"lo:hi:n[:log] must hold two numbers and a count, got {text!r}") from error
    logarithmic = len(parts) == 4
    if logarithmic and parts[3] != "log":
        raise ValueError(f"the fourth field of lo:hi:n:log must be 'log', got {text!r}")
    if count < 2 or low == high or not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"lo:hi:n needs two different finite ends and n of at least 2, got {text!r}")
    if logarithmic and (low <= 0 or high <= 0):
        raise ValueError(f"lo:hi:n:log needs positive ends, got {text!r}")
    return [_printed(_between(low, high, i / (count - 1), logarithmic)) for i in range(count)]


def _between(low: float, high: float, share: float, logarithmic: bool) -> float:
    if logarithmic:
        return math.exp((1 - share) * math.log(low) + share * math.log(high))
    return (1 - share) * low + share * high


def _printed(value: float) -> str:
    """Twelve digits: the ends come back as written, and a run's identity does not hang on the last bit."""
    rounded = float(f"{value:.12g}")
    return str(int(rounded)) if rounded.is_integer() and abs(rounded) < 2**31 else repr(rounded)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
