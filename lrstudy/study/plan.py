"""Configurations to a plan: runs, the compiled programs that train them, and in which order."""

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax

from lrstudy.study.collecting import uncollected
from lrstudy.study.config import Run, make_transform, resolve, start_of, trunk_of
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.part import Part
from lrstudy.study.pieces import Pieces
from lrstudy.study.stored import stored_run
from lrstudy.training.program import init_lane

_FAMILY = json.JSONEncoder(sort_keys=True)
MAX_LANES = 256
"""Lanes of one program; of more runs of one structure these are cut off as often as there are so many."""


@dataclasses.dataclass(frozen=True)
class Branch:
    """Where a run starts when it does not start at its own beginning.

    Attributes:
        run_id: the run whose checkpoint it continues.
        step: of that checkpoint.
    """

    run_id: str
    step: int


@dataclasses.dataclass(frozen=True)
class Earlier:
    """What earlier launches left in the folder, as far as a plan depends on it.

    Attributes:
        begun: run ids of every group that was begun, finished groups first.
        done: ids of the runs that are finished, in whichever group.
        stored: run id to the run's stored configuration, for all that were begun.
        branches: run id to where that run started, of those that did not start at their own beginning.
    """

    begun: Sequence[Sequence[str]] = ()
    done: Collection[str] = frozenset()
    stored: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    branches: "Mapping[str, Branch]" = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that one compiled program trains as lanes.

    Attributes:
        runs: in the order of the lanes.
        part: the part that needs it first.
        branches: for every lane where it starts, or ``None`` for all.
        kept_steps: steps whose checkpoints are kept: runs of other groups start from them, or probes look at them.
    """

    runs: tuple[Run, ...]
    part: str
    branches: tuple[Branch, ...] | None = None
    kept_steps: tuple[int, ...] = ()

    @functools.cached_property
    def group_id(self) -> str:
        """Digest of the runs."""
        return hashlib.sha256(" ".join(run.run_id for run in self.runs).encode()).hexdigest()[:12]

    @property
    def stop(self) -> int:
        """Updates of the longest lane."""
        return max(run.config.steps for run in self.runs)

    @property
    def start(self) -> int:
        """The step at which the first lane starts."""
        return min((b.step for b in self.branches), default=0) if self.branches else 0


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study, planned.

    Attributes:
        groups: in an order in which every group's trunk comes before it.
        parts: part name to the runs that belong to it.
        trunks: runs that were not asked for and serve as trunks alone.
    """

    groups: tuple[Group, ...]
    parts: Mapping[str, tuple[str, ...]]
    trunks: frozenset[str]

    def runs(self) -> dict[str, Run]:
        """Every run by its id."""
        return {run.run_id: run for group in self.groups for run in group.runs}

    def branches(self) -> dict[str, Branch]:
        """Where every run that branches starts."""
        pairs = ((g.runs, g.branches) for g in self.groups if g.branches)
        return {run.run_id: branch for runs, own in pairs for run, branch in zip(runs, own, strict=True)}

    def to_json(self) -> dict[str, Any]:
        """What ``plan.json`` holds."""
        return {
            "parts": {name: list(ids) for name, ids in self.parts.items()},
            "trunks": sorted(self.trunks),
            "groups": [_group_json(group) for group in self.groups],
        }


def _as_asked(run: Run) -> Run:
    return run


