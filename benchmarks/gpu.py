"""Tests, benchmarks and studies on a machine with a GPU, within minutes, and one file that says what came out.

benchmarks/gpu.sh [section ...] [--dry_run] [--out=DIR] [--work=DIR] [--budget=540]

Sections are tests, lanes, decoder, sharpness and study:<name>, which trains the ``gpu`` preset of a study. Each has a
process and a time limit of its own, and all together ``--budget`` seconds; a study that is stopped has saved, and the
same command goes on with it from ``--work``. The results are ``gpu.json``, ``gpu.md`` with the tables and ``gpu.log``,
each as it stands after the last section, and a study's folder as one file.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu_machine import commit, driver, versions
from benchmarks.gpu_sections import DEFAULT, DRY, ROOT, Section, section_of

GRACE = 25.0
"""Seconds that a section has to save after SIGTERM."""
LEAST = 20.0
"""Seconds with less of which no section is begun."""
STOPPED = 75
PACKED_BYTES = 15 * 2**20
"""A study's folder is packed with its checkpoints if they are smaller together."""
TAIL = 4_000
"""Characters of its output that a section that did not pass leaves in ``gpu.json``."""


@dataclasses.dataclass
class Call:
    """A call of this command.

    Attributes:
        out: folder of results.
        work: folder that later calls go on from.
        dry: whether everything is small and on the CPU.
        deadline: on the monotonic clock.
        report: what becomes ``gpu.json``.
        stopped: whether this process was told to stop.
    """

    out: Path
    work: Path
    dry: bool
    deadline: float
    report: dict[str, Any]
    stopped: bool = False

    def env(self, section: Section | None = None) -> dict[str, str]:
        """The environment of a section's process."""
        own = {
            "PYTHONUNBUFFERED": "1",
            "LRSTUDY_RESULTS": str(self.work / "results"),
            "LRSTUDY_GPU_TESTS": "1",
            "JAX_PLATFORMS": "cpu" if self.dry else "cuda,cpu",
            "JAX_COMPILATION_CACHE_DIR": str(self.work / "compiled"),
        }
        # torch keeps what it compiles there too, so that a second call does not compile.
        own["TORCHINDUCTOR_CACHE_DIR"] = str(self.work / "inductor")
        return {**os.environ, **own, **(section.env if section else {})}

    def write(self) -> None:
        """Replaces ``gpu.json``."""
        fresh = self.out / "gpu.json.new"
        fresh.write_text(json.dumps(self.report, indent=1) + "\n")
        fresh.replace(self.out / "gpu.json")


