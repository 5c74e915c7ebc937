"""The trials of submissions on workloads: trained where a folder lacks them, kept there one file each."""

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.workdir import Workdir, read_json, write_json

if TYPE_CHECKING:
    from lrstudy.benchmark.studies import Record
    from lrstudy.benchmark.submission import Ruleset, Submission
    from lrstudy.benchmark.workload import Workload


class Plan(NamedTuple):
    """What a command asks for.

    Attributes:
        submissions: that are compared.
        workloads: that they are timed on, with their targets.
        ruleset: studies, trials and budget.
        axis: of time.
        seed: of the first trial.
    """

    submissions: "list[Submission]"
    workloads: "list[tuple[Workload, float]]"
    ruleset: "Ruleset"
    axis: Any
    seed: int


def measured(plan: Plan, workdir: Workdir, pause: Callable[[], None]) -> "dict[tuple[str, str], list[Record]]":
    """The records of all submissions on all workloads; what the folder holds is not trained again.

    Raises:
        ConfigError: the folder holds records of something else under the same names.
    """
    found = {}
    for submission in plan.submissions:
        for workload, target in plan.workloads:
            found[submission.name, workload.name] = _records(plan, workdir, submission, workload, target, pause)
    return found


def _records(
    plan: Plan,
    workdir: Workdir,
    submission: "Submission",
    workload: "Workload",
    target: float,
    pause: Callable[[], None],
) -> "list[Record]":
    from lrstudy.benchmark.clock import measure
    from lrstudy.benchmark.studies import identity, lanes_of, run_studies, study_times

    folder = workdir.root / "trials" / submission.name.replace(":", ".") / workload.name
    drawn = lanes_of(submission.draw(plan.ruleset, seed=plan.seed), plan.ruleset, plan.seed)
    paths = [folder / f"study_{study}_trial_{trial}.json" for study, trial, _ in drawn]
    found = [read_json(path) for path in paths]
    asked = {"target": target, "seed": plan.seed}
    wanted = json.loads(json.dumps(identity(workload, submission, plan.ruleset, **asked)))
    for path, record in zip(paths, found, strict=True):
        if record is not None and not (isinstance(record, dict) and isinstance(record.get("identity"), dict)):
            raise StudyError(f"{path} is damaged: it is no trial; remove it and run the same command")
        other = [] if record is None else [key for key, value in wanted.items() if record["identity"].get(key) != value]
        if other:
            raise ConfigError(f"workdir must hold no trials of another {other[0]}, got '{path}'; use another folder")
    if None in found:
        found = run_studies(workload, submission, plan.ruleset, **asked, axis=plan.axis, pause=pause)
    elif plan.axis == "seconds" and found[0]["clock"] is None:
        clock = measure(workload, submission, drawn[0][2].point, seed=plan.seed)
        found = [{**record, "clock": clock._asdict()} for record in found]
    else:
        return found
    for path, record in zip(paths, found, strict=True):
        write_json(path, record)
    fastest = [min(spent for spent, _ in trials) for trials in study_times(submission, found, plan.axis)]
    print(f"{submission.name} on {workload.name}: {', '.join(map(shown, fastest))} {plan.axis}", flush=True)
    return found


def shown(value: float) -> str:
    """A time to people."""
    return "missed" if math.isinf(value) else f"{value:.6g}"
