"""What is asked of SLURM and read from its answers, with programs of its names that write down what they are given."""

import fcntl
import os
import shlex

import pytest

from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.launching import slurm
from lrstudy.study.launching.handout import CANCELLED, RUNS, WAITS, Handout, Unreachable
from lrstudy.study.launching.slurm import Slurm
from lrstudy.study.workdir import Workdir

COMMAND = ["python", "-m", "experiments.sweep", "--workdir=a folder"]
OWN = Handout(3, "slurm", ("",), (("a",), ("b",), ("c",)), "lrstudy-token")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Says what a program of SLURM prints and ends with; what it was given is a line of ``<name>.given``."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def put(name, says="", code=0, complaint=""):
        quoted = (shlex.quote(text) for text in (says, complaint))
        lines = [
            "#!/bin/sh",
            f'printf "%s\\n" "$@" > {tmp_path}/{name}.given',
            *map("printf '%s\\n' {}".format, quoted),
        ]
        (folder / name).write_text("\n".join([*lines[:3], f"{lines[3]} >&2", f"exit {code}\n"]))
        (folder / name).chmod(0o755)

    for name in ("sbatch", "squeue", "scontrol"):
        put(name)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return put


def made(tmp_path, jobs=None, arguments=""):
    workdir = Workdir(tmp_path / "100% mine")
    workdir.launched.mkdir(parents=True, exist_ok=True)
    return Slurm(workdir, COMMAND, jobs, arguments), workdir


def test_one_array_job_a_hand_out(programs, tmp_path):
    programs("sbatch", "17;cluster")
    own, workdir = made(tmp_path, arguments="--partition=p --comment='a word' --signal=B:USR1@300 --no-requeue")
    submitted = own.submit(OWN)
    assert (submitted.job, submitted.tasks) == ("17", OWN.tasks)
    given = (tmp_path / "sbatch.given").read_text().splitlines()
    script = workdir.launched / "3.sh"
    # What is said last holds, in SLURM: the user's word on the signal, ours on what the launcher needs.
    assert given == [
        "--signal=B:USR1@60", "--partition=p", "--comment=a word", "--signal=B:USR1@300", "--no-requeue",
        "--parsable", "--job-name=lrstudy-token", "--array=0-2", "--requeue", "--open-mode=append",
        f"--output={tmp_path}/100%% mine/launch/%A_%a.log", str(script),
    ]  # fmt: skip
    exec_line = """exec python -m experiments.sweep '--workdir=a folder' --launch_task=3."$SLURM_ARRAY_TASK_ID"\n"""
    assert script.read_text() == f"#!/bin/sh\n{exec_line}"
    assert own.log("3.1", submitted) == workdir.launched / "17_1.log"
    assert own.leave([submitted]).endswith("scancel 17")


def test_the_queue_says_what_is_still_to_end(programs, tmp_path):
    own, _ = made(tmp_path)
    lines = [
        "17|0|RUNNING|None|lrstudy-token",
        "17|1|PENDING|Resources|lrstudy-token",
        "17|2|COMPLETED|None|lrstudy-token",
        "18|0|REQUEUED|BeginTime|other",
        "18|1|CANCELLED|None|other",
        "18|2|PREEMPTED|None|other",
        "19|0|COMPLETING|None|unknown",
        "20|N/A|RUNNING|None|somebody's",
    ]
    programs("squeue", "\n".join(lines))
    # The launcher of the first was killed before it knew the job's number.
    other = Handout(5, "slurm", ("",), OWN.tasks, "other", "18")
    assert own.states([OWN, other]) == {
        "3.0": RUNS,
        "3.1": f"{WAITS} (Resources)",
        "5.0": f"{WAITS} (BeginTime)",
        "5.1": CANCELLED,
    }
    assert own.log("3.0", OWN).name == "17_0.log"
    assert own.leave([OWN, other]).endswith("scancel 17 18")
    assert f"--user={os.getuid()}" in (tmp_path / "squeue.given").read_text()
    programs("squeue", code=1, complaint="slurm_load_jobs error: Unable to contact slurm controller")
    with pytest.raises(Unreachable, match=r"squeue: slurm_load_jobs error: Unable to contact"):
        own.states([OWN])


def test_what_slurm_refuses_is_one_line(programs, tmp_path):
    programs("sbatch", code=1, complaint="sbatch: error: invalid partition specified: q")
    with pytest.raises(StudyError, match=r"^sbatch took no job: sbatch: error: invalid partition specified: q$"):
        made(tmp_path)[0].submit(OWN)


def test_arguments_that_are_none_and_slurm_that_is_not_there(programs, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"launcher_args must be arguments of sbatch, got '--comment=\"'"):
        made(tmp_path, arguments='--comment="')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"launcher must be .* here, got 'slurm': no sbatch on PATH"):
        made(tmp_path)


@pytest.mark.parametrize(("jobs", "at_most"), [(None, 1000), (3, 3), (5000, 1000)])
def test_indices_stay_within_slurms_default(programs, tmp_path, jobs, at_most):
    assert made(tmp_path, jobs)[0].at_most == at_most


def test_a_task_puts_itself_back_into_the_queue(programs, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    slurm.requeue()
    assert (tmp_path / "scontrol.given").read_text().split() == ["requeue", "17_2"]


def test_sbatch_that_outlives_its_launching_command_is_waited_for(programs, tmp_path):
    """Until it has ended nobody knows whether there is a job."""
    own, workdir = made(tmp_path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = tmp_path / "bin" / "sbatch"
    program.write_text(f'#!/bin/sh\ncat "{fifo}" > {tmp_path}/told 2>&1 &\necho 17\n')
    own.submit(OWN)
    with pytest.raises(Unreachable, match="sbatch of an earlier launch has not ended yet"):
        own.states([OWN])
    assert own.states([Handout(**{**vars(OWN), "job": "17"})]) == {}
    fifo.write_text("end")
    lock = workdir.launched / "3.sh"
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    assert own.states([OWN]) == {}


def test_a_users_filters_and_other_jobs_hide_nothing(programs, tmp_path, monkeypatch):
    own, _ = made(tmp_path)
    (tmp_path / "bin" / "squeue").write_text(
        "#!/bin/sh\nenv | grep ^SQUEUE_\nprintf '16|0|RUNNING|None|caf\\351\\n17|0|RUNNING|None|lrstudy-token\\n'\n"
    )
    monkeypatch.setenv("SQUEUE_PARTITION", "17|1|RUNNING|None|lrstudy-token")
    assert own.states([OWN]) == {"3.0": RUNS}
