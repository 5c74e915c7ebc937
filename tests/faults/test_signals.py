"""Stop requests and the lock of a folder."""

import os
import signal

import pytest

from lrstudy.study.errors import StudyError
from lrstudy.study.store import read_table
from lrstudy.study.workdir import Workdir
from lrstudy.training import checkpoint
from tests.faults.harness import TRUNK, assert_same, ended, journal, outcome, plan_of, restored, wait_until


def trunk_steps(workdir) -> list[int]:
    return checkpoint.steps(workdir / "checkpoints" / plan_of().groups[TRUNK].group_id)


def test_a_second_process_is_refused_and_a_stopped_one_goes_on(launcher, reference, tmp_path):
    """The first is held still while the second tries; then it is asked to stop."""
    workdir = tmp_path / "study"
    first = launcher.start(workdir)
    assert wait_until(lambda: len(trunk_steps(workdir)) >= 2, first)
    first.send_signal(signal.SIGSTOP)
    second = launcher.run(workdir)
    first.terminate()
    first.send_signal(signal.SIGCONT)
    stopped = ended(first)

    assert second.code == 1
    (line,) = second.err.splitlines()
    assert line.startswith("error: ")
    assert f"process {first.pid} on " in line

    assert stopped.code == 75, stopped.err
    assert "Traceback" not in stopped.err
    assert set(read_table(workdir / "runs.parquet")["outcome"]) == {"preempted"}
    found = restored(workdir, plan_of().groups[TRUNK])
    assert found.damaged == ()
    assert found.step == trunk_steps(workdir)[-1]

    last = launcher.run(workdir)
    assert last.code == 0, last.err
    assert_same(outcome(workdir), reference)


def test_a_stop_waits_for_one_call_and_one_save(launcher, tmp_path):
    workdir = tmp_path / "study"
    assert launcher.run(workdir, faults="program:4:term").code == 75
    passed = journal(workdir)
    fourth = [i for i, place in enumerate(passed) if place == "program"][3]
    assert passed.count("program") == 4
    assert passed[fourth:].count("renamed") == 1
    assert restored(workdir, plan_of().groups[TRUNK]).damaged == ()


def test_a_stop_between_two_groups_begins_nothing(launcher, tmp_path):
    """What is trained next may take long to compile."""
    workdir = tmp_path / "study"
    assert launcher.run(workdir, faults="group:2:term").code == 75
    passed = journal(workdir)
    finish = [i for i, place in enumerate(passed) if place == "group"][1]
    assert "program" not in passed[finish:]


def test_a_stop_while_the_study_concludes(launcher, tmp_path, killed, copy, reference):
    """Nothing is left to save: it may finish, or be finished by the same command."""
    workdir = copy(killed)
    assert launcher.run(workdir, faults="claims.json:1:term").code in (0, 75)
    assert launcher.run(workdir).code == 0
    assert_same(outcome(workdir), reference)


@pytest.mark.parametrize("faults", ["program:1:term,orbax:1:term", "program:1:terms"])
def test_a_second_request_leaves_at_once(faults, launcher, tmp_path):
    """In the midst of the save that the first one asked for, or both inside one compiled program."""
    workdir = tmp_path / "study"
    assert launcher.run(workdir, faults=faults).code in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert trunk_steps(workdir) == []
    assert "sync" not in journal(workdir)


def test_shares_of_a_study_and_its_whole(tmp_path, monkeypatch):
    """Shares exclude the whole, which names a process that still holds one, in one line."""
    folder = Workdir(tmp_path)
    (tmp_path / "lock").write_text("process 1234567890 on a-machine-of-a-very-long-name\n")
    monkeypatch.setattr(os, "getpid", lambda: 111)
    with folder.locked((1, 2)):
        with (
            pytest.raises(StudyError, match=r"share 1/2 of .* is in use by process 111 on \S+$"),
            folder.locked((1, 2)),
        ):
            pass
        monkeypatch.setattr(os, "getpid", lambda: 222)
        with folder.locked((2, 2)):
            pass
        with pytest.raises(StudyError, match=r"is in use by process 111 on \S+$"), folder.locked():
            pass
    with folder.locked():
        pass
