"""How a study stands: what its folder says while it runs, once it is stopped, and in the end. It is only read."""

import collections
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lrstudy.study.errors import StudyError
from lrstudy.study.holders import Holder, holders
from lrstudy.study.workdir import Workdir, read_json

_ROWS = re.compile(r"(?P<group>[0-9a-f]+)-(?P<start>\d+)-(?P<stop>\d+)\.parquet")
UNFINISHED = "unfinished"


@dataclasses.dataclass(frozen=True)
class RunStanding:
    """One run.

    Attributes:
        run_id: its name.
        outcome: ``ok``, ``diverged``, ``stopped`` or ``failed``; ``unfinished`` before.
        step: updates made and recorded.
        config: leaf to value, as far as the command gave it; empty before its program has begun.
        metrics: final ones; before the end the last recorded loss.
        asked: whether it was asked for; otherwise others start from it.
    """

    run_id: str
    outcome: str
    step: int
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    asked: bool = True


@dataclasses.dataclass(frozen=True)
class GroupStanding:
    """The runs of one compiled program.

    Attributes:
        what: in a few words.
        part: of the study.
        start: step at which the first of them starts.
        stop: step at which the last of them ends.
        step: that they have reached, as far as it is recorded.
        runs: of the program.
        begun: whether it has begun.
        finished: whether it is at its end.
    """

    what: str
    part: str
    start: int
    stop: int
    step: int
    runs: Sequence[RunStanding]
    begun: bool
    finished: bool


@dataclasses.dataclass(frozen=True)
class Standing:
    """A study.

    Attributes:
        root: its folder.
        experiment: name.
        preset: name.
        concluded: whether all that was planned is finished and reported.
        holders: processes that hold the folder.
        groups: in the order in which they train.
        claims: entries as in ``claims.json``, of those that are decided.
        seconds: spent in training.
        report: the page; ``None`` if there is none.
    """

    root: Path
    experiment: str
    preset: str
    concluded: bool
    holders: Sequence[Holder]
    groups: Sequence[GroupStanding]
    claims: Sequence[Mapping[str, Any]]
    seconds: float
    report: Path | None

    @property
    def runs(self) -> list[RunStanding]:
        """Those that were asked for."""
        return [run for group in self.groups for run in group.runs if run.asked]

    @property
    def trunks(self) -> list[RunStanding]:
        """Those that others start from and nobody asked for."""
        return [run for group in self.groups for run in group.runs if not run.asked]


