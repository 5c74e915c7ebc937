"""A launcher for one machine: a pool of processes."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lrstudy.study.launching.handout import RUNS, WAITS, Handout
from lrstudy.study.machine import cores
from lrstudy.study.workdir import Workdir, is_held


class LocalPool:
    """Runs so many tasks at a time, each a process with a log file of its own.

    A log is locked as long as a process writes to it: the process inherits the lock with the file, so that a launching
    command that comes after one that was killed knows of the tasks which that one left behind.

    Args:
        workdir: of the study.
        command: that trains, without the task's name.
        jobs: tasks at a time; ``None``: as many as there are cores.
    """

    name = "local"
    at_most: int | None = None
    seconds = 1.0
    stopping = "the tasks save first"

    def __init__(self, workdir: Workdir, command: Sequence[str], jobs: int | None) -> None:
        self._workdir, self._command = workdir, command
        self._jobs = jobs or cores()
        self._queue: list[tuple[str, Handout]] = []
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._others = 0  # tasks of launching commands that were killed

    def submit(self, handout: Handout) -> Handout:
        """Starts the tasks, one after another where there are more than may run."""
        self._queue += [(name, handout) for name in handout.names()]
        self._start()
        return handout

    def states(self, handouts: Sequence[Handout]) -> Mapping[str, str]:
        """Which tasks run or wait, those of a launching command that was killed included."""
        self._running = {name: process for name, process in self._running.items() if process.poll() is None}
        waiting = {name for name, _ in self._queue}
        logs = {name: self.log(name, own) for own in handouts for name in own.names() if name not in waiting}
        held = {name for name, log in logs.items() if is_held(log)}
        self._others = len(held - self._running.keys())
        self._start()
        waits = dict.fromkeys((name for name, _ in self._queue), WAITS)
        return {**dict.fromkeys((*held, *self._running), RUNS), **waits}

    def log(self, name: str, handout: Handout) -> Path:
        """The file that a task writes to."""
        del handout
        return self._workdir.launched / f"{name}.log"

    def leave(self, handouts: Sequence[Handout]) -> str:
        """Ends its own tasks and waits until they have saved."""
        self._queue.clear()
        for process in self._running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._running.values():
            process.wait()
        others = len(self.states(handouts))
        what = "one task of an earlier launch still runs"
        what = what if others == 1 else f"{others} tasks of an earlier launch still run"
        left = f"; {what}" if others else ""
        return f"stopped after saving; the same command goes on from there ({self._workdir.root}){left}"

    def _start(self) -> None:
        while self._queue and len(self._running) + self._others < self._jobs:
            name, handout = self._queue.pop(0)
            descriptor = os.open(self.log(name, handout), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                self._running[name] = subprocess.Popen(
                    [*self._command, f"--launch_task={name}"],
                    stdin=subprocess.DEVNULL, stdout=descriptor, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(descriptor)
