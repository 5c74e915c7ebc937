"""``python -m lrstudy.benchmark.targets``: sets the targets of workloads, as AlgoPerf sets its own.

python -m lrstudy.benchmark.targets --points=20 --seeds=20 --first_seed=1501 --output=targets.json

Four algorithms each train at points that fill their search spaces, for three quarters of the workload's updates. The
best of all these trials is trained again from other seeds; the target is the median of their best values, so that a
trial as good as it has a third of its time to spare (Dahl et al. 2023, arXiv 2306.07179; AlgoPerf's documentation).
The targets that come with the package are in ``targets.json`` beside this file, with what made them.
"""

import argparse
import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lrstudy
from lrstudy.benchmark.rows import row
from lrstudy.benchmark.space import Range, Space, points_of
from lrstudy.benchmark.submission import Submission
from lrstudy.benchmark.trials import Lane, Trial, best, train
from lrstudy.benchmark.workload import TABLE, Workload, workload
from lrstudy.schedules.checks import one_of

SHIPPED = Path(__file__).parent / "targets.json"
SHARE = 0.75
"""Updates of the trials that set a target, over those of the trials that are scored."""


_RATES = Range(1e-3, 0.1)
_DECAYS = Range(5e-3, 1.0)
_SPACES: Mapping[str, Space] = {
    "adam": {"learning_rate": _RATES},
    "adamw": {"learning_rate": _RATES, "one_minus_b1": Range(0.02, 0.5), "weight_decay": _DECAYS},
    "momentum": {"learning_rate": Range(1e-2, 1.0), "one_minus_momentum": Range(5e-3, 0.3)},
}
"""Wide ones: what is best in them shows where a submission should look."""


def algorithms() -> list[Submission]:
    """Those that set targets: AdamW, Adam, Nesterov's momentum, Polyak's.

    AlgoPerf has NAdamW in Adam's place. The targets that come with the package were made before that was a row of the
    table, and the command that is noted beside them must make them again.
    """
    nesterov = row("momentum", label="nesterov", space=_SPACES["momentum"], nesterov=True)
    heavy_ball = row("momentum", label="heavy_ball", space=_SPACES["momentum"])
    return [*(row(name, space=_SPACES[name]) for name in ("adamw", "adam")), nesterov, heavy_ball]


def set_target(
    one: Workload,
    *,
    points: int,
    seeds: int,
    first_seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Sets the target of a workload.

    Args:
        one: the workload.
        points: of every algorithm, of a Halton sequence that ``first_seed`` scrambles; each has a seed of its own.
        seeds: from which the best is trained again, none of them seen before.
        first_seed: of all; the later ones follow it.
        say: is told what came of every algorithm.

    Returns:
        ``target`` and what made it, as JSON holds it.

    Raises:
        ValueError: there are no points or seeds, or nothing finite came of them.
    """
    for name, value in (("points", points), ("seeds", seeds)):
        if value < 1:
            raise ValueError(f"{name} must be a positive int, got {value!r}")
    budget = max(one.evaluate_every, int(SHARE * one.step_hint))
    # Their schedules end with them.
    short = dataclasses.replace(one, step_hint=budget)
    sign = 1 if one.mode == "min" else -1
    found: list[tuple[float, Submission, Trial]] = []
    for submission in algorithms():
        drawn = points_of(submission.space or {}, points, seed=first_seed)
        trials = [Lane(point, first_seed + i) for i, point in enumerate(drawn)]
        made = train(short, submission, trials, budget=budget)
        found += [(sign * best(trial, one), submission, trial) for trial in made]
        say(f"{one.name}: {submission.name} {sign * min(value for value, s, _ in found if s is submission):.6g}")
    _, winner, trial = min(found, key=lambda entry: entry[0])
    again = [Lane(trial.point, first_seed + points + i) for i in range(seeds)]
    values = [best(repeat, one) for repeat in train(short, winner, again, budget=budget)]
    target = float(np.median(values))
    if not np.isfinite(target):
        raise ValueError(f"the trials of {one.name} must come to finite values, got {values}")
    say(f"{one.name}: target {target:.6g} ({winner.name})")
    return {
        "target": target,
        "algorithm": winner.name,
        "hyperparameters": trial.point,
        "values": values,
        "algorithms": [submission.name for submission in algorithms()],
        "points": points,
        "first_seed": first_seed,
        "steps": budget,
        "definition": one.definition(),
        "facts": dict(one.task.facts()),
    }


@functools.cache
def shipped() -> Mapping[str, Any]:
    """Workload to what ``set_target`` found, of the targets that come with the package."""
    return read(SHIPPED)


def read(path: Path) -> Mapping[str, Any]:
    """What this command wrote into a file.

    Raises:
        ValueError: it holds no targets.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"targets must be a file that this command wrote, got '{path}': {error}") from error
    if not isinstance(found, dict) or not all(
        isinstance(entry, dict) and "target" in entry for entry in found.values()
    ):
        raise ValueError(f"targets must be a file that this command wrote, got '{path}'")
    return found


def target_of(one: Workload, targets: Mapping[str, Any] | None = None) -> float:
    """The target of a workload.

    Args:
        one: the workload.
        targets: see ``read``; ``None``: those that come with the package.

    Raises:
        ValueError: none was set, or it was set for a workload of this name that was defined otherwise.
    """
    known = shipped() if targets is None else targets
    how = f"set it with python -m lrstudy.benchmark.targets --workloads={one.name}"
    if one.name not in known:
        raise ValueError(
            f"workload must be {one_of(sorted(known), one.name)}, which have targets, got {one.name!r}: {how}"
        )
    entry = known[one.name]
    if not one.is_defined_as(entry.get("definition")):
        raise ValueError(f"workload must be defined as its target was set, got another {one.name!r}: {how}")
    return float(entry["target"])


def other_data(one: Workload, targets: Mapping[str, Any] | None = None) -> bool:
    """Whether the task reads other data than when its target was set, such as another Python's texts."""
    entry = (shipped() if targets is None else targets)[one.name]
    return entry.get("facts") != json.loads(json.dumps(dict(one.task.facts())))


def _parser() -> argparse.ArgumentParser:
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser("python -m lrstudy.benchmark.targets", description=lines[0], allow_abbrev=False)
    parser.add_argument("--workloads", help="names with commas between them; default: all, held-out variants included")
    parser.add_argument("--points", type=int, default=20, help="points of every algorithm (%(default)s)")
    parser.add_argument("--seeds", type=int, default=20, help="runs of the best (%(default)s)")
    parser.add_argument("--first_seed", type=int, default=1501, help="the others follow it (%(default)s)")
    parser.add_argument("--output", type=Path, help="file that the targets are added to; default: they are printed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    given = _parser().parse_args(arguments)
    everything = [one.name for base in TABLE.values() for one in (base, *base.held_out())]
    made = {
        "command": shlex.join(["python", "-m", "lrstudy.benchmark.targets", *arguments]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"lrstudy": lrstudy.__version__, "jax": importlib.metadata.version("jax")},
    }
    try:
        workloads = [workload(name) for name in (given.workloads.split(",") if given.workloads else everything)]
        found = dict(read(given.output)) if given.output is not None and given.output.exists() else {}
        for one in workloads:
            numbers = {"points": given.points, "seeds": given.seeds, "first_seed": given.first_seed}
            found[one.name] = {**set_target(one, **numbers, say=_say), **made}
            if given.output is not None:
                with _replacing(given.output) as temporary:
                    temporary.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    if given.output is None:
        print(json.dumps(found, indent=1, sort_keys=True))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of ``path`` if the block ends well."""
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
