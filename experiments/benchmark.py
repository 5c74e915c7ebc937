r"""Time to target: how soon optimizers meet the validation targets of small workloads, and what that is worth.

python -m experiments.benchmark --submission=adamw,momentum --workdir=runs/benchmark
python -m experiments.benchmark --submission=adamw,my_optimizer:make --space=space.json --workdir=runs/mine

A submission is a row of ``lrstudy.optimizers.TABLE`` or a function ``(hyperparameters, step_hint) -> optax transform``
of your own, whose search space a JSON file holds: ``{"learning_rate": {"log": [1e-4, 0.1]}}`` or a list of points. The
rules are AlgoPerf's (Dahl et al. 2023, arXiv 2306.07179): the median over three studies of the fastest of five trials;
a score compares the submissions of one command. The folder gets ``times.csv``, ``profile.csv``, ``scores.csv`` and
``trials/``; the same command goes on after a stop, and a submission more trains that one alone.
"""

import argparse
import json
import math
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import lrstudy
from lrstudy.study.arguments import Parser
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.main import BAD_COMMAND, OK, RUN_FAILED, STOPPED, use_compilation_cache
from lrstudy.study.workdir import Workdir, read_json, replacing, write_json

if TYPE_CHECKING:
    import pandas as pd

    from lrstudy.benchmark.studies import Record
    from lrstudy.benchmark.submission import Ruleset, Submission
    from lrstudy.benchmark.workload import Workload

NAME = "benchmark"
PRESETS = ("smoke", "cpu")
_SMOKE = ("quadratic", "quadratic_ill_conditioned")
_TAUS = [1 + i / 100 for i in range(301)]


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


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = Parser("experiments.benchmark", (__doc__ or "").splitlines()[0])
    found.add_argument(
        "--submission", required=True, help="rows of the optimizers' table or module:function, by commas"
    )
    found.add_argument("--workdir", type=Path, required=True, help="folder of records and tables")
    found.add_argument("--preset", choices=PRESETS, default="cpu", help="smoke: seconds; cpu: minutes a submission")
    found.add_argument(
        "--ruleset", choices=("external", "self"), default="external", help="self: untuned, half as long again"
    )
    found.add_argument("--axis", choices=("steps", "grad_evals", "seconds"), default="steps", help="default: steps")
    found.add_argument("--workloads", help="names by commas; default: all that have a target, held-out ones included")
    found.add_argument("--space", type=Path, help="JSON file with ranges or points, of the only submission without one")
    found.add_argument("--gradients_per_step", type=int, help="of the last submission; default: its own, or 1")
    found.add_argument("--targets", type=Path, help="file of lrstudy.benchmark.targets; default: those that come along")
    found.add_argument("--seed", type=int, default=1601, help="of the first trial, the others follow it (%(default)s)")
    return found


def plan_of(given: argparse.Namespace) -> Plan:
    """What the flags ask for.

    Raises:
        ValueError: a name or a value is wrong.
    """
    from lrstudy.benchmark.submission import RULESETS, Ruleset

    ruleset = RULESETS[given.ruleset]
    if given.preset == "smoke":
        ruleset = Ruleset(1, min(2, ruleset.trials), ruleset.budget)
    if not 0 <= given.seed < 2**31 - ruleset.studies * ruleset.trials:
        raise ConfigError(f"seed must be an int from 0 on that leaves room for all trials, got {given.seed!r}")
    submissions = _submissions(given)
    if given.ruleset == "self":
        submissions = [submission.untuned() for submission in submissions]
    return Plan(submissions, _workloads(given), ruleset, given.axis, given.seed)


def _submissions(given: argparse.Namespace) -> "list[Submission]":
    """The submissions; a space and a number of gradients are the last one's.

    Raises:
        ValueError: there is no such submission, or one is named twice.
    """
    from lrstudy.benchmark.loading import submission
    from lrstudy.benchmark.space import read_space

    names = given.submission.split(",")
    own: dict[str, Any] = {}
    if given.space is not None:
        try:
            found = read_space(json.loads(given.space.read_text()))
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"space must be a readable JSON file, got '{given.space}': {error}") from error
        own = {"points": found} if isinstance(found, list) else {"space": found}
    last = submission(names[-1], **own, gradients_per_step=given.gradients_per_step)
    submissions = [*(submission(name) for name in names[:-1]), last]
    for one in submissions:
        if [other.name for other in submissions].count(one.name) > 1:
            raise ConfigError(f"submission must name each once, got {one.name!r} twice")
    return submissions


