"""The command ``lrstudy``, as its user calls it."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lrstudy
from lrstudy.study import console

ROOT = Path(__file__).parents[2]


def run(capsys, *arguments):
    code = console.main(list(arguments))
    return code, *capsys.readouterr()


def command(*arguments, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lrstudy", *map(str, arguments)], cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_help_names_every_command_and_imports_nothing_heavy(capsys):
    for arguments in ([], ["--help"]):
        code, out, err = run(capsys, *arguments)
        assert (code, err) == (0, "")
        assert all(f"\n  {name} " in out for name in console.COMMANDS)
    code = "import sys; from lrstudy.study import console; console.main([]); console.main(['list']); "
    code += "print(sorted({'jax', 'numpy', 'absl', 'rich'} & sys.modules.keys()), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_every_command_has_its_help(capsys, flag):
    code, out, err = run(capsys, "run", flag)
    assert (code, err) == (0, "")
    assert out.startswith("usage: lrstudy run STUDY [flags]")
    assert all(f"\n{name} " in out for name in console.studies())
    with pytest.raises(SystemExit) as left:
        console.main(["list", flag])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("usage: lrstudy list ")


def test_the_version_is_said_in_one_place(capsys):
    assert run(capsys, "--version") == (0, f"lrstudy {lrstudy.__version__}\n", "")
    with pytest.raises(SystemExit) as left:
        console.main(["fit_laws", "--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"lrstudy {lrstudy.__version__}\n"


def test_studies_are_listed_as_they_call_themselves(capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    listed = dict(line.split(maxsplit=1) for line in out.splitlines())
    binaries = [p.stem for p in (ROOT / "experiments").glob("*.py") if "\nif __name__ ==" in p.read_text()]
    assert listed.keys() == set(binaries)
    for name in ("river_valley", "loss_laws", "lr_free"):
        own = importlib.import_module(f"experiments.{name}").EXPERIMENT
        assert listed[name] == f"{own.title} - {own.paper}"
    assert listed["sweep"].startswith("Any configuration, any axes")
    assert listed["benchmark"].startswith("Time to target")


@pytest.mark.parametrize("room", ["schedules", "optimizers", "tasks", "models"])
def test_every_row_of_a_table_is_listed_with_what_it_is(capsys, room):
    code, out, _ = run(capsys, "list", room)
    assert code == 0
    listed = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert listed.keys() == importlib.import_module(f"lrstudy.{room}").TABLE.keys()
    assert all(text.strip() for text in listed.values())


def test_laws_are_listed(capsys):
    _, out, _ = run(capsys, "list", "laws")
    assert {"MultiPowerLaw", "ChinchillaLaw", "StepLaw"} <= {line.split()[0] for line in out.splitlines()}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rnu"], "error: command must be one of [%], got 'rnu'; did you mean 'run'?"),
        (["list", "optimisers"], "error: kind must be one of [%], got 'optimisers'; did you mean 'optimizers'?"),
        (["run", "river_vally"], "error: study must be one of [%], got 'river_vally'; did you mean 'river_valley'?"),
        (["run"], "error: run must name a study first: %"),
        (["run", "--preset=smoke"], "error: run must name a study first: %"),
        (["report"], "error: report must be given a study's folder"),
        (["report", "/nowhere"], "error: report must be given a study's folder, got '/nowhere'"),
        (["report", "--compare=one"], "error: compare must be two folders, DIR1,DIR2, got 'one'"),
        (["show", "/nowhere"], "error: folder must hold a study, got '/nowhere'"),
        (["tensorboard", "/nowhere"], "error: folder must hold a study, got '/nowhere'"),
    ],
)
def test_a_mistake_is_one_line_and_ends_with_2(capsys, arguments, line):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    begins, _, ends = line.partition("%")
    assert err.startswith(begins)
    assert err.endswith(f"{ends}\n")
    assert err.count("\n") == 1


def test_a_study_is_run_shown_and_reported_from_anywhere(tmp_path):
    quick = ["--preset=smoke", "--config.task=bigram", "--config.optimizer=sgd", "--config.schedule=Constant"]
    done = command("run", "sweep", "--workdir=mine", *quick, "--sweep.seed=0,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("report: mine/report.html\n")
    assert "python -m experiments.sweep --workdir=mine" in (tmp_path / "mine" / "config.json").read_text()
    (tmp_path / "mine" / "report.html").unlink()
    again = command("report", "mine", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert (tmp_path / "mine" / "report.html").is_file()
    shown = command("show", "mine", cwd=tmp_path)
    assert "state    finished\n" in shown.stdout


def test_a_study_ends_with_its_own_exit_code(tmp_path):
    done = command("run", "sweep", f"--workdir={tmp_path / 'run'}", "--config.stepz=3")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Unknown command line flag 'config.stepz'. Did you mean: config.steps")


def test_a_comparison_is_made_of_two_folders(capsys, monkeypatch, tmp_path):
    class Compare:
        @staticmethod
        def compare(first, second, out):
            assert (first, second) == (Path("a"), Path("b"))
            return out / "report.html"

    monkeypatch.setitem(sys.modules, "lrstudy.study.compare", Compare)
    code, out, _ = run(capsys, "report", "--compare=a,b", f"--out={tmp_path}")
    assert (code, out) == (0, f"report: {tmp_path / 'report.html'}\n")


def test_whoever_reads_the_list_may_stop_early():
    reading = subprocess.Popen([sys.executable, "-m", "lrstudy", "list"], cwd=ROOT, stdout=subprocess.PIPE, stderr=-1)
    reading.stdout.close()
    assert reading.stderr.read() == b""
    reading.stderr.close()
    assert reading.wait(timeout=60) == 0
