"""A launcher for SLURM: array jobs by ``sbatch``, what is left of them by ``squeue``; accounting is not needed."""

import fcntl
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.launching.handout import CANCELLED, RUNS, WAITS, Handout, Unreachable
from lrstudy.study.workdir import Workdir, is_held

SECONDS_TO_SAVE = 60
"""So long before the time limit a task is asked to save."""

MOST_TASKS = 1000
"""SLURM's own default allows indices up to 1000."""

_OVER = {
    "BOOT_FAIL",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
_RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING"}
_ANSWER_SECONDS = 60


class Slurm:
    """Submits every hand-out as one array job, which SLURM requeues after a preemption.

    Args:
        workdir: of the study.
        command: that trains, without the task's name.
        jobs: at most so many tasks; ``None``: one for every family of groups.
        arguments: further ones of ``sbatch``, as a user writes them.
    """

    name = "slurm"
    seconds = 10.0
    stopping = "the jobs go on"

    def __init__(self, workdir: Workdir, command: Sequence[str], jobs: int | None, arguments: str = "") -> None:
        for program in ("sbatch", "squeue"):
            if shutil.which(program) is None:
                raise ConfigError(f"launcher must be one whose programs are here, got 'slurm': no {program} on PATH")
        try:
            self._arguments = shlex.split(arguments)
        except ValueError as error:
            raise ConfigError(f"launcher_args must be arguments of sbatch, got {arguments!r}: {error}") from error
        self._workdir, self._command = workdir, command
        self._jobs: dict[str, str] = {}  # by the tokens of a launch that was killed before it knew them
        self.at_most: int | None = min(jobs or MOST_TASKS, MOST_TASKS)

    def submit(self, handout: Handout) -> Handout:
        """Submits one array job.

        Raises:
            StudyError: SLURM refuses it.
        """
        script = self._workdir.launched / f"{handout.number}.sh"
        # The shell becomes the task: SLURM's signals go to the process of the script.
        line = f'exec {shlex.join(self._command)} --launch_task={handout.number}."$SLURM_ARRAY_TASK_ID"'
        script.write_text(f"#!/bin/sh\n{line}\n")
        with script.open("r+b") as held:
            # sbatch inherits the lock: it goes on where the launching command is killed, and may yet submit the job.
            fcntl.flock(held, fcntl.LOCK_EX)
            try:
                answer = _answer(self.arguments(handout, script), [held.fileno()])
            except Unreachable as error:
                raise StudyError(f"sbatch took no job: {error}") from error
        return Handout(**{**vars(handout), "job": answer.strip().partition(";")[0]})

    def arguments(self, handout: Handout, script: Path) -> list[str]:
        """The command line of ``sbatch``; what it says last holds, so a user's arguments replace the signal alone."""
        folder = str(self._workdir.launched.absolute()).replace("%", "%%")
        return [
            "sbatch",
            f"--signal=B:USR1@{SECONDS_TO_SAVE}",
            *self._arguments,
            "--parsable",
            f"--job-name={handout.token}",
            f"--array=0-{len(handout.tasks) - 1}",
            "--requeue",
            "--open-mode=append",
            f"--output={folder}/%A_%a.log",
            str(script),
        ]

    def states(self, handouts: Sequence[Handout]) -> Mapping[str, str]:
        """Which tasks are in the queue, and which were cancelled a short while ago.

        Raises:
            Unreachable: SLURM does not answer, or is still to answer the ``sbatch`` of a launch that was killed.
        """
        for handout in handouts:
            if handout.job is None and is_held(self._workdir.launched / f"{handout.number}.sh"):
                raise Unreachable("sbatch of an earlier launch has not ended yet")
        # Asking for jobs by their numbers is an error once SLURM has forgotten one of them.
        answer = _answer(
            ["squeue", f"--user={os.getuid()}", "--array", "--noheader", "--states=all", "--format=%F|%K|%T|%r|%j"]
        )
        found, kinds = {}, {"CANCELLED": CANCELLED, **dict.fromkeys(_RUNNING, RUNS)}
        for line in answer.splitlines():
            job, index, state, reason, token = (line.strip().split("|", 4) + [""] * 4)[:5]
            for handout in handouts:
                if token == handout.token:
                    self._jobs[token] = job
                if state not in _OVER and (token == handout.token or job == handout.job):
                    why = "" if reason == "None" else f" ({reason})"
                    found[f"{handout.number}.{index}"] = kinds.get(state, WAITS + why)
        return found

    def log(self, name: str, handout: Handout) -> Path:
        """The file that a task writes to."""
        return self._workdir.launched / f"{self._job_of(handout)}_{name.partition('.')[2]}.log"

    def _job_of(self, handout: Handout) -> str | None:
        return handout.job or self._jobs.get(handout.token)

    def leave(self, handouts: Sequence[Handout]) -> str:
        """Leaves the jobs in the queue."""
        jobs = " ".join(filter(None, map(self._job_of, handouts)))
        return f"the jobs go on, and the same command waits for them again; to end them: scancel {jobs}" if jobs else ""


def requeue() -> None:
    """Puts this process's own array task into the queue again, which ends it.

    Raises:
        Unreachable: SLURM does not do it; the launching command will submit what is left.
    """
    job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    _answer(["scontrol", "requeue", job])


def _env() -> dict[str, str]:
    """The environment without a user's filters of the queue, which would hide tasks."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}


def _answer(command: Sequence[str], keeps: Sequence[int] = ()) -> str:
    """What a command of SLURM prints.

    Args:
        command: with its arguments.
        keeps: descriptors that it holds open.

    Raises:
        Unreachable: it fails or takes too long.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_ANSWER_SECONDS, env=_env(),
            pass_fds=keeps,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{command[0]} does not answer: {error}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise Unreachable(said[-1] if said[-1].startswith(command[0]) else f"{command[0]}: {said[-1]}")
    return done.stdout
