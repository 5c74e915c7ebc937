"""The real curves of two model sizes, by the names of their files, and the schedules that their authors describe.

They are read through ``LRSTUDY_DATA``, a folder with ``loss_curves/llama_25m`` and ``loss_curves/llama_100m`` (Luo et
al. 2025, Multi-Power Law; MIT).
"""

import os
from pathlib import Path

import numpy as np

from lrstudy.laws import Curve, read_curves

WARMUP = 2160
PEAK, END = 3e-4, 3e-5
SIZES = ("llama_25m", "llama_100m")
TRAINED = ("cosine_24000", "constant_24000", "wsdcon_9")
NAMES = (
    *("constant_24000", "constant_72000", "cosine_24000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000"),
    *("wsdcon_3", "wsdcon_9", "wsdcon_18"),
)


def folder() -> Path | None:
    """Where the curves are; None: nowhere."""
    root = Path(os.environ.get("LRSTUDY_DATA", "")) / "loss_curves"
    return root if "LRSTUDY_DATA" in os.environ and root.is_dir() else None


def rates(name: str) -> np.ndarray:
    """The rate of every update of a run, by its file's name."""
    kind, *numbers = name.split("_")
    numbers = [int(n) for n in numbers]
    if kind == "wsdcon":
        after = np.full(16_000 - WARMUP, PEAK)
        after[8_000 - WARMUP :] = numbers[0] * 1e-5
    elif kind == "constant":
        after = np.full(numbers[0] - WARMUP, PEAK)
    elif kind == "cosine":
        share = np.arange(numbers[0] - WARMUP) / (numbers[0] - WARMUP)
        after = END + (PEAK - END) * (1 + np.cos(np.pi * share)) / 2
    else:
        start, stop = numbers
        share = np.arange(stop - start) / (stop - start)
        after = np.full(stop - WARMUP, PEAK)
        after[start - WARMUP :] = PEAK * (END / PEAK) ** share if kind == "wsd" else PEAK + (END - PEAK) * share
    return np.concatenate([np.linspace(0, PEAK, WARMUP), after])


def curves_of(size: str) -> dict[str, Curve]:
    """The nine curves of a size, by name; the row past the end of two of the files is dropped.

    Raises:
        FileNotFoundError: there are none.
    """
    root = folder()
    if root is None:
        raise FileNotFoundError("LRSTUDY_DATA names no folder with loss_curves")
    schedules = {name: rates(name) for name in NAMES}
    return read_curves(root / size, schedules=schedules, warmup_steps=WARMUP, drop_late=True)


def split(curves: dict[str, Curve]) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """The three curves that are fitted, and the six that are predicted."""
    return {n: curves[n] for n in TRAINED}, {n: c for n, c in curves.items() if n not in TRAINED}
