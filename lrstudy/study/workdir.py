"""The folder of a study: its paths, its lock, and writes that happen whole or not at all."""

import contextlib
import dataclasses
import errno
import fcntl
import fnmatch
import json
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lrstudy.study.collecting import uncollected
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.training.processes import any_process, process, together, told

T = TypeVar("T")
TEMPORARY = ".writing-"
_LOOKS, _LOOK_SECONDS = 20, 0.05


class JsonFolder:
    """The objects in the files of a folder, which other processes may replace: a file is parsed again if it was.

    Args:
        root: the folder; what it holds once it is there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._held: dict[str, _Held] = {}

    def all(self) -> dict[str, dict[str, Any]]:
        """File name without suffix to object, by name. The objects are shared, and not to be changed.

        Raises:
            StudyError: a file is no JSON object.
        """
        with uncollected():
            self._refresh()
        return {name: held.value for name, held in self._held.items()}

    def versions(self) -> dict[str, tuple[int, int, int]]:
        """File name without suffix to which file that is: as long as these are equal, so is all that was read.

        Raises:
            StudyError: a file is no JSON object.
        """
        self.all()
        return {name: held.version for name, held in self._held.items()}

    def made(self, name: str, make: Callable[[dict[str, Any]], T]) -> T:
        """``make`` of one file's object, as it was when ``all`` was last asked for, made once."""
        held = self._held[name]
        if make not in held.made:
            held.made[make] = make(held.value)
        return held.made[make]

    def _refresh(self) -> None:
        try:
            entries = [e for e in os.scandir(self._root) if e.name.endswith(".json") and not e.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            entries = []
        before, self._held = self._held, {}
        for entry in sorted(entries, key=lambda e: e.name):
            name, found = entry.name.removesuffix(".json"), entry.stat()
            # Files are replaced by others and never written into.
            version = found.st_ino, found.st_mtime_ns, found.st_size
            held = before.get(name)
            if held is None or held.version != version:
                held = _Held(version, read_json(Path(entry.path)))
            self._held[name] = held


@dataclasses.dataclass
class _Held:
    """One file of a folder: which one, its object, and what was made of that."""

    version: tuple[int, int, int]
    value: dict[str, Any]
    made: dict[Callable[[dict[str, Any]], Any], Any] = dataclasses.field(default_factory=dict)


class Workdir:
    """Paths below one folder.

    Args:
        root: the folder; it is made when the study starts to write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.json"
        self.plan = root / "plan.json"
        self.runs = root / "runs.parquet"
        self.claims = root / "claims.json"
        self.announced = root / "announced.json"
        self.report = root / "report.html"
        self.metrics = root / "metrics"
        self.groups = root / "groups"
        self.begun = JsonFolder(self.groups)
        self.checkpoints = root / "checkpoints"
        self.probes = root / "probes"
        self.figures = root / "figures"
        self.launch = root / "launch.json"
        self.launched = root / "launch"

    def check(self, must_exist: bool = False) -> None:
        """Refuses a folder that cannot be used, before anything is written.

        Raises:
            ConfigError: it is a file, cannot be written, or does not exist where it must.
        """
        _check_name(self.root)
        if self.root.is_symlink() and not self.root.exists():
            raise ConfigError(f"workdir must be a folder, got the link '{self.root}' to nothing")
        if self.root.exists() and not self.root.is_dir():
            raise ConfigError(f"workdir must be a folder, got the file '{self.root}'")
        if must_exist and not self.plan.is_file():
            raise ConfigError(f"workdir must hold a study, got '{self.root}'")
        parent = next(p for p in (self.root, *self.root.absolute().parents) if p.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise ConfigError(f"workdir must be a folder that can be written, got '{self.root}'")

    def check_shared(self) -> None:
        """Refuses folders that only look like one to processes that train together, such as each host's own.

        Raises:
            ConfigError: a process does not see what the first writes, on all of them.
        """
        if process().count == 1:
            return
        # A new name every time, which no host remembers as missing.
        path = self.root / f"{TEMPORARY}{told(secrets.token_hex(8))}"
        if process().leads:
            path.touch()
        together("the folder is marked")
        unseen = any_process(not path.exists())
        if process().leads:
            path.unlink()
        if unseen:
            raise ConfigError(f"workdir must be one folder that all processes see, got '{self.root}'")

    @contextlib.contextmanager
    def locked(self, shard: tuple[int, int] = (1, 1)) -> Iterator[None]:
        """Holds the folder against other processes; shards of one study share it, each share once.

        The kernel lets go of the lock when the process ends, however it ends.

        Raises:
            StudyError: another process holds it; the message says which.
        """
        self._make()
        if not process().leads:
            yield  # the first process holds it for all
            return
        index, count = shard
        if count == 1:
            with _flock(self.root / "lock", fcntl.LOCK_EX, f"workdir '{self.root}'"):
                self._tidy()
                yield
            return
        share = self.root / f"lock-{index}-of-{count}"
        with self._joined({share: f"share {index}/{count}"}, beside=f"lock-*-of-{count}"):
            yield

    @contextlib.contextmanager
    def launching(self) -> Iterator[None]:
        """Holds the folder for a launcher, which other processes train for.

        Raises:
            StudyError: another launcher or a process that is none of its tasks holds it; the message says which.
        """
        self._make()
        self.launched.mkdir(exist_ok=True)
        with self._joined({self.root / "lock-launch": "the launch"}, beside="launch/lock-*"):
            yield

    @contextlib.contextmanager
    def joined(self, names: Sequence[str]) -> Iterator[None]:
        """Holds groups, or whatever else these names stand for, for a task of a launcher.

        Raises:
            StudyError: another process holds one, or the whole folder; the message says which.
        """
        self._make()
        self.launched.mkdir(exist_ok=True)
        with self._joined({self.launched / f"lock-{name}": name for name in names}, beside="*"):
            yield

    @contextlib.contextmanager
    def concluding(self) -> Iterator[None]:
        """Waits until no other share concludes the study, and holds it for this one."""
        descriptor = os.open(self.root / "concluding", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _joined(self, shares: Mapping[Path, str], beside: str) -> Iterator[None]:
        """Holds shares of the folder; beside them only locks may be held whose paths match a pattern."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(_flock(self.root / "lock", fcntl.LOCK_SH, f"workdir '{self.root}'"))
            for path, what in shares.items():
                stack.enter_context(_flock(path, fcntl.LOCK_EX, f"{what} of '{self.root}'"))
            for path in _shares(self.root) if beside != "*" else ():
                if path not in shares and not fnmatch.fnmatch(str(path.relative_to(self.root)), beside):
                    with _flock(path, fcntl.LOCK_SH, f"workdir '{self.root}'"):
                        pass  # nobody holds it
            yield

    def _make(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            reason = error.strerror or "it cannot be made"
            raise ConfigError(f"workdir must be a folder that can be made, got '{self.root}': {reason}") from error

    def _tidy(self) -> None:
        """Removes what writes that were cut short left behind; no other process writes here."""
        for folder in (self.root, self.metrics, self.groups, self.probes, self.figures, self.launched):
            for path in folder.glob(f"{TEMPORARY}*"):
                path.unlink(missing_ok=True)


def check_study(workdir: Workdir) -> None:
    """Refuses a folder that holds no study, for commands that only read one.

    Raises:
        ConfigError: it holds none.
    """
    if not workdir.plan.is_file():
        raise ConfigError(f"folder must hold a study, got '{workdir.root}'")


def _check_name(root: Path) -> None:
    """Records are UTF-8.

    Raises:
        ConfigError: the name is not.
    """
    try:
        str(root).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"workdir must have a name in UTF-8, got {str(root)!r}") from error


@contextlib.contextmanager
def _flock(path: Path, mode: int, what: str) -> Iterator[None]:
    """Holds a lock; who holds one alone is written into its file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _granted(descriptor, mode):
            raise StudyError(f"{what} is in use by {_holder(path)}")
        if mode == fcntl.LOCK_EX:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _granted(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether a process holds a file's lock alone."""
    try:
        with path.open("rb") as file:
            return not _granted(file.fileno(), fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _shares(root: Path) -> list[Path]:
    return [*sorted(root.glob("lock-*")), *sorted(root.glob("launch/lock-*"))]


def _holder(path: Path) -> str:
    """Who holds a lock: of one that is shared, the first share whose own lock is held."""
    for share in _shares(path.parent) if path.name == "lock" else ():
        with share.open("r") as file:
            if not _granted(file.fileno(), fcntl.LOCK_SH):
                return file.readline().strip()
    for _ in range(_LOOKS):
        name = path.read_text(errors="replace").partition("\n")[0]
        if name:
            return name
        time.sleep(_LOOK_SECONDS)  # it holds the lock and is about to write its name
    return "another process"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place if the block ends well and vanishes if it does not.

    Of processes that train together only the first's takes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not process().leads:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name
        return
    # Shards write the same files, and on other hosts there are processes of the same number.
    writer = f"{os.getpid()}_{socket.gethostname().replace('-', '_')}"
    temporary = path.with_name(f"{TEMPORARY}{writer}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Writes a value whole; in one line, which takes a fifth of the time, where ``indent`` is ``None``."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=indent))


def read_json(path: Path) -> Any:
    """Reads a value; ``None`` where there is no file.

    Raises:
        StudyError: the file is not JSON.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StudyError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise StudyError(f"{path} is damaged: it holds no object")
    return value
