"""A study's records as TensorBoard's event files, ``<folder>/tensorboard/<run_id>/``: as they are made, or afterwards.

python -m lrstudy.study.tensorboard runs/mine

They follow from the records and hold nothing else, so the files of a run whose records were cut off, by a kill or a
damaged checkpoint, are written anew.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lrstudy.study.arguments import Parser, exit_code
from lrstudy.study.event_files import (
    check_library,
    experiment,
    framed,
    is_complete,
    replace_file,
    scalars,
    session_end,
    session_start,
)
from lrstudy.study.exit_codes import RUN_FAILED
from lrstudy.study.run_table import metric_order
from lrstudy.study.standing import flat, varying
from lrstudy.study.store import finished_runs, read_table
from lrstudy.study.workdir import Workdir, check_study, read_json
from lrstudy.training.processes import process

FOLDER = "tensorboard"


def follower(workdir: Workdir) -> Callable[..., None]:
    """What is called when records have grown: with the id of their group, or without for all that is planned.

    Of processes that train together the first writes, the others do nothing.

    Raises:
        ConfigError: tensorboardX is not there.
    """
    check_library()
    files = EventFiles(workdir)

    def follow(group_id: str | None = None) -> None:
        if process().leads:
            files.update(group_id)

    return follow


@dataclasses.dataclass
class _Written:
    """What the event files of a group hold.

    Attributes:
        paths: run id to its file.
        names: of the files of rows whose rows they hold.
    """

    paths: dict[str, Path]
    names: frozenset[str]


class EventFiles:
    """Keeps event files beside records.

    Args:
        workdir: of the study.
    """

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir
        self._root = workdir.root / FOLDER
        self._written: dict[str, _Written] = {}
        self._complete: set[str] = set()
        self._about: tuple[Any, Any] | None = None

    def update(self, group_id: str | None = None) -> None:
        """Adds what was recorded since the last time.

        Args:
            group_id: of the records that have grown; ``None``: all that are planned.

        Raises:
            StudyError: a file of the study is damaged.
        """
        plan, begun = read_json(self._workdir.plan) or {}, self._workdir.begun.all()
        homes = {run_id: home for run_id, (home, _) in finished_runs(self._workdir).items()}
        planned = {lane["run_id"]: group["group"] for group in plan.get("groups", ()) for lane in group["lanes"]}
        trunks = frozenset(plan.get("trunks", ()))
        located = planned | {run_id: home for run_id, home in homes.items() if run_id in planned}
        names = set(located.values()) if group_id is None else {group_id}
        for name in sorted(names & begun.keys() - self._complete):
            # A run that was stopped in another program is where it was finished.
            ids = [run_id for run_id in begun[name]["runs"] if homes.get(run_id, name) == name]
            self._update_group(name, begun[name], ids, trunks)
        if group_id is None or "outcomes" in begun.get(group_id, {}):
            self._describe(begun, planned.keys() - trunks)

    def _update_group(self, name: str, group: Mapping[str, Any], ids: Sequence[str], trunks: Collection[str]) -> None:
        finished = "outcomes" in group
        if finished and name not in self._written and all(is_complete(self._root / run_id) for run_id in ids):
            self._complete.add(name)
            return
        paths = sorted(self._workdir.metrics.glob(f"{name}-*.parquet"), key=_first_step)
        written, names = self._written.get(name), frozenset(path.name for path in paths)
        if written is None or not written.names <= names or not all(path.is_file() for path in written.paths.values()):
            self._written[name] = self._anew(name, group, {i: i not in trunks for i in ids}, paths)
        else:
            for run_id, events in _rows([path for path in paths if path.name not in written.names]).items():
                if run_id in written.paths:
                    _append(written.paths[run_id], events)
            written.names = names
        if finished:
            self._finish(name, group, ids)

    def _anew(self, name: str, group: Mapping[str, Any], asked: Mapping[str, bool], paths: Sequence[Path]) -> _Written:
        """Writes all that is recorded of a group, in place of what was there; ``asked``: for which runs it is."""
        rows, configs = _rows(paths), dict(zip(group["runs"], group.get("configs", ()), strict=False))
        began = (paths[0] if paths else self._workdir.groups / f"{name}.json").stat().st_mtime
        found = {}
        for run_id, is_trial in asked.items():
            # A trunk that nobody asked for is no trial to be compared.
            leaves = flat(configs.get(run_id, {})) if is_trial else {}
            start = session_start(leaves, began)
            found[run_id] = replace_file(self._root / run_id, framed([*start, *rows.get(run_id, ())]))
        return _Written(found, frozenset(path.name for path in paths))

    def _finish(self, name: str, group: Mapping[str, Any], ids: Sequence[str]) -> None:
        ended = (self._workdir.groups / f"{name}.json").stat().st_mtime
        entries = dict(zip(group["runs"], group["outcomes"], strict=True))
        written = self._written.pop(name)
        for run_id in ids:
            entry = entries[run_id]
            _append(written.paths[run_id], session_end(entry["metrics"], entry["updates"], entry["outcome"], ended))
        self._complete.add(name)

    def _describe(self, begun: Mapping[str, Mapping[str, Any]], asked: Collection[str]) -> None:
        """Which leaves vary between the runs that were asked for, and which final metrics there are."""
        pairs = [pair for g in begun.values() for pair in zip(g["runs"], g.get("configs", ()), strict=False)]
        configs = [flat(config) for run_id, config in pairs if run_id in asked]
        leaves = {name: next(own[name] for own in configs if name in own) for name in varying(configs)}
        found = {name for g in begun.values() for entry in g.get("outcomes", ()) for name in entry["metrics"]}
        metrics = metric_order(found, {config["task"] for config in configs})
        if configs and (leaves, metrics) != self._about:
            replace_file(self._root, framed(experiment(leaves, metrics, self._workdir.plan.stat().st_mtime)))
            self._about = leaves, metrics


def _append(path: Path, events: Sequence[Any]) -> None:
    with path.open("ab") as file:
        file.write(framed(events))


def _first_step(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _rows(paths: Sequence[Path]) -> dict[str, list[Any]]:
    """Run id to an event for each of its rows, in the order of their steps."""
    found: dict[str, list[Any]] = {}
    for path in paths:
        written = path.stat().st_mtime
        frame = read_table(path).sort_values(["run_id", "step"], kind="stable")
        names = [name for name in frame.columns if name not in ("run_id", "step")]
        columns = {name: frame[name].to_numpy() for name in names}
        ids, steps = frame["run_id"].to_numpy(), frame["step"].to_numpy()
        firsts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
        for first, last in zip(firsts, [*firsts[1:], len(ids)], strict=True):
            own = {name: values[first:last] for name, values in columns.items()}
            found.setdefault(str(ids[first]), []).extend(scalars(own, steps[first:last], written))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = Parser("lrstudy.study.tensorboard", (__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of a study")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    workdir = Workdir(_parser().parse_args(argv).folder)
    try:
        return exit_code(lambda: _export(workdir))
    except KeyboardInterrupt:
        return RUN_FAILED


def _export(workdir: Workdir) -> None:
    check_study(workdir)
    check_library()
    EventFiles(workdir).update()
    print(f"tensorboard --logdir={workdir.root / FOLDER}")


if __name__ == "__main__":
    sys.exit(main())