@uncollected()
def make_plan(parts: Mapping[str, Part], earlier: Earlier = Earlier(), adopt: Callable[[Run], Run] = _as_asked) -> Plan:
    """Plans all runs of a study.

    A run that names its ``start`` goes on from a run of the folder, or of this plan. A run whose schedule has a trunk
    (``WSD``: a constant rate until the decay begins) always starts from that trunk's checkpoint. The trunk is a run of
    the study or of the folder where one serves, otherwise one is added; so what a run computes depends on its own
    configuration alone, and budgets that share a trunk cost the trunk once.

    Args:
        parts: by name.
        earlier: what the folder holds. A group that was begun and can be kept as it was is kept, so that its
            checkpoints serve; finished runs whose group cannot be kept, because it held runs that are not asked for
            now, are grouped apart, so that nothing is trained twice; a finished run that serves as a trunk does.
        adopt: what is planned for a run that is asked for (see ``resume``).

    Raises:
        ConfigError: a run cannot be resolved.
    """
    pieces = Pieces()
    members = {name: tuple(adopt(resolve(c, pieces)) for c in part.configs()) for name, part in parts.items()}
    first_part: dict[str, str] = {}
    runs: dict[str, Run] = {}
    for name, part_runs in members.items():
        for run in part_runs:
            runs.setdefault(run.run_id, run)
            first_part.setdefault(run.run_id, name)
    asked = frozenset(runs)
    started = _started(runs, first_part, earlier, pieces)
    trunks = _branches(runs, first_part, earlier, pieces)
    known = {**earlier.branches, **started, **trunks}
    branches = {**{run_id: _ancestor(branch, known) for run_id, branch in started.items()}, **trunks}
    kept: dict[str, set[int]] = defaultdict(set)
    for name, part in parts.items():
        for run in members[name]:
            kept[run.run_id] |= {step for step in part.kept_steps if step < run.config.steps}
    for branch in branches.values():
        kept[branch.run_id].add(branch.step)
    groups = _groups(runs, first_part, branches, kept, earlier, pieces)
    ids = {name: tuple(dict.fromkeys(run.run_id for run in part_runs)) for name, part_runs in members.items()}
    return Plan(tuple(groups), ids, frozenset(runs) - asked)


def families_of(plan: Plan) -> list[tuple[Group, ...]]:
    """The groups that start from each other's runs, directly or not, together; all in the plan's order."""
    by_run = {run.run_id: group.group_id for group in plan.groups for run in group.runs}
    family = {group.group_id: {group.group_id} for group in plan.groups}
    for group in plan.groups:
        for branch in group.branches or ():
            trunk = by_run.get(branch.run_id, group.group_id)
            joined = family[group.group_id] | family[trunk]
            family |= dict.fromkeys(joined, joined)
    found: dict[int, list[Group]] = defaultdict(list)
    for group in plan.groups:
        found[id(family[group.group_id])].append(group)  # which all of a family share
    return [tuple(groups) for groups in found.values()]


def shard_of(plan: Plan, index: int, count: int) -> Plan:
    """The share of one of several processes: whole families of trunk and branches, dealt out in turn."""
    mine = {group.group_id for family in families_of(plan)[index - 1 :: count] for group in family}
    return dataclasses.replace(plan, groups=tuple(group for group in plan.groups if group.group_id in mine))


def _started(runs: dict[str, Run], first_part: dict[str, str], earlier: Earlier, pieces: Pieces) -> dict[str, Branch]:
    """Where the runs that name their start do start; a finished run of the folder joins the plan, as trunks do.

    Raises:
        ConfigError: there is no such run, it is shorter, or it has another model or optimizer.
    """
    found: dict[str, Branch] = {}
    order = list(dict.fromkeys(first_part.values()))
    for run_id, run in list(runs.items()):
        start = start_of(run.config)
        if start is None:
            continue
        origin_id, step = start
        if origin_id not in runs and origin_id not in earlier.stored:
            raise ConfigError(f"start must name a run of the folder or of this command, got {run.config.start!r}")
        origin = runs.get(origin_id) or stored_run(earlier.stored[origin_id], origin_id, pieces)
        if step > origin.config.steps:
            raise ConfigError(f"start must be a step of a run of {origin.config.steps} steps, got {run.config.start!r}")
        if run.config.optimizer.name != origin.config.optimizer.name or _state(run, pieces) != _state(origin, pieces):
            rule = "a run of the same optimizer whose state has the same shapes"
            raise ConfigError(f"start must name {rule}, got {run.config.start!r}")
        found[run_id] = Branch(origin_id, step)
        if origin_id in runs:
            first_part[origin_id] = min(first_part[origin_id], first_part[run_id], key=order.index)
        elif origin_id in earlier.done:
            runs[origin_id] = origin
            first_part[origin_id] = first_part[run_id]
    return found


