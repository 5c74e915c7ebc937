"""What a study's folder says of how it was made: ``config.json``."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lrstudy.study.command import Command
from lrstudy.study.experiment import Experiment
from lrstudy.study.machine import devices, versions


def header_of(
    experiment: Experiment, command: Command, config: Mapping[str, Any], trained_on: Sequence[str] | None = None
) -> dict[str, Any]:
    """What ``config.json`` holds.

    Args:
        experiment: whose command line it is.
        command: what it asks for.
        config: leaves of the configuration, nested by their paths.
        trained_on: devices; ``None``: those of this process.
    """
    return {
        "experiment": experiment.name,
        "preset": command.preset,
        "command": shlex.join(["python", "-m", f"experiments.{experiment.name}", *sys.argv[1:]]),
        "config": dict(config),
        "versions": versions(),
        "devices": devices() if trained_on is None else list(trained_on),
    }


def nested(plan: Any) -> dict[str, Any]:
    """The configuration leaves that all runs of a part share, nested by their paths."""
    runs = plan.runs()
    tree: dict[str, Any] = {}
    for name, ids in plan.parts.items():
        columns = [runs[run_id].columns for run_id in ids]
        shared = {k: v for k, v in columns[0].items() if all(c.get(k) == v for c in columns)} if columns else {}
        part: dict[str, Any] = {}
        for path, value in shared.items():
            kind, _, argument = path.partition(".")
            if argument:
                part.setdefault(kind, {})[argument] = value
            else:
                part[kind] = {"name": value} if any(p.startswith(f"{kind}.") for p in shared) else value
        tree |= {name: part} if name else part
    return tree
