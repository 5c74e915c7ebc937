"""Command lines that cannot be run: one line on standard error, exit code 2, nothing written."""

import pytest

CASES = {
    "misspelt": (
        ["--config.task=digits", "--config.shedule.peak=0.1"],
        ["config.shedule.peak", "config.schedule.peak"],
    ),
    "misspelt sweep": (["--config.task=digits", "--sweep.sed=0,1"], ["sweep.sed", "sweep.seed"]),
    "unknown schedule": (["--config.task=digits", "--config.schedule=WSDD"], ["schedule", "'WSDD'", "'WSD'"]),
    "out of range": (
        ["--config.task=digits", "--config.schedule.decay_fraction=1.5"],
        ["decay_fraction", "(0, 1]", "1.5"],
    ),
    "out of range in a sweep": (
        ["--config.task=digits", "--sweep.schedule.decay_fraction=0.1,1.5"],
        ["decay_fraction", "(0, 1]", "1.5"],
    ),
    "not a number": (["--config.task=digits", "--config.schedule.peak=fast"], ["schedule.peak", "'fast'"]),
    "unreadable text": (["--config.task=text", "--config.task.path={tmp}/absent.txt"], ["task.path", "absent.txt"]),
    "heads that do not fit": (["--config.model.heads=3"], ["model.heads", "must divide", "3"]),
    "heads that do not fit in a sweep": (["--sweep.model.heads=2,3"], ["model.heads", "must divide", "3"]),
    "fewer layers than none": (["--config.task=digits", "--config.model.layers=-1"], ["model.layers", "0", "-1"]),
    "moments out of range": (["--config.task=digits", "--config.optimizer.b2=nan"], ["optimizer.b2", "[0, 1)", "nan"]),
    "time that is no time": (["--config.task=digits", "--checkpoint_seconds=nan"], ["checkpoint_seconds", "nan"]),
    "bad share": (["--config.task=digits", "--shard=3/2"], ["shard", "'3/2'"]),
    "unknown launcher": (["--config.task=digits", "--launcher=slrm"], ["launcher", "local|slurm|kubernetes"]),
    "a launcher for a share": (["--config.task=digits", "--launcher=local", "--shard=1/2"], ["launcher", "--shard"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_command_line(case, launcher, tmp_path):
    arguments, words = CASES[case]
    ended = launcher.run(tmp_path / "study", ["--preset=smoke", *(a.format(tmp=tmp_path) for a in arguments)])
    assert ended.code == 2, ended.err
    (line,) = ended.err.splitlines()
    assert all(word in line for word in words), line
    assert ended.out == ""
    assert list(tmp_path.iterdir()) == []


def test_no_folder_is_not_the_folder_one_stands_in(launcher, tmp_path):
    ended = launcher.run("", ["--preset=smoke", "--config.task=digits"])
    assert ended.code == 2, ended.err
    assert ended.err.splitlines() == ["error: workdir must be given: --workdir=DIR"]


def test_a_link_to_nothing(launcher, tmp_path):
    link = tmp_path / "study"
    link.symlink_to(tmp_path / "gone")
    ended = launcher.run(link, ["--preset=smoke", "--config.task=digits"])
    assert ended.code == 2, ended.err
    assert ended.err.splitlines() == [f"error: workdir must be a folder, got the link '{link}' to nothing"]


def test_a_folder_inside_the_text(launcher, tmp_path):
    """The study's own records would be trained on, and every launch would be another study."""
    (tmp_path / "text.txt").write_text("words " * 2000)
    ended = launcher.run(tmp_path / "runs", ["--preset=smoke", f"--config.task.path={tmp_path}"])
    assert ended.code == 2, ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith("error: workdir must lie outside task.path")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("arguments", [[], ["--report_only"]])
def test_the_folder_of_another_experiment(arguments, launcher, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"experiment": "river_valley"}')
    (tmp_path / "plan.json").write_text("{}")
    ended = launcher.run(tmp_path, ["--preset=smoke", "--config.task=digits", *arguments])
    assert ended.code == 2, ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith("error: workdir must be empty or hold sweep")
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "plan.json"}


@pytest.mark.parametrize("below", ["", "deeper/study"])
def test_a_folder_that_is_a_file(below, launcher, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    ended = launcher.run(path / below, ["--preset=smoke", "--config.task=digits"])
    assert ended.code == 2, ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith("error: workdir must be a folder")
    assert str(path) in line
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]
