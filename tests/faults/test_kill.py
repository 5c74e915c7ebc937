"""``kill -9``: whenever it comes, the same command finishes the study as if it had never come."""

import itertools
import math
import time

import numpy as np
import pytest

from tests.faults.harness import (
    SAVE_EVERY,
    SMALL,
    STUDY,
    Ended,
    assert_same,
    ended,
    holder,
    journal,
    outcome,
    wait_until,
)

KILLS, CHAINS = 20, 2
LATEST = 0.6
"""Latest instant of a kill as a share of an undisturbed study; the launches after it meet the study's end."""


def leftovers(workdir) -> list[str]:
    return [path.name for path in workdir.glob("checkpoints/*/saving-*")]


@pytest.mark.slow
@pytest.mark.parametrize("draw", range(CHAINS))
def test_random_instants(draw, launcher, reference, working_seconds, tmp_path, record_property):
    """Kill, launch again, kill ... until the study is finished; then the next study, until all kills are made."""
    shares = np.random.default_rng(draw).uniform(0, LATEST, KILLS // CHAINS)
    instants = (shares * working_seconds).tolist()
    inside_a_save, studies = 0, 0
    while instants:
        workdir = tmp_path / str(studies)
        while (last := killed_after(launcher, workdir, instants[-1] if instants else math.inf)).code == -9:
            instants.pop()
            inside_a_save += bool(leftovers(workdir))
        assert last.code == 0, last.err
        assert_same(outcome(workdir), reference)
        studies += 1
        # The instant lay past the end: halved it will be met.
        instants[-1:] = [instant / 2 for instant in instants[-1:]]
    record_property("kills_inside_a_save", inside_a_save)
    print(f"{inside_a_save} of {KILLS // CHAINS} kills inside a save, {studies} studies")


def killed_after(launcher, workdir, seconds) -> Ended:
    """Launches a study and kills it so long after it has taken the lock, if it has not ended by then."""
    process = launcher.start(workdir)
    if wait_until(lambda: holder(workdir) == process.pid, process):
        deadline = time.monotonic() + seconds
        if wait_until(lambda: time.monotonic() >= deadline, process):
            process.kill()
    return ended(process)


TRUNK_PLACES = ["orbax:2", "sync:20", "rename:2", "renamed:2", "rows:3", "removing:1"]
BRANCH_PLACES = ["rows:1", "orbax:1", "removing:2", "group:1", "runs.parquet:1", "claims.json:1"]


def killed_at(launcher, workdir, place, save_every) -> None:
    """How often is saved changes nothing, but files of rows that a kill orphaned are not just written over."""
    name = place.split(":")[0]
    arguments = (*STUDY, f"--checkpoint_steps={save_every}")
    assert launcher.run(workdir, arguments, faults=f"{place}:kill").code == -9
    assert journal(workdir)[-1] == name
    inside = {"orbax", "sync", "rename"}
    assert bool(leftovers(workdir)) == (name in inside)


def test_every_place_of_a_trunk(launcher, reference, tmp_path):
    """One study killed at every place where its folder changes, launch after launch."""
    workdir = tmp_path / "study"
    for place, save_every in zip(TRUNK_PLACES, itertools.cycle((SAVE_EVERY, 3, 7)), strict=False):
        killed_at(launcher, workdir, place, save_every)
    last = launcher.run(workdir)
    assert last.code == 0, last.err
    assert_same(outcome(workdir), reference)


def test_every_place_of_a_branch(launcher, reference, halfway, copy):
    """The same where runs start from a trunk's checkpoint with a copy of its rows, and where a study concludes."""
    workdir = copy(halfway)
    for place, save_every in zip(BRANCH_PLACES, itertools.cycle((3, SAVE_EVERY)), strict=False):
        killed_at(launcher, workdir, place, save_every)
    last = launcher.run(workdir)
    assert last.code == 0, last.err
    assert_same(outcome(workdir), reference)


def test_a_grown_study_killed_before_it_is_reported(launcher, tmp_path):
    """The report of the smaller study must not pass for that of the grown one."""
    workdir = tmp_path / "study"
    assert launcher.run(workdir, [*SMALL, "--sweep.seed=0"]).code == 0
    grown = [*SMALL, "--sweep.seed=0,1"]
    assert launcher.run(workdir, grown, faults="claims.json:1:kill").code == -9
    old = (workdir / "report.html").read_bytes()
    last = launcher.run(workdir, grown)
    assert last.code == 0, last.err
    assert "nothing to do" not in last.out
    assert (workdir / "report.html").read_bytes() != old
