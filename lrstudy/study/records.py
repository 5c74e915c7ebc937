"""The records of a study, as claims and figures read them."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.schedules import Schedule
from lrstudy.study.config import schedule_of
from lrstudy.study.errors import StudyError
from lrstudy.study.probes import digest
from lrstudy.study.store import begun_groups, read_rows, read_table
from lrstudy.study.workdir import Workdir, read_json
from lrstudy.training.step import METRICS

if TYPE_CHECKING:
    import pandas as pd

TRUNK = "trunk"
"""The ``parts`` column of a run that no part asked for and that serves as a trunk alone."""

UNREADABLE = (StudyError, KeyError, IndexError, ValueError)
"""What a claim, a figure or a table raises where records that it needs are missing, because runs failed or stopped."""


@dataclasses.dataclass(frozen=True)
class Records:
    """Everything that was recorded.

    Attributes:
        runs: one row a run: ``run_id``, ``parts`` (names, comma-separated), configuration, ``outcome``, final metrics.
        metrics: one row a run and recorded step.
        probes: probe name to its table.
        parts: part name to run ids, in the order of the plan.
    """

    runs: "pd.DataFrame"
    metrics: "pd.DataFrame"
    probes: Mapping[str, "pd.DataFrame"]
    parts: Mapping[str, tuple[str, ...]]

    def part(self, name: str) -> "Records":
        """The records of one part."""
        ids = self.parts.get(name, ())
        known = set(self.runs["run_id"])
        runs = self.runs.set_index("run_id").reindex([i for i in ids if i in known]).reset_index()
        return Records(runs, self.metrics[self.metrics["run_id"].isin(ids)], self.probes, {name: ids})

    def asked(self) -> "Records":
        """The records of the runs that were asked for, without those that served as trunks alone."""
        return self._of(self.runs[self.runs["parts"] != TRUNK])

    def where(self, **columns: Any) -> "Records":
        """The records of the runs with these column values; ``__`` in a name stands for a dot.

        Raises:
            StudyError: no run fits.
        """
        runs = self.runs
        for name, value in columns.items():
            runs = runs[runs[name.replace("__", ".")] == value]
        if not len(runs):
            raise StudyError(f"no run has {columns}")
        return self._of(runs)

    def chosen(self, keep: "pd.Series") -> "Records":
        """The records of some of the runs.

        Args:
            keep: one truth a row of ``runs``.

        Raises:
            StudyError: none is chosen.
        """
        if not keep.any():
            raise StudyError("no run was chosen")
        return self._of(self.runs[keep])

    def _of(self, runs: "pd.DataFrame") -> "Records":
        metrics = self.metrics[self.metrics["run_id"].isin(runs["run_id"])]
        return Records(runs.reset_index(drop=True), metrics, self.probes, self.parts)

    def final(self, metric: str) -> "pd.Series":
        """A final metric, indexed and ordered by seed."""
        return self.runs.set_index("seed")[metric].sort_index().astype(float)

    def at_step(self, metric: str, step: int) -> "pd.Series":
        """A metric at one recorded step, indexed and ordered by seed."""
        rows = self.metrics[self.metrics["step"] == step].merge(self.runs[["run_id", "seed"]], on="run_id")
        return rows.set_index("seed")[metric].sort_index().astype(float)

    def curves(self, metric: str) -> "pd.DataFrame":
        """A metric by step (rows) and seed (columns), without the steps at which it was not measured.

        The evaluation of the final parameters stands at the step that a further update would have had.
        """
        import pandas as pd

        columns = ["step", "seed", metric]
        rows = self.metrics[["run_id", "step", metric]].merge(self.runs[["run_id", "seed"]], on="run_id")[columns]
        if metric not in METRICS:
            done = self.runs[self.runs["outcome"] == "ok"]
            rows = pd.concat([rows, done.rename(columns={"steps": "step"})[columns]])
        return rows.dropna(subset=[metric]).pivot_table(index="step", columns="seed", values=metric)

    @functools.cached_property
    def schedules(self) -> dict[str, Schedule]:
        """The schedule of every run, rebuilt from its columns."""
        names = [name for name in self.runs.columns if name.startswith("schedule")]
        rows = self.runs[["run_id", *names]].to_dict("records")
        return {row.pop("run_id"): schedule_of({k: v for k, v in row.items() if not _missing(v)}) for row in rows}


def _missing(cell: Any) -> bool:
    import pandas as pd

    return not _is_list(cell) and bool(pd.isna(cell))


def numbered(column: "pd.Series") -> np.ndarray:
    """Equal cells of a column to equal numbers, from 0 in the order of their first; all missing ones are equal."""
    import pandas as pd

    try:
        return pd.factorize(column, use_na_sentinel=False)[0]
    except TypeError:  # lists
        keys = pd.Series([str(np.asarray(v).tolist()) if _is_list(v) else v for v in column], dtype=object)
        return pd.factorize(keys, use_na_sentinel=False)[0]


def _is_list(cell: Any) -> bool:
    return isinstance(cell, list | np.ndarray)


def runs_frame(rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Rows of plain values as a frame whose whole numbers stay whole where some rows have none.

    Where one column holds lists and single values (a field that several classes have), all become lists.
    """
    import pandas as pd

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(v) for v in values if v is not None}
        if list in kinds:
            values = [v if v is None or isinstance(v, list) else [v] for v in values]
        dtype = {frozenset({int}): "Int64", frozenset({bool}): "boolean"}.get(frozenset(kinds))
        columns[name] = pd.array(values, dtype=dtype) if dtype else values  # pyright: ignore[reportArgumentType, reportCallIssue]
    return pd.DataFrame(columns)


def load(workdir: Workdir, planned: Mapping[str, Any] | None = None) -> Records:
    """Reads a study from its folder.

    Args:
        workdir: the folder.
        planned: what is read, as ``Plan.to_json`` gives it; ``None``: what ``plan.json`` says.

    Raises:
        StudyError: a file is missing or damaged.
    """
    import pandas as pd

    plan = planned or read_json(workdir.plan)
    if plan is None or not workdir.runs.is_file():
        raise StudyError(f"'{workdir.root}' holds no finished study")
    runs = read_table(workdir.runs)
    asked = {lane["run_id"] for group in plan["groups"] for lane in group["lanes"]}
    # A run may have been trained in a group of an earlier command, and, if that was stopped, in two.
    groups = [name for name, group in begun_groups(workdir).items() if asked & set(group["runs"])]
    rows = read_rows(workdir, groups)
    metrics = rows[rows["run_id"].isin(asked)].drop_duplicates(["run_id", "step"], ignore_index=True)
    trained = set(runs["run_id"][runs["outcome"] == "ok"]) & asked
    gone = trained - set(metrics["run_id"])
    if gone:
        raise StudyError(f"'{workdir.metrics}' lacks the metric rows of {len(gone)} of {len(trained)} finished runs")
    parts = {name: tuple(ids) for name, ids in plan["parts"].items()}
    # Tables of earlier, smaller grids lie beside those of this one.
    suffixes = {f"-{digest(ids)}" for ids in parts.values()}
    probes = {
        path.stem.removesuffix(suffix): read_table(path)
        for path in sorted(workdir.probes.glob("[!.]*.parquet"))
        for suffix in suffixes
        if path.stem.endswith(suffix)
    }
    return Records(runs, pd.DataFrame(metrics), probes, parts)
