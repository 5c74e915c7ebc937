"""Going on under another schedule: never by accident, and in one of three named ways."""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from lrstudy.study.choices import arguments_of
from lrstudy.study.config import Run, resolve, start_of
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.pieces import Pieces
from lrstudy.study.plan import Earlier, Plan
from lrstudy.study.stored import beside_schedule, differ_in_schedule, same_schedule, stored_run

Policy = Literal["keep", "new", "from_here"]
_LONGEST = 8
_CHOICES = (
    "--on_schedule_change=keep (go on under the old one), new (the new one, at the step that was reached) or "
    "from_here (the new one from its beginning)"
)


class ScheduleMismatchError(ConfigError):
    """A run would go on under another schedule than the one its checkpoint carries."""


def refuse_mismatch(plan: Plan, earlier: Earlier, newest: Callable[[str], int]) -> None:
    """Refuses a plan that leaves an unfinished run of the folder for the same run under another schedule.

    A grid that grows by a schedule still asks for the runs it had; finished runs are left alone; and a run that was
    stopped before its first checkpoint has nothing to go on from.

    Args:
        plan: what is asked for.
        earlier: what the folder holds.
        newest: run id to the newest step that it can go on from, 0 for none.

    Raises:
        ScheduleMismatchError: naming both schedules and the choices.
    """
    runs = plan.runs()
    left_out = {i: c for i, c in earlier.stored.items() if i not in earlier.done and i not in runs and newest(i)}
    unfinished = _alike(_stored(left_out))
    kept = _alike(run for i, run in runs.items() if i in earlier.stored) if unfinished else {}
    for run in (run for i, run in runs.items() if unfinished and i not in earlier.stored):
        start, alike = start_of(run.config), beside_schedule(run)
        others = (old for old in unfinished.get(alike, ()) if not same_schedule(run, old))
        left = [old for old in others if start is None or start[0] != old.run_id]
        if left and all(same_schedule(run, other) for other in kept.get(alike, ())):
            raise _mismatch(run, left[0])


