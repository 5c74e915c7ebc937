"""Runs a planned study in its folder: trains what is missing, decides the claims as soon as they can be, reports."""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from lrstudy.study import claims as claims_lib
from lrstudy.study import records as records_lib
from lrstudy.study.errors import StudyError
from lrstudy.study.experiment import Experiment
from lrstudy.study.plan import Group, Plan
from lrstudy.study.probes import Context, Probe, digest
from lrstudy.study.records import Records
from lrstudy.study.signals import StopRequest
from lrstudy.study.store import begun_groups, finished_runs, home_ids, home_of, read_rows, write_table
from lrstudy.study.trainer import GroupTrainer, PreemptedError, Settings
from lrstudy.study.workdir import Workdir, write_json
from lrstudy.training.processes import process, together
from lrstudy.training.program import Lane, to_host


@dataclasses.dataclass
class Launch:
    """One launch of a study.

    Attributes:
        experiment: what is studied.
        plan: its runs; with shards, all of them.
        share: the groups that this process trains.
        workdir: where.
        settings: how.
        said: ids of the claims that have been announced, by an earlier stage of the study too.
        announced: their entries, as ``claims.json`` will have them.
        failures: run id to the reason, of runs whose program failed; they are not tried again in a later stage.
    """

    experiment: Experiment
    plan: Plan
    share: Sequence[Group]
    workdir: Workdir
    settings: Settings
    said: set[str] = dataclasses.field(default_factory=set)
    announced: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self._owner = {run.run_id: group for group in self.plan.groups for run in group.runs}
        self._kept: tuple[tuple[str, int], Lane] | None = None

    def run(self, stop: StopRequest) -> int:
        """Trains every missing run of the share and writes its records; announces claims as their parts are finished.

        Args:
            stop: asked between two calls of a program.

        Returns:
            The number of runs that failed.

        Raises:
            PreemptedError: a stop was requested; everything is saved.
        """
        try:
            self._train_all(stop)
        except BaseException:
            with contextlib.suppress(OSError):  # what has happened says more than a table that cannot be written now
                self.write_runs()
            raise
        self.write_runs()
        return len(self.failures)

    def missing(self, groups: Sequence[Group] | None = None) -> list[Group]:
        """Those of some groups (by default the share) that are not finished."""
        done = finished_runs(self.workdir)
        wanted = self.share if groups is None else groups
        settled = {*done, *self.failures}
        return [group for group in wanted if not all(run.run_id in settled for run in group.runs)]

    def write_runs(self) -> None:
        """Writes ``runs.parquet``: one row for every run that has been begun."""
        begun, finished = begun_groups(self.workdir), finished_runs(self.workdir)
        part_names = {run_id: [] for run_id in self._owner}
        for name, ids in self.plan.parts.items():
            for run_id in ids:
                part_names[run_id].append(name)
        rows = []
        for group in self.plan.groups:
            for run in group.runs:
                home, entry = finished.get(run.run_id, (group.group_id, {"outcome": "preempted"}))
                if home not in begun:
                    continue
                parts = records_lib.TRUNK if run.run_id in self.plan.trunks else ",".join(part_names[run.run_id])
                outcome = "failed" if run.run_id in self.failures else entry["outcome"]
                facts = {"run_id": run.run_id, "parts": parts, "group": home, "outcome": outcome}
                metrics = {"updates": entry.get("updates"), **entry.get("metrics", {})}
                rows.append({**facts, **run.columns, **metrics})
        if rows:
            write_table(self.workdir.runs, records_lib.runs_frame(rows))

    def _train_all(self, stop: StopRequest) -> None:
        """Part after part; what can be said is said as soon as its parts are there."""
        remaining = self.missing()
        for name in self.plan.parts:
            for group in [g for g in remaining if g.part == name]:
                if stop.requested:
                    raise PreemptedError
                self._train_group(group, stop)
            self.write_runs()
            self._probe(name, stop)
            if process().leads:
                self._announce(name)

    def _train_group(self, group: Group, stop: StopRequest) -> None:
        trainer = GroupTrainer(group, self.workdir, self.settings, stop)
        try:
            trainer.train(functools.partial(self._trunk_lanes, group, stop), functools.partial(self._trunk_rows, group))
        except jax.errors.JaxRuntimeError as error:
            if process().count > 1:
                raise  # another process may be gone, and this one cannot go on alone
            # The program itself failed, out of memory as a rule: these runs have failed, the study goes on.
            reason = str(error).strip().splitlines()[0]
            self.failures |= {run.run_id: reason for run in group.runs}
            self.settings.warn(f"{len(group.runs)} runs of group {group.group_id} failed: {reason}")

    def _trunk_lanes(self, group: Group, stop: StopRequest, lane: int) -> tuple[Lane, int]:
        branch = (group.branches or ())[lane]
        trunk = self._home(branch.run_id)
        place = [run.run_id for run in trunk.runs].index(branch.run_id)
        lanes = self._lanes_at(trunk, branch.step, stop)
        found = int(lanes.state.step[place])
        if found > branch.step:
            raise StudyError(f"run {branch.run_id} has no state at step {branch.step}: it starts at {found}")
        if found < branch.step:
            _, entry = finished_runs(self.workdir).get(branch.run_id, ("", {}))
            if entry.get("outcome") == "stopped":
                raise StudyError(f"run {branch.run_id} has no state at step {branch.step}: it was stopped at {found}")
        return lanes, place

    def _lanes_at(self, group: Group, step: int, stop: StopRequest) -> Lane:
        """A group's lanes at one step, on the host; the last ones are kept, since lanes are asked for in turn."""
        if self._kept is None or self._kept[0] != (group.group_id, step):
            trainer = GroupTrainer(group, self.workdir, self.settings, stop)
            lanes = trainer.lanes_at(step, functools.partial(self._trunk_lanes, group, stop))
            self._kept = ((group.group_id, step), to_host(lanes))
        return self._kept[1]

    def _home(self, run_id: str) -> Group:
        """The group that has a run's checkpoints and rows: its own, or one of an earlier command that trained it."""
        own, home = self._owner.get(run_id), home_ids(self.workdir, [run_id]).get(run_id)
        group = own if home is None or (own and own.group_id == home) else home_of(self.workdir, run_id)
        if group is None:
            raise StudyError(f"run {run_id} is not in '{self.workdir.root}'")
        return group

    def _trunk_rows(self, group: Group) -> Any:
        trunks = {branch.run_id for branch in group.branches or ()}
        homes = home_ids(self.workdir, trunks)
        return read_rows(self.workdir, sorted({homes.get(i) or self._home(i).group_id for i in trunks}))

    def _probe(self, part: str, stop: StopRequest) -> None:
        """Runs the part's probes if they have not been run on exactly these runs."""
        ids = self.plan.parts.get(part, ())
        for probe in (probe for probe in self.unprobed() if probe.part == part):
            runs = [run for run_id, run in self.plan.runs().items() if run_id in ids]
            context = Context(
                runs,
                self.plan.branches(),
                functools.partial(self._params, stop),
                self.workdir.probes / probe.name,
                functools.partial(_leave_if_asked, stop),
            )
            write_table(self._table_of(probe), probe.measure(context))
            together(f"probe {probe.name}")

    def unprobed(self) -> list[Probe]:
        """The probes whose part is finished and that have no table of exactly its runs."""
        ready = (probe for probe in self.experiment.probes if probe.part in self.plan.parts)
        return [probe for probe in ready if not self._table_of(probe).exists() and self._finished((probe.part,))]

    def _table_of(self, probe: Probe) -> Path:
        return self.workdir.probes / f"{probe.name}-{digest(self.plan.parts[probe.part])}.parquet"

    def _params(self, stop: StopRequest, run_id: str, step: int) -> Any:
        group = self._home(run_id)
        place = [run.run_id for run in group.runs].index(run_id)
        lanes = self._lanes_at(group, step, stop)
        return jax.tree.map(lambda x: x[place], lanes.state.params)

    def _finished(self, parts: Sequence[str]) -> bool:
        done = finished_runs(self.workdir)
        return all(run_id in done for name in parts for run_id in self.plan.parts.get(name, ()))

    def _announce(self, part: str) -> None:
        """Prints the claims that this part was the last to wait for."""
        seen = list(self.plan.parts)[: list(self.plan.parts).index(part) + 1]
        claims = [c for c in self.experiment.claims if c.claim_id not in self.said]
        ready = [c for c in claims if part in c.parts and set(c.parts) <= set(seen)]
        if ready and self._finished(seen):
            self.said |= {claim.claim_id for claim in ready}
            entries = decide(ready, records_lib.load(self.workdir))
            print(claims_lib.table(entries), flush=True)
            self.announced += entries
            write_json(self.workdir.announced, {"claims": self.announced})  # for those who watch the folder


