import dataclasses
import json

import numpy as np
import pytest

from lrstudy.study import extrapolator as command_lib
from lrstudy.study.errors import StudyError
from lrstudy.study.extrapolator import CUTOFFS, check, last_value_log_densities, load_extrapolator, main, table
from tests.laws.extrapolation.tiny import TINY
from tests.study.test_main import command

FLAGS = [f"--{name}={value}" for name, value in dataclasses.asdict(TINY).items()] + ["--test_curves=20", "--draws=500"]


class Stop:
    """A request that comes after so many looks."""

    def __init__(self, after=10**9):
        self.left = after

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    @property
    def requested(self):
        self.left -= 1
        return self.left < 0


@pytest.fixture(autouse=True)
def no_compilation_cache(monkeypatch):
    monkeypatch.setattr(command_lib, "use_compilation_cache", lambda: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a network that was trained without a stop."""
    folder = tmp_path_factory.mktemp("extrapolator")
    assert main([*FLAGS, f"--output={folder}"]) == 0
    return folder


def test_the_command_leaves_a_network_and_its_manifest(made):
    manifest = json.loads((made / "manifest.json").read_text())
    assert sorted(path.name for path in made.iterdir()) == sorted(["manifest.json", manifest["file"]])
    assert manifest["recipe"] == dataclasses.asdict(TINY)
    assert [row["cutoff"] for row in manifest["check"]] == list(CUTOFFS)
    assert load_extrapolator(made).recipe == TINY


def test_a_second_command_has_nothing_to_do(made, capsys):
    before = {path: path.stat().st_mtime_ns for path in made.iterdir()}
    assert main([*FLAGS, f"--output={made}"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in made.iterdir()} == before


def test_a_stopped_training_goes_on_to_the_same_weights(made, tmp_path, monkeypatch, capsys):
    """Stopped after its first call of 25 updates, then asked for again: byte for byte the weights of one go."""
    monkeypatch.setattr("lrstudy.study.signals.StopRequest", lambda: Stop(0))
    assert main([*FLAGS, f"--output={tmp_path}"]) == 75
    assert "stopped after saving" in capsys.readouterr().out
    assert not (tmp_path / "manifest.json").exists()
    assert json.loads((tmp_path / "unfinished.json").read_text())["recipe"] == dataclasses.asdict(TINY)
    monkeypatch.setattr("lrstudy.study.signals.StopRequest", Stop)
    assert main([*FLAGS, f"--output={tmp_path}"]) == 0
    assert "step 50/50" in capsys.readouterr().err
    names = [json.loads((folder / "manifest.json").read_text())["sha256"] for folder in (made, tmp_path)]
    assert names[0] == names[1]
    assert len(list(tmp_path.iterdir())) == 2


def test_no_network_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    message = (
        f"there is no trained extrapolator in '{tmp_path}/lrstudy/extrapolator'; train one with: {command_lib.COMMAND}"
    )
    with pytest.raises(StudyError) as raised:
        load_extrapolator()
    assert str(raised.value) == message


def test_damage_is_found(made, tmp_path):
    manifest = json.loads((made / "manifest.json").read_text())
    data = bytearray((made / manifest["file"]).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / manifest["file"]).write_bytes(data)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StudyError, match="is damaged: its sha256 is not that of its manifest"):
        load_extrapolator(tmp_path)
    (tmp_path / manifest["file"]).unlink()
    with pytest.raises(StudyError, match="is damaged"):
        load_extrapolator(tmp_path)


def test_the_last_values_density():
    """Steps of 3 and 4 have the root mean square sqrt(12.5)."""
    curve = np.array([[0.0, 3.0, 7.0, 8.0, 5.0]])
    variance = 12.5
    expected = -0.5 * (np.array([1.0, 2.0]) ** 2) / variance - 0.5 * np.log(2 * np.pi * variance)
    np.testing.assert_allclose(last_value_log_densities(curve, 3)[0], expected, rtol=1e-12)


def test_the_table_is_the_checks(made):
    """Differences are those of the columns beside them: both of the same curves."""
    rows = check(load_extrapolator(made), curves=20, draws=500, seed=0)
    for row in rows:
        np.testing.assert_allclose(row["network"] - row["importance"], row["over_importance"], atol=1e-4)
        np.testing.assert_allclose(row["network"] - row["last"], row["over_last"], atol=1e-4)
    assert rows == json.loads((made / "manifest.json").read_text())["check"]
    lines = table(rows).splitlines()
    assert len(lines) == 2 + len(CUTOFFS)
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--curves=0", "curves must be an int of at least 1, got 0"),
        ("--heads=3", "heads must divide width (64), got 3"),
        ("--draws=0", "draws must be at least 1, got 0"),
        ("--curve=3", "unrecognized arguments: --curve=3"),
    ],
)
def test_a_bad_flag_is_one_line(capsys, flag, message):
    try:
        code = main([flag])
    except SystemExit as left:
        code = left.code
    assert (code, capsys.readouterr().err) == (2, f"error: {message}\n")


def test_the_module_is_a_command_without_warnings():
    done = command("lrstudy.study.extrapolator", "--help", PYTHONWARNINGS="error")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--test_curves" in done.stdout
