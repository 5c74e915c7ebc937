"""Two processes of two devices each train one study: as its user starts, kills and stops them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
STEPS = 2000
# Plain SGD: Adam hides a gradient that is too large by a factor.
STUDY = [
    "--preset=smoke",
    "--config.task=bigram",
    "--config.task.vocabulary=16",
    "--config.task.batch_size=32",
    "--config.schedule=Cosine",
    "--config.optimizer=sgd",
    f"--config.steps={STEPS}",
    "--config.evaluate_every=500",
    "--sweep.schedule.peak=0.5,1",
    "--sweep.seed=1,2,3",
    "--checkpoint_steps=200",
]
HEARTBEAT = 10


def free_port():
    with socket.socket() as own:
        own.bind(("localhost", 0))
        return own.getsockname()[1]


def start(workdir, *flags, begin=("-m", "experiments.sweep")):
    line = [sys.executable, "-W", "error", *begin, f"--workdir={workdir}", *STUDY, *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, cwd=ROOT, text=True, **pipes)


def together(workdir, *flags, begin=("-m", "experiments.sweep")):
    place = [f"--coordinator=localhost:{free_port()}", "--num_processes=2", f"--heartbeat_seconds={HEARTBEAT}"]
    own = [*place, "--host_devices=2", *flags]
    return [start(workdir, *own, f"--process_id={k}", begin=begin) for k in range(2)]


def ended(processes):
    return [(p.returncode, out, err) for p in processes for out, err in [p.communicate(timeout=180)]]


def rows(workdir):
    tables = [pd.read_parquet(path) for path in sorted((workdir / "metrics").glob("*.parquet"))]
    return pd.concat(tables).sort_values(["run_id", "step"], ignore_index=True)


def runs(workdir):
    return pd.read_parquet(workdir / "runs.parquet").sort_values("run_id", ignore_index=True)


def newest(workdir):
    found = (workdir / "checkpoints").glob("*/*/manifest.json")
    return max((int(path.parent.name) for path in found if path.parent.name.isdigit()), default=0)


def wait_for(step, workdir, process):
    until = time.monotonic() + 120
    while newest(workdir) < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    (code, out, err), (other, silence, _) = ended(together(workdir))
    assert (code, other) == (0, 0), err
    assert "best" in out
    # The first speaks for all; what collectives run on says its own lines.
    assert not [line for line in silence.splitlines() if not line.startswith("[Gloo]")]
    return workdir


def test_records_are_those_of_one_process_and_of_one_device(undisturbed, tmp_path):
    devices, single = tmp_path / "devices", tmp_path / "single"
    four, one = start(devices, "--host_devices=4"), start(single, "--host_devices=1")
    assert [code for code, *_ in ended([four, one])] == [0, 0]
    pd.testing.assert_frame_equal(rows(devices), rows(undisturbed), check_exact=True)
    left, right = rows(single), rows(undisturbed)
    assert left[["run_id", "step"]].equals(right[["run_id", "step"]])
    for name in left.columns.drop(["run_id", "step"]):
        # A bigram table under SGD forgets: differences of rounding do not grow.
        np.testing.assert_allclose(left[name], right[name], rtol=1e-6, atol=1e-6, err_msg=name)
    assert set(runs(undisturbed)["outcome"]) == {"ok"}


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_other_and_both_go_on(undisturbed, tmp_path, victim):
    processes = together(tmp_path)
    wait_for(400, tmp_path, processes[victim])
    processes[victim].kill()
    began = time.monotonic()
    survivor = ended([processes[1 - victim]])[0]
    assert time.monotonic() - began < HEARTBEAT + 5
    assert survivor[0] != 0
    # Whichever notices first: the program that waits for the other's numbers, or the service that counts heartbeats.
    assert "another process is gone" in survivor[2] or "another task died" in survivor[2], survivor[2]
    ended([processes[victim]])
    assert 400 <= newest(tmp_path) < STEPS
    assert [code for code, *_ in ended(together(tmp_path))] == [0, 0]
    pd.testing.assert_frame_equal(rows(tmp_path), rows(undisturbed), check_exact=True)
    pd.testing.assert_frame_equal(runs(tmp_path), runs(undisturbed), check_exact=True)


def test_a_signal_to_one_stops_both_after_saving_and_one_process_goes_on(undisturbed, tmp_path):
    processes = together(tmp_path)
    wait_for(400, tmp_path, processes[0])
    os.kill(processes[1].pid, signal.SIGTERM)
    assert [code for code, *_ in ended(processes)] == [75, 75]
    assert 400 <= newest(tmp_path) < STEPS
    # What two processes saved, one process on as many devices goes on from.
    assert ended([start(tmp_path, "--host_devices=4")])[0][0] == 0
    pd.testing.assert_frame_equal(rows(tmp_path), rows(undisturbed), check_exact=True)


def one_apart(workdir, *, first=(), second=(), other=None, begin=("-m", "experiments.sweep")):
    """Two processes of which one is told, or does, something else; nothing that JAX itself says."""
    port = free_port()
    shared = [f"--coordinator=localhost:{port}", "--num_processes=2", f"--heartbeat_seconds={HEARTBEAT}"]
    shared.append("--host_devices=2")
    one = start(workdir, *shared, "--process_id=0", *first)
    two = start(other or workdir, *shared, "--process_id=1", *second, begin=begin)
    found = ended([one, two])
    return [code for code, *_ in found], [[line for line in err.splitlines() if "error: " in line] for *_, err in found]


def test_processes_that_are_told_different_things_say_which_at_once(tmp_path):
    codes, ((first,), (second,)) = one_apart(tmp_path / "new", first=["--checkpoint_steps=100"])
    assert codes == [2, 2]
    start = "error: processes that train together must be given the same command: "
    assert first == f"{start}another process says how its own differs"
    assert second == f"{start}--checkpoint_steps is 200 here and 100 in process 0"
    assert not (tmp_path / "new").exists()


def test_folders_of_each_host_are_not_one(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    codes, errors = one_apart(ours, other=theirs)
    assert codes == [2, 2]
    rule = "error: workdir must be one folder that all processes see, got "
    assert errors == [[f"{rule}'{ours}'"], [f"{rule}'{theirs}'"]]
    assert not [path.name for path in ours.iterdir() if path.name.startswith(".")]


FULL = """
import errno, runpy
from lrstudy.training import checkpoint

def full(path, tree):
    raise OSError(errno.ENOSPC, "No space left on device")

checkpoint._write = full
runpy.run_module("experiments.sweep", run_name="__main__", alter_sys=True)
"""


def test_a_disk_that_is_full_for_one_process_ends_both_and_is_named(tmp_path):
    codes, (_, second) = one_apart(tmp_path, begin=("-c", FULL))
    assert codes[1] == 1
    assert codes[0] != 0
    assert second == ["error: step 200: the checkpoint could not be written: No space left on device"]
    assert newest(tmp_path) == 0


def test_who_waits_for_the_others_can_be_interrupted(tmp_path):
    place = [f"--coordinator=localhost:{free_port()}", "--num_processes=2", "--process_id=0"]
    process = start(tmp_path, *place)
    time.sleep(20)  # nothing says when it begins to wait
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == -signal.SIGINT


def test_a_wrong_flag_is_one_line(tmp_path):
    process = start(tmp_path / "new", "--host_devices=3", "--data_devices=3")
    [(code, _, err)] = ended([process])
    assert code == 2
    assert err == "error: batch size must be a multiple of the 3 devices: 30 or 33, got 32\n"
    assert not (tmp_path / "new").exists()
