"""Processes of one machine: how many there are at a time, and which of them an earlier command has left."""

import sys
import time

from lrstudy.study.launching.handout import RUNS, WAITS, Handout
from lrstudy.study.launching.local_pool import LocalPool
from lrstudy.study.workdir import Workdir

UNTIL_TOLD = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"


def handout(number, count):
    return Handout(number, "local", ("",), tuple((f"g{number}{i}",) for i in range(count)), f"token {number}")


def until(own, handouts, states):
    """Asks until the tasks are in these states; they start and end in their own time."""
    began = time.monotonic()
    while (found := dict(own.states(handouts))) != states:
        assert time.monotonic() - began < 60, found
        time.sleep(0.02)


def test_no_more_at_a_time_than_said_beside_those_of_a_command_that_was_killed(tmp_path):
    workdir = Workdir(tmp_path / "a [study]")
    workdir.launched.mkdir(parents=True)
    command = [sys.executable, "-c", UNTIL_TOLD, str(tmp_path / "end")]
    first, second = handout(0, 1), handout(1, 2)
    left = LocalPool(workdir, command, 1)
    left.submit(first)
    own = LocalPool(workdir, command, 1)
    assert own.states([first]) == {"0.0": RUNS}
    own.submit(second)
    assert own.states([first, second]) == {"0.0": RUNS, "1.0": WAITS, "1.1": WAITS}
    other = LocalPool(workdir, command, 1)
    assert other.leave([first]).endswith("; one task of an earlier launch still runs")
    left.leave([first])
    until(own, [first, second], {"1.0": RUNS, "1.1": WAITS})
    (tmp_path / "end").touch()
    until(own, [first, second], {})
