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
    "bad share": (["--config.task=digits", "--shard=3/2"], ["shard", "'3/2'"]),
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
