"""Which processes hold a study's folder, seen from outside.

To take a lock in order to see whether it is free could refuse a command that starts at that moment, so it is the kernel
that is asked, which lists the locks of its own machine.
"""

import dataclasses
import os
import re
import socket
from pathlib import Path

_NAMED = re.compile(r"process (?P<pid>\d+) on (?P<host>\S+)")
_LOCKS = Path("/proc/locks")


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process that holds the folder, or a part of it.

    Attributes:
        process: number and host, as it wrote them.
        since: when it took the lock, in seconds of the epoch.
        known: whether it does hold it now; of another host nobody can say.
    """

    process: str
    since: float
    known: bool


def holders(root: Path) -> list[Holder]:
    """Who holds a folder: first those of whom it is known, the oldest first."""
    held = _held_here()
    names = [root / "lock", *sorted(root.glob("lock-*")), *sorted(root.glob("launch/lock-*"))]
    found = [holder for holder in (_holder(path, held) for path in names) if holder is not None]
    # A task of a launcher holds a lock for each of its groups.
    oldest = {holder.process: holder for holder in sorted(found, key=lambda holder: -holder.since)}
    return sorted(oldest.values(), key=lambda holder: (not holder.known, holder.since))


def _holder(path: Path, held: set[tuple[int, int]] | None) -> Holder | None:
    try:
        match, status = _NAMED.match(path.read_text(errors="replace")), path.stat()
    except OSError:
        return None
    if match is None:
        return None
    process = match[0]
    if match["host"] != socket.gethostname():
        return Holder(process, status.st_mtime, known=False)
    pid = int(match["pid"])
    if _is_alive(pid) if held is None else (pid, status.st_ino) in held:
        return Holder(process, status.st_mtime, known=True)
    return None


def _held_here() -> set[tuple[int, int]] | None:
    """Process and inode of every file that is locked on this machine; ``None`` where the system does not tell."""
    try:
        lines = [line.split() for line in _LOCKS.read_text().splitlines()]
    except OSError:
        return None
    # A line of one that waits for the lock has an arrow in the second place.
    return {(int(words[4]), int(words[5].rpartition(":")[2])) for words in lines if words[1] == "FLOCK"}


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