def _state(run: Run, pieces: Pieces) -> Any:
    """Structure, shapes and types of a run's state, that of its optimizer included."""

    def traced() -> Any:
        init = functools.partial(init_lane, make_transform=functools.partial(make_transform, run))
        state = jax.eval_shape(init, run.hyperparameters).state
        return jax.tree.structure(state), [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(state)]

    # What its numbers are changes nothing of this.
    return pieces.of("state", (run.task, run.optimizer, run.parametrization, run.config.clip_norm), traced)


def _ancestor(start: Branch, branches: Mapping[str, Branch]) -> Branch:
    """The run that was at this step: before a run's own start its states are those of the run that it started from."""
    before = branches.get(start.run_id)
    while before is not None and start.step < before.step:
        start = Branch(before.run_id, start.step)
        before = branches.get(start.run_id)
    return start


def _branches(runs: dict[str, Run], first_part: dict[str, str], earlier: Earlier, pieces: Pieces) -> dict[str, Branch]:
    """Finds or adds the trunk of every run that has one."""
    families: dict[str, list[tuple[str, int, Run]]] = defaultdict(list)
    for run_id, run in runs.items():
        trunk = trunk_of(run, pieces)
        if trunk is not None:
            resolved = resolve(trunk[0], pieces)
            families[_family(resolved)].append((run_id, trunk[1], resolved))
    trunks = _serving(families, runs, earlier, pieces)
    found: dict[str, Branch] = {}
    order = list(dict.fromkeys(first_part.values()))
    for family, branching in families.items():
        trunk = trunks[family]
        runs.setdefault(trunk.run_id, trunk)
        # The part that branches first needs the trunk no later than itself.
        parts = [first_part[run_id] for run_id, _, _ in branching]
        earliest = min([*parts, first_part.get(trunk.run_id, parts[0])], key=order.index)
        first_part[trunk.run_id] = earliest
        found |= {run_id: Branch(trunk.run_id, step) for run_id, step, _ in branching}
    return found


def _serving(
    families: Mapping[str, Sequence[tuple[str, int, Run]]], runs: Mapping[str, Run], earlier: Earlier, pieces: Pieces
) -> dict[str, Run]:
    """The trunk of every family: the shortest run that is asked for and long enough, else of the folder, else anew."""
    own = {family: max(branching, key=lambda b: b[1]) for family, branching in families.items()}
    asked: dict[str, list[Run]] = defaultdict(list)
    for run in runs.values() if families else ():
        asked[_family(run)].append(run)
    found: dict[str, Run] = {}
    for family, (_, longest, trunk) in own.items():
        serving = [run for run in asked[family] if run.config.steps >= longest]
        # Of the finished runs of the folder none that serves is shorter than this one.
        settled = serving or ([trunk] if trunk.run_id in earlier.done else [])
        if settled:
            found[family] = min(settled, key=lambda run: run.config.steps)
    left = {family: trunk for family, (_, _, trunk) in own.items() if family not in found}
    stored: dict[str, list[Run]] = defaultdict(list)
    for run in _stored_trunks(left.values(), runs, earlier, pieces):
        stored[_family(run)].append(run)
    for family, trunk in left.items():
        serving = [run for run in stored[family] if run.config.steps >= trunk.config.steps]
        found[family] = min(serving, key=lambda run: run.config.steps, default=trunk)
    return found


def _stored_trunks(trunks: Iterable[Run], runs: Mapping[str, Run], earlier: Earlier, pieces: Pieces) -> Iterable[Run]:
    """Finished runs of the folder, not asked for now, that could serve as one of these trunks."""
    wanted = {(trunk.config.task.name, trunk.config.schedule.name, trunk.config.seed) for trunk in trunks}
    for run_id in sorted(earlier.done - runs.keys() if wanted else ()):
        data = earlier.stored[run_id]
        if (data["task"][0], data["schedule"][0], data["seed"]) in wanted:
            with contextlib.suppress(StudyError, ConfigError):  # a text that has changed since is no trunk
                yield stored_run(data, run_id, pieces)


