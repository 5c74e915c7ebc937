"""Damaged checkpoints: what is restored is what was saved at some step, or nothing; never anything else."""

import functools
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from lrstudy.study.signals import StopRequest
from lrstudy.study.trainer import GroupTrainer, Settings
from lrstudy.study.workdir import Workdir
from lrstudy.training import checkpoint
from tests.faults.harness import (
    BRANCH,
    SAVE_EVERY,
    STEPS,
    TRUNK,
    Ended,
    abstract_of,
    assert_same,
    leaves,
    outcome,
    plan_of,
)

FLIPS = 100
OLDER = STEPS - SAVE_EVERY


@pytest.fixture(scope="module")
def group():
    return plan_of().groups[BRANCH]


@pytest.fixture(scope="module")
def saved(finished, group):
    """The leaves of the newest two steps."""
    folder, abstract = finished / "checkpoints" / group.group_id, abstract_of(group)
    found = {step: checkpoint.restore(folder, abstract, up_to=step) for step in (OLDER, STEPS)}
    assert all(restored.step == step and restored.damaged == () for step, restored in found.items())
    trees = {step: leaves(restored.tree) for step, restored in found.items()}
    assert trees[OLDER] != trees[STEPS]
    return trees


@pytest.fixture
def folder(finished, group, tmp_path):
    """A copy of the group's newest two steps."""
    source = finished / "checkpoints" / group.group_id
    for step in (OLDER, STEPS):
        shutil.copytree(source / str(step), tmp_path / str(step))
    return tmp_path


def files(step_folder: Path) -> list[Path]:
    return [path for path in sorted(step_folder.rglob("*")) if path.is_file()]


def is_detected(folder, group, saved) -> bool:
    """Whether the newest step was passed over; asserts that what was restored was saved."""
    restored = checkpoint.restore(folder, abstract_of(group))
    assert restored.step in saved
    assert leaves(restored.tree) == saved[restored.step]
    if restored.step == STEPS:
        assert restored.warning("runs") is None
        return False
    (warning,) = restored.warning("runs").splitlines()
    assert f"step {STEPS} is damaged" in warning
    assert f"resuming from step {OLDER}" in warning
    return True


