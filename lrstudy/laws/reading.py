"""Loss curves from files of tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.laws.curve import Curve
from lrstudy.laws.errors import LawError
from lrstudy.schedules import Schedule

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("step", "lr", "loss")
SUFFIXES = (".csv", ".parquet", ".jsonl")


def read_curves(
    path: str | Path,
    *,
    schedules: Mapping[str, Any] | None = None,
    warmup_steps: int | Mapping[str, int] = 0,
    drop_late: bool = False,
) -> dict[str, Curve]:
    """Curves from one csv, parquet or jsonl file, or from all of a folder.

    A file has the columns ``step``, ``lr`` and ``loss``; with a further column ``run`` it holds several curves.

    Args:
        path: file or folder.
        schedules: name to schedule, or to the rate of every update; None, or a name that is missing: rates between the
            logged steps are interpolated when a law needs them, with a warning.
        warmup_steps: of every curve, or by name.
        drop_late: leave out rows that lie beyond the last rate of an array or the ``total_steps`` of a schedule,
            instead of raising.

    Returns:
        Name (of the file without its ending, or of the run) to curve, in the order of names.

    Raises:
        LawError: no such file, no table, columns missing, or a curve that is none; the message names the file.
    """
    found: dict[str, Curve] = {}
    for file in _files(Path(path)):
        for name, table in _tables(file).items():
            if name in found:
                raise LawError(f"'{file}' holds a second curve that is called {name}")
            schedule = (schedules or {}).get(name)
            own = warmup_steps.get(name, 0) if isinstance(warmup_steps, Mapping) else warmup_steps
            try:
                found[name] = _curve(table, schedule, own, drop_late)
            except LawError as error:
                raise LawError(f"'{file}', {name}: {error}") from error
    strangers = sorted(set(schedules or {}) - set(found))
    if strangers:
        raise LawError(
            f"'{path}' has no curve {strangers[0]}, for which there is a schedule; it has {', '.join(found)}"
        )
    return found


def _files(path: Path) -> list[Path]:
    files = sorted(f for f in path.iterdir() if f.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise LawError(f"'{path}' holds no file that ends in {', '.join(SUFFIXES)}")
    if files[0].suffix not in SUFFIXES:
        raise LawError(f"'{files[0]}' must end in one of {', '.join(SUFFIXES)}")
    return files


def _tables(file: Path) -> dict[str, "pd.DataFrame"]:
    import pandas as pd

    readers = {
        ".csv": pd.read_csv,
        ".parquet": pd.read_parquet,
        ".jsonl": lambda one: pd.read_json(one, lines=True),
    }
    try:
        table = readers[file.suffix](file)
    except (OSError, ValueError) as error:
        raise LawError(f"'{file}' cannot be read as a table: {error}") from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise LawError(f"'{file}' has no column {missing[0]}; it has {', '.join(map(str, table.columns))}")
    if "run" not in table.columns:
        return {file.stem: table}
    return {str(name): own for name, own in table.groupby("run", sort=True)}


def _curve(table: "pd.DataFrame", schedule: Any, warmup_steps: int, drop_late: bool) -> Curve:
    if drop_late and schedule is not None:
        length = getattr(schedule, "total_steps", None) if isinstance(schedule, Schedule) else len(schedule)
        table = table[table["step"] < (np.inf if length is None else int(length))]
    steps, rates, losses = (table[name].to_numpy() for name in COLUMNS)
    return Curve(steps, rates, losses, schedule=schedule, warmup_steps=warmup_steps)
