"""Hands a study out to other processes and watches its folder until all of it is there."""

import dataclasses
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence

from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.exit_codes import OK, RUN_FAILED, STOPPED
from lrstudy.study.launching import handout as handout_lib
from lrstudy.study.launching.handout import CANCELLED, WAITS, Handout, Launcher, Unreachable, ended, last_line
from lrstudy.study.launching.local_pool import LocalPool
from lrstudy.study.launching.slurm import Slurm
from lrstudy.study.plan import Group, families_of
from lrstudy.study.progress import LINE_EVERY_SECONDS
from lrstudy.study.run import Launch, say
from lrstudy.study.signals import StopRequest
from lrstudy.study.store import GroupStore
from lrstudy.study.workdir import Workdir, write_json
from lrstudy.training import checkpoint

TRIES = 3
"""So often the same groups are handed out without any progress between."""

_FIRST_WAIT, _GROWTH, _NAP = 0.5, 1.5, 0.1
Family = tuple[Group, ...]


@dataclasses.dataclass
class Launched:
    """What became of a study that was handed out.

    Attributes:
        failures: run id to the reason, of runs whose program failed.
        devices: that trained.
        code: an exit code; only after 0 can the study be concluded.
    """

    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    devices: list[str] = dataclasses.field(default_factory=list)
    code: int = OK


def make_launcher(
    name: str, workdir: Workdir, command: Sequence[str] = (), jobs: int | None = None, arguments: str = ""
) -> Launcher:
    """A launcher by its name.

    Args:
        name: local or slurm.
        workdir: of the study.
        command: that trains, without the task's name.
        jobs: see the launchers.
        arguments: a user's, for the scheduler.

    Raises:
        ConfigError: there is no such scheduler here, or no such arguments.
    """
    if name == "local":
        if arguments:
            raise ConfigError(f"launcher_args must be left out with --launcher=local, got {arguments!r}")
        return LocalPool(workdir, command, jobs)
    return Slurm(workdir, command, jobs, arguments)


def hand_out(planned: Callable[[dict[str, str]], Launch], launcher: Launcher, workdir: Workdir) -> Launched:
    """Has a study trained by tasks of a launcher, and again what follows from its records, until nothing is missing.

    Args:
        planned: failures so far to a launch of what can be planned now.
        launcher: that starts the tasks.
        workdir: of the study.
    """
    with workdir.launching(), StopRequest(launcher.stopping) as stop:
        watch = _Watch(launcher, workdir, stop)
        found, launch = Launched(watch.failures), planned(watch.failures)
        try:
            while watch.settle(launch):
                # Tasks write the table of runs as they end, none of them after all others.
                launch.write_runs()
                if not watch.probe(launch):
                    break
                parts, launch = launch.plan.parts.keys(), planned(watch.failures)
                if launch.plan.parts.keys() == parts:
                    break
        except _Stopped:
            found.code = STOPPED
            watch.leave()
        except BaseException:
            watch.leave()
            raise
        launch.write_runs()
    for line in watch.errors:
        say(f"error: {line}")
    if watch.errors:
        found.code = RUN_FAILED
    elif watch.cancelled and found.code == OK:
        what = "one task was" if watch.cancelled == 1 else f"{watch.cancelled} tasks were"
        say(f"{what} cancelled; the same command goes on from there ({workdir.root})")
        found.code = STOPPED
    found.devices = handout_lib.devices_of(workdir)
    return found


class _Stopped(Exception):  # noqa: N818 - no error
    """The launching command was asked to stop."""


