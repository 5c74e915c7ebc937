"""What a launching command does with tasks that end well, badly, late or never; no scheduler is needed."""

import dataclasses
import os
import signal

import pandas as pd
import pytest

from lrstudy.study import records as records_lib
from lrstudy.study.choices import choice
from lrstudy.study.derived import Derived, plan_ready
from lrstudy.study.errors import StudyError
from lrstudy.study.exit_codes import BAD_COMMAND, OK, RUN_FAILED, STOPPED
from lrstudy.study.experiment import Experiment
from lrstudy.study.launching import launch as launch_lib
from lrstudy.study.launching import slurm
from lrstudy.study.launching.handout import CANCELLED, RUNS, Ended, Handout, Unreachable, ended, handouts, record, task
from lrstudy.study.launching.launch import TRIES, hand_out
from lrstudy.study.launching.task import run_task
from lrstudy.study.part import Part, axis
from lrstudy.study.probes import Probe
from lrstudy.study.run import Launch
from lrstudy.study.store import GroupStore, Outcome, finished_runs
from lrstudy.study.trainer import PreemptedError, Settings
from lrstudy.study.workdir import Workdir, write_json
from tests.study.staged import EXPERIMENT, best_peak
from tests.study.studies import BASE

CONSTANT = dataclasses.replace(BASE, schedule=choice("schedule", "Constant", peak=1.0))
THREE = {"": Part(CONSTANT, [axis("task.batch_size", [8, 16, 32])])}
"""Three groups that have nothing to do with each other."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(launch_lib, "_NAP", 0.001)
    monkeypatch.setattr(launch_lib, "_FIRST_WAIT", 0.002)


class Study:
    """A study in a folder, planned as the command line does."""

    def __init__(self, root, parts=THREE, experiment=EXPERIMENT, **settings):
        self.workdir, self.parts, self.experiment = Workdir(root), parts, experiment
        self.settings = Settings(warn=print, **settings)

    def planned(self, failures):
        return self._launch(self.parts, failures)

    def of(self, names):
        return self._launch({name: part for name, part in self.parts.items() if name in names}, {})

    def _launch(self, parts, failures):
        plan, _ = plan_ready(parts, self.workdir)
        return Launch(self.experiment, plan, plan.groups, self.workdir, self.settings, failures=failures)

    def tasks(self):
        """How many groups every task had, hand-out by hand-out."""
        return [[len(ids) for ids in own.tasks] for own in handouts(self.workdir)]


class Here:
    """A launcher whose tasks do what a test says, one at every look.

    Args:
        study: whose tasks.
        usually: what a task does, called with the study and the task's name.
        does: task name to what that one does instead.
    """

    name, seconds, stopping = "here", 0.01, "nothing"

    def __init__(self, study, usually, at_most=None, **does):
        self.study, self.usually, self.at_most = study, usually, at_most
        self.does = {name.replace("_", ".").lstrip("."): act for name, act in does.items()}
        self.queue, self.cancelled, self.left = [], [], None

    def submit(self, handout):
        self.queue += handout.names()
        return dataclasses.replace(handout, job="7")

    def states(self, handouts):
        if self.queue:
            name = self.queue.pop(0)
            self.does.get(name, self.usually)(self.study, name)
        return {**dict.fromkeys(self.queue, RUNS), **dict.fromkeys(self.cancelled, CANCELLED)}

    def log(self, name, handout):
        return self.study.workdir.launched / f"{name}.log"

    def leave(self, handouts):
        self.left = [own.number for own in handouts]
        return "left"

    def run(self):
        return hand_out(self.study.planned, self, self.study.workdir)


def trains(study, name):
    assert run_task(name, study.workdir, study.of) == OK


def finishes(study, name):
    """Says that it has trained."""
    _, ids = task(study.workdir, name)
    for group in study.planned({}).plan.groups:
        if group.group_id in ids:
            outcomes = [Outcome("ok", run.config.steps, {"excess": 1.0}) for run in group.runs]
            GroupStore(study.workdir, group).finish(outcomes, {})
    Ended(OK, devices=("a device",)).write(study.workdir, name)


def ends(code, line="", **fields):
    """Ends with this code, having said this."""

    def act(study, name):
        (study.workdir.launched / f"{name}.log").write_text(f"first\n{line}\n\n")
        Ended(code, **fields).write(study.workdir, name)

    return act


def killed(study, name):
    """Leaves no word."""


def test_what_follows_from_records_and_what_is_measured_come_after_what_they_need(tmp_path):
    short = dataclasses.replace(CONSTANT, steps=20)
    parts = {
        "tuning": Part(short, [axis("schedule.peak", (0.5, 1.0, 2.0))]),
        "deciding": Derived(
            ("tuning",), lambda records: Part(short, [axis("schedule.peak", (best_peak(records) + 1,))])
        ),
    }
    measured = []

    def measure(context):
        measured.append(len(context.runs))
        return pd.DataFrame({"runs": [len(context.runs)]})

    study = Study(tmp_path, parts, Experiment("x", "X", "?", {}, probes=(Probe("count", "tuning", measure),)))
    found = Here(study, trains).run()
    assert (found.code, found.failures, found.devices) == (OK, {}, ["cpu: cpu"])
    assert study.tasks() == [[1], [0], [1]]
    assert measured == [3]
    # The command's own process has nothing left to train or measure.
    last = study.planned({})
    assert (list(last.plan.parts), last.missing(), last.unprobed()) == (["tuning", "deciding"], [], [])
    write_json(study.workdir.plan, last.plan.to_json())
    records = records_lib.load(study.workdir)
    assert records.part("deciding").runs["schedule.peak"].tolist() == [best_peak(records) + 1]
    assert records.runs["outcome"].tolist() == ["ok"] * 4


def test_families_are_dealt_to_as_many_tasks_as_there_may_be(tmp_path):
    study = Study(tmp_path)
    assert Here(study, finishes, at_most=2).run().code == OK
    assert study.tasks() == [[2, 1]]


def test_who_follows_the_records_is_told_of_them_while_tasks_run(tmp_path):
    finished = []
    study = Study(tmp_path, recorded=lambda: finished.append(len(finished_runs(Workdir(tmp_path)))))
    assert Here(study, finishes).run().code == OK
    assert sorted(set(finished)) == finished
    assert {1, 2} <= set(finished)


def test_what_was_killed_or_stopped_is_handed_out_again(tmp_path):
    study = Study(tmp_path)
    found = Here(study, finishes, _0_1=killed, _0_2=ends(STOPPED)).run()
    assert found.code == OK
    assert sorted(ids for own in study.tasks() for ids in own) == [1] * 5
    assert len(finished_runs(study.workdir)) == 3


def test_what_never_gets_on_is_given_up(tmp_path, capsys):
    study = Study(tmp_path)
    found = Here(study, ends(STOPPED, "stopped after saving"), _0_1=finishes, _0_2=finishes).run()
    assert found.code == RUN_FAILED
    assert study.tasks() == [[1, 1, 1], *[[1]] * (TRIES - 1)]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    log = study.workdir.launched / f"{TRIES - 1}.0.log"
    assert line == f"error: stopped 3 times without getting on, at last as task 2.0: stopped after saving ({log})"


def test_what_gets_on_is_handed_out_as_often_as_it_takes(tmp_path):
    study = Study(tmp_path, {"": Part(CONSTANT)})

    def gets_on(study, name):
        _, (group,) = task(study.workdir, name)
        number = int(name.partition(".")[0])
        (study.workdir.checkpoints / group / str(number + 1)).mkdir(parents=True)
        ends(STOPPED)(study, name) if number < 2 * TRIES else finishes(study, name)

    assert Here(study, gets_on).run().code == OK
    assert len(study.tasks()) == 2 * TRIES + 1


@pytest.mark.parametrize("code", [RUN_FAILED, BAD_COMMAND])
def test_a_task_that_fails_is_said_and_the_others_end(code, tmp_path, capsys):
    study = Study(tmp_path)
    found = Here(study, finishes, _0_0=ends(code, "error: the disk is full")).run()
    assert found.code == RUN_FAILED
    assert study.tasks() == [[1, 1, 1]]
    assert len(finished_runs(study.workdir)) == 2
    log = study.workdir.launched / "0.0.log"
    assert f"error: task 0.0 failed: error: the disk is full ({log})" in capsys.readouterr().err.splitlines()
    # The same command tries it again.
    assert Here(study, finishes).run().code == OK
    assert study.tasks() == [[1, 1, 1], [1]]


def test_runs_whose_program_fails_are_failed_runs_and_the_study_concludes(tmp_path):
    study = Study(tmp_path)
    (run_id,) = (run.run_id for run in study.planned({}).plan.groups[1].runs)
    found = Here(study, finishes, _0_1=ends(RUN_FAILED, failures={run_id: "out of memory"})).run()
    assert (found.code, found.failures) == (OK, {run_id: "out of memory"})
    assert study.planned(found.failures).missing() == []


def test_what_its_user_has_cancelled_is_left_alone(tmp_path, capsys):
    study = Study(tmp_path)
    own = Here(study, finishes)

    def cancelled(study, name):
        own.cancelled.append(name)

    own.does["0.1"] = cancelled
    assert own.run().code == STOPPED
    assert study.tasks() == [[1, 1, 1]]
    assert "one task was cancelled; the same command goes on" in capsys.readouterr().err


def test_tasks_of_a_launch_that_was_killed_are_waited_for(tmp_path):
    """Two of three groups are in other hands; one of these hands drops its group."""
    study = Study(tmp_path)
    groups = [group.group_id for group in study.planned({}).plan.groups]
    study.workdir.launched.mkdir()
    record(study.workdir, Handout(4, "here", ("",), ((groups[0],), (groups[2],)), "token", "7"))
    own = Here(study, finishes, _4_1=killed)
    own.queue = ["idle", "4.0", "4.1"]
    own.does["idle"] = killed
    assert own.run().code == OK
    assert [(o.number, o.tasks) for o in handouts(study.workdir)][1:] == [(5, ((groups[1],),)), (6, ((groups[2],),))]


def test_a_job_of_an_earlier_command_for_other_runs_does_not_fail_this_one(tmp_path, capsys):
    """Of a larger grid, say, whose group cannot be kept once runs of it are finished in a smaller one."""
    study = Study(tmp_path)
    study.workdir.launched.mkdir()
    record(study.workdir, Handout(4, "here", ("",), (("other",), ("another",)), "token", "7"))
    own = Here(study, finishes, _4_0=ends(RUN_FAILED, "error: group other is not planned any more"), idle=killed)
    own.does["4.1"] = lambda study, name: own.cancelled.append(name)
    own.queue = ["idle", "4.0", "4.1"]
    assert own.run().code == OK
    said = [line for line in capsys.readouterr().err.splitlines() if "of an earlier command" in line]
    assert [line.partition(":")[0] for line in said] == ["task 4.0", "task 4.1"]
    assert "error: group other is not planned any more" in said[0]
    assert len(finished_runs(study.workdir)) == 3


def test_a_scheduler_that_does_not_answer_is_asked_again(tmp_path, capsys):
    study = Study(tmp_path)
    own = Here(study, finishes)
    answers, silent = own.states, [True, False, *[True] * 20, False]

    def states(handouts):
        if silent and silent.pop(0):
            raise Unreachable("squeue does not answer")
        return answers(handouts)

    own.states = states
    assert own.run().code == OK
    assert study.tasks() == [[1, 1, 1]]
    # Once for every silence, however often it was asked.
    assert capsys.readouterr().err.splitlines().count("squeue does not answer") == 2


def test_a_launching_command_that_is_stopped_leaves_its_tasks_to_the_launcher(tmp_path, capsys):
    own = Here(Study(tmp_path), lambda study, name: os.kill(os.getpid(), signal.SIGTERM))
    assert own.run().code == STOPPED
    assert own.left == [0]
    assert "stopping: nothing (once more to leave at once)" in capsys.readouterr().err


def test_jobs_that_cannot_be_asked_for_may_still_train(tmp_path, monkeypatch):
    study = Study(tmp_path)
    record(study.workdir, Handout(0, "slurm", ("",), (("a",),), "token", "7"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StudyError, match=r"launch\.json names jobs of slurm, which cannot be asked for here"):
        Here(study, finishes).run()


def test_one_launch_at_a_time_and_no_shares_beside_it(tmp_path):
    workdir = Workdir(tmp_path)
    with workdir.launching():
        for other in (workdir.launching(), workdir.locked((1, 2)), workdir.locked()):
            with pytest.raises(StudyError, match=f"in use by process {os.getpid()} on"):
                other.__enter__()
        with (
            workdir.joined(["group-a"]),
            pytest.raises(StudyError, match=f"group-b of .* is in use by process {os.getpid()}"),
            workdir.joined(["group-b"]),
            workdir.joined(["group-c", "group-b"]),
        ):
            pass
    with workdir.joined(["group-a"]), workdir.launching():
        pass
    with workdir.locked((1, 2)), workdir.locked((2, 2)):
        for other in (workdir.launching(), workdir.locked((1, 3))):
            with pytest.raises(StudyError, match=f"in use by process {os.getpid()} on"):
                other.__enter__()


def test_a_task_leaves_word_of_what_stands_in_its_way(tmp_path):
    study = Study(tmp_path)
    group = study.planned({}).plan.groups[0]
    GroupStore(study.workdir, group).begin()
    record(study.workdir, Handout(0, "here", ("",), ((group.group_id,), ("gone",)), "token"))
    study.workdir.launched.mkdir()
    with study.workdir.joined([f"group-{group.group_id}"]), pytest.raises(StudyError, match="in use by process"):
        run_task("0.0", study.workdir, study.of)
    with pytest.raises(StudyError, match="group gone is not planned any more"):
        run_task("0.1", study.workdir, study.of)
    assert [ended(study.workdir, name).code for name in ("0.0", "0.1")] == [RUN_FAILED, RUN_FAILED]
    with pytest.raises(StudyError, match=r"launch\.json has no task 0\.2"):
        run_task("0.2", study.workdir, study.of)


@pytest.mark.parametrize(("made", "requeued"), [((), []), (("50",), [True])])
def test_a_task_whose_time_is_up_goes_back_into_the_queue_if_it_got_on(tmp_path, monkeypatch, capsys, made, requeued):
    """One that starts too slowly for its limit would else take the machine again and again."""
    study, calls = Study(tmp_path), []
    group = study.planned({}).plan.groups[0]
    GroupStore(study.workdir, group).begin()
    record(study.workdir, Handout(0, "slurm", ("",), ((group.group_id,),), "token"))

    def run(launch, stop):
        os.kill(os.getpid(), signal.SIGUSR1)
        for step in made:
            (study.workdir.checkpoints / group.group_id / step).mkdir(parents=True)
        raise PreemptedError

    monkeypatch.setattr(Launch, "run", run)
    monkeypatch.setattr(slurm, "requeue", lambda: calls.append(True))
    assert run_task("0.0", study.workdir, study.of) == STOPPED
    assert calls == requeued
    assert ("nothing was trained since the start" in capsys.readouterr().err) == (not requeued)
