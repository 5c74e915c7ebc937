import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from lrstudy.schedules import Tabulated, from_dict, refined
from lrstudy.study import refine as refine_lib
from lrstudy.study.choices import choice
from lrstudy.study.config import resolve, with_value
from lrstudy.study.errors import ConfigError
from lrstudy.study.grid import parse_values, read_list
from lrstudy.study.part import Part, axis
from lrstudy.study.records import Records, load, runs_frame
from lrstudy.study.refine import gradient_norms, norm_of, refine
from lrstudy.study.stored import config_to_json
from lrstudy.study.workdir import Workdir, write_json
from tests.study.studies import BASE, launch
from tests.study.test_main import command, sweep


def recorded(norms, steps, optimizer="momentum", outcome="ok"):
    """One run of so many steps with norms at some of them, the l1 norms three times the l2 norms."""
    row = {"run_id": "a1b2", "parts": "", "steps": steps, "outcome": outcome, "optimizer": optimizer}
    metrics = pd.DataFrame({"run_id": "a1b2", "step": list(norms), "grad_norm_l2": list(norms.values())})
    metrics["grad_norm_l1"] = 3 * metrics["grad_norm_l2"]
    return Records(runs_frame([row]), metrics, {}, {"": ("a1b2",)})


def test_norms_between_recorded_steps_are_interpolated():
    """A line is its own interpolation, the last step being recorded whatever the cadence."""
    norms = {step: 5.0 + 0.25 * step for step in (0, 10, 20, 23)}
    np.testing.assert_array_equal(gradient_norms(recorded(norms, 24), "a1b2", "l2"), 5.0 + 0.25 * np.arange(24))
    np.testing.assert_array_equal(gradient_norms(recorded(norms, 24), "a1b2", "l1"), 15.0 + 0.75 * np.arange(24))


def test_equal_norms_refine_to_a_line_of_the_new_length():
    """Constant gradients: the optimum is (T - 1 - t) / (T - 1) (Defazio et al. 2023)."""
    schedule = refine(recorded({0: 2.0, 9: 2.0, 39: 2.0}, 40), "a1b2", total_steps=101, peak=0.5, points=41)
    # Values of a few float32 roundings of numbers up to a half.
    expected = 0.5 * (1 - np.arange(101) / 100)
    np.testing.assert_allclose(np.asarray(schedule(np.arange(101))), expected, atol=2e-7)


@pytest.mark.parametrize(("optimizer", "norm"), [("momentum", "l2"), ("sgd", "l2"), ("adam", "l1"), ("adamw", "l1")])
def test_the_norm_is_that_of_the_runs_optimizer(optimizer, norm):
    records = recorded({step: 1.0 + step for step in range(0, 50, 5)} | {49: 50.0}, 50, optimizer)
    assert norm_of(optimizer) == norm
    every = gradient_norms(records, "a1b2", norm)
    options = {"smoothing": 0.1, "points": 1_000, "total_steps": 80, "scale": 2.0}
    expected = refined(every, optimizer={"l1": "adam", "l2": "sgd"}[norm], **options)
    assert refine(records, "a1b2", total_steps=80, peak=2.0) == expected
    other = {"l1": "l2", "l2": "l1"}[norm]
    assert refine(records, "a1b2", total_steps=80, peak=2.0, norm=other) != expected


def test_an_optimizer_of_no_known_family_needs_the_norm_said():
    with pytest.raises(ConfigError, match="norm must be given, l1 or l2, for optimizer lion"):
        norm_of("lion")


@pytest.mark.parametrize(
    ("run", "outcome", "message"),
    [
        ("a1b3", "ok", r"run must be a run_id of the study, got 'a1b3'; did you mean 'a1b2'\?"),
        ("zzzz", "ok", "run must be a run_id of the study, got 'zzzz'$"),
        ("a1b2", "diverged", "run must have finished, got 'a1b2', whose outcome is diverged"),
    ],
)
def test_a_run_that_cannot_be_refined_is_named(run, outcome, message):
    with pytest.raises(ConfigError, match=message):
        refine(recorded({0: 1.0, 9: 1.0}, 10, outcome=outcome), run, total_steps=10)


def table_config(values=(1.0, 0.5, 0.0)):
    return dataclasses.replace(BASE, schedule=choice("schedule", "Tabulated", values=values, scale=0.25))


