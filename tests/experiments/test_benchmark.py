import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.benchmark import main
from lrstudy.benchmark import score, studies
from lrstudy.benchmark.clock import Clock

ROOT = Path(__file__).parents[2]
MINE = """
import optax


def make(hyperparameters, step_hint):
    return optax.sgd(hyperparameters["rate"])


def nothing(hyperparameters, step_hint):
    return 3


def averages(hyperparameters, step_hint):
    def update(updates, state, params=None, *, averages, **extra):
        return averages, state

    return optax.GradientTransformationExtraArgs(lambda params: (), update)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with a user's module and its space."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_optimizer.py").write_text(MINE)
    (folder / "space.json").write_text('{"rate": {"log": [0.05, 0.5]}}')
    return folder


@pytest.fixture(scope="module")
def command(own):
    return ["--submission=momentum,my_optimizer:make", f"--space={own / 'space.json'}", "--preset=smoke"]


@pytest.fixture(scope="module")
def finished(own, command):
    """The folder of a finished smoke run, as its user runs it, and what it printed."""
    folder = own / "finished"
    line = [sys.executable, "-W", "error", "-m", "experiments.benchmark", *command, f"--workdir={folder}"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{own}"}
    done = subprocess.run(line, cwd=own, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture(autouse=True)
def importable(own, monkeypatch):
    monkeypatch.syspath_prepend(own)


def tables(folder):
    return {path.name: path.read_text() for path in folder.glob("*.csv")}


def stamps(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in (folder / "trials").rglob("*.json")}


def test_the_tables_follow_from_the_records(finished):
    folder, printed = finished
    times = pd.read_csv(folder / "times.csv", index_col="submission")
    assert list(times.index) == ["momentum", "my_optimizer:make"]
    assert list(times.columns) == ["quadratic", "quadratic_ill_conditioned"]
    for name in times.index:
        for workload in times.columns:
            own = (folder / "trials" / name.replace(":", ".") / workload).iterdir()
            trials = [json.loads(path.read_text()) for path in own]
            assert len(trials) == 2
            reached = [trial["steps_to_target"] for trial in trials if trial["steps_to_target"] is not None]
            assert times.loc[name, workload] == min(reached, default=float("inf"))
            assert {trial["seed"] for trial in trials} == {1601, 1602}
    scores = pd.read_csv(folder / "scores.csv", index_col="submission")
    assert scores["exact"].to_dict() == pytest.approx(score(times))
    assert scores["parity"].to_dict() == pytest.approx(score(times, rule="parity"))
    assert scores["speedup over momentum"]["momentum"] == 1
    profile = pd.read_csv(folder / "profile.csv", index_col="submission")
    assert profile.shape == (2, 301)
    assert "speedup over momentum" in printed
    assert json.loads((folder / "config.json").read_text())["experiment"] == "benchmark"


def test_what_is_finished_is_not_trained_again(finished, command, capsys):
    folder, printed = finished
    before, written = stamps(folder), tables(folder)
    assert main([*command, f"--workdir={folder}"]) == 0
    assert stamps(folder) == before
    assert tables(folder) == written
    assert capsys.readouterr().out.strip() in printed


def test_a_stopped_run_goes_on_where_it_was(finished, command, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "stopped"
    line = [*command, f"--workdir={folder}"]
    run_studies, calls = studies.run_studies, []

    def stopped_in_the_second(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return run_studies(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(studies, "run_studies", stopped_in_the_second)
        assert main(line) == 75
    assert not tables(folder)
    before = stamps(folder)
    assert {path.parts[1:3] for path in before} == {("momentum", "quadratic")}
    # One that was killed while it wrote leaves a part of a workload behind, which is trained again.
    part = folder / "trials/momentum/quadratic_ill_conditioned"
    part.mkdir(parents=True)
    whole = finished[0] / "trials/momentum/quadratic_ill_conditioned"
    (part / "study_0_trial_0.json").write_text((whole / "study_0_trial_0.json").read_text())
    assert main(line) == 0
    after = stamps(folder)
    assert all(after[path] == stamp for path, stamp in before.items())
    assert tables(folder) == tables(finished[0])
    assert "stopping" in capsys.readouterr().err


def test_seconds_are_measured_of_what_was_trained_without(finished, command, monkeypatch, capsys, tmp_path):
    folder = tmp_path / "timed"
    for path in (finished[0] / "trials").rglob("*.json"):
        copy = folder / path.relative_to(finished[0])
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    monkeypatch.setattr("lrstudy.benchmark.clock.measure", lambda *arguments, **options: Clock(2.0, 0.25))
    assert main([*command, f"--workdir={folder}", "--axis=seconds"]) == 0
    times, seconds = (pd.read_csv(one / "times.csv", index_col=0) for one in (finished[0], folder))
    pd.testing.assert_frame_equal(seconds, 2 + times / 4)
    assert "seconds" in capsys.readouterr().out


def test_the_calibrated_point_is_what_space_reads(tmp_path, capsys):
    """Nothing is trained twice, and the best of the points meets the target again when it is scored."""
    first = ["--submission=adam,sgd", "--preset=smoke", "--calibrate=4", f"--workdir={tmp_path / 'calibration'}"]
    assert main(first) == 0
    assert "best: point 2, learning_rate 0.03928" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "calibration/calibration_adam.csv", index_col=0)
    assert list(table.columns) == ["quadratic", "score", "learning_rate"]
    assert table["score"].idxmax() == 2
    assert main(first) == 0
    assert "adam on" not in capsys.readouterr().out
    spaces = {name: tmp_path / f"calibration/calibrated_{name}.json" for name in ("adam", "sgd")}
    assert json.loads(spaces["adam"].read_text()) == [{"learning_rate": pytest.approx(table.loc[2, "learning_rate"])}]
    named = ",".join(f"{name}={path}" for name, path in spaces.items())
    second = ["--submission=adam,sgd", "--preset=smoke", f"--space={named}", "--ruleset=self"]
    assert main([*second, f"--workdir={tmp_path / 'x'}"]) == 0
    assert np.isfinite(pd.read_csv(tmp_path / "x/times.csv", index_col=0).loc["adam"]).all()
    (trial,) = (tmp_path / "x/trials/sgd/quadratic").iterdir()
    assert json.loads(trial.read_text())["hyperparameters"] == json.loads(spaces["sgd"].read_text())[0]
    trial.write_text("{}")
    assert main([*second, f"--workdir={tmp_path / 'x'}"]) == 1
    assert "is damaged: it is no trial" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--submission=adanw"], "submission must be one of .* or module:function, got 'adanw'"),
        (["--submission=adam,adam"], "submission must name each once, got 'adam' twice"),
        (["--submission=my_optimizer:made"], r"submission must be .*\(nearest: 'make'\), got 'my_optimizer:made'"),
        (["--submission=adam", "--workloads=txt"], r"workload must be one of .*\(nearest: 'text'\), got 'txt'"),
        (["--submission=adam", "--workloads=text,text"], "workloads must name each once, got 'text' twice"),
        (
            ["--submission=adam", "--workloads=text_wide"],
            "workloads must hold text with its variants, got 'text_wide'.*",
        ),
        (
            ["--submission=adam", "--space={own}/space.json"],
            r"a hyperparameter of adam that is searched .*, got 'rate'",
        ),
        (["--submission=adam", "--space={own}/none.json"], "space must be a readable JSON file, got .*"),
        (["--submission=adam", "--targets={own}/space.json"], "targets must be a file that this command wrote, got .*"),
        (
            ["--submission=my_optimizer:nothing", "--preset=smoke"],
            "my_optimizer:nothing must return an optax .*, got 3",
        ),
        (
            ["--submission=my_optimizer:averages", "--preset=smoke"],
            "my_optimizer:averages must do with value, grad_fn and obj_fn in its update: .*'averages'",
        ),
        (["--submission=adam", "--space=adan=x.json"], "the submission of a space must be .*did you mean 'adam'.*"),
        (
            ["--submission=adam", "--calibrate=2", "--workloads=text,text_wide"],
            "workloads must be without held-out variants where points are chosen, got 'text_wide'",
        ),
        (["--submission=adam", "--calibrate=0"], "points must be a positive int, got 0"),
        (["--submission=adam", "--calibrate=2", "--ruleset=self"], "calibrate must be left out with .*"),
        (["--submission=adam", "--seed=-1"], "seed must be an int from 0 on .*, got -1"),
        (["--submission=my_optimizer:make", "--preset=smoke"], r"space must name 'rate', which .* asks for, got \[\]"),
    ],
)
def test_a_bad_command_is_one_line(own, tmp_path, arguments, message, capsys):
    line = [argument.format(own=own) for argument in arguments]
    assert main([*line, f"--workdir={tmp_path / 'new'}"]) == 2
    assert re.fullmatch(f"error: {message}", capsys.readouterr().err.strip())
    assert not (tmp_path / "new/times.csv").exists()


def test_a_folder_of_something_else_is_left_alone(finished, command, tmp_path, capsys):
    assert main([*command, f"--workdir={finished[0]}", "--seed=5"]) == 2
    assert "error: workdir must hold no trials of another seed, got '" in capsys.readouterr().err
    (tmp_path / "config.json").write_text('{"experiment": "sweep"}')
    assert main([*command, f"--workdir={tmp_path}"]) == 2
    assert f"error: workdir must be empty or hold benchmark, got '{tmp_path}' with sweep" in capsys.readouterr().err