class _Watch:
    """Hands out what is missing and nobody does, and judges what has ended.

    Args:
        launcher: that starts tasks.
        workdir: of the study.
        stop: asked between two looks.

    Attributes:
        live: hand-outs with a task that is still to end.
        failures: run id to the reason, of runs whose program failed.
        errors: a line for every task that failed, or ended too often without progress.
        cancelled: how many tasks a user has cancelled.
    """

    def __init__(self, launcher: Launcher, workdir: Workdir, stop: StopRequest) -> None:
        self._launcher, self._workdir, self._stop = launcher, workdir, stop
        self.live = handout_lib.handouts(workdir)
        self._next = max((own.number for own in self.live), default=-1) + 1
        self.failures: dict[str, str] = {}
        self.errors: list[str] = []
        self.cancelled = 0
        self._states: dict[str, str] = {}
        self._settled: set[str] = set()  # ids of groups that are not handed out again
        self._planned: set[str] = set()  # ids of all groups that this command asks for
        self._tries: dict[tuple[str, ...], tuple[object, int]] = {}
        self._last: dict[str, str] = {}  # group id to the last task that had it, and its log
        self._said = ("", 0.0)

    def settle(self, launch: Launch) -> bool:
        """Waits until every group is finished or given up and no task is left; whether all are finished, or failed.

        Raises:
            _Stopped: the launching command was asked to stop.
        """
        wait, self._planned = _FIRST_WAIT, {group.group_id for group in launch.plan.groups}
        while True:
            known = self._look()
            missing = {group.group_id for group in launch.missing(launch.plan.groups)} - self._settled
            busy = {group_id for own, name in self._tasks() for group_id in own.groups(name)}
            left = [f for f in families_of(launch.plan) if missing & _ids(f) and not busy & _ids(f)] if known else []
            if left and self._hand_out(launch, left):
                wait = _FIRST_WAIT
                continue
            if known and not left and not self._states:
                return not self.errors and not self.cancelled
            launch.settings.recorded()
            if known:  # else the launcher's silence has been said, once in a while
                self._say(launch, missing)
            self._sleep(wait)
            wait = min(wait * _GROWTH, self._launcher.seconds)

    def probe(self, launch: Launch) -> bool:
        """Has one task measure what is measured on finished groups; whether that is done.

        Raises:
            _Stopped: the launching command was asked to stop.
        """
        while launch.unprobed() and not self.errors and not self.cancelled:
            self._hand_out(launch, [()])
            self.settle(launch)
        return not launch.unprobed()

    def leave(self) -> None:
        """Has the launcher end or leave its tasks, and says which."""
        line = self._launcher.leave(self.live)
        if line:
            say(line)

    def _look(self) -> bool:
        """Asks what runs; judges what does not run any more. Whether the launcher has answered."""
        try:
            found = self._states_now()
        except Unreachable as error:
            self._say_once(str(error))
            found = None
        if self._stop.requested:
            raise _Stopped
        if found is None:
            return False
        for own, name in self._tasks():
            if found.get(name, CANCELLED) == CANCELLED:
                self._judge(own, name, found.get(name))
        self._states = {name: state for name, state in found.items() if state != CANCELLED}
        self.live = [own for own in self.live if self._states.keys() & set(own.names())]
        return True

    def _states_now(self) -> dict[str, str]:
        """Name to state of the tasks that are still to end, by whichever launcher they were handed out.

        Raises:
            StudyError: a launcher of an earlier command cannot be asked here.
        """
        found: dict[str, str] = {}
        for kind in {own.launcher for own in self.live}:
            found |= self._launcher_of(kind).states([own for own in self.live if own.launcher == kind])
        return found

    def _launcher_of(self, kind: str) -> Launcher:
        if kind == self._launcher.name:
            return self._launcher
        try:
            return make_launcher(kind, self._workdir)
        except ConfigError as error:
            rule = f"names jobs of {kind}, which cannot be asked for here; without the file nobody waits for them"
            raise StudyError(f"{self._workdir.launch} {rule}") from error

    def _tasks(self) -> list[tuple[Handout, str]]:
        """The tasks that were still to end when it was last asked."""
        return [(own, name) for own in self.live for name in own.names() if name in self._states]

    def _judge(self, own: Handout, name: str, state: str | None) -> None:
        """Takes note of how a task has ended; what was stopped or killed is handed out again as missing."""
        word, log = ended(self._workdir, name), self._launcher_of(own.launcher).log(name, own)
        ids = own.groups(name)
        self._last |= dict.fromkeys(ids or ("",), f"task {name}: {last_line(log)} ({log})")
        if ids and not self._planned.intersection(ids):
            # A job of an earlier command for more than this one asks for: what became of it is no matter of this one.
            if state == CANCELLED or word.code not in (None, OK, STOPPED):
                say(f"{self._last[ids[0]]}: of an earlier command, whose runs this one does not ask for")
        elif state == CANCELLED:
            self._settled |= set(ids)
            self.cancelled += 1
        elif word.code not in (None, OK, STOPPED):
            self._settled |= set(ids)
            self.failures |= word.failures
            if not word.failures:
                self.errors.append(f"task {name} failed: {last_line(log)} ({log})")

    def _hand_out(self, launch: Launch, families: Sequence[Family]) -> bool:
        """Hands families out, each whole; whether any was left that may be tried again."""
        families = [family for family in families if self._may_try(family)]
        if not families:
            return False
        shares = min(len(families), self._launcher.at_most or len(families))
        dealt = [[group for family in families[i::shares] for group in family] for i in range(shares)]
        write_json(self._workdir.plan, {**launch.plan.to_json(), "concluded": False})
        for group in (group for groups in dealt for group in groups):
            # A group that is begun is kept as it is by every later plan, that of its task too.
            GroupStore(self._workdir, group).begin()
        tasks = tuple(tuple(group.group_id for group in groups) for groups in dealt)
        token = f"lrstudy-{uuid.uuid4().hex[:12]}"
        own = Handout(self._next, self._launcher.name, tuple(launch.plan.parts), tasks, token)
        self._next += 1
        handout_lib.record(self._workdir, own)
        own = self._launcher.submit(own)
        handout_lib.record(self._workdir, own)
        self.live.append(own)
        self._states |= dict.fromkeys(own.names(), WAITS)
        job = f" as job {own.job}" if own.job else ""
        count = "one task" if len(tasks) == 1 else f"{len(tasks)} tasks"
        say(f"{self._launcher.name}: {count} handed out{job}, logs in {self._workdir.launched}")
        return True

    def _may_try(self, family: Family) -> bool:
        """Counts the tries of a family since it last got on; gives it up after too many."""
        ids = tuple(sorted(_ids(family)))
        mark = [checkpoint.steps(self._workdir.checkpoints / group_id)[-1:] for group_id in ids]
        before, tries = self._tries.get(ids, (None, 0))
        tries = tries + 1 if mark == before else 1
        self._tries[ids] = mark, tries
        if tries <= TRIES:
            return True
        self._settled |= set(ids)
        last = next((self._last[group_id] for group_id in ids or ("",) if group_id in self._last), "no log")
        self.errors.append(f"stopped {TRIES} times without getting on, at last as {last}")
        return False

    def _say(self, launch: Launch, missing: set[str]) -> None:
        count = len(launch.plan.groups)
        done = count - len(missing | self._settled)
        states = ", ".join(f"{n} {state}" for state, n in sorted(Counter(self._states.values()).items()))
        self._say_once(f"{self._launcher.name}: {done} of {count} groups finished; tasks: {states or 'none'}")

    def _say_once(self, line: str) -> None:
        """Says what has changed, and what has not once in a while."""
        now, (before, at) = time.monotonic(), self._said
        if line != before or now - at > 6 * LINE_EVERY_SECONDS:
            say(line)
            self._said = line, now

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stop.requested:
            time.sleep(_NAP)


def _ids(family: Family) -> set[str]:
    return {group.group_id for group in family}
