"""The Job of a study; its fields are those of batch/v1, and its rules those of a pod failure policy."""

import json
import subprocess

import pytest

from lrstudy.study.errors import ConfigError
from lrstudy.study.launching.kubernetes import manifest
from tests.study.test_main import SWEEP, sweep

CONTAINER = {"workdir": "/runs/mine", "image": "an/image:1", "claim": "runs"}


def made(**fields):
    return manifest("my_study", ["python", "-c", "print('a b')"], **{**CONTAINER, "shares": 3, **fields})


def test_a_share_an_index():
    job = made(limits="cpu=4 nvidia.com/gpu=1")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["metadata"]["name"].startswith("lrstudy-my-study-")
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert made(jobs=2)["spec"]["parallelism"] == 2
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"] == {"limits": {"cpu": "4", "nvidia.com/gpu": "1"}}
    assert container["volumeMounts"][0]["mountPath"] == "/runs"
    assert pod["volumes"] == [
        {"name": container["volumeMounts"][0]["name"], "persistentVolumeClaim": {"claimName": "runs"}}
    ]
    # Kubernetes wants it so where failures are counted by index and rules say which are none.
    assert pod["restartPolicy"] == "Never"
    assert "backoffLimitPerIndex" in spec


def test_stops_are_no_failures_and_a_bad_command_is_not_repeated():
    job = made()
    (name,) = (container["name"] for container in job["spec"]["template"]["spec"]["containers"])
    rules = job["spec"]["podFailurePolicy"]["rules"]
    codes = {rule["onExitCodes"]["values"][0]: rule for rule in rules if "onExitCodes" in rule}
    assert {code: rule["action"] for code, rule in codes.items()} == {75: "Ignore", 2: "FailIndex"}
    assert {rule["onExitCodes"]["containerName"] for rule in codes.values()} == {name}
    assert [rule["action"] for rule in rules if "onPodConditions" in rule] == ["Ignore"]


def test_the_shell_of_a_pod_counts_shares_from_one():
    (container,) = made(shares=12)["spec"]["template"]["spec"]["containers"]
    shell, flag, line = container["command"]
    told = [shell, flag, line.replace("exec python -c", "printf '%s|'")]
    done = subprocess.run(told, env={"JOB_COMPLETION_INDEX": "4"}, capture_output=True, text=True, check=True)
    assert done.stdout == "print('a b')|--shard=5/12|"


def test_a_dollar_reaches_the_command():
    """Kubernetes makes one of two before the shell starts, and leaves a variable alone that it does not know."""
    given = ["printf", "%s|", "--a=$b$$c$(HOME)", "--d='e"]
    (container,) = manifest("x", given, **CONTAINER, shares=2)["spec"]["template"]["spec"]["containers"]
    told = [part.replace("$$", "$") for part in container["command"]]
    done = subprocess.run(told, env={"JOB_COMPLETION_INDEX": "0"}, capture_output=True, text=True, check=True)
    assert done.stdout == "--a=$b$$c$(HOME)|--d='e|--shard=1/2|"


@pytest.mark.parametrize("workdir", ["runs/mine", "/mine"])
def test_a_folder_that_is_not_below_the_volume(workdir):
    with pytest.raises(
        ConfigError, match=f"workdir must be a folder of the volume, such as /runs/mine, got '{workdir}'"
    ):
        made(workdir=workdir)


def test_limits_that_are_none():
    with pytest.raises(ConfigError, match=r"^launcher_args must be limits such as 'cpu=4 nvidia.com/gpu=1', got 'cpu'"):
        made(limits="cpu")


def test_the_command_prints_it_and_writes_nothing(tmp_path):
    folder = tmp_path / "study"
    flags = ["--launcher=kubernetes", "--image=an/image:1", "--volume_claim=runs", "--sweep.task.batch_size=8,16"]
    done = sweep(folder, *SWEEP, *flags)
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["spec"]["completions"] == 2
    (line,) = (container["command"][2] for container in job["spec"]["template"]["spec"]["containers"])
    assert "--sweep.schedule.peak=0.1:10:3:log" in line
    assert line.endswith("--launcher=none --shard=$((JOB_COMPLETION_INDEX+1))/2")
    assert not folder.exists()
