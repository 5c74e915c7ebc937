import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrstudy import schedules

ROOT = Path(__file__).parents[2]
RUN = ("--preset=smoke", "--config.task=quadratic", "--config.optimizer=sgd", "--config.clip_norm=none",
       "--config.task.chains=4", "--config.steps=50")  # fmt: skip


def command(*arguments):
    line = [sys.executable, "-m", "experiments.autolrs", *arguments]
    return subprocess.run(line, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)


def test_the_found_schedule_is_printed_and_written(tmp_path):
    folder = tmp_path / "found"
    rates = ("--min_rate=1e-4", "--max_rate=1e-2", f"--workdir={folder}")
    done = command(*RUN, *rates)
    assert done.returncode == 0, done.stderr
    written = json.loads((folder / "schedule.json").read_text())
    lines = done.stdout.strip().splitlines()
    assert json.loads(lines[-2]) == written
    assert lines[-1] == "50 updates of training and 50 of search"
    found = schedules.from_dict(written)
    # Stages of 10, 20 and 20 updates.
    for line, step in zip(lines, (0, 10, 30), strict=False):
        assert line.startswith(f"steps {step}-")
        assert f"rate {float(found(step)):.4g}," in line
    again = command(*RUN, *rates)
    assert (again.returncode, again.stdout) == (0, done.stdout)


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
            ("--min_rate=1e-3", "--max_rate=1", "--sweep.seed=1,2"),
            "sweep must be left out: AutoLRS trains one run, got 2",
        ),
    ],
)
def test_a_command_that_cannot_be_is_one_line(arguments, line):
    done = command(*RUN, *arguments)
    assert done.returncode == 2
    assert done.stderr.strip() == f"error: {line}"
