"""``experiments.sweep`` with faults at chosen places: ``python -m tests.faults.launch FAULTS JOURNAL --flags``.

``FAULTS`` is a comma-separated list of ``place:n:action``: at the n-th passage through the place the action is taken.
Every passage is a line of the file ``JOURNAL``. The places:

program       before a compiled program is called
orbax         while orbax writes a checkpoint's arrays in the background
sync          before a file of a checkpoint is synced
rename        before a finished checkpoint is renamed into its place, ``renamed`` after it
removing      while an old checkpoint is removed: one file of it is gone
rows, group, config.json, plan.json, runs.parquet, claims.json
              before such a file takes its place by rename
"""

import ctypes
import errno
import functools
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from experiments.sweep import EXPERIMENT
from lrstudy.study import main as command
from lrstudy.study.workdir import TEMPORARY
from lrstudy.training import checkpoint, lanes

BETWEEN_SIGNALS = 0.3
WRITES = ("orbax", "sync", "rows", "group", "config.json", "plan.json", "runs.parquet", "claims.json")
"""The places that fail on a full disk."""


def full() -> None:
    """What the kernel says of a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def kill() -> None:
    """Leaves as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def terminate() -> None:
    """One stop request."""
    os.kill(os.getpid(), signal.SIGTERM)


def terminate_twice_inside() -> None:
    """Two stop requests while the main thread runs no Python, as inside a compiled program."""
    source, sink = os.pipe()
    signal.siginterrupt(signal.SIGTERM, False)

    def send() -> None:
        for _ in range(2):
            time.sleep(BETWEEN_SIGNALS)
            terminate()
        time.sleep(BETWEEN_SIGNALS)
        os.write(sink, b".")

    threading.Thread(target=send, daemon=True).start()
    ctypes.CDLL(None).read(source, ctypes.create_string_buffer(1), 1)


class Faults:
    """Counts passages and takes the actions asked for; once a disk is ``brimful`` every later write fails."""

    def __init__(self, text: str, journal: Path) -> None:
        specs = (spec.split(":") for spec in text.split(",") if spec)
        self._actions = {(place, int(n)): action for place, n, action in specs}
        self._journal = journal
        self._passed: Counter[str] = Counter()
        self._brimful = False

    def passes(self, place: str) -> None:
        """Notes a passage and does what was asked for there."""
        self._passed[place] += 1
        with self._journal.open("a") as file:
            file.write(f"{place}\n")
        action = self._actions.get((place, self._passed[place]))
        self._brimful |= action == "brimful"
        if self._brimful and place in WRITES:
            full()
        actions = {"kill": kill, "full": full, "term": terminate, "terms": terminate_twice_inside}
        actions.get(action or "", lambda: None)()

    def around(
        self, owner: Any, name: str, before: Callable[..., str], after: Callable[..., str] | None = None
    ) -> None:
        """Calls of ``owner.name`` pass through the places that ``before`` and ``after`` name, if they name one."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            for place in filter(None, [before(*args)]):
                self.passes(place)
            result = original(*args, **kwargs)
            for place in filter(None, [after(*args) if after else ""]):
                self.passes(place)
            return result

        setattr(owner, name, wrapped)

    def install(self) -> None:
        """Puts the places where they belong."""
        self.around(ocp.StandardCheckpointer, "save", _nowhere, lambda *_: "orbax")
        self.around(checkpoint, "_sync", lambda _: "sync")
        self.around(Path, "rename", _saved("rename"), _saved("renamed"))
        self.around(Path, "replace", _written)
        self.around(shutil, "rmtree", self._removing)
        spread = lanes.spread

        def watched(*args: Any, **kwargs: Any) -> Any:
            program = spread(*args, **kwargs)

            def call(*inputs: Any) -> Any:
                self.passes("program")
                return program(*inputs)

            return call

        lanes.spread = watched

    def _removing(self, path: Any, *_: Any) -> str:
        numbered = isinstance(path, Path) and path.name.isdecimal()
        if numbered and ("removing", self._passed["removing"] + 1) in self._actions:
            next(p for p in sorted(path.rglob("*")) if p.is_file()).unlink()
        return "removing" if numbered else ""


def _nowhere(*_: Any) -> str:
    return ""


def _saved(place: str) -> Callable[..., str]:
    return lambda path, _: place if path.name.startswith("saving-") else ""


def _written(path: Path, _: Any) -> str:
    if not path.name.startswith(TEMPORARY):
        return ""
    name = path.name.removeprefix(TEMPORARY).partition("-")[2]  # behind the process that writes
    return {"metrics": "rows", "groups": "group"}.get(path.parent.name, name)


if __name__ == "__main__":
    Faults(sys.argv[1], Path(sys.argv[2])).install()
    del sys.argv[1:3]
    command.main(EXPERIMENT)