def absent(names: Sequence[str]) -> list[str]:
    """The modules that are not installed."""

    def is_there(name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:  # a parent is missing
            return False

    return [name for name in names if not is_there(name)]


def see(call: Call) -> str | None:
    """Asks JAX for its device and notes it; gives what is wrong with it, or ``None``."""
    command = [sys.executable, "-m", "benchmarks.gpu_machine"]
    try:
        done = subprocess.run(
            command, env=call.env(), cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
        )
    except subprocess.TimeoutExpired:
        return "JAX found no device within 120 s"
    except subprocess.CalledProcessError as error:
        return f"JAX does not start: {(error.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    call.report |= seen
    if not call.dry and seen["backend"] != "gpu":
        return f"JAX sees no GPU but {seen['device']!r} ({seen['backend']})"
    return None


def run(call: Call, section: Section, log: Any) -> dict[str, Any]:
    """Runs a section to its end or its limit; gives its entry in the report."""
    for path in section.files(call.work):
        path.unlink(missing_ok=True)  # an earlier call's would pass for this one's
    missing = absent(section.needs)
    if missing:
        return {"status": "left out", "reason": f"not installed: {', '.join(missing)}"}
    left = call.deadline - time.monotonic() - GRACE
    if left < LEAST:
        return {"status": "left out", "reason": "the budget is spent"}
    limit = min(section.seconds, left)
    command = section.command(call.work, dry=call.dry)
    log.write(f"\n=== {section.name}: {' '.join(command)}\n")
    log.flush()
    began, start = time.monotonic(), Path(log.name).stat().st_size
    process = subprocess.Popen(
        command, cwd=ROOT, env=call.env(section), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    code, late = wait(call, process, limit)
    seconds = time.monotonic() - began
    entry: dict[str, Any] = {"status": status_of(code, late=late), "seconds": round(seconds, 1), "exit_code": code}
    if late:
        entry["reason"] = "told to stop" if call.stopped else f"stopped after {limit:.0f} s"
    with contextlib.suppress(OSError, ValueError):
        entry["numbers"] = section.numbers(call.work)
    if entry["status"] != "passed":
        entry["output"] = Path(log.name).read_bytes()[start:].decode(errors="replace")[-TAIL:]
    return entry


def wait(call: Call, process: subprocess.Popen[Any], limit: float) -> tuple[int, bool]:
    """Waits for a process, at most so many seconds and then for it to save; its exit code, and whether it was late.

    Its whole group is ended with it: what it started would hold the GPU's memory.
    """
    end, late = time.monotonic() + limit, False
    while process.poll() is None:
        if not late and (time.monotonic() > end or call.stopped):
            # To the one process: a second signal, passed on by it, would mean to leave without saving.
            process.terminate()
            late, end = True, time.monotonic() + GRACE
        if late and time.monotonic() > end:
            break
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait(), late


def status_of(code: int, *, late: bool) -> str:
    """A word for how a section ended."""
    if code == 0:
        return "passed"
    if code == STOPPED:
        return "stopped, saved"
    return "stopped" if late else "failed"


def tables(call: Call, sections: Sequence[Section]) -> None:
    """Replaces ``gpu.md``: the tables of the sections so far, of those that made one."""
    paths = [path for section in sections for path in section.files(call.work) if path.suffix == ".md"]
    (call.out / "gpu.md").write_text("\n".join(path.read_text() for path in paths if path.is_file()))


def pack(call: Call, section: Section) -> str | None:
    """Puts a study's folder into one file among the results, to be carried elsewhere; gives the file's name.

    Checkpoints are left out where they are large: without them the study's figures can be made again and its finished
    runs stand, but one that was on its way begins anew.
    """
    folder = section.study_folder(call.work)
    if folder is None or not folder.is_dir():
        return None
    held = sum(path.stat().st_size for path in (folder / "checkpoints").rglob("*") if path.is_file())
    name = f"{section.name.replace(':', '-')}.tar.gz"
    with tarfile.open(call.out / name, "w:gz") as archive:
        for path in sorted(folder.iterdir()):
            if path.name != "checkpoints" or held <= PACKED_BYTES:
                archive.add(path, f"{folder.name}/{path.name}")
    return name


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; leaves with 2 and one line where it is wrong."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu.sh", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument(
        "sections", nargs="*", help=f"which, and in which order; {' '.join(DEFAULT)} where none is named"
    )
    parser.add_argument("--dry_run", action="store_true", help="everything small, on the CPU")
    parser.add_argument(
        "--out", type=Path, help="folder of results; $OUT, or one of today's date below benchmarks/results"
    )
    parser.add_argument(
        "--work", type=Path, help="folder that later calls go on from; runs/gpu, in a dry run runs/gpu-dry"
    )
    budget = os.environ.get("BUDGET") or "540"
    parser.add_argument("--budget", type=float, default=budget, help="seconds for all of it; $BUDGET, or 540")
    given = parser.parse_args(argv)
    if not given.budget > GRACE + LEAST:
        parser.error(f"argument --budget: must be above {GRACE + LEAST:g} seconds, got {given.budget:g}")
    try:
        given.sections = [section_of(name) for name in given.sections or (DRY if given.dry_run else DEFAULT)]
    except ValueError as error:
        parser.error(str(error))
    kept = ROOT / "runs" / ("gpu-dry" if given.dry_run else "gpu")
    given.work = given.work or kept
    here = kept / "out" if given.dry_run else ROOT / "benchmarks" / "results" / f"gpu-{today}"
    given.out = given.out or Path(os.environ.get("OUT") or here)
    return given


def prepared(given: argparse.Namespace) -> Call:
    """The folders, the report's head, and one line for everything that is not installed."""
    for folder in (given.out, given.work / "results"):
        folder.mkdir(parents=True, exist_ok=True)
    head = {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "dry_run": given.dry_run,
        "commit": commit(),
        "driver": driver(),
        "versions": versions(),
        "cores": len(os.sched_getaffinity(0)),
        "missing": {},
        "sections": {},
    }
    deadline = time.monotonic() + given.budget
    call = Call(given.out.absolute(), given.work.absolute(), given.dry_run, deadline, head)
    call.report["missing"] = lacking(given.sections)
    for name, without in call.report["missing"].items():
        print(f"{name} is not installed: {without}", flush=True)
    return call


def lacking(sections: Sequence[Section]) -> dict[str, str]:
    """What is not installed, and what is then left out or not done."""
    without: dict[str, list[str]] = {}
    for section in sections:
        for name in absent(section.needs):
            without.setdefault(name, []).append(section.name)
    found = {name: f"left out: {', '.join(names)}" for name, names in without.items()}
    return found | {name: section.gains[name] for section in sections for name in absent(tuple(section.gains))}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sections; gives the exit code: 0; 1 where one failed; 75 where it was told to stop."""
    given = parsed(argv)
    call = prepared(given)

    def stop(number: int, frame: Any) -> None:
        del number, frame
        call.stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    wrong = see(call)
    if wrong:
        call.report["error"] = wrong
        call.write()
        print(f"error: {wrong}" + ("" if call.dry else "; --dry_run runs everything small on the CPU"), file=sys.stderr)
        return 1
    print(f"{call.report['device']}, {call.report['driver'] or 'no driver'}: results in {call.out}", flush=True)
    with (call.out / "gpu.log").open("w") as log:
        for index, section in enumerate(given.sections):
            entry = run(call, section, log)
            packed = pack(call, section) if "seconds" in entry else None
            call.report["sections"][section.name] = entry | ({"packed": packed} if packed else {})
            call.write()
            tables(call, given.sections[: index + 1])
            took = f" in {entry['seconds']:.0f} s" if "seconds" in entry else ""
            reason = f" ({entry['reason']})" if "reason" in entry else ""
            print(f"{section.name}: {entry['status']}{took}{reason}", flush=True)
            if call.stopped:
                break
    failed = any(entry["status"] == "failed" for entry in call.report["sections"].values())
    return 1 if failed else STOPPED if call.stopped else 0


if __name__ == "__main__":
    sys.exit(main())
