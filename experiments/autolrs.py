r"""One training run whose learning rate AutoLRS finds on the way (Jin et al. 2021, arXiv 2105.10762).

python -m experiments.autolrs --config.task=text --config.task.path=my.txt --config.steps=5000 \
    --min_rate=1e-4 --max_rate=1e-1 --workdir=runs/found

It prints every stage and the schedule that was found, and writes that to ``schedule.json`` in the folder, which
``schedules.from_dict`` reads. The search doubles the updates of the run; the evaluations by which candidates of late
stages are judged are not updates and not counted. The same command goes on after a stop.
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from experiments.auto_lr_search import settings_of
from lrstudy.study.autolrs import control, finished_stages
from lrstudy.study.autolrs_lanes import LaneTraining, make_engine
from lrstudy.study.autolrs_stages import Settings, Stage, found_schedule, updates_spent
from lrstudy.study.choices import choice
from lrstudy.study.command import Command
from lrstudy.study.config import Run, RunConfig, resolve
from lrstudy.study.derived import static_parts
from lrstudy.study.errors import ConfigError
from lrstudy.study.exit_codes import OK, STOPPED
from lrstudy.study.experiment import Experiment
from lrstudy.study.header import header_of, nested
from lrstudy.study.machine import use_compilation_cache
from lrstudy.study.main import FLAGS, check_apart, check_experiment, check_ready, main
from lrstudy.study.part import Part
from lrstudy.study.plan import make_plan
from lrstudy.study.workdir import Workdir, write_json

SCHEDULE, STAGES = "schedule.json", "autolrs"
_SETTINGS = (
    "search_steps",
    "candidates",
    "max_stage_steps",
    "warmup_steps",
    "warmup_rate",
    "kappa",
    "batch",
    "smoothing",
)


# Leaves of a run's configuration that a command may not set, and why.
_DECIDED = {
    "schedule": "the schedule is what is found",
    "schedule_start": "the schedule is what is found",
    "start": "the first stage begins at initialisation",
    "record_every": "every update is recorded",
    "evaluate_every": "every stage says where it evaluates",
}


def define_flags(values: flags.FlagValues) -> None:
    """The flags beside those of the configuration."""
    module = {"flag_values": values, "module_name": sys.argv[0]}
    flags.DEFINE_string("preset", "cpu", "smoke (seconds), cpu (minutes), gpu or paper", **module)
    flags.DEFINE_string("workdir", None, "folder of stages and schedule; without it nothing is written", **module)
    flags.DEFINE_enum("executor", "auto", ["auto", "vmap", "map"], "how candidates are trained", **module)
    flags.DEFINE_float("min_rate", None, "smallest rate that is tried", **module)
    flags.DEFINE_float("max_rate", None, "largest rate that is tried", **module)
    flags.DEFINE_integer(
        "search_steps", None, "updates of a candidate in the first stage; default: by the run", **module
    )
    flags.DEFINE_integer("candidates", None, "rates tried a stage; default 10", **module)
    flags.DEFINE_integer("max_stage_steps", None, "updates of the longest stages; default: by the run", **module)
    flags.DEFINE_integer("warmup_steps", None, "updates before the first stage; default 0", **module)
    flags.DEFINE_float("warmup_rate", None, "rate that the warmup reaches; default: max_rate", **module)
    flags.DEFINE_float("kappa", None, "deviations below the mean; default: explore alone", **module)
    flags.DEFINE_integer("batch", None, "candidates trained side by side; default: all, or with a kappa one", **module)
    flags.DEFINE_bool("smoothing", None, "smooth losses before extrapolating them; default true", **module)


def parts(steps: int) -> Mapping[str, Part]:
    """One run; its schedule stands in for the one that is to be found."""
    base = RunConfig(
        task=choice("task", "text"),
        schedule=choice("schedule", "Constant", peak=1.0),
        optimizer=choice("optimizer", "adamw", b2=0.99, weight_decay=0.1),
        clip_norm=1.0,
        steps=steps,
    )
    return {"": Part(base)}


def find(experiment: Experiment, command: Command) -> int:
    """Trains the run that the command names and says what was found; returns the exit code."""
    from lrstudy.study.run import say
    from lrstudy.study.signals import StopRequest
    from lrstudy.study.trainer import PreemptedError

    run = _run(command)
    own = _settings(run)
    workdir, plan = Workdir(Path(FLAGS.workdir)) if FLAGS.workdir else None, make_plan(static_parts(command.parts))
    check_ready(plan)
    if workdir is not None:
        workdir.check()
        check_experiment(experiment, workdir)
        check_apart(plan, workdir)
    use_compilation_cache()
    with StopRequest() as stop:

        def pause() -> None:
            if stop.requested:
                raise PreemptedError

        training = LaneTraining(run, make_engine(run, FLAGS.executor), warmup_steps=own.warmup_steps, pause=pause)
        try:
            if workdir is None:
                stages = _train(run, own, training, None)
            else:
                with workdir.locked():
                    _begin(workdir, run, own, functools.partial(header_of, experiment, command))
                    stages = _train(run, own, training, workdir.root / STAGES)
                    write_json(workdir.root / SCHEDULE, found_schedule(own, stages).to_dict())
        except PreemptedError:
            say("stopped; the same command goes on after the last finished stage" if workdir else "stopped")
            return STOPPED
    print(json.dumps(found_schedule(own, stages).to_dict()))
    print(f"{own.total_steps} updates of training and {updates_spent(stages) - own.total_steps} of search")
    return OK


def _run(command: Command) -> Run:
    """The one run of the command.

    Raises:
        ConfigError: there are several, or a leaf was given that AutoLRS decides.
    """
    for name in (name for name in FLAGS if FLAGS[name].present):
        kind, _, path = name.partition(".")
        reason = _DECIDED.get(path.partition(".")[0])
        if kind in ("config", "sweep") and reason is not None:
            raise ConfigError(f"{name} must be left out: {reason}")
    configs = [config for part in static_parts(command.parts).values() for config in part.configs()]
    if len(configs) != 1:
        raise ConfigError(f"sweep must be left out: AutoLRS trains one run, got {len(configs)}")
    return resolve(configs[0])


def _settings(run: Run) -> Settings:
    """The flags as settings; what is not given follows from the run's length.

    Raises:
        ConfigError: a rate is missing, or a value is out of range.
    """
    for name in ("min_rate", "max_rate"):
        if FLAGS[name].value is None:
            raise ConfigError(f"{name} must be given: --{name}=RATE")
    given: dict[str, Any] = {name: FLAGS[name].value for name in _SETTINGS if FLAGS[name].value is not None}
    return settings_of(run, FLAGS.min_rate, FLAGS.max_rate, **given)


def _begin(
    workdir: Workdir, run: Run, settings: Settings, header: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> None:
    """Says in the folder what is trained there, unless it holds the stages of something else.

    Raises:
        ConfigError: it does.
    """
    finished_stages(settings, run.run_id, workdir.root / STAGES)
    leaves = {name: value for name, value in nested(make_plan({"": Part(run.config)})).items() if name not in _DECIDED}
    write_json(workdir.config, header({**leaves, "autolrs": dataclasses.asdict(settings)}))


def _train(run: Run, settings: Settings, training: LaneTraining, folder: Path | None) -> Sequence[Stage]:
    """Trains, saying every stage as it is finished."""
    said = 0

    def tell(stages: Sequence[Stage]) -> None:
        nonlocal said
        for stage in stages[said:]:
            loss = stage.curve["validation_loss"][-1]
            what = run.task.objective.replace("_", " ")
            print(
                f"steps {stage.start}-{stage.end} ({stage.mode}): rate {stage.chosen:.4g}, {what} {loss:.4g}",
                flush=True,
            )
        said = len(stages)

    stages, _ = control(settings, training, folder=folder, between=tell)
    tell(stages)
    return stages


EXPERIMENT = Experiment(
    name="autolrs",
    title="A learning rate found while training",
    paper="Jin et al. 2021, arXiv 2105.10762",
    asks="your own run: which rate should every stage of it have?",
    question="Which learning rate should every stage of this run have?",
    presets={
        "smoke": lambda: parts(20),
        "cpu": lambda: parts(500),
        "gpu": lambda: parts(5_000),
        "paper": lambda: parts(100_000),
    },
)

if __name__ == "__main__":
    main(EXPERIMENT, find, define_flags)