def _workloads(given: argparse.Namespace) -> "list[tuple[Workload, float]]":
    """The workloads with their targets.

    Raises:
        ValueError: there is no such workload, it has no target, or a held-out variant comes without its workload.
    """
    from lrstudy.benchmark.targets import other_data, read, shipped, target_of

    targets = shipped() if given.targets is None else read(given.targets)
    chosen = _chosen(given, targets)
    names = [one.name for one in chosen]
    for one in chosen:
        if names.count(one.name) > 1:
            raise ConfigError(f"workloads must name each once, got {one.name!r} twice")
    found = [(one, target_of(one, targets)) for one in chosen]
    for one, _ in found:
        if other_data(one, targets):
            print(f"{one.name} reads other data here than where its target was set", file=sys.stderr)
    return found


def _chosen(given: argparse.Namespace, targets: Mapping[str, Any]) -> "list[Workload]":
    """The workloads that are named, or else those of the preset."""
    from lrstudy.benchmark.workload import TABLE, workload

    families = {base.name: [base, *base.held_out()] for base in TABLE.values()}
    if given.workloads or given.preset == "smoke":
        chosen = [workload(name) for name in (given.workloads.split(",") if given.workloads else _SMOKE)]
        names = [one.name for one in chosen]
        for base, family in families.items():
            alone = [one.name for one in family if one.name in names and base not in names]
            if alone:
                raise ConfigError(f"workloads must hold {base} with its variants, got {alone[0]!r} alone")
        return chosen
    everything = [one for family in families.values() for one in family]
    for one in (one for one in everything if one.name not in targets):
        print(f"{one.name} is left out: it has no target", file=sys.stderr)
    return [one for one in everything if one.name in targets]


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
    print(f"{submission.name} on {workload.name}: {', '.join(map(_shown, fastest))} {plan.axis}", flush=True)
    return found


def write_tables(plan: Plan, workdir: Workdir, records: "Mapping[tuple[str, str], list[Record]]") -> "pd.DataFrame":
    """Writes times, profile and scores; returns the scores.

    ``exact`` and ``parity`` are those of ``lrstudy.benchmark.score``, the second of times as AlgoPerf's code takes them
    from trials; ``speedup`` is over the first submission, where a miss counts as the longest budget.
    """
    import pandas as pd

    from lrstudy.benchmark import profile, score, speedup
    from lrstudy.benchmark.studies import budgets_of, times_table

    times = times_table(plan.submissions, records, axis=plan.axis)
    as_algoperf = times_table(plan.submissions, records, axis=plan.axis, trial_rule="eval_index")
    budgets, first = budgets_of(plan.submissions, records, plan.axis), plan.submissions[0].name
    scores = pd.DataFrame(
        {
            "exact": score(times),
            "parity": score(as_algoperf, rule="parity"),
            f"speedup over {first}": {name: speedup(times, name, first, budgets=budgets) for name in times.index},
        }
    ).rename_axis("submission")
    for name, table in {"times": times, "profile": profile(times, _TAUS), "scores": scores}.items():
        with replacing(workdir.root / f"{name}.csv") as temporary:
            table.to_csv(temporary)
    print()
    print(times.T.rename_axis(plan.axis).map(_shown).to_string())
    print()
    print(scores.map(lambda value: f"{value:.4f}").to_string())
    return scores


def _shown(value: float) -> str:
    return "missed" if math.isinf(value) else f"{value:.6g}"


def _begin(workdir: Workdir, given: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Says in the folder what is in it."""
    import jax

    config = {name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items()}
    write_json(
        workdir.config,
        {
            "experiment": NAME,
            "preset": given.preset,
            "command": shlex.join(["python", "-m", "experiments.benchmark", *arguments]),
            "config": config,
            "versions": {"lrstudy": lrstudy.__version__, "jax": jax.__version__, "python": platform.python_version()},
            "devices": [str(device) for device in jax.devices()],
        },
    )


def run(given: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Does what the flags ask for; returns the exit code."""
    from lrstudy.study.signals import StopRequest
    from lrstudy.study.trainer import PreemptedError

    workdir = Workdir(given.workdir)
    workdir.check()
    header = read_json(workdir.config)
    if header is not None and header.get("experiment") != NAME:
        other = header.get("experiment")
        raise ConfigError(f"workdir must be empty or hold {NAME}, got '{workdir.root}' with {other}")
    plan = plan_of(given)
    use_compilation_cache()
    with StopRequest() as stop, workdir.locked():

        def pause() -> None:
            if stop.requested:
                raise PreemptedError

        _begin(workdir, given, arguments)
        try:
            records = measured(plan, workdir, pause)
        except PreemptedError:
            print("stopped; the same command goes on after the last workload that was finished")
            return STOPPED
        write_tables(plan, workdir, records)
    print(f"\n{workdir.root / 'scores.csv'}")
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    given = parser().parse_args(arguments)
    try:
        return run(given, arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_COMMAND
    except (StudyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return RUN_FAILED


if __name__ == "__main__":
    sys.exit(main())