@dataclasses.dataclass(frozen=True)
class Continuation:
    """What is planned for a run when runs of the folder may go on under other schedules.

    Attributes:
        policy: ``keep`` the old schedule, take the ``new`` one at the step that was reached, or take the new one
            ``from_here``, its first step being that one; ``None``: a run that names its start must keep its schedule.
        earlier: what the folder holds.
        newest: run id to the newest step that it can go on from, 0 for none.
    """

    policy: Policy | None
    earlier: Earlier
    newest: Callable[[str], int]

    def __call__(self, run: Run) -> Run:
        """The run that is planned for the one that was asked for.

        Raises:
            ScheduleMismatchError: it names a start under another schedule, and no policy says what to do.
            ConfigError: there is nothing to go on from, or several runs could be meant.
        """
        named = start_of(run.config)
        if run.run_id in self.earlier.stored:
            if self.policy is not None and named is None and self._others(run):
                rule = (
                    f"left out: run {run.run_id} is in the folder already, from its initialisation; name another start"
                )
                raise ConfigError(f"on_schedule_change must be {rule} with --config.start")
            return run
        if self.policy is None:
            return run if named is None else self._same_schedule(run, named[0])
        old = self._named(run, named[0]) if named else self._only(run)
        step = named[1] if named else self._step(run, old)
        return self._under(run, old, step)

    def _same_schedule(self, run: Run, origin: str) -> Run:
        """The run, if it keeps its origin's schedule, or says itself that its own begins where it starts."""
        old, start = self._named(run, origin), start_of(run.config)
        begins_here = start is not None and run.config.schedule_start == start[1]
        if not begins_here and not same_schedule(old, run):
            raise _mismatch(run, old)
        return run

    def _named(self, run: Run, origin: str) -> Run:
        if origin not in self.earlier.stored:
            raise ConfigError(f"start must name a run of the folder, got {run.config.start!r}")
        return stored_run(self.earlier.stored[origin], origin)

    def _only(self, run: Run) -> Run:
        """The run of the folder that is this one under another schedule; at an equal peak if there are several."""
        found = self._others(run)
        found = [old for old in found if start_of(old.config) is None] or found
        peak = "schedule.peak"
        near = [old for old in found if old.columns.get(peak) == run.columns.get(peak)] or found
        if not near:
            what = f"seed {run.config.seed} under {_shown(run)}"
            rule = f"left out: no run of the folder with a checkpoint differs from {what} in its schedule alone"
            raise ConfigError(f"on_schedule_change must be {rule}")
        if len(near) > 1:
            ids = ", ".join(f"{old.run_id}@{self.newest(old.run_id)} ({_shown(old)})" for old in near)
            raise ConfigError(f"start must say which run goes on under {_shown(run)}: {ids}")
        return near[0]

    def _others(self, run: Run) -> list[Run]:
        """The runs of the folder that are this one under another schedule and have a checkpoint."""
        found = self._stored_alike.get(beside_schedule(run), ())
        return [old for old in found if not same_schedule(run, old) and self.newest(old.run_id)]

    @functools.cached_property
    def _stored_alike(self) -> Mapping[str, list[Run]]:
        return _alike(_stored(self.earlier.stored))

    def _step(self, run: Run, old: Run) -> int:
        """Where it goes on: where an earlier launch of the same command did, else the newest checkpoint."""
        for step in sorted(step for step in self._begun_at[old.run_id] if step < run.config.steps):
            if self._under(run, old, step).run_id in self.earlier.stored:
                return step
        return self.newest(old.run_id)

    @functools.cached_property
    def _begun_at(self) -> Mapping[str, set[int]]:
        """Run id to the steps at which runs of the folder go on from that run."""
        found: dict[str, set[int]] = defaultdict(set)
        for data in self.earlier.stored.values():
            origin, _, step = (data["start"] or "").partition("@")
            if step:
                found[origin].add(int(step))
        return found

    def _under(self, run: Run, old: Run, step: int) -> Run:
        if step >= run.config.steps and self.policy != "keep":
            rule = f"above {step}, where run {old.run_id} stands"
            raise ConfigError(f"steps must be {rule}, got {run.config.steps!r}")
        config = dataclasses.replace(run.config, start=f"{old.run_id}@{step}")
        if self.policy == "from_here":
            return resolve(dataclasses.replace(config, schedule_start=step))
        if self.policy == "new":
            return resolve(config)
        if run.config.steps == old.config.steps and differ_in_schedule(run, old):
            return old
        chosen, begin = dataclasses.replace(old.config.schedule, arguments=_arguments(old)), old.config.schedule_start
        return resolve(dataclasses.replace(config, schedule=chosen, schedule_start=begin))


def _arguments(run: Run) -> dict[str, Any]:
    """Every argument of a run's schedule, those that follow from its length included."""
    prefix = "schedule."
    found = {k.removeprefix(prefix): v for k, v in run.columns.items() if k.startswith(prefix) and v is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _alike(runs: Iterable[Run]) -> Mapping[str, list[Run]]:
    """Runs by what they are beside their schedule: comparing all with all takes minutes where a grid is large."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        found[beside_schedule(run)].append(run)
    return found


def _stored(stored: Mapping[str, Mapping[str, Any]]) -> list[Run]:
    """The stored runs that still mean what they meant."""
    found, pieces = [], Pieces()
    for run_id, data in stored.items():
        try:
            found.append(stored_run(data, run_id, pieces))
        except (StudyError, ConfigError):
            continue
    return found


def _shown(run: Run) -> str:
    """A run's schedule as a person would write it, without the arguments that have their default."""
    schedule = run.columns["schedule"]
    defaults = {name: argument.default for name, argument in arguments_of("schedule", schedule).items()}
    said = {name: value for name, value in _arguments(run).items() if value != defaults[name]}
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in said.items())
    begin = run.config.schedule_start
    return f"{schedule}({arguments}){f' from step {begin}' if begin else ''}"


def _short(value: Any) -> str:
    """A long table by its ends."""
    if isinstance(value, tuple) and len(value) > _LONGEST:
        return f"({value[0]!r}, ..., {value[-1]!r} [{len(value)}])"
    return repr(value)


def _mismatch(run: Run, old: Run) -> ScheduleMismatchError:
    return ScheduleMismatchError(
        f"run {old.run_id} of the folder was trained under {_shown(old)}, not under {_shown(run)}: say {_CHOICES}; "
        "or use another workdir"
    )