def _leave_if_asked(stop: StopRequest) -> None:
    if stop.requested:
        raise PreemptedError


def decide(claims: Sequence[claims_lib.Claim], records: Records) -> list[dict[str, Any]]:
    """The claims, decided from records; one that cannot be measured does not hold."""
    entries = []
    for claim in claims:
        try:
            absent = [part for part in claim.parts if part not in records.parts]
            if absent:
                raise StudyError(f"part {absent[0]} is not there")
            entries.append(claim.decide(records))
        except records_lib.UNREADABLE as error:
            # Runs that failed are missing from the records; the other claims still stand.
            say(f"claim {claim.claim_id} could not be measured: {error}")
            unmeasured = dataclasses.replace(claim, measure=lambda _: claims_lib.Measurement(float("nan"), 0))
            entries.append(unmeasured.decide(records))
    return entries


def conclude(experiment: Experiment, workdir: Workdir, header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Decides the claims and writes them, the figures and the report, all from the records in the folder.

    Returns:
        The entries of ``claims.json``.
    """
    from lrstudy.study import report

    records = records_lib.load(workdir)
    outcomes = set(records.runs["outcome"])
    if outcomes == {"stopped"}:
        rule = "were stopped early, against rivals that this command does not ask for"
        raise StudyError(f"all runs that were asked for {rule}; without early_stop they are trained to their end")
    if not outcomes & {"ok", "diverged"}:
        raise StudyError(f"'{workdir.root}' holds no finished run")
    entries = decide(experiment.claims, records)
    write_json(
        workdir.claims,
        {"experiment": experiment.name, "paper": experiment.paper, "preset": header["preset"], "claims": entries},
    )
    report.write(experiment, workdir, records, entries, header)
    return entries


def say(line: str) -> None:
    """One line to the user, apart from the results on standard output; of several processes the first speaks."""
    if process().leads:
        print(line, file=sys.stderr, flush=True)
