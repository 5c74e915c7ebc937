"""A finished study, and two that were killed on the way, which many tests start from."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import Launcher, Outcome, assert_same, ended, holder, outcome, wait_until


@pytest.fixture(scope="session")
def launcher(tmp_path_factory) -> Launcher:
    return Launcher(tmp_path_factory.getbasetemp().parent / "lrstudy-test-cache")


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Fills a folder of this name once, also where several processes share the tests."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "faults"
    root.mkdir(exist_ok=True)

    def filled(name: str, fill: Callable[[Path], None]) -> Path:
        folder = root / name
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "full").is_file():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                (folder / "full").touch()
        return folder

    return filled


@pytest.fixture(scope="session")
def finished(launcher, once) -> Path:
    """A study that nothing disturbed."""

    def fill(folder: Path) -> None:
        result = launcher.run(folder / "study")
        assert result.code == 0, result.err

    return once("finished", fill) / "study"


@pytest.fixture(scope="session")
def reference(finished) -> Outcome:
    """What the undisturbed study left behind."""
    return outcome(finished)


@pytest.fixture(scope="session")
def working_seconds(launcher, reference, once) -> float:
    """From taking the folder's lock to the end of an undisturbed study, once everything is compiled."""

    def fill(folder: Path) -> None:
        process = launcher.start(folder / "study")
        assert wait_until(lambda: holder(folder / "study") == process.pid, process)
        began = time.monotonic()
        assert ended(process).code == 0
        (folder / "seconds").write_text(str(time.monotonic() - began))
        assert_same(outcome(folder / "study"), reference)

    return float((once("measured", fill) / "seconds").read_text())


@pytest.fixture(scope="session")
def killed(launcher, once) -> Path:
    """Killed when all was trained and before the branches' outcomes were noted."""
    return once("killed", lambda folder: _kill(launcher, folder, "group:4:kill")) / "study"


@pytest.fixture(scope="session")
def halfway(launcher, once) -> Path:
    """Killed between the trunks and their branches."""
    return once("halfway", lambda folder: _kill(launcher, folder, "group:3:kill")) / "study"


@pytest.fixture
def copy(tmp_path) -> Callable[[Path], Path]:
    """Copies a study, so that a test may damage it."""

    def made(workdir: Path) -> Path:
        return Path(shutil.copytree(workdir, tmp_path / "study"))

    return made


def _kill(launcher: Launcher, folder: Path, fault: str) -> None:
    assert launcher.run(folder / "study", faults=fault).code == -9
