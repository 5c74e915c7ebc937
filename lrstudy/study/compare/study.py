"""A finished study as its folder has it, without the experiment that made it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.records import Records, load
from lrstudy.study.workdir import Workdir, read_json

_NEEDED = {"experiment", "preset", "command", "versions", "devices"}


@dataclasses.dataclass(frozen=True)
class Study:
    """What a folder holds.

    Attributes:
        workdir: the folder.
        header: its ``config.json``.
        records: of its runs.
        claims: the entries of its ``claims.json``.
    """

    workdir: Workdir
    header: Mapping[str, Any]
    records: Records
    claims: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Experiment and preset."""
        return f"{self.header['experiment']} ({self.header['preset']})"

    def figures(self) -> dict[str, Path]:
        """Name to file of every figure."""
        return {path.stem: path for path in sorted(self.workdir.figures.glob("[!.]*.svg"))}


def read_study(root: Path) -> Study:
    """Reads a folder.

    Raises:
        ConfigError: it holds no finished study, or none of its runs is finished.
        StudyError: a file of it is damaged.
    """
    workdir = Workdir(root)
    header = read_json(workdir.config) if root.is_dir() else None
    if header is None or not workdir.plan.is_file() or not workdir.runs.is_file():
        raise ConfigError(f"compare must be two folders with finished studies, got '{root}'")
    lacking = _NEEDED - header.keys()
    if lacking:
        raise StudyError(f"{workdir.config} is damaged: it lacks {sorted(lacking)[0]!r}")
    records, claims = load(workdir), read_json(workdir.claims) or {"claims": []}
    if not len(records.asked().runs):
        raise ConfigError(f"compare must be two folders with finished runs, got '{root}' with none")
    return Study(workdir, header, records, claims["claims"])
