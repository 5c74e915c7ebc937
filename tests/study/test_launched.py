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
from lrstudy.study.handout import handouts
from lrstudy.study.run import Launch
from lrstudy.study.signals import StopRequest
from lrstudy.study.store import begun_groups, read_rows, read_table
from lrstudy.study.trainer import Settings
from lrstudy.study.workdir import Workdir, write_json
from lrstudy.training import checkpoint
from tests.faults.harness import REPO, check_rows, plan_of, table
from tests.study.slurm_node import Node, absent

STEPS = 1500
STUDY = (
    "--preset=smoke",
    "--config.task=quadratic",
    "--config.schedule=Constant",
    f"--config.steps={STEPS}",
    "--config.record_every=100",
    "--config.evaluate_every=0",
    "--sweep.optimizer=sgd,momentum",
    "--sweep.seed=0,1",
    "--checkpoint_steps=100",
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
        self.env = env

    def start(self):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.command, cwd=REPO, env=self.env, text=True, **pipes)

    def run(self):
        process = self.start()
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, err
        return out, err


def wait_for(condition, process):
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


def steps(workdir, task):
    """The newest checkpoint of a task's only group."""
    (group,) = handouts(workdir)[0].groups(task)
    return (checkpoint.steps(workdir.checkpoints / group) or [0])[-1]


def begun(workdir):
    """Both tasks have saved."""
    return len(handouts(workdir)) == 1 and all(steps(workdir, task) for task in ("0.0", "0.1"))


def killed(process):
    process.kill()
    process.communicate()


def test_a_pool_whose_launcher_is_killed(undisturbed, tmp_path):
    """The tasks go on; one of them is killed as well. The same command waits for the other, and repeats the one."""
    workdir = Workdir(tmp_path / "study")
    command = Command(workdir.root, "--launcher=local", "--jobs=2")
    first = command.start()
    wait_for(lambda: begun(workdir), first)
    killed(first)
    (group,) = handouts(workdir)[0].groups("0.1")
    holder = (workdir.launched / f"lock-group-{group}").read_text()
    os.kill(int(holder.split()[1]), signal.SIGKILL)
    assert steps(workdir, "0.1") < STEPS
    out, err = command.run()
    assert "local: one task handed out" in err
    assert [own.tasks for own in handouts(workdir)][1:] == [((group,),)]
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
    first = command.start()
    wait_for(lambda: begun(workdir), first)
    (own,) = handouts(workdir)
    tasks = [f"{own.job}_{index}" for index in range(2)]
    node.run("scontrol", "requeue", tasks[0])
    node.run("scancel", "--signal=USR1", "--batch", tasks[1])
    killed(first)
    for task in tasks:
        # SLURM lets a requeued job wait for some minutes, lest what made it fail be still there.
        node.wait(
            lambda task=task: "BeginTime" in node.run("squeue", "--noheader", "--format=%T%r", f"--jobs={task}"),
            "requeue",
        )
        node.run("scontrol", "update", f"JobId={task}", "StartTime=now")
    assert all(0 < steps(workdir, name) < STEPS for name in own.names())
    _, err = command.run()
    logs = [(workdir.launched / f"{task}.log").read_text() for task in tasks]
    print(err, *logs, sep="\n")
    assert handouts(workdir) == [own]
    assert "handed out" not in err
    assert "DUE TO JOB REQUEUE" in logs[0]
    assert "the time limit is near: back into the queue" in logs[1]
    assert all("stopping: saving first" in log for log in logs)
    assert records(workdir) == undisturbed