class Reader:
    """Reads a folder, again and again: a file that has not changed is not read twice.

    Args:
        workdir: the folder.
    """

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir
        self._last: dict[tuple[str, int], dict[str, tuple[int, float]]] = {}

    def read(self) -> Standing:
        """How the study stands now.

        Raises:
            StudyError: the folder holds no study, or a file is damaged.
            OSError: a file cannot be read, or vanished meanwhile.
        """
        workdir = self._workdir
        plan, header = read_json(workdir.plan), read_json(workdir.config) or {}
        if plan is None:
            raise StudyError(f"'{workdir.root}' holds no study")
        begun = workdir.begun.all()
        ended = {
            run_id: (name, entry)
            for name, group in begun.items()
            for run_id, entry in zip(group["runs"], group.get("outcomes", ()), strict=False)
        }
        failed = _failed(workdir)
        names = _metric_names(workdir.metrics)
        trunks = frozenset(plan.get("trunks", ()))
        groups = [self._group(entry, begun, ended, failed, names, trunks) for entry in plan["groups"]]
        concluded = bool(plan.get("concluded"))
        decided = read_json(workdir.claims if concluded else workdir.announced) or {}
        homes = {ended[run.run_id][0] for group in groups for run in group.runs if run.run_id in ended}
        homes |= {entry["group"] for entry in plan["groups"]}
        return Standing(
            root=workdir.root,
            experiment=str(header.get("experiment", "a study")),
            preset=str(header.get("preset", "")),
            concluded=concluded,
            holders=holders(workdir.root),
            groups=groups,
            claims=decided.get("claims", ()),
            seconds=sum(_seconds(workdir, name, begun[name]) for name in homes & begun.keys()),
            report=workdir.report if workdir.report.is_file() else None,
        )

    def _group(
        self,
        planned: Mapping[str, Any],
        begun: Mapping[str, Mapping[str, Any]],
        ended: Mapping[str, tuple[str, Mapping[str, Any]]],
        failed: frozenset[str],
        names: Mapping[str, Sequence[tuple[int, int, Path]]],
        trunks: frozenset[str],
    ) -> GroupStanding:
        name, (start, stop) = planned["group"], planned["steps"]
        ids = [lane["run_id"] for lane in planned["lanes"]]
        group = begun.get(name, {})
        homes = dict.fromkeys([*(ended[run_id][0] for run_id in ids if run_id in ended), *([name] if group else ())])
        configs = {k: v for home in homes for k, v in self._workdir.begun.made(home, _configs).items()}
        finished = all(run_id in ended for run_id in ids)
        progress = _Progress(group, start, names.get(name, ()))
        last = {} if finished else self._rows(progress.files, ids)
        runs = []
        for run_id in ids:
            config = configs.get(run_id, {})
            if run_id in ended:
                entry = ended[run_id][1]
                found = RunStanding(run_id, entry["outcome"], entry["updates"], config, entry["metrics"])
            else:
                found = _unfinished(run_id, config, progress, last.get(run_id))
            outcome = "failed" if run_id in failed else found.outcome
            runs.append(dataclasses.replace(found, outcome=outcome, asked=run_id not in trunks))
        step = stop if finished else progress.reached
        what = _words(planned["part"], configs.get(ids[0], {}), trunk=trunks.issuperset(ids))
        return GroupStanding(what, planned["part"], start, stop, step, runs, bool(homes), finished)

    def _rows(self, files: Sequence[Path], ids: Sequence[str]) -> dict[str, tuple[int, float]]:
        """The last recorded step of every run and its loss; the newest files are read first."""
        found: dict[str, tuple[int, float]] = {}
        for path in reversed(files):
            if found.keys() >= set(ids):
                break
            found = {**self._last_of(path), **found}
        return found

    def _last_of(self, path: Path) -> dict[str, tuple[int, float]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            key = path.name, path.stat().st_mtime_ns
            if key not in self._last:
                columns = pq.read_table(path, columns=["run_id", "step", "loss"]).to_pydict()
                rows = zip(columns["step"], columns["run_id"], columns["loss"], strict=True)
                self._last[key] = {run_id: (step, loss) for step, run_id, loss in sorted(rows)}
            return self._last[key]
        except FileNotFoundError:
            return {}  # made again from an earlier checkpoint
        except (OSError, pa.ArrowException, KeyError) as error:
            raise StudyError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


class _Progress:
    """How far a program that is not finished has come.

    Args:
        group: its file; empty before it has begun.
        start: step at which its first run starts.
        files: of its rows: first step, one past the last, path.
    """

    def __init__(self, group: Mapping[str, Any], start: int, files: Sequence[tuple[int, int, Path]]) -> None:
        self.files = [path for _, _, path in files]
        branches = group.get("branches") or ()
        # The rows before a branch are copies of its trunk's.
        trained = [stop for first, stop, _ in files if first > 0 or not branches]
        self.reached = max([start, *trained]) if group else start
        starts = [step for _, step in branches] or [0] * len(group.get("runs", ()))
        self.starts = dict(zip(group.get("runs", ()), starts, strict=False))
        self.given_up = frozenset(run_id for ids in group.get("stopped", {}).values() for run_id in ids)


def _unfinished(
    run_id: str, config: Mapping[str, Any], progress: _Progress, last: tuple[int, float] | None
) -> RunStanding:
    """A run of a program that is not finished; one that diverged has no rows after that."""
    if run_id in progress.given_up:
        return RunStanding(run_id, "stopped", last[0] + 1 if last else 0, config, {})
    if last is None:
        return RunStanding(run_id, UNFINISHED, 0, config, {})
    step, loss = last
    reached = max(progress.reached, progress.starts.get(run_id, 0))
    diverged = not math.isfinite(loss)
    if "record_every" in config:
        every, steps = config["record_every"], config["steps"]
        diverged = diverged or step < (steps - 1 if reached >= steps else (reached - 1) // every * every)
    own = min(reached, config.get("steps", reached))
    return RunStanding(
        run_id, "diverged" if diverged else UNFINISHED, step if diverged else own, config, {"loss": loss}
    )


def _configs(group: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Run id to leaves, of a group that has begun."""
    return {i: flat(config) for i, config in zip(group["runs"], group.get("configs", ()), strict=False)}


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration as leaf to value; what was left at its default is not among them."""
    leaves: dict[str, Any] = {}
    for path, value in config.items():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict):
            leaves |= {path: value[0], **{f"{path}.{name}": own for name, own in value[1].items()}}
        elif value is not None:
            leaves[path] = value
    return leaves


def varying(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The leaves by which configurations differ; those of runs that have not begun say nothing."""
    begun = [config for config in configs if config]
    names = dict.fromkeys(name for config in begun for name in config)
    return [name for name in names if any(own.get(name) != begun[0].get(name) for own in begun)]


def outcomes(runs: Sequence[RunStanding]) -> dict[str, int]:
    """How many runs ended how, and how many have not."""
    return dict(collections.Counter(run.outcome for run in runs))


def _words(part: str, config: Mapping[str, Any], *, trunk: bool) -> str:
    words = " ".join(str(config[name]) for name in ("task", "schedule") if name in config)
    named = ": ".join(filter(None, [part, words])) or "all runs"
    return f"{named} (trunk)" if trunk else named


def _metric_names(folder: Path) -> dict[str, list[tuple[int, int, Path]]]:
    """Group id to its files of rows, in the order of their steps."""
    found: dict[str, list[tuple[int, int, Path]]] = {}
    for path in folder.glob("[!.]*.parquet"):
        match = _ROWS.fullmatch(path.name)
        if match:
            found.setdefault(match["group"], []).append((int(match["start"]), int(match["stop"]), path))
    return {name: sorted(files) for name, files in found.items()}


def _failed(workdir: Workdir) -> frozenset[str]:
    """Runs whose program failed, which the table of runs alone says."""
    from lrstudy.study.store import read_table

    if not workdir.runs.is_file():
        return frozenset()
    table = read_table(workdir.runs)
    return frozenset(table["run_id"][table["outcome"] == "failed"])


def _seconds(workdir: Workdir, name: str, group: Mapping[str, Any]) -> float:
    """What a program was trained for, as far as it was saved."""
    if "cost" in group:
        return float(group["cost"].get("seconds", 0.0))
    folder = workdir.checkpoints / name
    steps = sorted((int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit()), reverse=True)
    for step in steps:
        meta = read_json(folder / str(step) / "meta.json")
        if meta is not None:
            return float(meta.get("seconds", 0.0))
    return 0.0
