"""Configurations to a plan: runs, the compiled programs that train them, and in which order."""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jax

from lrstudy.study.config import Run, resolve, trunk_of
from lrstudy.study.part import Part

MAX_LANES = 256
"""Lanes of one program; more runs of one structure are cut evenly into several."""


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

    @property
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


def make_plan(
    parts: Mapping[str, Part], begun: Sequence[Sequence[str]] = (), done: Collection[str] = frozenset()
) -> Plan:
    """Plans all runs of a study.

    A run whose schedule has a trunk (``WSD``: a constant rate until the decay begins) always starts from that trunk's
    checkpoint. The trunk is a run of the study where one serves, otherwise one is added; so what a run computes depends
    on its own configuration alone, and budgets that share a trunk cost the trunk once.

    Args:
        parts: by name.
        begun: run ids of groups that an earlier launch has begun; a group that can be kept as it was is kept, so that
            its checkpoints serve.
        done: ids of runs that are finished, in whichever group; those whose group cannot be kept, because it held runs
            that are not asked for now, are grouped apart, so that nothing is trained twice.

    Raises:
        ConfigError: a run cannot be resolved.
    """
    members = {name: tuple(resolve(config) for config in part.configs()) for name, part in parts.items()}
    first_part: dict[str, str] = {}
    runs: dict[str, Run] = {}
    for name, part_runs in members.items():
        for run in part_runs:
            runs.setdefault(run.run_id, run)
            first_part.setdefault(run.run_id, name)
    asked = frozenset(runs)
    branches = _branches(runs, first_part)
    kept: dict[str, set[int]] = defaultdict(set)
    for name, part in parts.items():
        for run in members[name]:
            kept[run.run_id] |= {step for step in part.kept_steps if step < run.config.steps}
    for branch in branches.values():
        kept[branch.run_id].add(branch.step)
    groups = _groups(runs, first_part, branches, kept, (begun, done))
    ids = {name: tuple(dict.fromkeys(run.run_id for run in part_runs)) for name, part_runs in members.items()}
    return Plan(tuple(groups), ids, frozenset(runs) - asked)


def shard_of(plan: Plan, index: int, count: int) -> Plan:
    """The share of one of several processes: whole families of trunk and branches, dealt out in turn."""
    owner: dict[str, str] = {}
    by_run = {run.run_id: group for group in plan.groups for run in group.runs}
    for group in plan.groups:
        trunk = by_run[group.branches[0].run_id] if group.branches else None
        owner[group.group_id] = owner[trunk.group_id] if trunk else group.group_id
    families = list(dict.fromkeys(owner.values()))
    mine = {family for i, family in enumerate(families) if i % count == index - 1}
    return dataclasses.replace(plan, groups=tuple(g for g in plan.groups if owner[g.group_id] in mine))


def _branches(runs: dict[str, Run], first_part: dict[str, str]) -> dict[str, Branch]:
    """Finds or adds the trunk of every run that has one."""
    families: dict[str, list[tuple[str, int, Run]]] = defaultdict(list)
    for run_id, run in runs.items():
        trunk = trunk_of(run)
        if trunk is not None:
            resolved = resolve(trunk[0])
            families[_family(resolved)].append((run_id, trunk[1], resolved))
    candidates: dict[str, list[Run]] = defaultdict(list)
    for run in runs.values():
        candidates[_family(run)].append(run)
    found: dict[str, Branch] = {}
    order = list(dict.fromkeys(first_part.values()))
    for family, branching in families.items():
        longest = max(step for _, step, _ in branching)
        serving = [run for run in candidates[family] if run.config.steps >= longest]
        trunk = min(serving, key=lambda run: run.config.steps) if serving else None
        if trunk is None:
            trunk = next(resolved for _, step, resolved in branching if step == longest)
            runs[trunk.run_id] = trunk
        # The part that branches first needs the trunk no later than itself.
        parts = [first_part[run_id] for run_id, _, _ in branching]
        earliest = min([*parts, first_part.get(trunk.run_id, parts[0])], key=order.index)
        first_part[trunk.run_id] = earliest
        found |= {run_id: Branch(trunk.run_id, step) for run_id, step, _ in branching}
    return found


def _family(run: Run) -> str:
    """What two runs share that differ at most in length."""
    return str(sorted((k, v) for k, v in run.columns.items() if k != "steps"))


def _signature(run: Run, part: str, branch: Branch | None) -> tuple[Any, ...]:
    """Runs of equal signature differ in numbers alone and can be lanes of one program."""
    config = run.config
    return (
        part,
        branch is not None,
        jax.tree.structure(run.hyperparameters),
        config.optimizer.name,
        run.static_optimizer,
        config.record_every,
        config.evaluate_every,
    )


def _groups(
    runs: Mapping[str, Run],
    first_part: Mapping[str, str],
    branches: Mapping[str, Branch],
    kept_steps: Mapping[str, set[int]],
    earlier: tuple[Sequence[Sequence[str]], Collection[str]],
) -> list[Group]:
    begun, done = earlier
    order = list(dict.fromkeys(first_part.values()))
    kept: dict[str, int] = {}
    for i, ids in enumerate(begun):
        if all(run_id in runs and run_id not in kept for run_id in ids):
            kept |= dict.fromkeys(ids, i)
    buckets: dict[Any, list[Run]] = defaultdict(list)
    for run_id, run in runs.items():
        branch = branches.get(run_id)
        key = kept.get(run_id, -1), run_id in done, *_signature(run, first_part[run_id], branch)
        buckets[key].append(run)
    groups = []
    for key, members in buckets.items():
        if key[0] >= 0:
            members.sort(key=lambda run: begun[key[0]].index(run.run_id))
        for lanes in _cut(members):
            own = tuple(branches[run.run_id] for run in lanes) if lanes[0].run_id in branches else None
            saved = sorted(set().union(*(kept_steps.get(run.run_id, set()) for run in lanes)))
            groups.append(Group(tuple(lanes), first_part[lanes[0].run_id], own, tuple(saved)))
    # Trunks first within a part; a trunk never branches itself.
    return sorted(groups, key=lambda g: (order.index(g.part), g.branches is not None))


def _cut(runs: Sequence[Run]) -> Iterable[Sequence[Run]]:
    pieces = -(-len(runs) // MAX_LANES)
    size = -(-len(runs) // pieces)
    return (runs[i : i + size] for i in range(0, len(runs), size))


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
