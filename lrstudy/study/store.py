"""Records on disk: metric rows of every group, and what became of its runs."""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.study.errors import StudyError
from lrstudy.study.pieces import Pieces
from lrstudy.study.plan import Branch, Earlier, Group
from lrstudy.study.stored import config_to_json, stored_run
from lrstudy.study.workdir import Workdir, read_json, replacing, write_json
from lrstudy.training import checkpoint
from lrstudy.training.loop import Columns
from lrstudy.training.processes import process

if TYPE_CHECKING:
    import pandas as pd

_NAME = re.compile(r"(?P<group>[0-9a-f]+)-(?P<start>\d+)-(?P<stop>\d+)\.parquet")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        outcome: ``ok``, ``diverged`` or ``stopped``.
        updates: optimizer updates made.
        metrics: the final parameters' evaluation over the last row; of a diverged run the last finite values; of a
            stopped one none, lest a claim take them for those of its end.
    """

    outcome: str
    updates: int
    metrics: Mapping[str, float]


class GroupStore:
    """The records of one group.

    Args:
        workdir: of the study.
        group: whose runs are the lanes.
    """

    def __init__(self, workdir: Workdir, group: Group) -> None:
        self._workdir = workdir
        self._group = group
        self._path = workdir.groups / f"{group.group_id}.json"

    def begin(self, layout: str | None = None) -> None:
        """Notes which runs the group holds, so that a later launch with more runs leaves the group as it is.

        Args:
            layout: how its lanes train, which numbers depend on by rounding; ``None``: who trains them will say.
        """
        if not self._path.exists() or (layout and self.layout is None):
            write_json(self._path, {**self._facts, **self._noted, "layout": layout}, indent=None)

    @property
    def layout(self) -> str | None:
        """How an earlier launch trained its lanes."""
        return self._noted.get("layout")

    def finish(self, outcomes: Sequence[Outcome], cost: Mapping[str, Any]) -> None:
        """Notes what became of the runs; from now on the group is done."""
        entries = [dataclasses.asdict(outcome) for outcome in outcomes]
        value = {**self._facts, **self._noted, "outcomes": entries, "cost": dict(cost)}
        write_json(self._path, value, indent=None)

    @property
    def _noted(self) -> dict[str, Any]:
        """What was decided on the way."""
        return {k: v for k, v in (read_json(self._path) or {}).items() if k in ("stopped", "network", "layout")}

    def stopped(self) -> dict[int, list[str]]:
        """Step to the runs that were stopped there, of every step at which that was decided.

        Raises:
            StudyError: the file says something else.
        """
        found, known = self._noted.get("stopped", {}), {run.run_id for run in self._group.runs}
        rule = "'stopped' must be steps with runs of the group"
        try:
            stopped = {int(step): list(ids) for step, ids in found.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise StudyError(f"{self._path} is damaged: {rule}") from error
        if not all(known.issuperset(ids) for ids in stopped.values()):
            raise StudyError(f"{self._path} is damaged: {rule}")
        return stopped

    def note_stopped(self, stopped: Mapping[int, Sequence[str]], network: str | None) -> None:
        """Notes all decisions so far, and which network they were taken by."""
        noted = {"stopped": {str(step): list(ids) for step, ids in stopped.items()}, "network": network}
        write_json(self._path, {**self._facts, **self._noted, **noted}, indent=None)

    @property
    def _facts(self) -> dict[str, Any]:
        group = self._group
        return {
            "runs": [run.run_id for run in group.runs],
            "part": group.part,
            "configs": [config_to_json(run.config) for run in group.runs],
            "branches": group.branches and [dataclasses.astuple(branch) for branch in group.branches],
        }

    def write_rows(self, columns: Columns, start: int, stop: int) -> None:
        """Writes the rows of steps ``start`` to ``stop`` as one file.

        Args:
            columns: see ``loop.Chunk``; lanes are replaced by run ids.
            start: first step.
            stop: one past the last step.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not columns or not len(columns["step"]):
            return
        ids = np.asarray([run.run_id for run in self._group.runs])
        table = pa.table(
            {
                "run_id": ids[columns["lane"]],
                "step": columns["step"],
                **{k: v for k, v in columns.items() if k not in ("lane", "step")},
            }
        )
        with replacing(self._workdir.metrics / f"{self._group.group_id}-{start}-{stop}.parquet") as temporary:
            pq.write_table(table, temporary, write_page_checksum=True)

    def truncate(self, step: int) -> None:
        """Removes the files that hold rows from ``step`` on, which are about to be made again."""
        if not process().leads:
            return
        for path in self._workdir.metrics.glob(f"{self._group.group_id}-*.parquet"):
            match = _NAME.fullmatch(path.name)
            if match and int(match["stop"]) > step and int(match["start"]) >= step:
                path.unlink()

    def rows(self) -> "pd.DataFrame":
        """All rows of the group, ordered by run and step."""
        return read_rows(self._workdir, [self._group.group_id])