def _family(run: Run) -> str:
    """What two runs share that differ at most in length."""
    return _FAMILY.encode({k: v for k, v in run.columns.items() if k != "steps"})


def _signature(run: Run, part: str, branch: Branch | None, pieces: Pieces) -> tuple[Any, ...]:
    """Runs of equal signature differ in numbers alone and can be lanes of one program."""
    config = run.config
    others = run.task, run.optimizer, config.clip_norm
    return (
        part,
        branch is not None,
        pieces.of("schedule's structure", (run.schedule,), lambda: jax.tree.structure(run.schedule)),
        pieces.of("structure", others, lambda: jax.tree.structure(run.hyperparameters._replace(schedule=None))),
        run.parametrization and run.parametrization[0],
        config.optimizer.name,
        pieces.of("static", (run.optimizer,), lambda: run.static_optimizer),
        config.record_every,
        config.evaluate_every,
        run.sharpness,
        run.early_stop,
    )


def _groups(
    runs: Mapping[str, Run],
    first_part: Mapping[str, str],
    branches: Mapping[str, Branch],
    kept_steps: Mapping[str, set[int]],
    earlier: Earlier,
    pieces: Pieces,
) -> list[Group]:
    begun = earlier.begun
    depths = {run_id: _depth(run_id, branches) for run_id in runs}
    order = list(dict.fromkeys(first_part.values()))
    kept: dict[str, int] = {}
    for i, ids in enumerate(begun):
        if all(run_id in runs and run_id not in kept for run_id in ids):
            kept |= dict.fromkeys(ids, i)
    buckets: dict[Any, list[Run]] = defaultdict(list)
    for run_id, run in runs.items():
        branch = branches.get(run_id)
        signature = _signature(run, first_part[run_id], branch, pieces)
        buckets[kept.get(run_id, -1), run_id in earlier.done, depths[run_id], *signature].append(run)
    groups = []
    for key, members in buckets.items():
        if key[0] >= 0:
            places = {run_id: place for place, run_id in enumerate(begun[key[0]])}
            members.sort(key=lambda run: places[run.run_id])
        for lanes in _cut(members):
            own = tuple(branches[run.run_id] for run in lanes) if lanes[0].run_id in branches else None
            saved = sorted(set().union(*(kept_steps.get(run.run_id, set()) for run in lanes)))
            groups.append(Group(tuple(lanes), first_part[lanes[0].run_id], own, tuple(saved)))
    # Whatever others start from comes before them within a part. For the rest the order of the runs decides, not which
    # groups were begun: shares are planned by processes that start at different times.
    place = {run_id: i for i, run_id in enumerate(runs)}

    def position(group: Group) -> tuple[int, ...]:
        first = min(place[run.run_id] for run in group.runs)
        return order.index(group.part), depths[group.runs[0].run_id], first

    return sorted(groups, key=position)


def _depth(run_id: str, branches: Mapping[str, Branch]) -> int:
    """How many starts lie between a run and an initialisation."""
    branch = branches.get(run_id)
    return 0 if branch is None else 1 + _depth(branch.run_id, branches)


def _cut(runs: Sequence[Run]) -> Iterable[Sequence[Run]]:
    """Cuts of a fixed size: however many of them are begun and gone, the others stay what they are."""
    return (runs[i : i + MAX_LANES] for i in range(0, len(runs), MAX_LANES))


def _group_json(group: Group) -> dict[str, Any]:
    lanes: list[dict[str, Any]] = [{"run_id": run.run_id} for run in group.runs]
    if group.branches:
        for lane, branch in zip(lanes, group.branches, strict=True):
            lane |= {"branch_of": branch.run_id, "branch_step": branch.step}
    return {
        "group": group.group_id,
        "part": group.part,
        "steps": [group.start, group.stop],
        "kept_steps": list(group.kept_steps),
        "lanes": lanes,
    }
