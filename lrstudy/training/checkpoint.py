"""Checkpoints that are whole or not there: orbax writes the arrays, a manifest of digests says whether they are intact.

orbax restores flipped bits in array data without a word, takes an empty numbered folder for a checkpoint and reports
a full disk one save late. So a step is written beside its place, listed with the sha256 of every file, synced and only
then renamed into place; and it is read only if every file still has its digest.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from absl import logging

from lrstudy.training.processes import agreed, any_process, process

MANIFEST = "manifest.json"
META = "meta.json"
STATE = "state"
ARRAYS, STEP = "arrays", "step"
NEWEST_KEPT = 2
_STEP = re.compile("0|[1-9][0-9]*")  # as `save` writes it: no leading zero, no other script's digits
_SAVING = "saving-"
_DAMAGED = "damaged-"
_FAILURES = (OSError, ValueError, RuntimeError)


class CheckpointError(OSError):
    """A checkpoint could not be written, or what was restored contradicts itself."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint that was read.

    Attributes:
        step: its step.
        tree: the arrays, on the device; ``None`` if nothing good was found.
        meta: what was saved beside them.
        damaged: newer steps that were passed over, each with the reason.
    """

    step: int
    tree: Any
    meta: Mapping[str, Any]
    damaged: tuple[tuple[int, str], ...]

    def warning(self, what: str) -> str | None:
        """One line that names the damaged steps and what is used instead; ``None`` where all was well.

        Args:
            what: whose checkpoints they are.
        """
        if not self.damaged:
            return None
        found = "; ".join(f"step {step} is damaged ({reason})" for step, reason in self.damaged)
        remedy = "starting over" if self.tree is None else f"resuming from step {self.step}"
        return f"checkpoints of {what}: {found}; {remedy}"


def steps(folder: Path) -> list[int]:
    """Numbered steps in a folder, good or not, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and _STEP.fullmatch(p.name))


def save(folder: Path, step: int, tree: Any, meta: Mapping[str, Any]) -> None:
    """Writes ``<folder>/<step>/``; afterwards it is there whole, or an error was raised and nothing changed.

    Args:
        folder: of the group.
        step: updates made.
        tree: a pytree of arrays; typed random keys are allowed.
        meta: what JSON can hold.

    Raises:
        CheckpointError: it could not be written (a full disk, say); earlier steps are untouched.
    """
    place = folder / f"{_SAVING}{step}"
    with _told_to_all(step):
        if process().leads:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
    try:
        _write(place / STATE, tree)
    except _FAILURES as error:
        # The others may wait for this process inside orbax, so it leaves them without a word: they see that it is gone.
        if process().leads:
            shutil.rmtree(place, ignore_errors=True)
        if process().count > 1 and isinstance(error, jax.errors.JaxRuntimeError):
            raise  # a collective whose peer is gone
        raise _unwritten(step, _reason(error)) from error
    with _told_to_all(step):
        try:
            if process().leads:
                _commit(place, folder / str(step), {**meta, STEP: step, ARRAYS: _arrays(tree)})
        except _FAILURES:
            shutil.rmtree(place, ignore_errors=True)
            raise


@contextlib.contextmanager
def _told_to_all(step: int) -> Iterator[None]:
    """What fails on one process ends the save on all; each waits here for the others.

    Raises:
        CheckpointError: it failed on any.
    """
    error = None
    try:
        yield
    except _FAILURES as found:
        error = found
    if any_process(error is not None):
        raise _unwritten(step, _reason(error) if error else "another process failed") from error


def _unwritten(step: int, reason: str) -> CheckpointError:
    return CheckpointError(f"step {step}: the checkpoint could not be written: {reason}")


def _write(path: Path, tree: Any) -> None:
    import orbax.checkpoint as ocp

    with _one_voice(), contextlib.closing(ocp.StandardCheckpointer()) as checkpointer:
        checkpointer.save(path.absolute(), tree)
        checkpointer.wait_until_finished()


def _commit(place: Path, final: Path, meta: Mapping[str, Any]) -> None:
    """Lists what was written, makes sure that it is on the disk, and renames it to what it is."""
    (place / META).write_text(json.dumps(meta))
    digests = {name: _sha256(place / name) for name in _files(place)}
    (place / MANIFEST).write_text(json.dumps(digests, indent=1, sort_keys=True))
    for name in (*digests, MANIFEST):
        _sync(place / name)
    if final.exists():
        # Only a damaged step is ever written again: a good one would have been resumed from.
        shutil.rmtree(final)
    place.rename(final)
    _sync(final.parent)