def test_flipped_bits(folder, group, saved, record_property):
    """Single bits anywhere in the newest step, every bit of every file as likely as every other one."""
    paths = files(folder / str(STEPS))
    sizes = np.array([path.stat().st_size for path in paths])
    generator, detected = np.random.default_rng(0), 0
    for bit in generator.integers(8 * sizes.sum(), size=FLIPS).tolist():
        index = int(np.searchsorted(np.cumsum(sizes), bit // 8, "right"))
        path, offset = paths[index], bit // 8 - int(sizes[:index].sum())
        good = path.read_bytes()
        bad = bytearray(good)
        bad[offset] ^= 1 << bit % 8
        path.write_bytes(bad)
        detected += is_detected(folder, group, saved)
        path.write_bytes(good)
    assert not is_detected(folder, group, saved)
    record_property("detected", detected)
    print(f"{detected} of {FLIPS} flips detected, {FLIPS - detected} harmless")


def test_a_flipped_bit_in_every_file(folder, group, saved):
    for number, path in enumerate(files(folder / str(STEPS))):
        good = path.read_bytes()
        bad = bytearray(good)
        bad[len(bad) // 2] ^= 1 << number % 8
        path.write_bytes(bad)
        assert is_detected(folder, group, saved), path
        path.write_bytes(good)
    assert not is_detected(folder, group, saved)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_every_file_truncated(share, folder, group, saved):
    """To nothing, to half, and by its last byte."""
    for path in files(folder / str(STEPS)):
        good = path.read_bytes()
        path.write_bytes(good[: min(int(share * len(good)), len(good) - 1)])
        assert is_detected(folder, group, saved), path
        path.write_bytes(good)
    assert not is_detected(folder, group, saved)


def test_every_file_deleted(folder, group, saved):
    for path in files(folder / str(STEPS)):
        good = path.read_bytes()
        path.unlink()
        assert is_detected(folder, group, saved), path
        path.write_bytes(good)
    assert not is_detected(folder, group, saved)


def test_every_file_exchanged_with_the_older_step(folder, group, saved):
    """Each file is whole, but of another step."""
    older = {path.relative_to(folder / str(OLDER)): path for path in files(folder / str(OLDER))}
    exchanged = 0
    for path in files(folder / str(STEPS)):
        good, other = path.read_bytes(), older.get(path.relative_to(folder / str(STEPS)))
        if other is None or other.read_bytes() == good:
            continue
        path.write_bytes(other.read_bytes())
        assert is_detected(folder, group, saved), path
        path.write_bytes(good)
        exchanged += 1
    assert exchanged


def test_nothing_good_is_left(folder, group):
    for step in (OLDER, STEPS):
        (folder / str(step) / "manifest.json").unlink()
    restored = checkpoint.restore(folder, abstract_of(group))
    assert (restored.step, restored.tree) == (0, None)
    (warning,) = restored.warning("runs").splitlines()
    for words in (f"step {OLDER} is damaged", f"step {STEPS} is damaged", "starting over"):
        assert words in warning


# What can lie in a group's folder, and the step that must then be named as damaged.


def flip(folder: Path) -> int:
    path = max(files(folder / str(STEPS)), key=lambda path: path.stat().st_size)
    bad = bytearray(path.read_bytes())
    bad[len(bad) // 3] ^= 4
    path.write_bytes(bad)
    return STEPS


def empty(folder: Path) -> int:
    (folder / "1000").mkdir()
    return 1000


def foreign(folder: Path) -> int:
    (folder / "20240131").mkdir()
    (folder / "20240131" / "notes.txt").write_text("another program's results")
    return 20240131


def another_step(folder: Path) -> int:
    """Whole, but under a number that is not its own."""
    shutil.copytree(folder / str(OLDER), folder / "1000")
    return 1000


def another_group(folder: Path) -> int:
    """Whole and of the right shapes, but the checkpoint of other runs."""
    return resaved(folder, runs=lambda runs: ["0" * 16, *runs[1:]])


def another_shape(folder: Path) -> int:
    """Whole, but of another model."""
    return resaved(folder, tree=functools.partial(jax.tree.map, lambda leaf: leaf[:1]))


def resaved(folder: Path, runs=list, tree=lambda tree: tree) -> int:
    restored = checkpoint.restore(folder, abstract_of(plan_of().groups[BRANCH]))
    meta = {**restored.meta, "runs": runs(restored.meta["runs"])}
    checkpoint.save(folder, STEPS, tree(restored.tree), meta)
    return STEPS


@pytest.fixture
def resume(group):
    """Resumes the branch group of a folder as a launch does: where it stands, its lanes, and what was said."""

    def resumed(workdir: Path):
        said: list[str] = []
        trainer = GroupTrainer(group, Workdir(workdir), Settings(warn=said.append), StopRequest())
        return trainer._resume(), said

    return resumed


@pytest.mark.parametrize("spoil", [flip, empty, foreign, another_step, another_group, another_shape])
def test_a_resume_falls_back(spoil, resume, killed, saved, group, copy):
    """One line names the damaged step and the newest good one, and that one is restored."""
    workdir = copy(killed)
    bad = spoil(workdir / "checkpoints" / group.group_id)
    good = OLDER if bad == STEPS else STEPS
    position, (warning,) = resume(workdir)
    assert (position.step, leaves(position.lanes)) == (good, saved[good])
    assert len(warning.splitlines()) == 1
    assert f"step {bad} is damaged" in warning
    assert f"resuming from step {good}" in warning
    position, said = resume(workdir)
    assert (position.step, said) == (good, [])


def test_names_that_only_look_like_steps(resume, killed, saved, group, copy):
    """Leading zeros, other scripts' digits, signs, files and left-over temporary folders are no steps."""
    workdir = copy(killed)
    folder = workdir / "checkpoints" / group.group_id
    for name in ("00500", "\u0665\u0660\u0660", "-500", "5e2", "500.0"):
        (folder / name).mkdir()
    (folder / "600").write_text("a file")
    shutil.copytree(folder / str(OLDER), folder / "saving-700")
    position, said = resume(workdir)
    assert (position.step, leaves(position.lanes), said) == (STEPS, saved[STEPS], [])
    assert not (folder / "saving-700").exists()


def warnings_of(ended: Ended) -> list[str]:
    return [line for line in ended.err.splitlines() if "damaged" in line]


def test_a_launch_goes_on_from_the_step_before(launcher, killed, reference, group, copy):
    workdir = copy(killed)
    flip(workdir / "checkpoints" / group.group_id)
    last = launcher.run(workdir)
    assert last.code == 0, last.err
    (warning,) = warnings_of(last)
    assert f"step {STEPS} is damaged" in warning
    assert f"resuming from step {OLDER}" in warning
    assert_same(outcome(workdir), reference)


def test_a_launch_starts_over_from_a_damaged_trunk(launcher, killed, reference, group, copy):
    """No step of the branches is good, and the trunk's that they start from is computed again from the one before."""
    workdir = copy(killed)
    trunk = plan_of().groups[TRUNK]
    start = trunk.kept_steps[-1]
    folders = [workdir / "checkpoints" / g.group_id for g in (group, trunk)]
    for bad in [*(folders[0] / str(step) for step in checkpoint.steps(folders[0])), folders[1] / str(start)]:
        (bad / "meta.json").write_text("{}")
    last = launcher.run(workdir)
    assert last.code == 0, last.err
    of_branches, of_trunk = warnings_of(last)
    assert "starting over" in of_branches
    assert f"step {start} is damaged" in of_trunk
    assert f"resuming from step {start - 1 - (start - 1) % SAVE_EVERY}" in of_trunk
    assert_same(outcome(workdir), reference)
