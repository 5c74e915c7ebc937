"""A disk that fills up: one line that names the step, nothing lost, and with space the same command finishes."""

import math
import os
import re
import shutil
import subprocess

import pytest

from lrstudy.training import checkpoint
from tests.faults.harness import SAVE_EVERY, TRUNK, Ended, assert_same, outcome, plan_of

PAGE = 4096


class Disk:
    """A small file system in memory, mounted at a folder."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def mount(self, size: int, *options: str) -> subprocess.CompletedProcess[str]:
        """Mounts it, or with ``remount`` among the options changes its size."""
        settings = ",".join([f"size={size}", *options])
        command = ["mount", "-t", "tmpfs", "-o", settings, "tmpfs", str(self.folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def fill(self) -> None:
        """Leaves no room at all."""
        with (self.folder / "filler").open("wb", buffering=0) as file:
            for size in (PAGE * 256, PAGE, 1):
                try:
                    while True:
                        file.write(b"\1" * size)
                except OSError:
                    continue


@pytest.fixture
def disk(tmp_path):
    """An empty file system of 64 MiB, less the tests that cannot have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    mounted = Disk(folder)
    result = mounted.mount(64 << 20)
    if result.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {result.stderr.strip()}")
    yield mounted
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def one_error(ended: Ended) -> str:
    """The line that a full disk must be answered with."""
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    (line,) = ended.errors()
    assert "No space left on device" in line
    return line


def step_named(line: str) -> int:
    match = re.search(r"\bstep (\d+)\b", line)
    assert match, line
    return int(match[1])


def pages(folder) -> int:
    """What a folder takes in memory."""
    return sum(PAGE * math.ceil(path.stat().st_size / PAGE) for path in folder.rglob("*") if path.is_file())


def test_a_small_disk(disk, launcher, finished, reference):
    """There is room for two checkpoints and half of the third."""
    trunk = plan_of().groups[TRUNK].group_id
    size = pages(finished / "checkpoints" / trunk / str(plan_of().groups[TRUNK].stop))
    assert disk.mount(2 * size + size // 2 + 24 * PAGE, "remount").returncode == 0
    workdir = disk.folder / "study"
    failed_step = step_named(one_error(launcher.run(workdir)))

    folder = workdir / "checkpoints" / trunk
    intact = checkpoint.steps(folder)
    assert intact == list(range(SAVE_EVERY, failed_step, SAVE_EVERY))[-2:]
    assert intact
    assert [checkpoint.damage(folder / str(step)) for step in intact] == [None] * len(intact)

    assert disk.mount(64 << 20, "remount").returncode == 0
    last = launcher.run(workdir)
    assert last.code == 0, last.err
    assert_same(outcome(workdir), reference)


def test_a_disk_without_any_room(disk, launcher):
    """Not even the lock's holder can be written."""
    disk.fill()
    one_error(launcher.run(disk.folder / "study"))


@pytest.mark.parametrize("place", ["orbax:2", "sync:20", "rows:2"])
def test_nothing_can_be_written_any_more(place, launcher, tmp_path):
    """From some write of the second save on; the last words, ``runs.parquet``, cannot be written either."""
    workdir = tmp_path / "study"
    assert step_named(one_error(launcher.run(workdir, faults=f"{place}:brimful"))) == 2 * SAVE_EVERY
    folder = workdir / "checkpoints" / plan_of().groups[TRUNK].group_id
    assert checkpoint.steps(folder) == [SAVE_EVERY]
    assert checkpoint.damage(folder / str(SAVE_EVERY)) is None
    assert not list(folder.glob("saving-*"))


def test_before_training(launcher, tmp_path):
    one_error(launcher.run(tmp_path / "study", faults="config.json:1:full"))


def test_after_training(launcher, killed, reference, copy):
    workdir = copy(killed)
    one_error(launcher.run(workdir, faults="claims.json:1:full"))
    last = launcher.run(workdir)
    assert last.code == 0, last.err
    assert_same(outcome(workdir), reference)


def test_the_kernel_says_what_these_tests_look_for():
    assert os.strerror(28) == "No space left on device"