def begun_groups(workdir: Workdir) -> dict[str, dict[str, Any]]:
    """Every group that an earlier launch has begun, by its id; ``outcomes`` is there if it was finished."""
    return workdir.begun.all()


def finished_runs(workdir: Workdir) -> dict[str, tuple[str, dict[str, Any]]]:
    """Run id to the group that holds its records and its outcome entry, for every run that is finished."""
    finished = [(name, group) for name, group in begun_groups(workdir).items() if "outcomes" in group]
    return {
        run_id: (name, entry)
        for name, group in finished
        for run_id, entry in zip(group["runs"], group["outcomes"], strict=True)
    }


def earlier(workdir: Workdir) -> Earlier:
    """What a plan needs to know of earlier launches.

    Finished groups come first: where two groups hold the same run, its records are in the finished one.

    Raises:
        StudyError: an older version of this program wrote the folder; its report can still be made.
    """
    begun = begun_groups(workdir)
    old = [name for name, group in begun.items() if "configs" not in group]
    if old:
        raise StudyError(f"{workdir.groups / old[0]}.json was written by an older version: use another workdir")
    groups = sorted(begun.values(), key=lambda group: "outcomes" not in group)
    pairs = ((group["runs"], group["configs"]) for group in groups)
    stored = {run_id: config for ids, configs in pairs for run_id, config in zip(ids, configs, strict=True)}
    starts = {
        run_id: Branch(*branch)
        for group in reversed(groups)  # so that a finished group has the last word
        if group["branches"]
        for run_id, branch in zip(group["runs"], group["branches"], strict=True)
    }
    return Earlier([group["runs"] for group in groups], frozenset(finished_runs(workdir)), stored, starts)


def home_ids(workdir: Workdir, run_ids: Collection[str]) -> dict[str, str]:
    """Run id to the id of the group in whose folder its checkpoints are: the finished one if several hold it."""
    begun = begun_groups(workdir)
    # The finished ones come last, and the first of these at the very end, so that it has the last word.
    names = sorted(begun, key=lambda name: "outcomes" not in begun[name])[::-1]
    held = {name: workdir.begun.made(name, _ids) for name in names}
    return {run_id: name for name in names for run_id in run_ids if run_id in held[name]}


def home_of(workdir: Workdir, run_id: str) -> Group | None:
    """The group in whose folder a run's checkpoints are; ``None`` if there is none.

    Raises:
        StudyError: its configurations now mean other runs.
    """
    name = home_ids(workdir, [run_id]).get(run_id)
    if name is None:
        return None
    group = workdir.begun.made(name, _group)
    # Other commands may count on any of its checkpoints.
    return dataclasses.replace(group, kept_steps=tuple(checkpoint.steps(workdir.checkpoints / name)))


def _ids(entry: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(entry["runs"])


def _group(entry: Mapping[str, Any]) -> Group:
    """A group as its file says, without the steps whose checkpoints are kept."""
    pieces = Pieces()
    runs = tuple(stored_run(c, own, pieces) for c, own in zip(entry["configs"], entry["runs"], strict=True))
    branches = entry["branches"] and tuple(Branch(*pair) for pair in entry["branches"])
    return Group(runs, entry["part"], branches)


def newest_step(workdir: Workdir, run_id: str) -> int:
    """The newest step at which a run was saved, its own last one if its group went on; 0 for none."""
    home = home_of(workdir, run_id)
    if home is None or not home.kept_steps:
        return 0
    own = next(run for run in home.runs if run.run_id == run_id)
    return min(home.kept_steps[-1], own.config.steps)


def read_rows(workdir: Workdir, groups: Sequence[str]) -> "pd.DataFrame":
    """The metric rows of some groups, ordered by run and step; empty where there are none."""
    import pandas as pd

    names = [p for p in sorted(workdir.metrics.glob("[!.]*.parquet")) if p.name.split("-")[0] in set(groups)]
    if not names:
        return pd.DataFrame({"run_id": pd.Series(dtype=str), "step": pd.Series(dtype=int)})
    frame = pd.concat([read_table(p) for p in names], ignore_index=True)
    return frame.sort_values(["run_id", "step"], kind="stable", ignore_index=True)


def write_table(path: Path, frame: "pd.DataFrame") -> None:
    """Writes a data frame whole, with checksums."""
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False, write_page_checksum=True)


def read_table(path: Path) -> "pd.DataFrame":
    """Reads a data frame.

    Raises:
        StudyError: its checksums do not hold, or it is no table at all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, page_checksum_verification=True).to_pandas()
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        # Flipped bits in the footer reach every layer of the reader.
        raise StudyError(f"{path} is damaged: {(str(error) or type(error).__name__).splitlines()[0]}") from error