def test_a_tables_values_are_part_of_the_runs_identity():
    one, other = resolve(table_config()), resolve(table_config((1.0, 0.5, 0.25)))
    assert one.columns["schedule.values"] == [1.0, 0.5, 0.0]
    assert one.columns["schedule.total_steps"] == BASE.steps
    assert one.run_id != other.run_id
    assert one.run_id == resolve(with_value(table_config(), "schedule.values", (1, 0.5, 0))).run_id


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of two seeds, and what refines its first run."""
    root = tmp_path_factory.mktemp("refine") / "run"
    own = launch(root, {"": Part(BASE, [axis("seed", (0, 1))])})
    return root, own.plan.parts[""][0]


def test_a_study_trains_under_the_refined_schedule_of_a_run(study, tmp_path):
    root, run_id = study
    schedule = refine(load(Workdir(root)), run_id, total_steps=40, peak=0.75, points=33)
    chosen = choice("schedule", "Tabulated", values=tuple(np.asarray(schedule.values).tolist()), scale=0.75)
    own = launch(tmp_path, {"": Part(dataclasses.replace(BASE, schedule=chosen), [axis("seed", (2, 3))])})
    records = load(own.workdir)
    assert (records.runs["outcome"] == "ok").all()
    for run_id, rows in records.metrics.groupby("run_id"):
        assert records.schedules[run_id] == schedule
        np.testing.assert_array_equal(rows["learning_rate"], np.asarray(schedule(rows["step"].to_numpy())))


def test_the_command_prints_and_writes_what_a_study_reads(study, tmp_path, capsys):
    root, run_id = study
    arguments = [f"--workdir={root}", f"--run={run_id}", "--total_steps=60", "--peak=0.5", "--points=50"]
    assert refine_lib.main(arguments) == 0
    printed = from_dict(json.loads(capsys.readouterr().out))
    assert printed == refine(load(Workdir(root)), run_id, total_steps=60, peak=0.5, points=50)
    path = tmp_path / "refined.json"
    assert refine_lib.main([*arguments, f"--output={path}"]) == 0
    assert capsys.readouterr().out == ""
    assert from_dict(json.loads(path.read_text())) == printed
    assert isinstance(printed, Tabulated)
    assert [float(item) for item in read_list(path)] == np.asarray(printed.values).tolist()
    done = sweep(
        tmp_path / "under",
        "--config.task=bigram", "--config.optimizer=momentum", "--config.steps=60", "--config.evaluate_every=10",
        "--config.schedule=Tabulated", f"--config.schedule.values=@{path}", "--sweep.schedule.scale=0.25,0.5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = load(Workdir(tmp_path / "under"))
    assert found.schedules[found.where(schedule__scale=0.5).runs["run_id"].iloc[0]] == printed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--total_steps=60"], "the following arguments are required: --run"),
        (["--run=a1b2"], "the following arguments are required: --total_steps"),
        (["--run=a1b2", "--total_steps=many"], "argument --total_steps: invalid int value: 'many'"),
        (["--run=nothing", "--total_steps=60"], "run must be a run_id of 'FOLDER', got 'nothing'"),
        (["--run=RUN", "--total_steps=60", "--output=FOLDER"], "output must be a file, got 'FOLDER'"),
        (
            ["--run=RUN", "--total_steps=60", "--output=FOLDER/no/x.json"],
            "output must lie in a folder that is there and can be written, got 'FOLDER/no/x.json'",
        ),
        (["--run=RUN", "--total_steps=1"], "Tabulated: total_steps must be an int of at least 2, got 1"),
        (["--run=RUN", "--total_steps=60", "--peak=0"], "Tabulated: scale must be"),
        (["--run=RUN", "--total_steps=60", "--smoothing=1"], "refined: smoothing must be"),
        (["--run=RUN", "--total_steps=60", "--norm=l3"], "argument --norm: invalid choice: 'l3'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(study, capsys, given, message):
    root, run_id = study
    try:
        named = [one.replace("RUN", run_id).replace("FOLDER", str(root)) for one in given]
        code = refine_lib.main([f"--workdir={root}", *named])
    except SystemExit as left:
        code = left.code
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith(f"error: {message.replace('FOLDER', str(root))}")
    assert error.count("\n") == 1


def test_an_output_that_cannot_be_is_refused_before_the_work(study, tmp_path, monkeypatch):
    root, run_id = study
    monkeypatch.setattr(refine_lib, "stored_records", None)
    assert refine_lib.main([f"--workdir={root}", f"--run={run_id}", "--total_steps=9", f"--output={tmp_path}"]) == 2
    assert not list(tmp_path.iterdir())


def test_a_run_of_an_earlier_command_is_refined_too(tmp_path, capsys):
    """``runs.parquet`` holds the runs of the last command; the folder remembers all."""
    first = launch(tmp_path, {"": Part(BASE, [axis("seed", (0, 1))])})
    run_id = first.plan.parts[""][0]
    expected = refine(load(Workdir(tmp_path)), run_id, total_steps=30)
    launch(tmp_path, {"": Part(BASE, [axis("seed", (2, 3))])})
    assert run_id not in set(load(Workdir(tmp_path)).runs["run_id"])
    capsys.readouterr()
    assert refine_lib.main([f"--workdir={tmp_path}", f"--run={run_id}", "--total_steps=30"]) == 0
    assert from_dict(json.loads(capsys.readouterr().out)) == expected


def test_a_run_that_was_begun_and_not_finished_is_refused(study, capsys):
    root, _ = study
    config = resolve(dataclasses.replace(BASE, seed=9))
    group = {"runs": [config.run_id], "part": "", "configs": [config_to_json(config.config)], "branches": None}
    path = Workdir(root).groups / "ab.json"
    write_json(path, group)
    try:
        assert refine_lib.main([f"--workdir={root}", f"--run={config.run_id}", "--total_steps=30"]) == 2
    finally:
        path.unlink()
    message = f"run must have finished, got '{config.run_id}', whose outcome is unfinished"
    assert capsys.readouterr().err == f"error: {message}\n"


def test_lost_rows_of_a_finished_run_are_said(tmp_path, capsys):
    own = launch(tmp_path, {"": Part(BASE, [axis("seed", (0,))])})
    for path in own.workdir.metrics.iterdir():
        path.unlink()
    [run_id] = own.plan.parts[""]
    capsys.readouterr()
    assert refine_lib.main([f"--workdir={tmp_path}", f"--run={run_id}", "--total_steps=30"]) == 1
    assert capsys.readouterr().err == f"error: '{own.workdir.metrics}' lacks the metric rows of run {run_id}\n"


@pytest.mark.parametrize("flag", ["--help", "--helpfull"])
def test_help_is_printed(capsys, flag):
    with pytest.raises(SystemExit) as left:
        refine_lib.main([flag])
    assert left.value.code == 0
    assert "--smoothing" in capsys.readouterr().out


def test_a_folder_without_a_study_is_refused(tmp_path, capsys):
    assert refine_lib.main([f"--workdir={tmp_path}", "--run=a", "--total_steps=9"]) == 2
    assert capsys.readouterr().err == f"error: workdir must hold a study, got '{tmp_path}'\n"


def test_the_module_is_a_command_without_warnings(study):
    root, run_id = study
    done = command(
        "lrstudy.study.refine", f"--workdir={root}", f"--run={run_id}", "--total_steps=9", PYTHONWARNINGS="error"
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = command("lrstudy.study.refine", "--workdir=nowhere", "--run=a", "--total_steps=9")
    assert (done.returncode, done.stderr) == (2, "error: workdir must hold a study, got 'nowhere'\n")


def test_a_list_is_read_from_a_file(tmp_path):
    plain, table = tmp_path / "plain.json", tmp_path / "table.json"
    plain.write_text("[1, 0.1, 1e-9]")
    table.write_text(json.dumps({"name": "Tabulated", "values": [0.1, 0.0]}))
    assert [float(item) for item in read_list(plain)] == [1, 0.1, 1e-9]
    assert [float(item) for item in read_list(table)] == [0.1, 0.0]
    assert parse_values(f"@{plain},@{table}", str) == [f"@{plain}", f"@{table}"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"values": 3}', "7"])
def test_a_file_without_a_list_is_refused(tmp_path, text):
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^@FILE must .*got '{path}'"):
        read_list(path)


def test_a_missing_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "missing.json"
    done = sweep(tmp_path / "run", "--config.schedule=Tabulated", f"--config.schedule.values=@{path}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "config.schedule.values" in done.stderr
    assert done.stderr.endswith(f"@FILE must be a file of JSON, got '{path}': No such file or directory\n")
