"""What a launcher hands to other processes, and how each of these ended: files of the study's folder."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lrstudy.study.errors import StudyError
from lrstudy.study.workdir import Workdir, read_json, write_json

RUNS, WAITS, CANCELLED = "run", "wait", "cancelled"


@dataclasses.dataclass(frozen=True)
class Handout:
    """Tasks that were handed to a launcher at once.

    Attributes:
        number: counts the hand-outs of a folder.
        launcher: its name.
        parts: names of the study's parts that were planned then.
        tasks: group ids of every task; none: the task measures what is measured on finished groups.
        token: unique, for a launcher that was killed before it knew the job.
        job: by which the scheduler knows the tasks.
    """

    number: int
    launcher: str
    parts: tuple[str, ...]
    tasks: tuple[tuple[str, ...], ...]
    token: str
    job: str | None = None

    def names(self) -> list[str]:
        """What every task is called: ``<number>.<index>``."""
        return [f"{self.number}.{index}" for index in range(len(self.tasks))]

    def groups(self, name: str) -> tuple[str, ...]:
        """The group ids of one task."""
        return self.tasks[int(name.partition(".")[2])]


class Launcher(Protocol):
    """Starts tasks elsewhere and knows which of them are still to end."""

    name: str
    at_most: int | None
    """Tasks of one hand-out; ``None``: as many as there are families of groups."""
    seconds: float
    """The longest time between two looks."""
    stopping: str
    """What becomes of tasks when the launching command is asked to stop."""

    def submit(self, handout: Handout) -> Handout:
        """Starts the tasks; the hand-out with its job."""
        ...

    def states(self, handouts: Sequence[Handout]) -> Mapping[str, str]:
        """Name to state of every task that runs, waits to run (perhaps for a reason) or was cancelled by its user.

        Raises:
            Unreachable: the scheduler does not answer now.
        """
        ...

    def log(self, name: str, handout: Handout) -> Path:
        """The file that a task writes to."""
        ...

    def leave(self, handouts: Sequence[Handout]) -> str:
        """Does what is due when the launching command is asked to stop; a line to the user, if any."""
        ...


class Unreachable(StudyError):  # noqa: N818 - a state of the scheduler
    """A scheduler does not answer now; that says nothing of its tasks."""


def handouts(workdir: Workdir) -> list[Handout]:
    """All that were ever handed out in a folder.

    Raises:
        StudyError: the file is damaged.
    """
    try:
        return [_handout(entry) for entry in (read_json(workdir.launch) or {}).get("handouts", [])]
    except (TypeError, KeyError, AttributeError) as error:
        raise StudyError(f"{workdir.launch} is damaged: {error}") from error


def _handout(entry: Mapping[str, Any]) -> Handout:
    lists = {"parts": tuple(entry["parts"]), "tasks": tuple(tuple(ids) for ids in entry["tasks"])}
    return Handout(**{**entry, **lists})


def record(workdir: Workdir, handout: Handout) -> None:
    """Adds a hand-out, or replaces the one of the same number."""
    others = [other for other in handouts(workdir) if other.number != handout.number]
    write_json(workdir.launch, {"handouts": [dataclasses.asdict(own) for own in (*others, handout)]})


def task(workdir: Workdir, name: str) -> tuple[Handout, tuple[str, ...]]:
    """The hand-out and the groups of a task.

    Raises:
        StudyError: there is none of this name.
    """
    for handout in handouts(workdir):
        if name in handout.names():
            return handout, handout.groups(name)
    raise StudyError(f"{workdir.launch} has no task {name}")


@dataclasses.dataclass(frozen=True)
class Ended:
    """What a task has left to say.

    Attributes:
        code: with which it ended; ``None``: it has begun, and if it runs no more it was killed.
        failures: run id to the reason, of runs whose program failed.
        devices: that it ran on.
    """

    code: int | None = None
    failures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    devices: tuple[str, ...] = ()

    def write(self, workdir: Workdir, name: str) -> None:
        """Leaves it in the folder."""
        write_json(_ended_path(workdir, name), dataclasses.asdict(self))


def ended(workdir: Workdir, name: str) -> Ended:
    """What a task has left; of one that was killed as it started, nothing."""
    found = read_json(_ended_path(workdir, name)) or {}
    return Ended(**{**found, "devices": tuple(found.get("devices", ()))})


def devices_of(workdir: Workdir) -> list[str]:
    """The kinds of machines that tasks have run on, each once: the devices of one after those of another."""
    found = {ended(workdir, name).devices for handout in handouts(workdir) for name in handout.names()}
    return [device for devices in sorted(found) for device in devices]


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "it left no log"
    return json.dumps(lines[-1].strip(), ensure_ascii=False)[1:-1] if lines else "its log is empty"


def _ended_path(workdir: Workdir, name: str) -> Path:
    return workdir.launched / f"{name}.json"
