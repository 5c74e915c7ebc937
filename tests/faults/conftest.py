"""A finished study, and two that were killed on the way, which many tests start from."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import Launcher, Outcome, outcome


@pytest.fixture(scope="session")
def launcher(tmp_path_factory) -> Launcher:
    return Launcher(tmp_path_factory.getbasetemp().parent / "lrstudy-test-cache")


@pytest.fixture(scope="session")
def finished(launcher, tmp_path_factory) -> Path:
    """A study that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("finished") / "study"
    ended = launcher.run(workdir)
    assert ended.code == 0, ended.err
    return workdir


@pytest.fixture(scope="session")
def reference(finished) -> Outcome:
    """What the undisturbed study left behind."""
    return outcome(finished)


@pytest.fixture(scope="session")
def killed(launcher, tmp_path_factory) -> Path:
    """Killed when all was trained and before the branches' outcomes were noted."""
    return _killed(launcher, tmp_path_factory, "group:4:kill")


@pytest.fixture(scope="session")
def halfway(launcher, tmp_path_factory) -> Path:
    """Killed between the trunks and their branches."""
    return _killed(launcher, tmp_path_factory, "group:3:kill")


@pytest.fixture
def copy(tmp_path) -> Callable[[Path], Path]:
    """Copies a study, so that a test may damage it."""

    def made(workdir: Path) -> Path:
        return Path(shutil.copytree(workdir, tmp_path / "study"))

    return made


def _killed(launcher: Launcher, factory: pytest.TempPathFactory, fault: str) -> Path:
    workdir = factory.mktemp("killed") / "study"
    assert launcher.run(workdir, faults=fault).code == -9
    return workdir
