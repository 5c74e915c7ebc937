"""Configurations of runs in a folder: what later commands need to go on from runs that they do not ask for."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lrstudy.study.choices import KINDS, Choice, column_value
from lrstudy.study.config import PLAIN_FIELDS, Run, RunConfig, resolve
from lrstudy.study.errors import StudyError
from lrstudy.study.pieces import Pieces

_BESIDE = json.JSONEncoder(sort_keys=True)


def config_to_json(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain data from which ``config_from_json`` makes an equal one."""
    chosen = {kind: getattr(config, kind) for kind in KINDS}
    kinds = {kind: own and [own.name, _plain(own.arguments)] for kind, own in chosen.items()}
    return {**kinds, **{name: getattr(config, name) for name in PLAIN_FIELDS}}


def config_from_json(data: Mapping[str, Any], pieces: Pieces | None = None) -> RunConfig:
    """The inverse of ``config_to_json``; a kind that is not named was not chosen."""
    of = (pieces or Pieces()).of

    def chosen(named: Sequence[Any]) -> Choice:
        return of("stored", (json.dumps(named),), lambda: Choice(named[0], _tupled(named[1])))

    kinds = {kind: data.get(kind) and chosen(data[kind]) for kind in KINDS}
    return RunConfig(**kinds, **{name: data[name] for name in PLAIN_FIELDS})


def stored_run(data: Mapping[str, Any], run_id: str, pieces: Pieces | None = None) -> Run:
    """The run of a stored configuration.

    Args:
        data: as ``config_to_json`` gives it.
        run_id: what the run was.
        pieces: what runs of the same plan have in common.

    Raises:
        StudyError: the configuration now means another run, because its text or this program has changed.
    """
    run = resolve(config_from_json(data, pieces), pieces)
    if run.run_id != run_id:
        raise StudyError(f"run {run_id} cannot be continued: its configuration now means run {run.run_id}")
    return run


def differ_in_schedule(one: Run, other: Run) -> bool:
    """Whether two runs differ in their schedule, and in nothing else but their length and where they start."""
    return _beside_schedule(one) == _beside_schedule(other) and not same_schedule(one, other)


def same_schedule(one: Run, other: Run) -> bool:
    """Whether two runs have the same schedule, arguments that follow from their length and where it begins included."""
    return _schedule(one) == _schedule(other)


def beside_schedule(run: Run) -> str:
    """What two runs share that differ in their schedule, their length and where they start alone, as text."""
    return _BESIDE.encode(_beside_schedule(run))


def _schedule(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.columns.items() if name.startswith("schedule")}


def _beside_schedule(run: Run) -> dict[str, Any]:
    left_out = {"steps", "start", "record_every", "evaluate_every", *_schedule(run)}
    return {name: value for name, value in run.columns.items() if name not in left_out}


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: column_value(value) for name, value in arguments.items()}


def _tupled(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