@contextlib.contextmanager
def _one_voice() -> Iterator[None]:
    """Keeps orbax from printing the traceback of an error that it also raises, here as one line."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _reason(error: Exception) -> str:
    """What went wrong in a few words; of a full disk always the same ones, whichever thread it struck."""
    text = str(error)
    full = os.strerror(errno.ENOSPC)
    return getattr(error, "strerror", None) or (full if full in text else text.strip().splitlines()[0][:200])


def damage(path: Path) -> str | None:
    """Why the step at ``path`` cannot be trusted; ``None`` if every file is what was written."""
    try:
        digests = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError):
        return f"{MANIFEST} is missing or unreadable"
    if not isinstance(digests, dict) or META not in digests:
        return f"{MANIFEST} lists no checkpoint"
    for name, digest in digests.items():
        try:
            if _sha256(path / name) != digest:
                return f"{name}: sha256 differs"
        except (OSError, ValueError):
            return f"{name} is missing"
    unlisted = set(_files(path)) - set(digests) - {MANIFEST}
    return f"{min(unlisted)} is not in {MANIFEST}" if unlisted else None


def restore(
    folder: Path, abstract: Any, *, up_to: int | None = None, expected: Mapping[str, Any] | None = None
) -> Restored:
    """Reads the newest good step, walking back over damaged ones and over what does not belong there.

    Args:
        folder: of the group.
        abstract: a pytree of ``jax.ShapeDtypeStruct`` like the saved one; arrays are read to where their shardings say,
            by default to this process's first device, wherever they were when they were saved.
        up_to: the newest step to consider; ``None``: the newest there is.
        expected: what the saved ``meta`` must hold.

    Returns:
        The step; its ``step`` is 0 and its ``tree`` ``None`` if there is no good one.
    """
    identity = {ARRAYS: _arrays(abstract), **(expected or {})}
    found, damaged = _newest_good(folder, up_to, identity) if process().leads else (None, ())
    step = int(agreed(-1 if found is None else found))
    if step < 0:
        return Restored(0, None, {}, damaged)
    saved = json.loads((folder / str(step) / META).read_text())
    meta = {name: value for name, value in saved.items() if name not in (ARRAYS, STEP)}
    return Restored(step, _read(folder / str(step) / STATE, abstract), meta, damaged)


def _newest_good(
    folder: Path, up_to: int | None, identity: Mapping[str, Any]
) -> tuple[int | None, tuple[tuple[int, str], ...]]:
    """The newest good step, and the newer ones that were passed over."""
    damaged = []
    for step in reversed(steps(folder)):
        if up_to is not None and step > up_to:
            continue
        path = folder / str(step)
        reason = damage(path) or _misplaced(path, {STEP: step, **identity})
        if reason is None:
            return step, tuple(damaged)
        damaged.append((step, reason))
    return None, tuple(damaged)


def set_aside(folder: Path, step: int) -> None:
    """Moves a damaged step out of the numbered ones, so that it does not count among the newest that are kept.

    Only the leading process knows of any.
    """
    aside = folder / f"{_DAMAGED}{step}"
    shutil.rmtree(aside, ignore_errors=True)
    (folder / str(step)).rename(aside)


def prune(folder: Path, keep: Collection[int]) -> None:
    """Removes all but the newest two steps and those in ``keep``; removes what interrupted saves left behind."""
    if not process().leads or not folder.is_dir():
        return
    present = steps(folder)
    for step in set(present) - set(present[-NEWEST_KEPT:]) - set(keep):
        shutil.rmtree(folder / str(step))
    for leftover in folder.glob(f"{_SAVING}*"):
        shutil.rmtree(leftover)


def _read(path: Path, abstract: Any) -> Any:
    import orbax.checkpoint as ocp

    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def placed(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding or device)

    with contextlib.closing(ocp.StandardCheckpointer()) as checkpointer:
        return checkpointer.restore(path.absolute(), jax.tree.map(placed, abstract))


def _misplaced(path: Path, expected: Mapping[str, Any]) -> str | None:
    """Why an intact step is not the one that is looked for; orbax would cast arrays of another type without a word."""
    meta = json.loads((path / META).read_text())
    wrong = [name for name, value in expected.items() if meta.get(name) != value]
    return f"its {wrong[0]} are not those expected" if wrong else None


def _arrays(tree: Any) -> dict[str, list[Any]]:
    """Path to type and shape of every leaf."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): [str(leaf.dtype), list(leaf.shape)] for path, leaf in leaves}


def _files(folder: Path) -> Iterator[str]:
    """Relative paths of the files below a folder, less hidden ones, which file systems leave behind."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
