import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrstudy import schedules
from tests.tasks.tfds.made import text_set

ROOT = Path(__file__).parents[2]
RUN = ("--preset=smoke", "--config.task=quadratic", "--config.optimizer=sgd", "--config.clip_norm=none",
       "--config.task.chains=4", "--config.steps=50")  # fmt: skip


def command(*arguments):
    line = [sys.executable, "-m", "experiments.autolrs", *arguments]
    return subprocess.run(line, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)


APPLIED = "optimizer must apply the rates that it is given, which AutoLRS finds"
RATES = ("--min_rate=1e-4", "--max_rate=1e-2")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("autolrs") / "found"
    return folder, command(*RUN, *RATES, f"--workdir={folder}")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def test_the_found_schedule_is_printed_and_written(found):
    folder, done = found
    assert done.returncode == 0, done.stderr
    written = json.loads((folder / "schedule.json").read_text())
    lines = done.stdout.strip().splitlines()
    assert json.loads(lines[-2]) == written
    assert lines[-1] == "50 updates of training and 50 of search"
    schedule = schedules.from_dict(written)
    # Stages of 10, 20 and 20 updates.
    for line, step in zip(lines, (0, 10, 30), strict=False):
        assert line.startswith(f"steps {step}-")
        assert f"rate {float(schedule(step)):.4g}," in line


def test_the_same_command_again_trains_nothing(found):
    folder, done = found
    before = contents(folder)
    again = command(*RUN, *RATES, f"--workdir={folder}")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert contents(folder) == before


def test_the_folder_says_what_was_trained(found):
    folder, _ = found
    header = json.loads((folder / "config.json").read_text())
    assert set(header) == {"experiment", "preset", "command", "config", "versions", "devices"}
    assert header["experiment"] == "autolrs"
    assert f"--workdir={folder}" in header["command"]
    config = header["config"]
    assert (config["task"]["chains"], config["optimizer"], config["steps"]) == (4, "sgd", 50)
    assert (config["autolrs"]["min_rate"], config["autolrs"]["search_steps"]) == (1e-4, 1)
    assert "schedule" not in config


@pytest.mark.parametrize("other", ["--config.task.chains=8", "--candidates=5"])
def test_another_run_does_not_overwrite_what_a_folder_holds(found, other):
    folder, _ = found
    before = contents(folder)
    refused = command(*RUN, *RATES, f"--workdir={folder}", other)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: folder must be empty or hold stages of ")
    assert refused.stderr.count("\n") == 1
    assert contents(folder) == before


def test_two_experiments_do_not_share_a_folder(found, tmp_path):
    folder, _ = found
    before = contents(folder)
    line = [sys.executable, "-m", "experiments.sweep", "--preset=smoke", f"--workdir={folder}"]
    refused = subprocess.run(line, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr == f"error: workdir must be empty or hold sweep, got '{folder}' with autolrs\n"
    assert contents(folder) == before
    (tmp_path / "config.json").write_text('{"experiment": "sweep"}')
    refused = command(*RUN, *RATES, f"--workdir={tmp_path}")
    assert refused.returncode == 2
    assert refused.stderr == f"error: workdir must be empty or hold autolrs, got '{tmp_path}' with sweep\n"
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "min_rate must be given: --min_rate=RATE"),
        (("--min_rate=1e-2", "--max_rate=1e-3"), "max_rate must be a number above min_rate, got 0.001"),
        (
            ("--min_rate=1e-3", "--max_rate=1", "--config.schedule.peak=3"),
            "config.schedule.peak must be left out: the schedule is what is found",
        ),
        (
            (*RATES, "--sweep.schedule.peak=3"),
            "sweep.schedule.peak must be left out: the schedule is what is found",
        ),
        (
            (*RATES, "--config.schedule_start=3"),
            "config.schedule_start must be left out: the schedule is what is found",
        ),
        (
            (*RATES, "--config.start=0123456789abcdef@3"),
            "config.start must be left out: the first stage begins at initialisation",
        ),
        (
            (*RATES, "--config.optimizer=hypergradient"),
            f"{APPLIED}, got hypergradient, which adapts them",
        ),
        (
            (*RATES, "--config.steps=7"),
            "total_steps must be an int of at least warmup_steps + candidates (10), got 7",
        ),
        (
            ("--min_rate=1e-3", "--max_rate=1", "--sweep.seed=1,2"),
            "sweep must be left out: AutoLRS trains one run, got 2",
        ),
    ],
)
def test_a_command_that_cannot_be_is_one_line(arguments, line):
    done = command(*RUN, *arguments)
    assert done.returncode == 2
    assert done.stderr.strip() == f"error: {line}"


def test_data_that_are_not_prepared_or_not_loaded_are_one_line(tmp_path):
    text_set(tmp_path)
    run = ("--config.task=tfds", f"--config.task.data_dir={tmp_path}", "--config.task.batch_size=4", *RATES)
    done = command(*run, "--config.task.name=made_texts", "--config.task.context=5", "--config.task.input=stream")
    line = "task.input must be memory: AutoLRS trains on data that were loaded, got data that are not"
    assert (done.returncode, done.stderr.strip()) == (2, f"error: {line}")
    done = command(*run, "--config.task.name=lm1b")
    assert done.returncode == 2
    assert done.stderr.startswith("error: task.name must be a prepared data set, got 'lm1b', ")
    assert done.stderr.count("\n") == 1
