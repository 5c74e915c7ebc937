r"""Time to target: how soon optimizers meet the validation targets of small workloads, and what that is worth.

python -m experiments.benchmark --submission=adamw,momentum --workdir=runs/benchmark
python -m experiments.benchmark --submission=adamw,my_optimizer:make --space=space.json --workdir=runs/mine

A submission is a row of ``lrstudy.optimizers.TABLE`` or a function ``(hyperparameters, step_hint) -> optax transform``
of your own, whose search space a JSON file holds: ``{"learning_rate": {"log": [1e-4, 0.1]}}`` or a list of points. The
rules are AlgoPerf's (Dahl et al. 2023, arXiv 2306.07179): the median over three studies of the fastest of five trials;
a score compares the submissions of one command. The folder gets ``times.csv``, ``profile.csv``, ``scores.csv`` and
``trials/``; the same command goes on after a stop, and a submission more trains that one alone.

python -m experiments.benchmark --submission=nadamw --calibrate=20 --workdir=runs/calibrated

looks for the one point of a space that does best on all workloads, held-out variants left alone, and writes it where
``--space`` can read it.
"""

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lrstudy
from experiments.benchmark_trials import Plan, measured, shown
from lrstudy.study.arguments import Parser
from lrstudy.study.errors import ConfigError, StudyError, one_of
from lrstudy.study.exit_codes import BAD_COMMAND, OK, RUN_FAILED, STOPPED
from lrstudy.study.machine import use_compilation_cache
from lrstudy.study.workdir import Workdir, read_json, replacing, write_json

if TYPE_CHECKING:
    import pandas as pd

    from lrstudy.benchmark.studies import Record
    from lrstudy.benchmark.submission import Submission
    from lrstudy.benchmark.workload import Workload

NAME = "benchmark"
PRESETS = ("smoke", "cpu")
_SMOKE = ("quadratic", "quadratic_ill_conditioned")
_TAUS = [1 + i / 100 for i in range(301)]


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
    found.add_argument(
        "--space", help="JSON file with ranges or points, of the last submission; or submission=file,..."
    )
    found.add_argument("--gradients_per_step", type=float, help="of the last submission; default: its own, or 1")
    found.add_argument("--calibrate", type=int, help="points of its space to try on all workloads; default: score it")
    found.add_argument("--targets", type=Path, help="file of lrstudy.benchmark.targets; default: those that come along")
    found.add_argument("--seed", type=int, default=1601, help="of the first trial, the others follow it (%(default)s)")
    return found


def plan_of(given: argparse.Namespace) -> Plan:
    """What the flags ask for.

    Raises:
        ValueError: a name or a value is wrong.
    """
    from lrstudy.benchmark import calibration
    from lrstudy.benchmark.submission import RULESETS, Ruleset

    ruleset = RULESETS[given.ruleset]
    if given.calibrate is not None:
        if (given.ruleset, given.axis) != ("external", "steps"):
            raise ConfigError("calibrate must be left out with another ruleset or axis: it counts steps to a target")
        ruleset = calibration.ruleset(given.calibrate)
    elif given.preset == "smoke":
        ruleset = Ruleset(1, min(2, ruleset.trials), ruleset.budget)
    if not 0 <= given.seed < 2**31 - ruleset.studies * ruleset.trials:
        raise ConfigError(f"seed must be an int from 0 on that leaves room for all trials, got {given.seed!r}")
    submissions = _submissions(given)
    if given.ruleset == "self":
        submissions = [submission.untuned() for submission in submissions]
    return Plan(submissions, _workloads(given), ruleset, given.axis, given.seed)


def _submissions(given: argparse.Namespace) -> "list[Submission]":
    """The submissions; a space without a name and a number of gradients are the last one's.

    Raises:
        ValueError: there is no such submission, or one is named twice.
    """
    from lrstudy.benchmark.loading import submission

    names = given.submission.split(",")
    spaces = _spaces(given.space, names)
    gradients = {names[-1]: given.gradients_per_step}
    submissions = [submission(name, **spaces.get(name, {}), gradients_per_step=gradients.get(name)) for name in names]
    for one in submissions:
        if [other.name for other in submissions].count(one.name) > 1:
            raise ConfigError(f"submission must name each once, got {one.name!r} twice")
    return submissions


def _spaces(given: str | None, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Submission to its ranges or points, as ``submission`` takes them.

    Raises:
        ValueError: a file is none, or there is no such submission.
    """
    from lrstudy.benchmark.space import read_space

    found: dict[str, dict[str, Any]] = {}
    for one in given.split(",") if given else ():
        name, separator, path = one.rpartition("=")
        if separator and name not in names:
            raise one_of("the submission of a space", name, names)
        try:
            space = read_space(json.loads(Path(path).read_text()))
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"space must be a readable JSON file, got '{path}': {error}") from error
        found[name or names[-1]] = {"points": space} if isinstance(space, list) else {"space": space}
    return found


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
        quick = _SMOKE[:1] if given.calibrate else _SMOKE
        chosen = [workload(name) for name in (given.workloads.split(",") if given.workloads else quick)]
        variant = next((one.name for one in chosen if one.name not in families), None)
        if given.calibrate and variant:
            raise ConfigError(f"workloads must be without held-out variants where points are chosen, got {variant!r}")
        names = [one.name for one in chosen]
        for base, family in families.items():
            alone = [one.name for one in family if one.name in names and base not in names]
            if alone:
                raise ConfigError(f"workloads must hold {base} with its variants, got {alone[0]!r} alone")
        return chosen
    everything = [one for family in families.values() for one in (family[:1] if given.calibrate else family)]
    for one in (one for one in everything if one.name not in targets):
        print(f"{one.name} is left out: it has no target", file=sys.stderr)
    return [one for one in everything if one.name in targets]


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
    print(times.T.rename_axis(plan.axis).map(shown).to_string())
    print()
    print(scores.map(lambda value: f"{value:.4f}").to_string())
    return scores


def write_calibrations(plan: Plan, workdir: Workdir, records: "Mapping[tuple[str, str], list[Record]]") -> None:
    """Writes the best point of every submission; prints all of them with their times."""
    from lrstudy.benchmark.calibration import calibration

    for submission in plan.submissions:
        found = calibration({one.name: records[submission.name, one.name] for one, _ in plan.workloads})
        best, name = found.points[found.best], submission.name.replace(":", ".")
        table = found.times.map(shown).assign(score=[f"{value:.4f}" for value in found.scores])
        with replacing(workdir.root / f"calibration_{name}.csv") as temporary:
            found.times.assign(score=found.scores).join(type(found.times)(found.points)).to_csv(temporary)
        print(f"\n{submission.name}: steps of every point, whose scores are among each other\n{table.to_string()}")
        if not max(found.scores):
            print("no point met a target: best values decide")
        print(
            "every point has one run a workload: among near ones chance decides, and another --seed may choose another"
        )
        print(f"best: point {found.best}, {', '.join(f'{key} {value:.4g}' for key, value in best.items())}")
        for key, one in (submission.space or {}).items():
            if not one.at(0.05) <= best[key] <= one.at(0.95):
                print(f"{key} is near the edge of its range, [{one.low:g}, {one.high:g}]")
        path = workdir.root / f"calibrated_{name}.json"
        write_json(path, [best])
        print(path)


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
        if given.calibrate is not None:
            write_calibrations(plan, workdir, records)
            return OK
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
