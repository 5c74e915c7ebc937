import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrstudy.study import main

ROOT = Path(__file__).parents[2]
QUICK = [
    "--preset=smoke",
    "--config.task=bigram",
    "--config.optimizer=sgd",
    "--config.steps=20",
    "--config.evaluate_every=10",
]
SWEEP = [*QUICK, "--sweep.schedule.peak=0.1:10:3:log", "--sweep.seed=0,1"]


def command(module, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def sweep(workdir, *arguments, **environment):
    return command("experiments.sweep", f"--workdir={workdir}", *arguments, **environment)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("main") / "run"
    return root, sweep(root, *SWEEP)


def test_who_stops_what_is_no_training_is_told_so(monkeypatch, capsys):
    def act():
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "use_host_devices", lambda: None)
    monkeypatch.setattr(main, "FLAGS", {})
    with pytest.raises(SystemExit) as left:
        main._outcome(act)
    assert left.value.code == 75
    assert capsys.readouterr().err == "stopped; the same command goes on from there\n"


def test_a_users_own_question_is_one_command(finished):
    root, done = finished
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert lines[0] == "Every setting: mean and standard error over seeds:"
    assert len(lines) == 2 + 3 + 1
    assert "best, on the grid's edge" in done.stdout
    assert lines[-1] == f"report: {root / 'report.html'}"
    assert "step 20/20" in done.stderr
    assert "Traceback" not in done.stderr
    names = {p.name for p in root.iterdir()}
    assert {"config.json", "plan.json", "runs.parquet", "metrics", "checkpoints", "claims.json", "figures"} <= names
    assert (root / "figures" / "loss_against_rate.svg").is_file()


def test_the_configuration_says_how_to_do_it_again(finished):
    root, _ = finished
    config = json.loads((root / "config.json").read_text())
    assert set(config) == {"experiment", "preset", "command", "config", "versions", "devices"}
    assert config["experiment"] == "sweep"
    assert "--sweep.seed=0,1" in config["command"]
    assert config["config"]["task"]["name"] == "bigram"
    assert config["config"]["schedule"]["decay_fraction"] == 0.2
    assert "peak" not in config["config"]["schedule"]


def test_the_same_command_again_does_nothing_and_says_so(finished):
    root, _ = finished
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.name != "lock"}
    again = sweep(root, *SWEEP)
    assert again.returncode == 0
    assert again.stdout.startswith("nothing to do: all 12 runs are finished")
    assert before == {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.name != "lock"}


def test_a_report_is_rebuilt_from_the_folder_alone(finished):
    root, _ = finished
    (root / "report.html").unlink()
    rebuilt = sweep(root, "--report_only")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "steps/s" not in rebuilt.stderr
    assert (root / "report.html").is_file()


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(tmp_path):
    done = sweep(tmp_path / "absent", *SWEEP, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "6 runs (and 6 trunks) in 2 compiled programs" in done.stdout
    assert not (tmp_path / "absent").exists()


def test_help_lists_every_leaf_and_starts_no_accelerator(tmp_path):
    """A platform that does not exist would end any attempt to start one."""
    for flag in ("--help", "--helpfull"):
        done = sweep(tmp_path / "absent", flag, JAX_PLATFORMS="none_such")
        assert done.returncode == 0, done.stderr
    for leaf in ("--config.schedule.decay_fraction", "--config.task.path", "--sweep.seed", "--config.model.width"):
        assert leaf in done.stdout
    # A command of two lines stays one: its backslash ends the first.
    assert "--config.task.path=my.txt \\\n" in done.stdout
    assert not (tmp_path / "absent").exists()


def test_planning_starts_no_accelerator():
    code = "from experiments.river_valley import SCALES, parts; from lrstudy.study.plan import make_plan; "
    code += "print(len(make_plan(parts(SCALES['paper'])).runs()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "JAX_PLATFORMS": "none_such"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_a_claim_that_fails_is_reported_and_ends_with_3_only_where_it_must_hold(tmp_path):
    first = command("tests.study.failing", f"--workdir={tmp_path / 'run'}", "--require_claims")
    assert first.returncode == 3, first.stderr
    assert "NO" in first.stdout
    again = command("tests.study.failing", f"--workdir={tmp_path / 'run'}")
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert json.loads((tmp_path / "run" / "claims.json").read_text())["claims"][0]["holds"] is False


def test_an_optimizer_that_wants_other_tensors_is_refused_in_one_line(tmp_path):
    done = sweep(tmp_path / "run", "--config.task=bigram", "--config.optimizer=lisa_adamw", "--config.steps=40")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: lisa_adamw must have a model of blocks")
    assert "Traceback" not in done.stderr
