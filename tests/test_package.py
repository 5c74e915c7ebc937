"""The package as its user gets it: built, looked into, installed apart, and used from outside the source tree."""

import email
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import lrstudy

ROOT = Path(__file__).parents[1]
PACKAGES = ("lrstudy", "experiments")
LEAST_SETUPTOOLS = 77
SAMPLE = """
from pathlib import Path
from typing import assert_type

import jax
import optax

from lrstudy.laws import AnnealingLaw
from lrstudy.schedules import WSD, Schedule, from_dict, steps_from_tokens

steps: int = steps_from_tokens(10**6, batch_size=8, sequence_length=64)
schedule = WSD(3e-3, total_steps=steps, warmup_steps=50, decay_fraction=0.2, shape="1-sqrt")
assert_type(schedule, WSD)
rate: jax.Array = schedule(10)
again: Schedule = from_dict(schedule.to_dict())
optimizer: optax.GradientTransformation = optax.adamw(schedule)
law = AnnealingLaw(2.6, 0.43, 0.55, 0.41)
wrong: Path = schedule
"""


def _built_by_setuptools():
    found = importlib.util.find_spec("setuptools")
    return found and int(importlib.metadata.version("setuptools").partition(".")[0]) >= LEAST_SETUPTOOLS


pytestmark = pytest.mark.skipif(
    not _built_by_setuptools() or importlib.util.find_spec("build") is None,
    reason=f"needs build and setuptools>={LEAST_SETUPTOOLS} in the environment, as it builds offline",
)


def run(*command, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the source tree as it is when somebody has cloned it."""
    tree = tmp_path_factory.mktemp("tree")
    left_out = shutil.ignore_patterns("__pycache__", ".*", "build", "dist", "runs", "*.egg-info")
    return shutil.copytree(ROOT, tree, ignore=left_out, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def built(tree, tmp_path_factory):
    """Folder of the source distribution and of the wheel that is built from it, not from the tree."""
    out = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", f"--outdir={out}", cwd=tree)
    return out


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Folder with the package and nothing else; what it depends on is found in the environment."""
    target = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", f"--target={target}", wheel, cwd=target)
    return target


@pytest.fixture
def use(installed, tmp_path):
    """Runs the interpreter in an empty folder, with the installed copy alone on the path."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return lambda *command: run(*command, cwd=folder, PYTHONPATH=str(installed))


def test_the_wheel_holds_the_packages_whole_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = f"lrstudy-{lrstudy.__version__}.dist-info/"
    assert {name for name in names if not name.startswith(info)} == files
    assert {"lrstudy/py.typed", "lrstudy/benchmark/targets.json", "experiments/loss_laws_curves.csv"} <= files
    assert {
        f"{info}{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    } <= names


def test_what_an_earlier_build_left_is_not_in_the_wheel(tree, tmp_path):
    left = tree / "build/lib/experiments/gone.py"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.touch()
    run("-m", "build", "--wheel", "--no-isolation", f"--outdir={tmp_path}", cwd=tree)
    (path,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(path).namelist()
    assert "experiments/gone.py" not in names
    assert "experiments/sweep.py" in names


def test_the_wheel_says_what_it_is(wheel):
    archive, info = zipfile.ZipFile(wheel), f"lrstudy-{lrstudy.__version__}.dist-info"
    found = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (found["Name"], found["Version"]) == ("lrstudy", lrstudy.__version__)
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Requires-Python"] == project["requires-python"]
    assert set(found.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert {"slurm"}.isdisjoint(found.get_all("Provides-Extra"))
    assert 'tensorboardX>=2.6; extra == "tensorboard"' in found.get_all("Requires-Dist")
    assert found["Description-Content-Type"] == "text/markdown"
    assert archive.read(f"{info}/entry_points.txt").decode().split() == [
        "[console_scripts]", "lrstudy", "=", "lrstudy.study.console:main"
    ]  # fmt: skip
    assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "py3-none-any" in wheel.name


def test_the_source_distribution_holds_what_builds_the_wheel(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "setup.py", "README.md", "LICENSE", "PKG-INFO", "lrstudy/py.typed"} <= names
    assert not {name for name in names if name.startswith(("tests/", "benchmarks/"))}


def test_the_installed_copy_is_what_is_used(use, installed):
    code = "import lrstudy, experiments, importlib.metadata as m; "
    code += "print(lrstudy.__file__, experiments.__file__, m.version('lrstudy'), sep='\\n')"
    assert use("-c", code).split() == [
        str(installed / "lrstudy" / "__init__.py"),
        str(installed / "experiments" / "__init__.py"),
        lrstudy.__version__,
    ]


def test_its_command_lists_the_studies(use, installed):
    out = use(installed / "bin" / "lrstudy", "list")
    assert {"river_valley", "sweep", "benchmark"} <= {line.split()[0] for line in out.splitlines()}
    assert use("-m", "lrstudy", "--version") == f"lrstudy {lrstudy.__version__}\n"


def test_it_trains_a_study(use, installed):
    flags = ("--preset=smoke", "--config.task=bigram", "--config.optimizer=sgd", "--config.schedule=Constant")
    assert "report: run/report.html" in use("-m", "experiments.sweep", "--workdir=run", *flags, "--sweep.seed=0,1")
    shown = use(installed / "bin" / "lrstudy", "show", "run")
    assert "runs     2: 2 ok" in shown


def test_what_lies_beside_the_code_is_found(use):
    code = "from experiments.loss_laws_curves import shipped_curves; from lrstudy.benchmark.targets import shipped; "
    code += "print(len(shipped_curves()), len(shipped()))"
    curves, targets = map(int, use("-c", code).split())
    assert min(curves, targets) >= 6


@pytest.mark.skipif(importlib.util.find_spec("basedpyright") is None, reason="needs basedpyright")
def test_its_types_are_known_to_those_who_use_it(installed, tmp_path):
    (tmp_path / "sample.py").write_text(SAMPLE)
    # Not every library that it builds on has types of its own.
    settings = {"typeCheckingMode": "strict", "include": ["sample.py"], "reportMissingTypeStubs": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = [line for line in done.stdout.splitlines() if " - error: " in line]
    assert len(found) == 1, done.stdout
    assert f"{tmp_path / 'sample.py'}:{SAMPLE.splitlines().index('wrong: Path = schedule') + 1}:" in found[0]
