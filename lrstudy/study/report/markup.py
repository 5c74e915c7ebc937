"""Values as text in a page, whatever a user named them."""

import html
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

DIGITS = 6
"""Significant ones of a number; float32 has seven, and the table of runs is sorted by what it shows."""


def text(value: Any) -> str:
    """A value escaped for an element or a quoted attribute; nothing for what is missing."""
    return html.escape(plain(value))


def plain(value: Any) -> str:
    """A value as a reader sees it; nothing for what is missing."""
    import pandas as pd

    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(plain(one) or "none" for one in value)
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else f"{value:.{DIGITS}g}"
    return str(value)


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"


def devices_text(devices: Sequence[str]) -> str:
    """``2 x cpu``, ``1 x gpu: NVIDIA H200``: how many there were of each kind, ``<platform>: <kind>``."""
    kinds = Counter(kind.split(": ")[0] if len(set(kind.split(": "))) == 1 else kind for kind in devices)
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.items())


def counted(count: int, noun: str) -> str:
    """``1 run``, ``2,000 runs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
