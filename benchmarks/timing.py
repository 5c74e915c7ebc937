"""Interleaved repeats, medians and ratios: this is how every benchmark here measures."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = "LRSTUDY_RESULTS"
"""Names the folder of results where they are not to go to ``results/``."""


def interleaved(candidates: Mapping[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every call, the candidates taking turns so that a change of the machine's load hits them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, call in candidates.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def ratios(seconds: Sequence[float], baseline: Sequence[float]) -> tuple[float, float, float]:
    """Median, smallest and largest ratio of neighbouring repeats."""
    each = [a / b for a, b in zip(seconds, baseline, strict=True)]
    return statistics.median(each), min(each), max(each)


def machine() -> str:
    """What it was measured on."""
    import jax

    devices = ", ".join(sorted({f"{d.platform} ({d.device_kind})" for d in jax.local_devices()}))
    versions = f"Python {platform.python_version()}, jax {jax.__version__}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores, {devices}, {versions}"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table under a heading."""
    lines = [f"## {title}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def record(name: str, title: str, body: str, numbers: Mapping[str, Any] | None = None) -> None:
    """Prints a result and keeps it in ``results/<name>.md``; its numbers, if given, in ``results/<name>.json``."""
    text = f"# {title}\n\n{machine()}\n\n{body}"
    print(text)
    folder = Path(os.environ.get(RESULTS) or Path(__file__).parent / "results")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    if numbers is not None:
        (folder / f"{name}.json").write_text(json.dumps(numbers, indent=1))
