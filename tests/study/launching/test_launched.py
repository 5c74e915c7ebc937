"""Studies handed to a pool of processes and to a real SLURM, disturbed, against the same study in one process."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from experiments.sweep import EXPERIMENT
from lrstudy.study.launching.handout import handouts
from lrstudy.study.run import Launch
from lrstudy.study.signals import StopRequest
from lrstudy.study.store import begun_groups, read_rows, read_table
from lrstudy.study.trainer import Settings
from lrstudy.study.workdir import Workdir, write_json
from lrstudy.training import checkpoint
from tests.faults.harness import REPO, check_rows, plan_of, table
from tests.study.launching.slurm_node import Node, absent

STEPS = 600
STUDY = (
    "--preset=smoke",
    "--config.task=quadratic",
    "--config.schedule=Constant",
    f"--config.steps={STEPS}",
    "--config.record_every=50",
    "--config.evaluate_every=0",
    "--sweep.optimizer=sgd,momentum",
    "--sweep.seed=0,1",
    "--checkpoint_steps=50",
)
PATIENCE_SECONDS = 120


def records(workdir):
    """Every bit of the rows and of what became of the runs."""
    rows, runs = read_rows(workdir, list(begun_groups(workdir))), read_table(workdir.runs)
    check_rows(plan_of(STUDY), rows, runs)
    return table(rows), table(runs.sort_values("run_id", ignore_index=True))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The records of one process; like the others it has one device."""
    workdir, plan = Workdir(tmp_path_factory.mktemp("undisturbed") / "study"), plan_of(STUDY)
    with StopRequest() as stop:
        assert Launch(EXPERIMENT, plan, plan.groups, workdir, Settings()).run(stop) == 0
    write_json(workdir.plan, plan.to_json())
    return records(workdir)


class Command:
    """A launching command."""

    def __init__(self, workdir, *arguments, env=None):
        self.command = [sys.executable, "-m", "experiments.sweep", *STUDY, f"--workdir={workdir}", *arguments]
        # Tasks that start again need not compile again.
        self.env = {**(env or os.environ), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

    def start(self):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.command, cwd=REPO, env=self.env, text=True, **pipes)


def steps(workdir, task):
    """The newest checkpoint of a task's only group."""
    (group,) = handouts(workdir)[0].groups(task)
    return (checkpoint.steps(workdir.checkpoints / group) or [0])[-1]


def pid(workdir, task):
    (group,) = handouts(workdir)[0].groups(task)
    return int((workdir.launched / f"lock-group-{group}").read_text().split()[1])


def killed_once_its_tasks_are_held_still(launcher, workdir):
    """Holds both tasks still after a checkpoint, so that they are in the middle whatever the machine does."""
    moving = ["0.0", "0.1"]
    until = time.monotonic() + PATIENCE_SECONDS
    while moving:
        assert launcher.poll() is None, launcher.communicate()
        assert time.monotonic() < until
        for task in [task for task in moving if handouts(workdir) and steps(workdir, task)]:
            os.kill(pid(workdir, task), signal.SIGSTOP)
            moving.remove(task)
        time.sleep(0.02)
    launcher.kill()
    launcher.communicate()
    assert all(0 < steps(workdir, task) < STEPS for task in ("0.0", "0.1"))


def test_a_pool_whose_launcher_is_killed(undisturbed, tmp_path):
    """The tasks go on; one of them is killed as well. The same command waits for the other, and repeats the one."""
    workdir = Workdir(tmp_path / "study")
    command = Command(workdir.root, "--launcher=local", "--jobs=2")
    killed_once_its_tasks_are_held_still(command.start(), workdir)
    os.kill(pid(workdir, "0.1"), signal.SIGKILL)
    again = command.start()
    assert "local: one task handed out" in again.stderr.readline()
    # Only now may the other go on: it could be at its end before it is looked at.
    assert "tasks: 2 run" in again.stderr.readline()
    os.kill(pid(workdir, "0.0"), signal.SIGCONT)
    out, err = again.communicate(timeout=PATIENCE_SECONDS)
    assert again.returncode == 0, err
    assert [own.tasks for own in handouts(workdir)] == [
        handouts(workdir)[0].tasks,
        (handouts(workdir)[0].groups("0.1"),),
    ]
    assert out.strip().endswith(f"report: {workdir.report}")
    assert records(workdir) == undisturbed
    assert json.loads(workdir.config.read_text())["devices"] == ["cpu: cpu"]


@pytest.fixture
def node():
    if absent():
        pytest.skip(f"SLURM: {absent()}")
    with tempfile.TemporaryDirectory(prefix="slurm-") as root, Node(Path(root)) as own:
        yield own


def test_slurm_jobs_that_are_preempted_and_a_launcher_that_is_killed(node, undisturbed, tmp_path):
    """One task is requeued as for a preemption, the other told that its time is up; nothing is submitted twice."""
    workdir = Workdir(tmp_path / "study")
    command = Command(workdir.root, "--launcher=slurm", "--launcher_args=--ntasks=1", env=node.env)
    killed_once_its_tasks_are_held_still(command.start(), workdir)
    (own,) = handouts(workdir)
    tasks = [f"{own.job}_{index}" for index in range(2)]
    node.run("scontrol", "requeue", tasks[0])
    node.run("scancel", "--signal=USR1", "--batch", tasks[1])
    os.kill(pid(workdir, "0.1"), signal.SIGCONT)
    for task in tasks:
        # SLURM lets a requeued job wait for some minutes, lest what made it fail be still there.
        waits = ("squeue", "--noheader", "--format=%r", f"--jobs={task}")
        node.wait(lambda waits=waits: "BeginTime" in node.run(*waits), f"{task} in the queue again")
        node.run("scontrol", "update", f"JobId={task}", "StartTime=now")
    assert all(0 < steps(workdir, name) < STEPS for name in own.names())
    again = command.start()
    _, err = again.communicate(timeout=PATIENCE_SECONDS)
    assert again.returncode == 0, err
    logs = [(workdir.launched / f"{task}.log").read_text() for task in tasks]
    print(err, *logs, sep="\n")
    assert handouts(workdir) == [own]
    assert "handed out" not in err
    assert "DUE TO JOB REQUEUE" in logs[0]
    assert "the time limit is near: back into the queue" in logs[1]
    assert all("stopping: saving first" in log for log in logs)
    assert records(workdir) == undisturbed
