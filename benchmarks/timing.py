"""Interleaved repeats, medians and ratios: this is how every benchmark here measures."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


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


def record(name: str, title: str, body: str) -> None:
    """Prints a result and keeps it in ``results/<name>.md``."""
    text = f"# {title}\n\n{machine()}\n\n{body}"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
