"""The command that fits laws to curves, as its user calls it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lrstudy.laws import AnnealingLaw
from lrstudy.schedules import Constant, Cosine, Linear
from lrstudy.study import fit_laws

LAW = AnnealingLaw(2.6, 0.43, 0.55, 0.41)
STEPS = np.arange(0, 1_000, 10)


@pytest.fixture
def folder(tmp_path):
    shapes = {
        "constant": np.full(1_000, 1e-3),
        "cosine": 1e-4 + 4.5e-4 * (1 + np.cos(np.pi * np.arange(1_000) / 1_000)),
        "line": np.linspace(1e-3, 1e-4, 1_000),
    }
    for name, rates in shapes.items():
        losses = LAW.predict(rates, steps=STEPS)
        rows = [f"{s},{rates[s]:.9g},{loss:.9g}" for s, loss in zip(STEPS, losses, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["step,lr,loss", *rows]) + "\n")
    return tmp_path


def run(capsys, *flags):
    code = fit_laws.main([str(flag) for flag in flags])
    return code, *capsys.readouterr()


def test_it_fits_predicts_draws_and_proposes(folder, tmp_path, capsys):
    figure, best = tmp_path / "laws.svg", tmp_path / "best.json"
    flags = (f"--curves={folder}", "--fit=constant,cosine", "--laws=annealing", "--starts=8", "--resamples=8")
    code, out, err = run(capsys, *flags, f"--figure={figure}", "--best=200", "--end=1e-4", f"--output={best}")
    assert code == 0
    assert err.startswith("warning: the rates between the logged steps are interpolated")
    assert err.count("\n") == 1
    assert "alpha" in out
    (line,) = [one.split() for one in out.splitlines() if one.startswith("  line")]
    assert line[1] == "predicted"
    # Rates are interpolated between steps ten apart, which for these shapes changes nothing that can be seen.
    assert float(line[2]) > 0.9999
    assert figure.read_text().startswith("<?xml")
    schedule = json.loads(best.read_text())
    assert schedule["name"] == "Tabulated"
    assert len(schedule["values"]) == 201
    assert schedule["values"][0] == pytest.approx(1e-3)


def test_schedules_that_are_given_are_not_interpolated(folder, tmp_path, capsys):
    exact = {
        "constant": Constant(1e-3),
        "cosine": Cosine(1e-3, 1_000, end=1e-4),
        "line": Linear(1e-3, 999, end=1e-4),
    }
    path = tmp_path / "exact.json"
    path.write_text(json.dumps({name: schedule.to_dict() for name, schedule in exact.items()}))
    flags = (f"--curves={folder}", "--fit=constant,cosine", "--laws=annealing", "--starts=8", "--resamples=0")
    code, out, err = run(capsys, *flags, f"--schedules={path}")
    assert (code, err) == (0, "")
    (line,) = [one.split() for one in out.splitlines() if one.startswith("  line")]
    assert float(line[2]) > 0.9999
    path.write_text('{"cosine": {"name": "Cosin"}}')
    code, _, err = run(capsys, *flags, f"--schedules={path}")
    assert code == 2
    assert "with cosine: from_dict: name must be" in err
    path.write_text('{"cosin": {"name": "Constant", "peak": 1.0}}')
    code, _, err = run(capsys, *flags, f"--schedules={path}")
    assert code == 2
    assert "has no curve cosin, for which there is a schedule" in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--fit=cosine", "--schedules=/nowhere.json"), "schedules must be a JSON file, got '/nowhere.json'"),
        (("--fit=cosin",), "fit must be one of ['constant', 'cosine', 'line'], got 'cosin'; did you mean 'cosine'?"),
        (("--fit=cosine", "--laws=aneal"), "laws must be one of"),
        (("--fit=cosine", "--starts=0"), "fit: starts must be an int of at least 1, got 0"),
        (("--fit=cosine", "--figure=/nowhere/a.svg"), "output must lie in a folder that is there"),
        (("--fit=cosine", "--figure=a.xyz"), "figure must end in one of .svg, .png, .pdf, got 'a.xyz'"),
        (("--fit=cosine", "--output=a.json"), "output is for the schedule that --best=STEPS asks for"),
        (("--fit=cosine", "--best=-5"), "best must be at least 2 updates, got -5"),
        (("--fit=cosine", "--warmup_steps=-1"), "warmup_steps must be an int in [0, 990), got -1"),
        (("--fit=cosine", "--best=3000", "--laws=annealing", "--resamples=0", "--starts=8"), "updates at no rate"),
    ],
)
def test_what_it_refuses(folder, capsys, flags, message):
    code, _, err = run(capsys, f"--curves={folder}", *flags)
    *warned, said = err.splitlines()
    assert code == 2
    assert said.startswith("error: ")
    assert message in said
    assert all(line.startswith("warning: ") for line in warned)


def test_no_curves_and_a_wrong_flag(tmp_path, capsys):
    code, _, err = run(capsys, f"--curves={tmp_path / 'none'}", "--fit=a")
    assert (code, err) == (2, f"error: curves must be a file or a folder, got '{tmp_path / 'none'}'\n")
    line = [sys.executable, "-m", "lrstudy.study.fit_laws", "--curve=a"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
