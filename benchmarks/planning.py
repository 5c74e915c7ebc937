"""What a study of ten thousand runs costs before and after its training: the plan, a second launch, the report.

python -m benchmarks.planning [--side=100] [--repeats=3]
"""

import functools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import app, flags

from benchmarks.timing import record, table
from experiments.sweep import EXPERIMENT
from lrstudy.study.command import parse, read_command
from lrstudy.study.derived import static_parts
from lrstudy.study.main import define_common_flags
from lrstudy.study.part import Part
from lrstudy.study.plan import Plan, make_plan

SIDE = flags.DEFINE_integer("side", 100, "peaks, and seeds of each; a multiple of 20")
REPEATS = flags.DEFINE_integer("repeats", 3, "interleaved repeats")

TINY = (
    "--config.task=quadratic",
    "--config.task.chains=4",
    "--config.steps=4",
    "--config.record_every=1",
    "--config.evaluate_every=0",
    "--config.schedule.warmup_steps=0",
)
COSINE, WSD = ("--config.schedule=Cosine",), ("--config.schedule=WSD", "--config.schedule.decay_fraction=0.5")
DIGITS = ("--config.task=digits", "--config.evaluate_every=0", *COSINE)


def grids(side: int) -> dict[str, tuple[str, ...]]:
    """What is planned: flags by what a reader calls them."""
    square = (f"--sweep.schedule.peak=1e-4:1:{side}:log", f"--sweep.seed=0:{side - 1}:{side}")
    distinct = (f"--sweep.schedule.peak=1e-4:1:{side**2}:log",)
    fewer = f"--sweep.schedule.peak=1e-4:1:{side // 5}:log", f"--sweep.seed=0:{side // 4 - 1}:{side // 4}"
    names = ("--sweep.optimizer=sgd,adamw,lion,nadamw", "--sweep.schedule=Cosine,Linear,Constant,WSD,Rex")
    return {
        "cosine, SGD: peaks x seeds": (*TINY, *COSINE, "--config.optimizer=sgd", *square),
        "cosine, AdamW: peaks x seeds": (*TINY, *COSINE, *square),
        "cosine, AdamW: every peak another": (*TINY, *COSINE, *distinct),
        "WSD, AdamW: peaks x seeds": (*TINY, *WSD, *square),
        "WSD, AdamW: every peak another": (*TINY, *WSD, *distinct),
        "4 optimizers x 5 schedules x peaks x seeds": (*TINY, "--config.schedule.decay_fraction=0.5", *names, *fewer),
        "digits, muP, AdamW: peaks x seeds": (*DIGITS, "--config.parametrization=mup", *square),
    }


def planned(arguments: Sequence[str]) -> Plan:
    """From the command line's text to the plan."""
    values = flags.FlagValues()
    define_common_flags(values)
    parse(EXPERIMENT, ["sweep", *arguments], values)
    parts: Mapping[str, Part] = static_parts(read_command(EXPERIMENT, values).parts)
    return make_plan(parts)


def planning(side: int, repeats: int) -> str:
    """Seconds of planning every grid, in this process, whose imports are done."""
    chosen = grids(side)
    plans = {name: planned(arguments) for name, arguments in chosen.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    for _ in range(repeats):
        for name, arguments in chosen.items():
            own, began = time.process_time(), time.perf_counter()
            planned(arguments)
            found[name].append((time.perf_counter() - began, time.process_time() - own))
    rows = []
    for name, plan in plans.items():
        asked = sum(map(len, plan.parts.values()))
        count = f"{asked} and {len(plan.trunks)} trunks" if plan.trunks else f"{asked}"
        rows.append([name, count, f"{len(plan.groups)}", *_seconds(found[name])])
    return table("Planning", ("grid", "runs", "programs", *_COLUMNS), rows)


_COLUMNS = ("seconds (median)", "range", "seconds of the processor")


def _seconds(pairs: Sequence[tuple[float, float]]) -> list[str]:
    """Of pairs by the clock and of the processor, which other processes do not change."""
    wall, processor = zip(*pairs, strict=True)
    spread = f"{min(wall):.2f} to {max(wall):.2f}"
    return [f"{statistics.median(wall):.2f}", spread, f"{statistics.median(processor):.2f}"]


def launched(arguments: Sequence[str], *, module: bool = True) -> tuple[float, float]:
    """A Python process: its seconds by the clock, and of the processor."""
    command = [sys.executable, *(("-m", "experiments.sweep") if module else ()), *arguments]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-500:]}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def launches(side: int, repeats: int, folder: Path) -> str:
    """A study trained for real, and then every command on its finished folder, each in a process of its own."""
    rows = []
    for name in ("cosine, SGD: peaks x seeds", "WSD, AdamW: peaks x seeds"):
        workdir = folder / name.partition(",")[0]
        whole = (*grids(side)[name], f"--workdir={workdir}")
        first = launched(whole)
        commands = {
            "import alone": functools.partial(launched, ("-c", "import experiments.sweep"), module=False),
            "the same command again": functools.partial(launched, whole),
            "--dry_run of it": functools.partial(launched, (*whole, "--dry_run")),
            "--report_only": functools.partial(launched, (f"--workdir={workdir}", "--report_only")),
        }
        found: dict[str, list[tuple[float, float]]] = {"first launch": [first], **{own: [] for own in commands}}
        for _ in range(repeats):
            for own, call in commands.items():
                found[own].append(call())
        rows += [[name, own, *_seconds(pairs)] for own, pairs in found.items()]
        size = (workdir / "report.html").stat().st_size
        rows.append([name, "report.html", f"{size / 1e6:.1f} MB", "", ""])
    return table("Whole commands, a process each", ("study", "command", *_COLUMNS), rows)


def main(argv: list[str]) -> None:
    """Measures and records."""
    del argv
    body = planning(SIDE.value, REPEATS.value)
    with tempfile.TemporaryDirectory() as folder:
        body += "\n" + launches(SIDE.value, REPEATS.value, Path(folder))
    note = (
        "\nRuns take four steps: what is measured is the engine. Where other work shares the core, the clock says "
        "little. A command plans once, and again only where the folder has changed before it was locked.\n"
    )
    record("planning", f"A study of {SIDE.value**2} runs", body + note)


if __name__ == "__main__":
    app.run(main)
