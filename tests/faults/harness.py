"""One small study, the ways to launch it, and the comparison of two of its folders."""

import dataclasses
import functools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from absl import flags

from experiments.sweep import EXPERIMENT
from lrstudy.study.command import parse, read_command
from lrstudy.study.config import make_transform
from lrstudy.study.main import define_common_flags
from lrstudy.study.plan import Group, Plan, make_plan
from lrstudy.study.store import read_rows, read_table
from lrstudy.study.workdir import Workdir
from lrstudy.training import checkpoint
from lrstudy.training.loop import Cadence
from lrstudy.training.program import abstract_lanes, stack, to_host

REPO = Path(__file__).parents[2]
DEADLINE_SECONDS = 300
"""Only so that a hanging study ends the test."""

STEPS, SAVE_EVERY = 100, 5
TRUNK, BRANCH = 0, 1
"""Position in the plan of the constant-rate runs and of the decays that branch off them at steps 70 and 80."""

STUDY = (
    "--preset=smoke",
    "--config.task=bigram",
    f"--config.steps={STEPS}",
    f"--config.record_every={SAVE_EVERY}",
    "--config.evaluate_every=20",
    # The second rate makes the loss overflow: a diverged lane must come through every fault too.
    "--sweep.schedule.peak=0.003,3e38",
    "--sweep.schedule.decay_fraction=0.3,0.2",
    "--sweep.seed=0,1",
    f"--checkpoint_steps={SAVE_EVERY}",
)
"""Bigram tables under AdamW with a WSD schedule: a trunk group of four lanes, a branch group of eight."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str

    def errors(self) -> list[str]:
        """Lines that say what went wrong."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


SMALL = ("--preset=smoke", "--config.task=digits", "--config.model.width=8", "--config.schedule=Constant")
"""One group of one lane."""


class Launcher:
    """Starts studies as a user does, with a cache of compiled programs that all tests share.

    Args:
        cache: folder of that cache.
    """

    def __init__(self, cache: Path) -> None:
        # Whether a small program is kept must not depend on how fast the machine compiles it.
        keep_all = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        self._env = {**os.environ, "XDG_CACHE_HOME": str(cache), **keep_all}

    def start(self, workdir: Path | str, arguments: Sequence[str] = STUDY, faults: str = "") -> subprocess.Popen[str]:
        """A running study; with ``faults`` (see ``launch.py``) its journal lies beside the folder."""
        module = ["tests.faults.launch", faults, f"{workdir}.journal"] if faults else ["experiments.sweep"]
        command = [sys.executable, "-m", *module, f"--workdir={workdir}", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=REPO, env=self._env, text=True, **pipes)

    def run(self, workdir: Path | str, arguments: Sequence[str] = STUDY, faults: str = "") -> Ended:
        """Runs a study to its end, however it ends."""
        return ended(self.start(workdir, arguments, faults))


def ended(process: subprocess.Popen[str]) -> Ended:
    """Waits for a process."""
    try:
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
    finally:
        process.kill()
        process.wait()
    return Ended(process.returncode, out, err)


def journal(workdir: Path) -> list[str]:
    """The places that launches with faults have passed."""
    return Path(f"{workdir}.journal").read_text().splitlines()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Waits for a condition; false if the process ended before it came true."""
    began = time.monotonic()
    while not condition():
        if process.poll() is not None:
            return False
        if time.monotonic() - began > DEADLINE_SECONDS:
            process.kill()
            raise TimeoutError("the study hangs")
        time.sleep(0.005)
    return True


def holder(workdir: Path) -> int | None:
    """The process that the lock of a folder names."""
    path = workdir / "lock"
    match = re.match(r"process (\d+) on ", path.read_text()) if path.is_file() else None
    return int(match[1]) if match else None


@functools.cache
def plan_of(arguments: Sequence[str] = STUDY) -> Plan:
    """The plan of a command line."""
    values = flags.FlagValues()
    define_common_flags(values)
    parse(EXPERIMENT, ["sweep", *arguments], values)
    return make_plan(read_command(EXPERIMENT, values).parts)


def abstract_of(group: Group) -> Any:
    """Shapes and types of a group's lanes."""
    hparams = stack([run.hyperparameters for run in group.runs])
    return abstract_lanes(hparams, functools.partial(make_transform, group.runs[0]))


def restored(workdir: Path, group: Group) -> checkpoint.Restored:
    """The newest good checkpoint of a group, as the library finds it."""
    return checkpoint.restore(workdir / "checkpoints" / group.group_id, abstract_of(group))


def leaves(tree: Any) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Type, shape and bytes of every leaf by its path; of random keys the integers behind them."""
    flat, _ = jax.tree_util.tree_flatten_with_path(to_host(tree))
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}
    return {path: (str(a.dtype), a.shape, a.tobytes()) for path, a in arrays.items()}


def table(frame: pd.DataFrame) -> dict[str, Any]:
    """Columns of a table; numbers as their bytes, so that equal means equal in every bit."""
    plain = {name: frame[name].to_numpy() for name in frame.columns}
    return {n: (str(v.dtype), list(map(repr, v)) if v.dtype == object else v.tobytes()) for n, v in plain.items()}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """All that a finished study left behind and that a fault must not change."""

    metrics: Mapping[str, Any]
    runs: Mapping[str, Any]
    plan: str
    states: Mapping[str, Any]


def outcome(workdir: Path, arguments: Sequence[str] = STUDY) -> Outcome:
    """Reads a finished study; every group's newest checkpoint must be good, and nothing half-written left."""
    plan, folder = plan_of(tuple(arguments)), Workdir(workdir)
    states = {}
    for group in plan.groups:
        found = restored(workdir, group)
        assert found.damaged == ()
        assert found.step == checkpoint.steps(folder.checkpoints / group.group_id)[-1]
        states[group.group_id] = (found.step, leaves(found.tree))
    assert not list(workdir.glob("checkpoints/*/saving-*"))
    rows = read_rows(folder, [group.group_id for group in plan.groups])
    check_rows(plan, rows, read_table(folder.runs))
    runs = read_table(folder.runs).sort_values("run_id", ignore_index=True)
    return Outcome(table(rows), table(runs), folder.plan.read_text(), states)


def check_rows(plan: Plan, rows: pd.DataFrame, runs: pd.DataFrame) -> None:
    """Every run has its row of every recorded step up to where it ended, once."""
    assert not rows.duplicated(["run_id", "step"]).any()
    assert sorted(runs["run_id"]) == sorted(plan.runs())
    updates = dict(zip(runs["run_id"], runs["updates"], strict=True))
    for run_id, run in plan.runs().items():
        every = Cadence((run.config.steps,), run.config.record_every).record_steps()
        # A row is made before its update, and the update is refused if the loss was not finite.
        expected = [step for step in every if step < updates[run_id]]
        assert rows[rows["run_id"] == run_id]["step"].tolist() == expected, run_id


def assert_same(found: Outcome, expected: Outcome) -> None:
    """Two studies ended alike in every bit."""
    for field in dataclasses.fields(Outcome):
        left, right = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(right, Mapping):
            assert left.keys() == right.keys(), field.name
            different = [key for key in right if left[key] != right[key]]
            assert not different, f"{field.name}: {different}"
        assert left == right, field.name
